"""What is known of each order at the exchange, and account events out of it: each fact once, fills before the end.

Owns one record per order.  Sources are answers to orders, listings and executions; streams only say that there is
something to ask about.  An order's end is told when every execution that the exchange claims is booked.  Pure: no
clock, no socket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from connectors.ccxt_venue import answers
from connectors.ccxt_venue.answers import SeenFill, SeenOrder
from connectors.ccxt_venue.client_ids import ClientIds
from engine.events import (
    InputEvent,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderRejected,
)

ENDED_KEPT: Final = 4096
"""Ended orders remembered, for late and repeated answers; the oldest is forgotten first."""


class Tracked(msgspec.Struct, gc=False):
    """One order.  ``ours`` is False for those that this program did not send."""

    client_order_id: str
    symbol: str
    ours: bool
    sent_ns: int = 0
    qty: Decimal = Decimal(0)
    venue_order_id: str = ""
    accepted: bool = False
    claimed_qty: Decimal = Decimal(0)
    """What the exchange says is filled in all."""
    booked_qty: Decimal = Decimal(0)
    fills: set[str] | None = None
    end: str = ""
    """The library's word for its end, told or not."""
    end_reason: str = ""
    closed: bool = False
    """The end was told, and every claimed fill before it."""
    unread: bool = False
    """It ended and nothing says how much of it was filled: its executions have not been listed since."""
    cancel_taken_ns: int = 0
    """When the exchange took the last cancel; 0 for none."""

    @property
    def wants_fills(self) -> bool:
        if self.booked_qty < self.claimed_qty:
            return True
        return not self.closed and (self.unread or (self.end == answers.CLOSED and self.booked_qty <= 0))


class OrderTracker:
    """Every order of one account.  ``symbols`` maps the library's symbols to our instruments."""

    def __init__(self, venue: str, ids: ClientIds, symbols: Mapping[str, str]) -> None:
        self.venue = venue
        self.ids = ids
        self.duplicate_fills = 0
        self.unknown_status = 0
        self.echoed = 0
        """Orders that the exchange told back under the client's name that it was given."""
        self.renamed = 0
        """Orders that it told back under another one: it does not keep them."""
        self._symbols = dict(symbols)
        self._by_client: dict[str, Tracked] = {}
        self._by_venue: dict[str, Tracked] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    # --- questions --------------------------------------------------------------------------------------------------

    def get(self, client_order_id: str) -> Tracked | None:
        return self._by_client.get(client_order_id)

    def by_venue(self, venue_order_id: str) -> Tracked | None:
        return self._by_venue.get(venue_order_id)

    def open_orders(self) -> list[Tracked]:
        return [order for order in self._by_client.values() if not order.closed]

    def is_unresolved(self, order: Tracked) -> bool:
        """Whether it is not known what became of it, or which fills it has."""
        return not order.closed and (not order.accepted or order.wants_fills)

    # --- what we do -------------------------------------------------------------------------------------------------

    def sent(self, client_order_id: str, symbol: str, qty: Decimal, ts_ns: int) -> Tracked:
        """The request is about to leave: from now on the order may exist."""
        order = self._by_client[client_order_id] = Tracked(client_order_id, symbol, True, ts_ns, qty)
        return order

    def not_sent(self, client_order_id: str) -> None:
        """Nothing left, or the exchange refused: it does not exist."""
        order = self._by_client.get(client_order_id)
        if order is not None and not order.accepted:
            order.end = order.end or answers.REJECTED
            self._close(order)

    def adopt(
        self, client_order_id: str, symbol: str, qty: Decimal, sent_ns: int, venue_order_id: str,
        filled_qty: Decimal, trade_ids: tuple[str, ...], *, ended: bool, rejected: bool = False, ours: bool = True,
    ) -> None:  # fmt: skip
        """Follow an order of an earlier session; its fills that are booked are not told again.  Of one that is not
        ``ours`` it knew no fills from before it found the order, at ``sent_ns``.  One that was ``rejected`` (refused,
        or given up as never arrived) lives should it show itself."""
        self.ids.told(client_order_id)
        order = self.sent(client_order_id, symbol, qty, sent_ns)
        order.ours = ours
        order.booked_qty = order.claimed_qty = filled_qty
        order.fills = set(trade_ids)
        if venue_order_id:
            self._bind(order, venue_order_id)
            order.accepted = True
        if ended:
            order.accepted, order.end = not rejected, answers.REJECTED if rejected else answers.CANCELED
            self._close(order)

    # --- what the exchange says -------------------------------------------------------------------------------------

    def accepted(self, client_order_id: str, venue_order_id: str, ts_ns: int) -> list[InputEvent]:
        """The exchange answered with an id of its own."""
        order = self._by_client.get(client_order_id)
        events: list[InputEvent] = []
        if order is not None:
            self._accept(order, venue_order_id, ts_ns, ts_ns, events)
        return events

    def find(self, seen: SeenOrder) -> Tracked | None:
        """The order that is meant, by the exchange's id or by our name for it."""
        order = self._by_venue.get(seen.venue_order_id)
        if order is None and seen.told_id:
            order = self._by_client.get(self.ids.ours(seen.told_id))
            if order is not None and order.venue_order_id:
                return None  # a name used twice: not the one that we know
        return order

    def observe(self, seen: SeenOrder, recv_ns: int) -> list[InputEvent]:
        """An order's state.  Repetitions and late ones yield nothing, nor does an order that nobody here knows."""
        order = self.find(seen)
        events: list[InputEvent] = []
        if order is None:
            return events
        self._count_echo(order, seen)
        if seen.filled_qty is not None and seen.filled_qty > order.claimed_qty:
            order.claimed_qty = seen.filled_qty
        if seen.status in answers.ENDS:
            if not order.end:
                order.end, order.end_reason = seen.status, seen.reason
                order.unread = seen.filled_qty is None
            elif seen.filled_qty is not None:
                order.unread = False
        elif seen.status not in answers.LIVE:
            self.unknown_status += 1  # not guessed: it stays as it was, holds its risk and is asked about again
        if seen.status != answers.REJECTED or order.claimed_qty > 0:
            self._accept(order, seen.venue_order_id, seen.ts_event_ns, recv_ns, events)
        elif not order.venue_order_id:
            self._bind(order, seen.venue_order_id)
        self._tell_end(order, seen.ts_event_ns, recv_ns, events)
        return events

    def stranger(self, seen: SeenOrder, recv_ns: int) -> list[InputEvent]:
        """An open order that nobody here has sent, told once; what is filled of it is part of the balances."""
        instrument = self._symbols.get(seen.symbol)
        if self.find(seen) is not None or instrument is None or seen.side is None or seen.qty is None:
            return []
        name = self.ids.ours(seen.told_id) or seen.venue_order_id
        if name in self._by_client:
            name = seen.venue_order_id
        order = self._by_client[name] = Tracked(name, seen.symbol, False, recv_ns, seen.qty)
        self._bind(order, seen.venue_order_id)
        order.accepted = True
        order.booked_qty = order.claimed_qty = seen.filled_qty or Decimal(0)
        return [
            OrderFound(
                recv_ns, recv_ns, self.venue, name, seen.venue_order_id, instrument, seen.side, seen.qty,
                order.booked_qty, seen.limit_px,
            )
        ]  # fmt: skip

    def book(self, fill: SeenFill, recv_ns: int) -> list[InputEvent]:
        """One execution; told once, and only of orders that are known."""
        order = self._by_venue.get(fill.venue_order_id)
        instrument = self._symbols.get(fill.symbol)
        if order is None or instrument is None:
            return []
        if order.fills is None:
            order.fills = set()
        if fill.trade_id in order.fills:
            self.duplicate_fills += 1
            return []
        if not order.ours and fill.ts_event_ns < order.sent_ns and order.booked_qty > 0:
            order.fills.add(fill.trade_id)  # from before it showed itself: part of the balances
            return []
        order.fills.add(fill.trade_id)
        order.booked_qty += fill.qty
        events: list[InputEvent] = []
        self._accept(order, fill.venue_order_id, fill.ts_event_ns, recv_ns, events)
        events.append(
            OrderFilled(
                fill.ts_event_ns, recv_ns, self.venue, order.client_order_id, fill.venue_order_id, fill.trade_id,
                instrument, fill.side, fill.qty, fill.px, fill.fee, fill.fee_currency, fill.liquidity,
            )
        )  # fmt: skip
        self._tell_end(order, fill.ts_event_ns, recv_ns, events)
        return events

    def fills_read(self, venue_order_id: str, recv_ns: int) -> list[InputEvent]:
        """All executions of an order were listed after its end: one that only waited for them can be told."""
        order = self._by_venue.get(venue_order_id)
        events: list[InputEvent] = []
        if order is not None:
            order.unread = False
            self._tell_end(order, recv_ns, recv_ns, events)
        return events

    # --- transitions ------------------------------------------------------------------------------------------------

    def _count_echo(self, order: Tracked, seen: SeenOrder) -> None:
        if order.ours and seen.told_id:
            if self.ids.ours(seen.told_id) == order.client_order_id:
                self.echoed += 1
            else:
                self.renamed += 1

    def _bind(self, order: Tracked, venue_order_id: str) -> None:
        order.venue_order_id = venue_order_id
        self._by_venue[venue_order_id] = order

    def _accept(
        self, order: Tracked, venue_order_id: str, ts_event_ns: int, recv_ns: int, events: list[InputEvent]
    ) -> None:
        if not order.venue_order_id:
            self._bind(order, venue_order_id)
        if order.accepted:
            return
        order.accepted = True
        if order.closed:  # evidence that it exists overrules an earlier "it never arrived"
            order.closed = False
            order.end = "" if order.end == answers.REJECTED else order.end
            self._ended.pop(order.client_order_id, None)
        events.append(OrderAccepted(ts_event_ns, recv_ns, self.venue, order.client_order_id, venue_order_id))

    def _tell_end(self, order: Tracked, ts_event_ns: int, recv_ns: int, events: list[InputEvent]) -> None:
        if not order.end or order.closed or order.wants_fills:
            return
        args = (ts_event_ns, recv_ns, self.venue, order.client_order_id)
        if order.end == answers.EXPIRED and not order.ours:
            events.append(OrderExpired(*args, order.venue_order_id))
        elif order.end == answers.EXPIRED:
            # We send none that has an end: so some call what an immediate order did not find.
            events.append(OrderCancelled(*args, order.venue_order_id, order.end_reason or "expired"))
        elif order.end == answers.REJECTED and order.booked_qty <= 0:
            events.append(OrderRejected(*args, "refused", order.end_reason))
        elif order.end != answers.CLOSED or order.booked_qty < order.qty:
            # Some say "closed" of an immediate order that was filled in part.
            said = order.end_reason or ("the rest was not filled" if order.end == answers.CLOSED else "")
            events.append(OrderCancelled(*args, order.venue_order_id, said))
        self._close(order)

    def _close(self, order: Tracked) -> None:
        order.closed = True
        self._ended[order.client_order_id] = None
        while len(self._ended) > ENDED_KEPT:
            name, _ = self._ended.popitem(last=False)
            old = self._by_client.pop(name, None)
            if old is not None:
                self._by_venue.pop(old.venue_order_id, None)
                self.ids.forget(name)
