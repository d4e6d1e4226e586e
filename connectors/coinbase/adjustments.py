"""Entries of the fills listing that are no executions: one taken back, set right, or standing for another.

Owns what such an entry (``trade_type`` ``REVERSAL``, ``CORRECTION``, ``SYNTHETIC`` or a word of tomorrow) means for the
orders that ``tracker`` knows.  Pure.  The venue says little of them: a trade id links them to the execution they are
about.  What can be told for certain becomes a ``FillCorrected`` or an ``OrderFilled``; of anything else nothing is
booked, and the balances say what it did (``AdjustmentLog.unexplained`` counts it, the account is confirmed).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from connectors.coinbase.fills import base_qty, is_execution, moves, side_of
from connectors.coinbase.tracked import TAKEN_BACK, Tracked
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.wire import Fill
from engine.events import FillCorrected, InputEvent

_RANKS = {"REVERSAL": 0, "CORRECTION": 1}
ZERO = Decimal(0)


class AdjustmentLog(msgspec.Struct):
    """How many were taken for what; ``last`` is the newest one, in words."""

    taken_back: int = 0
    set_right: int = 0
    executed: int = 0
    unexplained: int = 0
    last: str = ""


class Adjustments:
    """Over one tracker."""

    def __init__(self, tracker: OrderTracker) -> None:
        self._tracker = tracker
        self.log = AdjustmentLog()

    def news(self, fills: Sequence[Fill]) -> list[Fill]:
        """Those of ``fills`` that have not been looked at, in the order in which they make sense."""
        found = [fill for fill in fills if not is_execution(fill) and self._is_news(fill)]
        return sorted(found, key=lambda fill: (fill.trade_time, _RANKS.get(fill.trade_type, 2)))

    def _is_news(self, fill: Fill) -> bool:
        order = self._tracker.of_venue(fill.order_id)
        return order is not None and fill.entry_id not in (order.entries or {})

    def take(self, fill: Fill, listed: Sequence[Fill], ts_recv_ns: int) -> list[InputEvent]:
        """What follows from one of ``news``; ``listed`` are all entries of its order."""
        order = self._tracker.of_venue(fill.order_id)
        if order is None:
            return []
        if order.entries is None:
            order.entries = {}
        said = f"{fill.trade_type[:20]} entry {fill.entry_id[:64]}: {fill.side[:8]} {fill.size} at {fill.price}"
        self.log.last = f"an execution of order {order.client_order_id} was adjusted ({said})"
        same = [one for one in listed if (one.order_id, one.trade_id) == (fill.order_id, fill.trade_id)]
        standing = [one for one in same if order.entries.get(one.entry_id, TAKEN_BACK) != TAKEN_BACK]
        if base_qty(fill) is None:
            pass  # its numbers are none, and not even compared
        elif fill.trade_type == "REVERSAL":
            original = next((one for one in standing if (one.size, one.price) == (fill.size, fill.price)), None)
            if original is not None:
                order.entries[fill.entry_id] = TAKEN_BACK
                self.log.taken_back += 1
                return self._correct(order, original, None, ts_recv_ns)
        elif fill.trade_type == "CORRECTION" and _is_readable(fill):
            if standing:
                order.entries[fill.entry_id] = TAKEN_BACK
                self.log.set_right += 1
                return self._correct(order, standing[0], fill, ts_recv_ns)
            if any(order.entries.get(one.entry_id) == TAKEN_BACK for one in same):
                # Its original was taken back: this is what was executed.
                self.log.set_right += 1
                return self._tracker.book(fill, ts_recv_ns)
        elif fill.trade_type != "REVERSAL" and _is_counted(order, fill):
            # The venue counts it among what the order has filled.
            self.log.executed += 1
            return self._tracker.book(fill, ts_recv_ns)
        order.entries[fill.entry_id] = TAKEN_BACK
        self.log.unexplained += 1
        self.log.last += "; not booked, the balances say what it did"
        return []

    def _correct(self, order: Tracked, original: Fill, correction: Fill | None, ts_recv_ns: int) -> list[InputEvent]:
        """``original`` was ``correction`` in truth, or nothing (None)."""
        tracker = self._tracker
        instrument, side, qty = tracker.instrument_of(order, original), side_of(original.side), base_qty(original)
        if not instrument or side is None or qty is None or order.entries is None:
            return []  # it was never booked: entries are known of what was
        new_qty = (base_qty(correction) or ZERO) if correction is not None else ZERO
        new_px = correction.price if correction is not None else original.price
        new_fee = correction.commission if correction is not None else ZERO
        was_told = tracker.is_told(order, original)
        if correction is None:
            order.entries[original.entry_id] = TAKEN_BACK
        order.booked_qty += new_qty - qty
        # What the venue counts moves with it, as far as is known; asked about the order again it says how much it is.
        order.claimed_qty = max(order.claimed_qty + new_qty - qty, order.booked_qty)
        if not was_told:
            return []
        base, _, quote = instrument.partition("@")[0].rpartition("/")
        for sign, entry in ((-1, original), (1, correction)):
            for currency, amount in () if entry is None else moves(entry, base, quote):
                tracker.moved[currency] = tracker.moved.get(currency, ZERO) + sign * amount
        return [
            FillCorrected(
                ts_recv_ns, ts_recv_ns, tracker.venue, order.client_order_id, original.order_id, original.entry_id,
                instrument, side, qty, original.price, original.commission, quote, new_qty, new_px, new_fee,
            )
        ]  # fmt: skip


def _is_readable(fill: Fill) -> bool:
    return side_of(fill.side) is not None and base_qty(fill) is not None and fill.commission.is_finite()


def _is_counted(order: Tracked, fill: Fill) -> bool:
    qty = base_qty(fill)
    return _is_readable(fill) and qty is not None and order.booked_qty + qty <= order.claimed_qty
