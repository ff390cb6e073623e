"""Revenue: what a game says that it has earned with a submission. It is counted and never kept: it is no accounting."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

LARGEST_AMOUNT = 10**9
"""In the currency's minor units, of one submission: one that is made up must not drown all others."""


class Amount(NamedTuple):
    """Minor units of a currency: 499 EUR are 4.99 euros."""

    amount: int
    currency: str


UNREADABLE = Amount(0, "")
"""What is no amount in a currency that we know."""


def read(game_data: Mapping[str, Any] | None, currencies: Collection[str]) -> Amount | None:
    """What `revenue` in a submission's data says; None if it says nothing.
    Other members of it are the game's own."""
    told = (game_data or {}).get("revenue")
    match told:
        case None:
            return None
        case {"amount": int() | float() as amount, "currency": str() as currency} if currency in currencies:
            if type(amount) is not bool and amount == (whole := int(amount)) and 0 <= whole <= LARGEST_AMOUNT:
                return Amount(whole, currency)
    return UNREADABLE
