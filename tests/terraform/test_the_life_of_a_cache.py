"""A cache is restored, switched to, retired and destroyed by Terraform itself: see rehearsals.py."""

from __future__ import annotations

from concurrent.futures import Future


def test_a_cache_is_replaced_by_its_snapshot_and_goes(rehearsal: Future[None]) -> None:
    rehearsal.result()
