"""The paper account: its money, its open orders, and what it is told of them.

Owns the order events of one venue's account: outcomes of the book in, fills booked in the ledger, events out.  Which
orders arrive at the book is ``exchange``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from connectors.matching.ledger import Ledger, is_fully_paid
from connectors.matching.mirror import MarketMirror
from connectors.matching.orders import Closed, CloseReason, Filled, Opened, Outcome, Refused
from engine.commands import NewOrder
from engine.events import (
    BalanceReported,
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    Side,
)
from engine.instruments import Instrument
from engine.ports import Publish
from engine.refusals import worded

ACCOUNT = "paper"
WORD_OF: Final = {
    "bad_bracket": "unsupported",
    "bad_budget": "invalid_qty",
    "bad_expiry": "invalid_expiry",
    "bad_post_only": "unsupported",
    "bad_px": "invalid_px",
    "bad_qty": "invalid_qty",
    "bad_trigger": "invalid_px",
    "book_full": "unavailable",
    "duplicate_id": "duplicate_client_id",
    "halted": "trading_halted",
    "lot_qty": "invalid_qty_precision",
    "max_qty": "above_maximum",
    "min_notional": "below_minimum",
    "min_qty": "below_minimum",
    "no_market": "no_price",
    "short_not_allowed": "insufficient_position",
    "tick_px": "invalid_px_precision",
}
"""What the book, the ledger and the rules call it, as orders are told of it (``engine.refusals``)."""


class PaperOrder:
    """An open order: the command, the venue's id and how much of it is done.  ``qty`` is what went into the book."""

    __slots__ = ("filled_qty", "instrument", "order", "qty", "venue_order_id")

    def __init__(self, order: NewOrder, venue_order_id: str, instrument: Instrument, qty: Decimal) -> None:
        self.order = order
        self.venue_order_id = venue_order_id
        self.instrument = instrument
        self.qty = qty
        self.filled_qty = Decimal(0)


class RecentIds:
    """The last ``size`` ids that were added; the oldest are forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, order_id: str) -> None:
        self._ids[order_id] = None
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)


class PaperAccount:
    """``orders`` are the open ones by client id, ``recent`` the ids of those that ended."""

    def __init__(self, publish: Publish, venue: str, prefix: str) -> None:
        self.ledger = Ledger()
        self.orders: dict[str, PaperOrder] = {}
        self.recent = RecentIds(100_000)
        self._publish = publish
        self._venue = venue
        self._prefix = prefix
        self._order_count = 0

    def open(self, new: NewOrder, instrument: Instrument, qty: Decimal) -> None:
        """The order has passed every check: it is about to meet the book."""
        self._order_count += 1
        self.orders[new.client_order_id] = PaperOrder(new, f"{self._prefix}-{self._order_count}", instrument, qty)

    def report(self, mirror: MarketMirror, outcomes: Sequence[Outcome], ts_ns: int) -> None:
        """Turn outcomes of our account into events, money first: whoever reacts to an event sees balances after it."""
        events: list[InputEvent] = []
        filled = False
        for outcome in outcomes:
            kind = type(outcome)
            if kind is Filled:
                assert isinstance(outcome, Filled)
                for order_id, account, side, liquidity in (
                    (outcome.maker_id, outcome.maker_account, outcome.aggressor.opposite, Liquidity.MAKER),
                    (outcome.taker_id, outcome.taker_account, outcome.aggressor, Liquidity.TAKER),
                ):
                    if account == ACCOUNT:
                        events.append(self._fill(self.orders[order_id], outcome, side, liquidity, ts_ns))
                        filled = True
            elif outcome.account != ACCOUNT:  # type: ignore[union-attr]  # every other outcome has one account
                continue
            elif isinstance(outcome, Opened):
                paper = self.orders[outcome.order_id]
                events.append(OrderAccepted(ts_ns, ts_ns, self._venue, outcome.order_id, paper.venue_order_id))
            elif isinstance(outcome, Closed):
                event = self._close(outcome, ts_ns)
                if event is not None:
                    events.append(event)
            elif isinstance(outcome, Refused):
                self._forget(outcome.order_id)
                said = worded(WORD_OF.get(outcome.reason, outcome.reason.value), "refused by the book")
                events.append(OrderRejected(ts_ns, ts_ns, self._venue, outcome.order_id, *said))
        if filled:
            events.extend(self._trim_reduce_only(mirror, ts_ns))
        for event in events:
            self._publish(event)

    def _fill(self, paper: PaperOrder, fill: Filled, side: Side, liquidity: Liquidity, ts_ns: int) -> OrderFilled:
        order_id = paper.order.client_order_id
        paper.filled_qty += fill.qty
        fee = self.ledger.apply_fill(
            ACCOUNT, paper.instrument, order_id=order_id, side=side, qty=fill.qty, px=fill.px, liquidity=liquidity
        )
        # Two of our own orders in one match would share its id: the maker's side gets its own.
        suffix = "m" if liquidity is Liquidity.MAKER and fill.taker_account == ACCOUNT else ""
        return OrderFilled(
            ts_ns, ts_ns, self._venue, order_id, paper.venue_order_id, fill.match_id + suffix, paper.instrument.id,
            side, fill.qty, fill.px, fee, paper.instrument.settlement, liquidity,
        )  # fmt: skip

    def _close(self, closed: Closed, ts_ns: int) -> InputEvent | None:
        """The event that ends an order; None when its last fill did."""
        paper = self.orders[closed.order_id]
        self._forget(closed.order_id)
        reason = closed.reason.value
        if closed.reason is CloseReason.EXPIRED:
            return OrderExpired(ts_ns, ts_ns, self._venue, closed.order_id, paper.venue_order_id)
        if closed.reason is CloseReason.FILLED:
            if paper.filled_qty >= paper.order.intent.qty:
                return None
            reason = "reduce_only"
        elif closed.reason is CloseReason.REDUCED:
            reason = "reduce_only"
        return OrderCancelled(ts_ns, ts_ns, self._venue, closed.order_id, paper.venue_order_id, reason)

    def _trim_reduce_only(self, mirror: MarketMirror, ts_ns: int) -> list[InputEvent]:
        """After a fill: resting reduce-only orders never exceed what is left to reduce."""
        events: list[InputEvent] = []
        instrument = mirror.engine.instrument
        if is_fully_paid(instrument):
            return events  # a sell holds what it sells: it cannot exceed the holding
        for live in list(mirror.engine.orders_of(ACCOUNT).values()):
            if not live.order.reduce_only:
                continue
            excess = live.leaves_qty - self.ledger.closable_qty(ACCOUNT, instrument, live.side)
            closed = mirror.engine.reduce(live.order_id, excess)  # nothing to do for an excess of zero or less
            event = None if closed is None else self._close(closed, ts_ns)
            if event is not None:
                events.append(event)
        return events

    def report_balance(self, currency: str, ts_ns: int) -> None:
        balance = self.ledger.balance(ACCOUNT, currency)
        self._publish(BalanceReported(ts_ns, ts_ns, self._venue, currency, balance.total, balance.available))

    def reject(self, order_id: str, ts_ns: int, reason: str, text: str) -> None:
        self.recent.add(order_id)
        self._publish(OrderRejected(ts_ns, ts_ns, self._venue, order_id, *worded(WORD_OF.get(reason, reason), text)))

    def _forget(self, order_id: str) -> None:
        self.ledger.release(order_id)
        self.orders.pop(order_id, None)
        self.recent.add(order_id)
