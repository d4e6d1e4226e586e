"""What is known of each order, from answers and from listings, told as events, each fact once.

Owns one record per order and who an order in a listing is.  Pure: rows in, events out.

An order is recognised by the venue's id, else by our reference.  Where listings keep the reference to themselves, an
order whose answer was lost is recognised by what it is: the same thing, side, size and price, made since it was sent
and in no listing before it was lost (one request at a time: what was listed by then was there before ours left).  It
must be the only such order, for the only such order of ours.  Whatever else is alike may be ours or somebody's who
trades by hand: then ours stays unknown, and is never said to be gone.
Fills come before an order's end; an end whose executions are not listed yet waits for them.  An order that is missing
is not gone: it counts as never arrived only after ``absent_ns`` and several complete listings without it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from connectors.robin_stocks import wire
from connectors.robin_stocks.orders import Listing, ref_id
from connectors.unnamed import unnamed
from engine.carried import ENDED, CarriedOrder
from engine.commands import NewOrder, OrderType, TimeInForce
from engine.events import (
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)
from engine.order_states import OrderState
from engine.refusals import REFUSED

ZERO = Decimal(0)
ENDED_KEPT = 4_096
LOOKS = 3
CLOCK_MARGIN_NS = 600 * wire.NS_PER_S
"""How far the venue's clock may be from ours."""
OLDER_NS = 5 * wire.NS_PER_S
"""How far it may be from what was measured of it."""
STRANGE_KEPT = 4_096
"""Rows of others that are remembered, the oldest forgotten first: more than any few minutes of an account hold."""
_LIVE = frozenset({"new", "unconfirmed", "queued", "confirmed", "partially_filled", "pending_cancelled", "pending"})
_CANCELLED = frozenset({"cancelled", "canceled", "voided", "expired"})
_REFUSED = frozenset({"rejected", "failed"})


class Tracked(msgspec.Struct, kw_only=True):
    """One order.  ``lost_ns`` is when its answer was lost, 0 for never."""

    client_order_id: str
    instrument: str
    url: str
    side: Side
    qty: Decimal
    limit_px: Decimal | None
    ours: bool = True
    is_option: bool = False
    immediate: bool = False
    venue_order_id: str = ""
    accepted: bool = False
    sent_ns: int = 0
    lost_ns: int = 0
    looks: int = 0
    doubtful: bool = False
    """A row that may be this order, or somebody else's, was listed."""
    alike: set[str] = set()
    """Venue ids of those that may well be it."""
    claimed_qty: Decimal = ZERO
    booked_qty: Decimal = ZERO
    fees: Decimal = ZERO
    executions: set[str] = set()
    unnamed_qty: Decimal = ZERO
    """What an earlier session counted as filled, until the venue has listed that much (``connectors.unnamed``)."""
    end: str = ""
    end_reason: str = ""
    closed: bool = False


class OrderBooks:
    """Orders of one account, in the instruments that are traded (``listings``, by id).

    ``offset_ns``: the venue's clock minus ours, as far as it is known.
    """

    def __init__(
        self,
        venue: str,
        listings: Mapping[str, Listing],
        absent_ns: int,
        *,
        offset_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self.venue = venue
        self.unknown_states: dict[str, str] = {}
        """Words that nobody here knows, with the order that had them."""
        self._listings = listings
        self._absent_ns = absent_ns
        self._offset_ns = offset_ns
        self._strange: OrderedDict[str, None] = OrderedDict()
        """Rows without a reference that were listed and are no order of ours."""
        self._orders: dict[str, Tracked] = {}
        self._by_ref: dict[str, str] = {}
        self._by_venue: dict[str, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._is_open = False

    # --- questions ----------------------------------------------------------------------------------------------------

    def get(self, client_order_id: str) -> Tracked | None:
        return self._orders.get(client_order_id)

    def open_orders(self) -> list[Tracked]:
        """Those whose end, fills included, has not been told."""
        return [order for order in self._orders.values() if not order.closed]

    def lost(self) -> list[Tracked]:
        """Sent, and nobody knows whether it arrived."""
        return [order for order in self._orders.values() if order.lost_ns and not order.closed and not order.accepted]

    def unresolved(self) -> tuple[str, ...]:
        """Of ours: client ids of orders of which it is not known what became of them."""
        return tuple(
            order.client_order_id
            for order in self._orders.values()
            if order.ours and not order.closed and (not order.accepted or order.booked_qty < order.claimed_qty)
        )

    def doubtful(self) -> list[str]:
        """Orders whose answer was lost, and of which nothing but a look at the venue can tell which they are."""
        return [order.client_order_id for order in self.lost() if order.doubtful]

    def short(self) -> list[str]:
        """Orders with executions that the venue claims and does not list."""
        return [one.client_order_id for one in self.open_orders() if one.booked_qty < one.claimed_qty]

    def since_ns(self, now_ns: int) -> int:
        """Listings from here on hold everything that may have changed."""
        return min([now_ns, *(one.sent_ns for one in self.open_orders() if one.lost_ns)]) - CLOCK_MARGIN_NS

    # --- what we do ---------------------------------------------------------------------------------------------------

    def sent(self, order: NewOrder, now_ns: int) -> None:
        """The request is about to leave: from now on the order may exist."""
        intent = order.intent
        listing = self._listings[intent.instrument]
        self._add(
            Tracked(
                client_order_id=order.client_order_id,
                instrument=intent.instrument,
                url=listing.url,
                side=intent.side,
                qty=intent.qty,
                limit_px=None if intent.order_type is OrderType.MARKET else intent.limit_px,
                is_option=listing.is_option,
                immediate=intent.order_type is OrderType.MARKET or intent.time_in_force is TimeInForce.IOC,
                sent_ns=now_ns,
            )
        )

    def refused(self, client_order_id: str) -> bool:
        """It does not exist: nothing left, or the venue said so.  False where it has shown itself all the same."""
        order = self._orders.get(client_order_id)
        if order is None or order.accepted:
            return False
        self._close(order)
        return True

    def lose(self, client_order_id: str, now_ns: int) -> bool:
        """No answer says what became of it.  False where it has shown itself already."""
        order = self._orders.get(client_order_id)
        if order is None or order.accepted or order.closed:
            return False
        order.lost_ns = order.lost_ns or now_ns
        return True

    def adopt(self, carried: CarriedOrder) -> None:
        """Follow an order of an earlier session; fills that are booked are not told again."""
        intent = carried.new.intent
        listing = self._listings.get(intent.instrument)
        order = Tracked(
            client_order_id=carried.new.client_order_id,
            instrument=intent.instrument,
            url="" if listing is None else listing.url,
            side=intent.side,
            qty=intent.qty,
            limit_px=None if intent.order_type is OrderType.MARKET else intent.limit_px,
            is_option=listing is not None and listing.is_option,
            sent_ns=carried.new.ts_ns,
            booked_qty=carried.filled_qty,
            claimed_qty=carried.filled_qty,
            unnamed_qty=carried.filled_qty,
            executions=set(carried.trade_ids),
        )
        self._add(order)
        if carried.venue_order_id:
            self._bind(order, carried.venue_order_id)
            order.accepted = True
        elif carried.state not in ENDED:
            order.lost_ns = carried.new.ts_ns
        if carried.state in ENDED:
            # One that was given up as never arrived lives should it show itself.
            order.accepted = carried.state != OrderState.REJECTED or bool(carried.venue_order_id)
            order.end = carried.state
            self._close(order)

    def open(self) -> None:
        """The opening balances are about to be told: what others fill from now on is not part of them."""
        self._is_open = True

    # --- what the venue tells -----------------------------------------------------------------------------------------

    def answered(self, client_order_id: str, row: wire.OrderRow, recv_ns: int) -> list[InputEvent]:
        """The answer to an order of ours: it is this one, whatever reference it shows."""
        order = self._orders.get(client_order_id)
        if order is None:
            return []
        if not order.venue_order_id:
            self._bind(order, row.id)
        return self.observe(row, recv_ns)

    def read(self, rows: Sequence[wire.OrderRow], recv_ns: int) -> list[InputEvent]:
        """A whole listing, oldest first: orders whose answer was lost are looked for in all of it."""
        self._recognise(rows)
        return [event for row in rows for event in self.observe(row, recv_ns)]

    def observe(self, row: wire.OrderRow, recv_ns: int) -> list[InputEvent]:
        """A row whose order is known by its id or its reference.  What was told before yields nothing."""
        order = self._find(row)
        if order is None:
            order = self._stranger(row)
            if order is None:
                return []
        ts_ns = wire.parse_time(row.updated_at) or recv_ns
        events: list[InputEvent] = []
        self._show(order, row, ts_ns, recv_ns, events)
        order.claimed_qty = max(order.claimed_qty, row.filled)
        self._book(order, row, recv_ns, events)
        if row.state in _CANCELLED or row.state in _REFUSED or row.state == "filled":
            order.end = order.end or row.state
            order.end_reason = order.end_reason or (row.reject_reason or "")
        elif row.state not in _LIVE and len(self.unknown_states) < 100:
            # Not guessed: it stays as it was, holds its risk, and is asked about on.
            self.unknown_states.setdefault(row.state[:40], order.client_order_id)
        self._tell_end(order, ts_ns, recv_ns, events)
        return events

    def listed(self, complete: Iterable[bool], since_ns: int, now_ns: int) -> list[InputEvent]:
        """Listings from ``since_ns`` on were read to their end (``complete``: stocks, options): whoever was lost and is
        in none of several has never arrived, unless it may be one that is."""
        is_complete = tuple(complete)
        events: list[InputEvent] = []
        for order in self.lost():
            if not is_complete[order.is_option] or since_ns > order.sent_ns - CLOCK_MARGIN_NS:
                continue
            order.looks += 1
            if order.doubtful:
                continue
            if order.looks >= LOOKS and now_ns - order.lost_ns >= self._absent_ns:
                self._close(order)
                text = f"in none of {order.looks} listings"
                events.append(OrderRejected(now_ns, now_ns, self.venue, order.client_order_id, "never_arrived", text))
        return events

    # --- inside -------------------------------------------------------------------------------------------------------

    def _add(self, order: Tracked) -> None:
        self._orders[order.client_order_id] = order
        if order.ours:
            self._by_ref[ref_id(order.client_order_id)] = order.client_order_id

    def _bind(self, order: Tracked, venue_order_id: str) -> None:
        order.venue_order_id = venue_order_id
        self._by_venue[venue_order_id] = order.client_order_id

    def _find(self, row: wire.OrderRow) -> Tracked | None:
        name = self._by_venue.get(row.id) or self._by_ref.get(row.ref_id or "")
        return None if name is None else self._orders.get(name)

    def _recognise(self, rows: Sequence[wire.OrderRow]) -> None:
        """Bind those that were lost to what can be no other; doubt those that may be one of several."""
        strange = [
            row for row in rows if not row.ref_id and row.id not in self._by_venue and row.id not in self._strange
        ]
        lost = [order for order in self.lost() if not order.venue_order_id]
        for order in lost:
            earliest_ns = order.sent_ns + self._offset_ns() - OLDER_NS
            for row in strange:
                made_ns = wire.parse_time(row.created_at) or order.sent_ns - CLOCK_MARGIN_NS
                if _is_alike(order, row) and made_ns >= min(earliest_ns, order.sent_ns - CLOCK_MARGIN_NS):
                    order.doubtful = True
                    if made_ns >= earliest_ns:
                        order.alike = order.alike | {row.id}
        wanted = Counter(venue_order_id for order in lost for venue_order_id in order.alike)
        for order in lost:
            only = next(iter(order.alike), "")
            if len(order.alike) == 1 and wanted[only] == 1 and any(row.id == only for row in strange):
                self._bind(order, only)
        for row in strange:
            if row.id not in wanted:
                self._strange[row.id] = None
        while len(self._strange) > STRANGE_KEPT:
            self._strange.popitem(last=False)

    def _stranger(self, row: wire.OrderRow) -> Tracked | None:
        """An order that nobody here has sent; None where it says nothing to us."""
        name = next((name for name, one in self._listings.items() if row.url and one.url == row.url), None)
        if name is None or row.state not in _LIVE or row.quantity is None or row.is_buy is None:
            return None
        order = Tracked(
            client_order_id=row.id,
            instrument=name,
            url=row.url,
            side=Side.BUY if row.is_buy else Side.SELL,
            qty=row.quantity,
            limit_px=row.price,
            ours=False,
            is_option=bool(row.legs),
        )
        self._add(order)
        return order

    def _show(self, order: Tracked, row: wire.OrderRow, ts_ns: int, recv_ns: int, events: list[InputEvent]) -> None:
        """It is there."""
        if not order.venue_order_id:
            self._bind(order, row.id)
        if order.accepted:
            return
        order.accepted = True
        if order.closed:
            # Evidence that it exists overrules an earlier "it never arrived".
            order.closed, order.end = False, ""
            self._ended.pop(order.client_order_id, None)
        if order.ours:
            events.append(OrderAccepted(ts_ns, recv_ns, self.venue, order.client_order_id, row.id))
            return
        # What it has filled so far is part of the balances, or will be told as theirs.
        order.booked_qty = order.claimed_qty = order.unnamed_qty = row.filled
        order.executions = {fill.id for fill in row.fills}
        order.fees = row.fees
        events.append(self._found(order, ts_ns, recv_ns))

    def _found(self, order: Tracked, ts_ns: int, recv_ns: int) -> OrderFound:
        return OrderFound(
            ts_ns, recv_ns, self.venue, order.client_order_id, order.venue_order_id, order.instrument, order.side,
            order.qty, order.booked_qty, order.limit_px,
        )  # fmt: skip

    def _book(self, order: Tracked, row: wire.OrderRow, recv_ns: int, events: list[InputEvent]) -> None:
        """Executions that were not told; what the order's fees have grown by goes to the last of them."""
        if order.unnamed_qty:
            listed = sorted(row.fills, key=lambda fill: wire.parse_time(fill.timestamp) or recv_ns)
            names, is_whole = unnamed(
                order.unnamed_qty, [(fill.id, fill.quantity) for fill in listed], order.executions
            )
            order.executions.update(names)
            if is_whole:
                order.unnamed_qty = ZERO
        new = [fill for fill in row.fills if fill.id not in order.executions]
        for at, fill in enumerate(new):
            fee = row.fees - order.fees if at == len(new) - 1 else ZERO
            order.executions.add(fill.id)
            order.booked_qty += fill.quantity
            order.fees += fee
            order.unnamed_qty += fill.quantity if order.unnamed_qty else ZERO
            if not order.ours and not self._is_open:
                events.append(self._found(order, recv_ns, recv_ns))  # part of the opening balances
                continue
            events.append(
                OrderFilled(
                    wire.parse_time(fill.timestamp) or recv_ns, recv_ns, self.venue, order.client_order_id, row.id,
                    fill.id, order.instrument, order.side, fill.quantity, fill.price, fee, "USD", Liquidity.UNKNOWN,
                )
            )  # fmt: skip
        order.claimed_qty = max(order.claimed_qty, order.booked_qty)

    def _tell_end(self, order: Tracked, ts_ns: int, recv_ns: int, events: list[InputEvent]) -> None:
        if not order.end or order.closed or order.booked_qty < order.claimed_qty:
            return
        if order.end == "filled" and order.booked_qty < order.qty:
            return  # its executions are still to be listed
        if order.end in _CANCELLED or (order.end in _REFUSED and order.booked_qty > 0):
            reason = order.end_reason or ("" if order.end in _CANCELLED else order.end)
            events.append(
                OrderCancelled(ts_ns, recv_ns, self.venue, order.client_order_id, order.venue_order_id, reason)
            )
        elif order.end in _REFUSED:
            said = order.end_reason or f"the venue shows the order as {order.end}"
            events.append(OrderRejected(ts_ns, recv_ns, self.venue, order.client_order_id, REFUSED, said))
        self._close(order)

    def _close(self, order: Tracked) -> None:
        order.closed = True
        self._ended[order.client_order_id] = None
        while len(self._ended) > ENDED_KEPT:
            name, _ = self._ended.popitem(last=False)
            old = self._orders.pop(name, None)
            if old is not None:
                self._by_venue.pop(old.venue_order_id, None)
                self._by_ref.pop(ref_id(name), None)


def _is_alike(order: Tracked, row: wire.OrderRow) -> bool:
    """By all that a row without a reference says of what was ordered."""
    same = row.url == order.url and row.is_buy == (order.side is Side.BUY) and row.quantity == order.qty
    return same and (order.limit_px is None or row.price == order.limit_px)
