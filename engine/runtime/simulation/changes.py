"""Changes of orders in place, as they leave: each is on record before, once, and by the session that decided it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from engine.commands import NewOrder, ReplaceOrder
from engine.events import Side
from engine.runtime.simulation.truth import Durability

EDIT_MARK = b"POST /api/v3/brokerage/orders/edit HTTP/1.1\r\n"


class _Body(msgspec.Struct):
    order_id: str
    price: Decimal
    size: Decimal


class _Asked(msgspec.Struct):
    """On record, by session and number."""

    replace: ReplaceOrder
    session: int
    seq: int
    sent: int = 0


class ChangeChecks:
    """``fail(invariant, text)``."""

    def __init__(self, fail: Callable[[str, str], None]) -> None:
        self._fail = fail
        self._sides: dict[str, Side] = {}
        self._asked: dict[str, _Asked] = {}
        """By the venue's order id: the last change."""

    def on_new(self, order: NewOrder) -> None:
        self._sides[order.client_order_id] = order.intent.side

    def on_replace(self, session: int, seq: int, replace: ReplaceOrder) -> None:
        self._asked[replace.venue_order_id] = _Asked(replace, session, seq)

    def written(self, data: bytes, session: int, journal: Durability) -> ReplaceOrder | None:
        """A request that changes an order leaves; what it is of a purchase that does not only shrink."""
        body = msgspec.json.decode(data[data.index(b"\r\n\r\n") + 4 :], type=_Body, strict=False)
        what, asked = f"a change of {body.order_id} to {body.size} at {body.price}", self._asked.get(body.order_id)
        if asked is None or (asked.replace.qty, asked.replace.limit_px) != (body.size, body.price):
            self._fail("I2", f"{what} was sent and is not in the journal")
            return None
        asked.sent += 1
        if asked.sent > 1 or asked.session != session:
            self._fail("I5", f"{what} was sent again")
        if asked.seq > journal.durable_seq:
            self._fail("I2", f"{what} was sent before it was in the journal")
        if journal.broken:
            self._fail("A8", f"{what} was sent although the journal cannot be trusted")
        replace = asked.replace
        only_shrinks = replace.limit_px == replace.old_px and replace.qty < replace.old_qty
        is_purchase = self._sides.get(replace.client_order_id) is Side.BUY
        return replace if is_purchase and not only_shrinks else None
