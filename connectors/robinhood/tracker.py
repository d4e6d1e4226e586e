"""What is known of each order, from answers and listings, told as account events: pure, no clock, no socket.

Owns one record per order and turns what the venue shows of it into facts, each told once and in an order that never
releases risk early: executions are told before the order's end, and the end waits until the executions add up to what
the venue says is filled.  An execution has no id at this venue: it is known by its order, time, price and quantity, so
that it has the same id whoever reads it and however often.  Fees come as a sum for each order; what is new of it goes
to the executions that are new, or corrects the last one.

Orders of others are told as found.  What they filled before the balances were read first is part of those and is not
told; what they fill later is.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from connectors.robinhood import wire
from connectors.robinhood.names import client_name, venue_name
from connectors.robinhood.tracked import Tracked
from connectors.unnamed import unnamed
from engine.events import (
    FillCorrected,
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)

ENDED_KEPT = 4096
"""Ended orders remembered, for what is told of them late; the oldest is forgotten first."""
_LIVE = frozenset({"open", "partially_filled", "pending"})
_ENDED = frozenset({"filled", "canceled", "failed"})
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_ZERO = Decimal(0)


class OrderTracker:
    """Every order of one account in what is traded here.

    ``symbols`` maps the venue's symbols to canonical instruments.  Before ``open`` executions of other people's orders
    are taken as part of the balances.
    """

    def __init__(self, venue: str, symbols: Mapping[str, str]) -> None:
        self.venue = venue
        self.moved: dict[str, Decimal] = {}
        """What the executions that were told have done to the balances, by currency."""
        self.taken_in = 0
        """Executions that were seen for the first time, told or not."""
        self.unreadable: dict[str, str] = {}
        """Venue ids of orders that make no sense now, and what was seen."""
        self._symbols = dict(symbols)
        self._since_ns: int | None = None
        self._by_client: dict[str, Tracked] = {}
        self._by_venue: dict[str, Tracked] = {}
        self._names: dict[str, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._unknown_states: dict[str, str] = {}

    # --- questions ----------------------------------------------------------------------------------------------------

    def get(self, client_order_id: str) -> Tracked | None:
        return self._by_client.get(client_order_id)

    def by_venue(self, venue_order_id: str) -> Tracked | None:
        return self._by_venue.get(venue_order_id)

    def open_orders(self) -> list[Tracked]:
        """Orders whose end, executions included, has not been told."""
        return [order for order in self._by_client.values() if not order.closed]

    def unaccounted(self) -> list[Tracked]:
        """Orders of ours of which it is not known what became of them."""
        return [
            order
            for order in self._by_client.values()
            if order.ours and not order.closed and (not order.accepted or order.booked_qty < order.claimed_qty)
        ]

    def take_unknown_states(self) -> dict[str, str]:
        """Client ids of orders told with a state that nobody here knows since the last call, and that state."""
        unknown, self._unknown_states = self._unknown_states, {}
        return unknown

    # --- what we do ---------------------------------------------------------------------------------------------------

    def open(self, since_ns: int) -> None:
        """The opening balances were read at ``since_ns`` (venue's clock): what others execute from now on is told."""
        self._since_ns = since_ns

    def sent(self, client_order_id: str, instrument: str, ts_ns: int) -> None:
        """The request is about to leave: from now on the order may exist."""
        self._by_client[client_order_id] = Tracked(client_order_id, True, instrument, ts_ns)
        self._names[venue_name(client_order_id)] = client_order_id

    def not_sent(self, client_order_id: str) -> None:
        """Nothing left, or the venue refused: the order does not exist."""
        order = self._by_client.get(client_order_id)
        if order is not None and not order.accepted:
            order.end = order.end or "failed"
            self._close(order)

    def adopt(
        self,
        client_order_id: str,
        venue_order_id: str,
        instrument: str,
        filled_qty: Decimal,
        trades: tuple[str, ...],
        sent_ns: int,
        *,
        ended: bool,
        rejected: bool = False,
    ) -> None:
        """Follow an order that an earlier session has sent; its executions that are booked are not told again.
        One that was ``rejected`` (refused, or given up as never arrived) lives should it show itself."""
        order = self._by_client[client_order_id] = Tracked(client_order_id, True, instrument, sent_ns)
        self._names[venue_name(client_order_id)] = client_order_id
        order.booked_qty = order.claimed_qty = order.unnamed_qty = filled_qty
        order.trades = dict.fromkeys(trades)
        order.fee_told = None if trades else _ZERO
        if venue_order_id:
            self._bind(order, venue_order_id)
        if ended:
            order.accepted, order.end = not rejected, "failed" if rejected else "canceled"
            self._close(order)

    # --- what the venue shows -----------------------------------------------------------------------------------------

    def observe(self, shown: wire.Order, recv_ns: int) -> list[InputEvent]:
        """An order as an answer or a listing shows it.  Repetitions and late ones yield nothing."""
        order = self.find(shown)
        events: list[InputEvent] = []
        if order is None:
            return events
        order.seen_ns = recv_ns
        self.unreadable.pop(shown.id, None)
        side = _SIDES.get(shown.side)
        filled_qty = shown.filled_asset_quantity if shown.filled_asset_quantity is not None else _ZERO
        executions = shown.executions or []
        sums = [one.quantity for one in executions] + [one.effective_price for one in executions]
        if side is None or not filled_qty.is_finite() or not all(one.is_finite() and one > 0 for one in sums):
            self.unreadable[shown.id] = f"order {shown.id[:64]}: side {shown.side[:16]!r}, filled {filled_qty}"
            return events
        told_qty = sum((one.quantity for one in executions), _ZERO)
        claimed_qty = max(order.claimed_qty, told_qty if shown.filled_asset_quantity is None else filled_qty)
        is_past = not order.ours and self._is_past(order, shown)
        if order.unlisted_qty and not is_past:
            self._take_in(order, shown)
        if order.unnamed_qty:
            self._recall(order, shown)
        known = order.trades or {}
        new_qty = sum((one.quantity for trade_id, one in _identified(shown) if trade_id not in known), _ZERO)
        if not is_past and order.booked_qty + new_qty > claimed_qty:
            # What was told before is told as something else: booking it would be booking it twice.
            self.unreadable[shown.id] = f"order {shown.id[:64]}: more executions than the {claimed_qty} filled"
            return events
        self._bind(order, shown.id)
        order.claimed_qty = max(order.claimed_qty, filled_qty, told_qty)
        if is_past:
            self._absorb(order, shown, side, recv_ns, events)
        else:
            if shown.state != "failed" or order.claimed_qty:
                self._accept(order, shown, side, recv_ns, events)
            self._take_executions(order, shown, side, recv_ns, events)
        if shown.state in _ENDED:
            order.end = order.end or shown.state
        elif shown.state not in _LIVE:
            # A state that is not known is not guessed: the order stays as it was, holds its risk and is asked about.
            self._unknown_states[order.client_order_id] = shown.state[:40]
        order.live = shown if shown.state in _LIVE and not order.end else None
        if order.claimed_qty > order.booked_qty:
            self.unreadable[shown.id] = (
                f"order {shown.id[:64]}: {order.claimed_qty} filled, {order.booked_qty} in its executions"
            )
        self._tell_end(order, wire.time_ns(shown.updated_at) or recv_ns, recv_ns, events)
        return events

    def _is_past(self, order: Tracked, shown: wire.Order) -> bool:
        """Whether all that is shown of somebody else's order is in the opening balances."""
        if self._since_ns is None:
            return True
        return not order.accepted and 0 < wire.time_ns(shown.updated_at) < self._since_ns

    def find(self, shown: wire.Order) -> Tracked | None:
        """Whose order this is; one that was never seen is known from now on, where it is in something traded here."""
        uuid = (shown.client_order_id or "").lower()
        order = self._by_venue.get(shown.id)
        if order is None:
            name = self._names.get(uuid) or client_name(uuid) or uuid or shown.id
            order = self._by_client.get(name)
            if order is not None and order.venue_order_id not in ("", shown.id):
                # A second order by the id of the first is somebody else's, and goes by the venue's.
                order, name = None, shown.id
            instrument = self._symbols.get(shown.symbol)
            if order is None and instrument is not None:
                order = self._by_client[name] = Tracked(name, False, instrument)
        return order

    def _absorb(self, order: Tracked, shown: wire.Order, side: Side, recv_ns: int, events: list[InputEvent]) -> None:
        """Somebody else's, before the balances are known: what is filled of it is in them."""
        has_grown = order.claimed_qty > order.booked_qty
        order.unlisted_qty += order.claimed_qty - order.booked_qty
        self._take_in(order, shown)
        order.booked_qty = order.claimed_qty
        order.fee_told = wire.finite(shown.fee_charged) or _ZERO
        if shown.state in _ENDED and not order.accepted:
            order.accepted, order.end = True, shown.state
            self._close(order)  # nobody has heard of it
        elif has_grown or not order.accepted:
            self._tell_found(order, shown, side, order.claimed_qty, recv_ns, events)

    def _take_in(self, order: Tracked, shown: wire.Order) -> None:
        """Executions that are part of the opening balances, oldest first."""
        trades = order.trades = order.trades if order.trades is not None else {}
        for trade_id, one in _identified(shown):
            if trade_id not in trades and one.quantity <= order.unlisted_qty:
                trades[trade_id] = None
                order.unlisted_qty -= one.quantity
                self.taken_in += 1

    def _recall(self, order: Tracked, shown: wire.Order) -> None:
        """Executions that an earlier session counted without their ids."""
        trades = order.trades = order.trades if order.trades is not None else {}
        listed = [(trade_id, one.quantity) for trade_id, one in _identified(shown)]
        names, is_whole = unnamed(order.unnamed_qty, listed, trades)
        trades.update(dict.fromkeys(names))
        if is_whole:
            order.unnamed_qty = _ZERO

    def _tell_found(
        self,
        order: Tracked,
        shown: wire.Order,
        side: Side,
        filled_qty: Decimal,
        recv_ns: int,
        events: list[InputEvent],
    ) -> None:
        qty = shown.qty()
        if qty is None or qty <= 0:
            self.unreadable[shown.id] = f"order {shown.id[:64]} of somebody else has no size"
            return
        order.accepted = True
        limit_px = wire.finite(shown.config.limit_price)
        events.append(
            OrderFound(
                recv_ns, recv_ns, self.venue, order.client_order_id, shown.id, order.instrument, side, qty,
                filled_qty, limit_px,
            )
        )  # fmt: skip

    def _accept(self, order: Tracked, shown: wire.Order, side: Side, recv_ns: int, events: list[InputEvent]) -> None:
        if order.accepted:
            return
        if not order.ours:
            self._tell_found(order, shown, side, order.booked_qty, recv_ns, events)
            return
        order.accepted = True
        # Evidence that it exists overrules an earlier "it never arrived".
        if order.closed and order.end == "failed":
            order.closed, order.end = False, ""
            self._ended.pop(order.client_order_id, None)
        ts_ns = wire.time_ns(shown.created_at) or recv_ns
        events.append(OrderAccepted(ts_ns, recv_ns, self.venue, order.client_order_id, shown.id))

    def _take_executions(
        self, order: Tracked, shown: wire.Order, side: Side, recv_ns: int, events: list[InputEvent]
    ) -> None:
        trades = order.trades if order.trades is not None else {}
        identified = _identified(shown)
        new = [(trade_id, one) for trade_id, one in identified if trade_id not in trades]
        fee_total = wire.finite(shown.fee_charged) or _ZERO
        # One that lacks what is known is older than that, and so is its fee.
        is_old = len(identified) - len(new) < len(trades)
        if not new:
            if not is_old:
                self._correct_fee(order, fee_total, recv_ns, events)
            return
        new_value = sum((one.effective_price * one.quantity for _, one in new), _ZERO)
        all_value = sum((one.effective_price * one.quantity for one in shown.executions or ()), _ZERO)
        if order.fee_told is None or is_old:
            fee_left = (fee_total * new_value / all_value).quantize(_FEE_STEP)
        else:
            fee_left = fee_total - order.fee_told
        order.fee_told = order.fee_told + fee_left if is_old and order.fee_told is not None else fee_total
        order.trades = trades
        base, _, quote = order.instrument.partition("@")[0].partition("/")
        for place, (trade_id, one) in enumerate(new):
            value = one.effective_price * one.quantity
            fee = fee_left if place == len(new) - 1 else (fee_left * value / new_value).quantize(_FEE_STEP)
            fee_left, new_value = fee_left - fee, new_value - value
            ts_ns = wire.time_ns(one.timestamp) or recv_ns
            fill = OrderFilled(
                ts_ns, recv_ns, self.venue, order.client_order_id, shown.id, trade_id, order.instrument, side,
                one.quantity, one.effective_price, fee, quote, Liquidity.UNKNOWN,
            )  # fmt: skip
            trades[trade_id] = None
            self.taken_in += 1
            order.booked_qty += one.quantity
            order.claimed_qty = max(order.claimed_qty, order.booked_qty)
            order.last = fill
            self._move(base, side * one.quantity)
            self._move(quote, -side * value - fee)
            events.append(fill)

    def _correct_fee(self, order: Tracked, fee_total: Decimal, recv_ns: int, events: list[InputEvent]) -> None:
        """The fee became another after its executions were told."""
        last = order.last
        if order.fee_told is None or last is None or fee_total == order.fee_told:
            return
        change = fee_total - order.fee_told
        order.fee_told = fee_total
        order.last = msgspec.structs.replace(last, fee=last.fee + change)
        self._move(last.fee_currency, -change)
        events.append(
            FillCorrected(
                recv_ns, recv_ns, self.venue, last.client_order_id, last.venue_order_id, last.trade_id,
                last.instrument, last.side, last.qty, last.px, last.fee, last.fee_currency, last.qty, last.px,
                last.fee + change,
            )
        )  # fmt: skip

    # --- transitions --------------------------------------------------------------------------------------------------

    def _move(self, currency: str, amount: Decimal) -> None:
        self.moved[currency] = self.moved.get(currency, _ZERO) + amount

    def _bind(self, order: Tracked, venue_order_id: str) -> None:
        order.venue_order_id = venue_order_id
        self._by_venue[venue_order_id] = order

    def _tell_end(self, order: Tracked, ts_ns: int, recv_ns: int, events: list[InputEvent]) -> None:
        if not order.end or order.closed or order.booked_qty < order.claimed_qty:
            return
        if order.end == "filled" and not order.claimed_qty:
            return  # filled, but with what is not shown yet
        args = (ts_ns, recv_ns, self.venue, order.client_order_id)
        if order.end == "canceled":
            events.append(OrderCancelled(*args, order.venue_order_id, ""))
        elif order.end == "failed" and order.accepted:
            # It did exist; what ended is the rest of it.
            events.append(OrderCancelled(*args, order.venue_order_id, "failed"))
        elif order.end == "failed":
            events.append(OrderRejected(*args, "refused", "the venue shows the order as failed"))
        self._close(order)

    def _close(self, order: Tracked) -> None:
        order.closed, order.live = True, None
        self._ended[order.client_order_id] = None
        while len(self._ended) > ENDED_KEPT:
            name, _ = self._ended.popitem(last=False)
            old = self._by_client.pop(name, None)
            if old is not None:
                self._by_venue.pop(old.venue_order_id, None)
                self._names.pop(venue_name(name), None)
                self.unreadable.pop(old.venue_order_id, None)


_FEE_STEP = Decimal("1E-10")


def _identified(shown: wire.Order) -> list[tuple[str, wire.Execution]]:
    """Executions with their ids, in the order of their times.  A time counts as the moment that it means, however it is
    spelt.

    Two of the same time, price and quantity are told apart by their count alone, so the order in which the venue lists
    them does not matter.
    """
    seen: dict[tuple[object, Decimal, Decimal], int] = {}
    made = []
    for one in sorted(shown.executions or (), key=lambda each: (wire.time_ns(each.timestamp), each.timestamp)):
        moment = wire.time_ns(one.timestamp) or one.timestamp
        what = (moment, one.effective_price, one.quantity)
        count = seen[what] = seen.get(what, 0) + 1
        told = f"{moment}|{one.effective_price.normalize()}|{one.quantity.normalize()}|{count}"
        made.append((f"{shown.id}-{hashlib.sha256(told.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}", one))
    return made
