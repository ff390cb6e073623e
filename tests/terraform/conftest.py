"""What the tests of this room take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from tests.support import terraforms
from tests.terraform import applies as whole_applies
from tests.terraform import plans


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plans.Tree]:
    """A copy of `terraform/`, and what it takes to plan it without AWS. Skips, by name, where there is no Terraform."""
    terraforms.skip_unless_installed()
    with plans.tree(tmp_path_factory.mktemp("plans")) as ready:
        yield ready


@pytest.fixture(scope="session")
def applies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[whole_applies.Applied]]]:
    """Every environment that belongs on AWS, applied and planned again, one of them destroyed. Skips like `tree`."""
    terraforms.skip_unless_installed()
    with whole_applies.begun(tmp_path_factory.mktemp("applies")) as begun:
        yield begun


@pytest.fixture(scope="session", autouse=True)
def _begin_early(request: pytest.FixtureRequest) -> None:
    """Begins the applies before the first test of the room: they wait while others work."""
    if any("applies" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("applies")
