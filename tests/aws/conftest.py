"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.aws.recorded import Recorded, recorded


@pytest.fixture
def aws() -> Iterator[Recorded]:
    """AWS as the test says it answers, all of which has to be asked for."""
    with recorded() as one:
        yield one
