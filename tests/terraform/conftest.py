"""The fixtures of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support import terraforms
from tests.terraform import plans, rehearsals


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plans.Tree]:
    """A copy of `terraform/`, and what it takes to plan it without AWS. Skips, by name, without Terraform."""
    terraforms.skip_unless_installed()
    with plans.tree(tmp_path_factory.mktemp("plans")) as ready:
        yield ready


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[None]]:
    """The life of a cache. Skips, by name, where there is no Terraform."""
    terraforms.skip_unless_installed()
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(rehearsals.of_a_cache, tmp_path_factory.mktemp("rehearsal"))


@pytest.fixture(scope="session", autouse=True)
def rehearsal_in_time(request: pytest.FixtureRequest) -> None:
    """Begins it with the first test of this room, if it is asked for at all: it waits more than it works."""
    if any("rehearsal" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("rehearsal")
