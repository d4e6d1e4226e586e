"""Where a session goes on with an account that an earlier one has left: pure.

Owns that choice.  The venue numbers everything that happens to an account; what the earlier session was told ends at
one number.  Our books know the numbers of orders and executions alone, and what they held: the place is the first from
the newest of those on at which the account's positions are what the books hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from connectors.oanda import wire
from engine.carried import ENDED, Carried

_ZERO = Decimal(0)


class Place(msgspec.Struct, frozen=True):
    """``known_id``: the newest transaction that is on record; 0 for none.  ``from_id``: the one before the oldest order
    that was open, at most ``known_id``."""

    known_id: int
    from_id: int


def place_of(carried: Carried, venue: str) -> Place:
    """As far as the numbers tell it."""
    known, first = 0, None
    for key in carried.trades:
        at, _, text = key.partition("|")
        if at == venue:
            known = max(known, _number(text))
    for order in carried.orders:
        if order.new.venue != venue:
            continue
        number = _number(order.venue_order_id)
        known = max(known, number, *(_number(each) for each in order.trade_ids), 0)
        if number and order.state not in ENDED:
            first = number if first is None else min(first, number)
    return Place(known, known if first is None else min(first - 1, known))


def told_until(
    transactions: Sequence[wire.Transaction],
    units: Mapping[str, Decimal],
    booked: Mapping[str, Decimal],
    known_id: int,
    last_id: int,
) -> int | None:
    """The last transaction that the earlier session was told of; None where none leaves the positions that it booked.

    ``units`` are the positions at ``last_id``, ``booked`` those of the books, by the venue's names of the instruments;
    ``transactions`` are all after ``known_id``, oldest first.
    """
    there = {name: units.get(name, _ZERO) for name in booked}
    found = last_id if there == booked else None
    at = last_id
    for transaction in reversed(transactions):
        number = int(transaction.id)
        if number <= known_id:
            break
        if number > at:
            continue
        at = number - 1
        if transaction.type == "ORDER_FILL" and transaction.instrument in there and transaction.units:
            there[transaction.instrument] -= transaction.units
        if there == booked:
            found = at
    return max(found, known_id) if found is not None else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
