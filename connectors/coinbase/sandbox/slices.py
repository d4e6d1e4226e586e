"""Time-weighted orders: cut into slices, each sent to the book when its time has come.

Owns the timetable.  Money, fills and states are those of the whole order (``exchange``), whose hold the slices share:
the book knows a slice as ``<order id>#<number>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal

import msgspec

from connectors.coinbase.sandbox.records import Market, OrderRecord
from connectors.matching.orders import BookOrder, Closed, CloseReason, Filled, Outcome
from engine.commands import TimeInForce

SLICE = "#"


class _Sliced(msgspec.Struct):
    record: OrderRecord
    order: BookOrder
    sent: int = 0


class Slices:
    """Open time-weighted orders by id."""

    def __init__(self) -> None:
        self._open: dict[str, _Sliced] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, record: OrderRecord, order: BookOrder) -> None:
        self._open[record.order_id] = _Sliced(record, order)

    def drop(self, order_id: str) -> bool:
        """The order was closed; False when there is none with that id."""
        return self._open.pop(order_id, None) is not None

    def due(self, markets: Mapping[str, Market], now_ns: int) -> Iterator[tuple[Market, list[Outcome]]]:
        """Send what is due: a slice takes what it finds at the limit, the rest of it joins the next ones.

        Outcomes name the slices where they trade and the whole order where that ends.
        """
        for order_id, sliced in list(self._open.items()):
            record, slicing = sliced.record, sliced.record.spec.slicing
            assert slicing is not None
            market = markets[record.spec.product_id]
            gone = 0 if now_ns < slicing.start_ns else (now_ns - slicing.start_ns) // slicing.every_ns + 1
            if gone > sliced.sent:
                sliced.sent = min(gone, slicing.count)
                yield market, self._slice(sliced, market, now_ns)
            if not sliced.order.qty - record.filled_qty:
                self.drop(order_id)
                yield market, [Closed(order_id, CloseReason.FILLED)]
            elif sliced.sent == slicing.count:
                self.drop(order_id)
                yield market, [Closed(order_id, CloseReason.EXPIRED)]

    @staticmethod
    def _slice(sliced: _Sliced, market: Market, now_ns: int) -> list[Outcome]:
        """Up to the share of the whole that should have traded by now."""
        slicing = sliced.record.spec.slicing
        assert slicing is not None
        lot = market.instrument.lot_qty
        share = Decimal(sliced.sent) / slicing.count * sliced.order.qty / lot
        qty = share.to_integral_value(ROUND_CEILING) * lot - sliced.record.filled_qty
        if qty <= 0:
            return []
        one = msgspec.structs.replace(
            sliced.order,
            order_id=f"{sliced.order.order_id}{SLICE}{sliced.sent}",
            qty=qty,
            time_in_force=TimeInForce.IOC,
            expire_ns=None,
        )
        return [outcome for outcome in market.submit(one, now_ns) if isinstance(outcome, Filled) or _of_others(outcome)]


def _of_others(outcome: Outcome) -> bool:
    """What happened to resting orders that the slice met."""
    order_id = outcome.maker_id if isinstance(outcome, Filled) else outcome.order_id
    return SLICE not in order_id
