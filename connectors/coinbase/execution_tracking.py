"""Executions of the orders of one venue account: which entries of its listing are told, each exactly once.

Owns what was counted, by entry, and what is part of the opening balances or was told by an earlier session.  The user
stream gives cumulative quantities only, so that all of them come from the listing.  The rest of each order's life is
``tracker``'s, whose base this is; pure: no clock, no socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from connectors.coinbase.exit_tracking import ZERO, ExitTracking, defer, is_unclaimed, wants_fills
from connectors.coinbase.fills import LIQUIDITY, base_qty, is_execution, moves, side_of
from connectors.coinbase.tracked import TAKEN_BACK, Tracked
from connectors.coinbase.wire import Fill, TimeParser
from connectors.unnamed import unnamed
from engine.events import InputEvent, Liquidity, OrderFilled

NEVER_NS = 2**63 - 1


class ExecutionTracking(ExitTracking):
    """Fills of orders that are not ours are told only if they came after the opening balances (``open``): older ones
    are part of them.  ``since_ns`` is that moment by the venue's clock; before ``open`` no such fill is told.
    """

    def __init__(self, venue: str, products: Mapping[str, str], *, since_ns: int = NEVER_NS) -> None:
        super().__init__(venue)
        self.since_ns = since_ns
        self.doubtful = ""
        """A foreign fill that may be part of the opening balances or not; empty when there was none."""
        self.duplicate_fills = 0
        self.conflicting_fills = 0
        self.booked_entries: dict[str, Fill] | None = None
        """Entries of fills that were taken in since somebody began to count them."""
        self.moved: dict[str, Decimal] = {}
        """What the fills that were told have done to the balances, by currency."""
        self.unreadable_fills = 0
        self._part: frozenset[str] = frozenset()
        self._told_before: frozenset[str] = frozenset()
        self._products = dict(products)
        self._unreadable: dict[str, str] = {}
        self._doubtful_ns = (NEVER_NS, NEVER_NS)
        self._time = TimeParser()

    # --- questions ----------------------------------------------------------------------------------------------

    def instrument_of(self, order: Tracked, fill: Fill) -> str:
        """Empty where it is one that neither this session nor the one before it knew."""
        return self._products.get(fill.product_id) or order.instrument

    def in_order(self, fills: Iterable[Fill]) -> list[Fill]:
        """The oldest first; those of one moment as they are listed."""
        return sorted(fills, key=lambda fill: self._time(fill.trade_time))

    def is_told(self, order: Tracked, fill: Fill) -> bool:
        """Whether a booked entry was told as a fill, and is no part of the opening balances."""
        return order.ours or not (self._time(fill.trade_time) < self.since_ns or fill.entry_id in self._part)

    def misses(self, fill: Fill) -> bool:
        """Whether a listed execution of an order of ours is not in its books and was not put off: it made no sense.
        One that has ended with all that the venue says it has filled misses none."""
        order = self._by_venue.get(fill.order_id)
        if order is None or not order.ours or order.held or not is_execution(fill):
            return False
        if order.closed and order.claimed_qty and not wants_fills(order):
            return False
        return fill.entry_id not in (order.entries or ()) and fill.entry_id not in (order.deferred or ())

    def is_strange(self, fill: Fill) -> bool:
        """Whether this is a fill, in something we trade, of an order that never showed itself: since the opening, or at
        any time where an entry of ours names the order as its exit."""
        if fill.order_id in self._by_venue or fill.product_id not in self._products:
            return False
        if self.attachments.of_exit(fill.order_id) is not None:
            return True
        return fill.entry_id not in self._part and self._time(fill.trade_time) >= self.since_ns

    def wants_fills(self, venue_order_id: str) -> bool:
        order = self._by_venue.get(venue_order_id)
        return order is not None and wants_fills(order)

    def hides_fills(self, venue_order_id: str) -> bool:
        """Whether the end of an order waits for a reading of its fills, and of its record, that begins now or later."""
        order = self._by_venue.get(venue_order_id)
        return order is not None and (order.is_end_unread or is_unclaimed(order))

    def take_unreadable(self) -> dict[str, str]:
        """Venue ids of orders with fills that could not be booked since the last call, and what was seen."""
        unreadable, self._unreadable = self._unreadable, {}
        return unreadable

    # --- what is known of them ----------------------------------------------------------------------------------

    def open(self, since_ns: int, doubtful_ns: tuple[int, int], part: Iterable[str] = ()) -> None:
        """The opening balances were read at ``since_ns``.  Entries in ``part`` are part of them; other fills within
        ``doubtful_ns`` may be or not."""
        self.since_ns = since_ns
        self._doubtful_ns = doubtful_ns
        self._part = frozenset(part)

    def know(self, entries: Iterable[str]) -> None:
        """Entries that earlier sessions have told, of whichever orders: where no order that is carried has them, those
        of a stranger's order were told before it was found, and those of an exit as somebody else's."""
        self._told_before = frozenset(entries)

    def recall(self, fills: Sequence[Fill]) -> None:
        """Know the entries that an earlier session counted without their ids: of an order that it found half filled
        they are the oldest ones.  ``fills``: all that are listed of each order among them."""
        for order_id in dict.fromkeys(fill.order_id for fill in fills):
            order = self._by_venue.get(order_id)
            if order is None or not order.unnamed_qty:
                continue
            order.entries = {} if order.entries is None else order.entries
            mine = self.in_order(fill for fill in fills if fill.order_id == order_id)
            listed = [(fill.entry_id, base_qty(fill) or ZERO) for fill in mine if is_execution(fill)]
            names, is_whole = unnamed(order.unnamed_qty, listed, order.entries)
            order.entries.update(dict.fromkeys(names, 0))
            if is_whole:
                order.unnamed_qty = ZERO

    # --- observations -------------------------------------------------------------------------------------------

    def book(self, fill: Fill, ts_recv_ns: int) -> list[InputEvent]:
        """One entry of the fills listing.  De-duplicated by ``entry_id``: trade ids repeat across orders.

        An entry that cannot be booked (``take_unreadable``) leaves its order wanted: it may be mended at the venue.
        """
        order = self._by_venue.get(fill.order_id)
        instrument = self._products.get(fill.product_id) or ("" if order is None else order.instrument)
        if order is None or not instrument:
            return []
        if order.held:
            defer(order, fill)
            return []
        known = None if order.entries is None else order.entries.get(fill.entry_id)
        side = side_of(fill.side)
        qty = base_qty(fill)
        if known in (0, TAKEN_BACK):
            self.duplicate_fills += 1
            return []
        if side is None or qty is None or not fill.commission.is_finite():
            self.unreadable_fills += 1
            self._unreadable[fill.order_id] = (
                f"fill {fill.entry_id[:64]}: side {fill.side[:16]!r}, size {fill.size}, price {fill.price}, "
                f"commission {fill.commission}"
            )
            return []
        is_exit = order.attachment is not None
        if is_exit and known is None and (put_off := self._put_off(order, fill, qty, ts_recv_ns)) is not None:
            return put_off
        said = hash((side, qty, fill.price, fill.commission)) or 1
        if known == said:
            self.duplicate_fills += 1
            return []
        ts_ns = self._time(fill.trade_time) or ts_recv_ns
        is_part = not order.ours and (ts_ns < self.since_ns or fill.entry_id in self._part)
        if order.unnamed_qty and known is None and (is_part or (order.ours and order.found)):
            # Perhaps counted when it was found: that is known when all of the order's are read (``recall``).
            if not is_part:
                self._wanted[fill.order_id] = None
            return []
        if order.found and known is None and not is_part and not is_exit and fill.entry_id in self._told_before:
            return self._book_of_others(order, fill.entry_id, qty, ts_ns, ts_recv_ns)  # before the order was found
        if order.entries is None:
            order.entries = {}
        order.entries[fill.entry_id] = said
        quote = instrument.partition("@")[0].rpartition("/")[2]
        told = OrderFilled(
            ts_ns, ts_recv_ns, self.venue, order.client_order_id, fill.order_id, fill.entry_id, instrument,
            side, qty, fill.price, fill.commission, quote,
            LIQUIDITY.get(fill.liquidity_indicator, Liquidity.UNKNOWN),
        )  # fmt: skip
        if known is not None:
            # Told again with other values: the first ones stand, and whoever keeps the books hears of it once.
            self.conflicting_fills += 1
            return [] if is_part else [told]
        return self._take_in(order, fill, told, is_part=is_part)

    def _take_in(self, order: Tracked, fill: Fill, told: OrderFilled, *, is_part: bool) -> list[InputEvent]:
        """Count an execution, and tell it where it is no part of the opening balances."""
        qty, ts_ns, ts_recv_ns = told.qty, told.ts_event_ns, told.ts_recv_ns
        if self.booked_entries is not None:
            self.booked_entries[fill.entry_id] = fill
        order.booked_qty += qty
        order.unnamed_qty += qty if order.unnamed_qty else ZERO
        is_near = self._doubtful_ns[0] <= ts_ns <= self._doubtful_ns[1]
        if is_near and not order.ours and fill.entry_id not in self._part:
            self.doubtful = f"fill {fill.entry_id[:64]} of {fill.trade_time[:40]} came while the balances were read"
        events: list[InputEvent] = []
        if not is_part:
            self._accept(order, fill.order_id, ts_ns, ts_recv_ns, events)
            base, _, quote = told.instrument.partition("@")[0].rpartition("/")
            for currency, amount in moves(fill, base, quote):
                self.moved[currency] = self.moved.get(currency, Decimal(0)) + amount
            if order.attachment is not None and (self._resize(order) or order.is_spent):
                self._tell_exit(order, ts_ns, ts_recv_ns, events)
            events.append(told)
        elif order.told is not None:
            order.told = msgspec.structs.replace(
                order.told, ts_event_ns=ts_recv_ns, ts_recv_ns=ts_recv_ns, filled_qty=order.booked_qty
            )
            events.append(order.told)
        self._tell_end(order, ts_ns, ts_recv_ns, events)
        self._follow_entry(order, ts_ns, ts_recv_ns, events)
        return events

    def fills_read(self, venue_order_id: str, ts_recv_ns: int, *, after_end: bool = False) -> list[InputEvent]:
        """The listing of an order's fills was read to its end, and asked for ``after_end`` was seen, as its record was:
        an end that only waited for them can be told.  Of one with an entry that made no sense, and no claim that says
        what it has filled, it cannot."""
        order = self._by_venue.get(venue_order_id)
        events: list[InputEvent] = []
        if order is not None:
            is_unclear = venue_order_id in self._unreadable and not order.claimed_qty
            order.is_end_unread = order.is_end_unread and (is_unclear or not after_end)
            self._tell_end(order, ts_recv_ns, ts_recv_ns, events)
            self._follow_entry(order, ts_recv_ns, ts_recv_ns, events)
        return events

    def _put_off(self, order: Tracked, fill: Fill, qty: Decimal, ts_recv_ns: int) -> list[InputEvent] | None:
        """Of an exit an execution that is not to be told as its own, or not yet; None: it is to be told now."""
        is_told, ts_ns = fill.entry_id in self._told_before, self._time(fill.trade_time) or ts_recv_ns
        if order.unnamed_qty and order.others_qty:
            is_before = not order.is_adopted and (ts_ns < self.since_ns or fill.entry_id in self._part)
            if is_told or is_before:  # perhaps counted when it was found as somebody else's (``recall``)
                self._wanted[fill.order_id] = None
                return []
        if is_told:
            return self._book_of_others(order, fill.entry_id, qty, ts_ns, ts_recv_ns)
        if not self._may_tell(order, qty, ts_recv_ns):
            defer(order, fill)
            return []
        return None
