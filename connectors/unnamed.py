"""Executions that an earlier session counted without knowing their ids.

An order that was found half filled was part of the balances by then: what is carried of it is a quantity, and ids of
later executions alone.  The venue lists all of them again.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from decimal import Decimal

ZERO = Decimal(0)


def unnamed(
    counted_qty: Decimal, listed: Sequence[tuple[str, Decimal]], known: Container[str]
) -> tuple[list[str], bool]:
    """Ids of those among ``listed`` (id and quantity, oldest first) that are in ``counted_qty`` and not ``known``: the
    oldest ones, as far as the quantity goes.  And whether the listing shows all that was counted."""
    left_qty = counted_qty - sum((qty for name, qty in listed if name in known), ZERO)
    found = []
    for name, qty in listed:
        if name not in known:
            if qty > left_qty:
                break
            found.append(name)
            left_qty -= qty
    return found, left_qty <= ZERO or sum((qty for _, qty in listed), ZERO) >= counted_qty
