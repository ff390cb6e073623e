"""The fixtures of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import terraforms
from tests.terraform import plans


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plans.Tree]:
    """A copy of `terraform/`, and what it takes to plan it without AWS. Skips, by name, without Terraform."""
    terraforms.skip_unless_installed()
    with plans.tree(tmp_path_factory.mktemp("plans")) as ready:
        yield ready
