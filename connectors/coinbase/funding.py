"""Funding at Coinbase as facts: pure.

Owns what counts as funding.  The venue tells a contract's rate and price and what the dollars of the account are; of
what was paid it tells nothing.  Dollars that came or went without an execution, and are about as many as one interval
of these rates makes of the positions, are funding; anything else is a settlement, a transfer or unknown, and none.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

LEAST, MOST = Decimal("0.5"), Decimal(2)
"""How far from what is foretold: rates and prices move between the moment of payment and our reading of them."""
_ZERO = Decimal(0)
_DIGITS = Decimal("1e-8")


def shares(amount: Decimal, foretold: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """``amount`` dollars by instrument, in proportion to what each position was ``foretold`` to earn (below zero: to
    pay); empty where the amount is something else.  The shares add up to it exactly."""
    due = {name: one for name, one in foretold.items() if one}
    whole = sum(due.values(), _ZERO)
    if not whole or not LEAST <= amount / whole <= MOST:
        return {}
    found = {name: (amount * one / whole).quantize(_DIGITS) for name, one in due.items()}
    last = next(reversed(found))
    found[last] += amount - sum(found.values(), _ZERO)
    return {name: one for name, one in found.items() if one}
