"""Our orders, open and lately ended; the manager is the only writer of their state.

They move along ``engine.order_states.TABLE``; what is not in it raises ``IllegalTransition`` naming both.  Fills are
facts: they are booked in every state, each once (``engine.executions``), also after a cancel or a rejection.  A
rejection says that the order does not exist; an acknowledgement or a fill that contradicts it brings the order back.
So does a version of one that has filled which is larger than that.

An order that is being changed in place counts as the worse of both versions, until the venue has shown which one lives.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from engine.arithmetic import exactly
from engine.carried import CarriedCorrection, CarriedOrder
from engine.commands import (
    Approved,
    CancelOrder,
    NewOrder,
    NewOrderWithExits,
    ReplaceOrder,
)
from engine.errors import IllegalTransition
from engine.events import FillCorrected, OrderAttached, OrderFilled, OrderFound, OrderReplaced
from engine.executions import Correction, Executions
from engine.managed_order import (
    EXTERNAL,
    ManagedOrder,
    attached_order,
    carry,
    describe_each,
    found_order,
    has_booked,
)
from engine.order_ids import attached_id
from engine.order_states import FINAL, TABLE, Happening, OrderState
from engine.ports import OpenOrder

ZERO = Decimal(0)
CLOSED_KEPT = 4096
"""Closed orders remembered for late facts; older ones are forgotten, oldest first."""
ENDED_CARRIED = 64
"""How many of the newest ended ones a next session is told of; it is told of all open ones."""
_HELD, _SENT = OrderState.HELD, OrderState.SENT


class OrderManager:
    """Opens approved orders, follows them through ``TABLE`` and answers what they may still do to the position."""

    def __init__(self, id_prefix: str) -> None:
        self._id_prefix = id_prefix
        self._count = 0
        self._open: dict[str, ManagedOrder] = {}
        self._closed: OrderedDict[str, ManagedOrder] = OrderedDict()
        self._executions = Executions()
        self._buys: dict[str, Decimal] = {}  # open quantity by instrument
        self._sells: dict[str, Decimal] = {}
        self._described: dict[str | None, tuple[OpenOrder, ...]] = {}  # by instrument; emptied by every change
        self._suspended: ManagedOrder | None = None
        self.awaiting: dict[str, None] = {}
        """Entries whose exit, which the venue makes, has not shown itself; read-only for everybody else."""

    def open(
        self,
        approved: Approved,
        ts_ns: int,
        venue: str,
        state: OrderState = _HELD,
        exits_px: tuple[Decimal, Decimal] | None = None,
    ) -> NewOrder:
        """Give the approved intent its only client order id and hold its risk from now on.

        ``state`` is SENT for an order that leaves within the same event: that is ``happen(SEND)`` done already.
        ``exits_px``: target and stop that the venue is to place for what it fills.
        """
        self._count += 1
        client_order_id = f"{self._id_prefix}-{self._count}"
        intent = approved.intent
        if exits_px is None:
            new = NewOrder(ts_ns, client_order_id, venue, intent)
        else:
            new = NewOrderWithExits(ts_ns, client_order_id, venue, intent, *exits_px)
        reserved = self._buys if intent.side > 0 else self._sells
        name, qty = intent.instrument, intent.qty
        reserved[name] = reserved.get(name, ZERO) + qty
        self._open[client_order_id] = ManagedOrder(new, intent, ts_ns, reserved, qty, state)
        self._described.clear()
        if exits_px is not None:
            self.awaiting[client_order_id] = None
        return new

    def drop(self, client_order_id: str) -> None:
        """Close an order that was just opened and will not leave, in whatever state it was opened: no byte has left."""
        order = self._open[client_order_id]
        order.state = _HELD
        self._move(order, Happening.DROP)

    def get(self, client_order_id: str) -> ManagedOrder | None:
        return self._open.get(client_order_id) or self._closed.get(client_order_id)

    def happen(self, client_order_id: str, what: Happening, venue_order_id: str = "") -> ManagedOrder | None:
        """Move an order along ``TABLE``; None when the id is not ours (the caller counts it as external)."""
        order = self.get(client_order_id)
        if order is None:
            return None
        if venue_order_id and not order.venue_order_id:
            order.venue_order_id = venue_order_id
        if what is Happening.ACCEPT:
            order.acknowledged = True
        elif what is Happening.CANCEL_SENT:
            order.cancel_sent = True
        elif what is Happening.CANCEL_REFUSED:
            order.cancel_sent = False
        self._move(order, what)
        return order

    def fill(self, fill: OrderFilled) -> tuple[ManagedOrder | None, bool]:
        """Book an execution once.  Returns the order (None: not ours) and whether the fill is new."""
        order = self.get(fill.client_order_id)
        if self._executions.forgets and order is not None and fill.trade_id in order.trade_ids:
            self.know(fill.venue, fill.trade_id)
        if not self._executions.take(fill):
            return order, False
        if order is None:
            return None, True
        if fill.venue_order_id and not order.venue_order_id:
            order.venue_order_id = fill.venue_order_id
        filled = order.filled_qty + fill.qty
        order.avg_px = (order.avg_px * order.filled_qty + fill.px * fill.qty) / filled
        order.filled_qty = filled
        order.trade_ids += (fill.trade_id,)
        most_qty = order.intent.qty if order.edit is None else order.most_qty
        order.overfilled = filled > most_qty
        self._move(order, Happening.FULL_FILL if filled >= most_qty else Happening.PARTIAL_FILL)
        return order, True

    def correct(self, event: FillCorrected) -> tuple[ManagedOrder | None, Correction]:
        """What a correction is about, and whether the order (None: not ours) now counts it."""
        order = self.get(event.client_order_id)
        finding = self._executions.correct(event, booked=has_booked(order, event.trade_id))
        if finding is Correction.BOOKED and order is not None:
            self._recount(order, event)
        return order, finding

    def _recount(self, order: ManagedOrder, event: FillCorrected) -> None:
        filled_qty = order.filled_qty + event.new_qty - event.qty
        worth = order.avg_px * order.filled_qty - event.px * event.qty + event.new_px * event.new_qty
        order.filled_qty = filled_qty
        order.avg_px = worth / filled_qty if filled_qty > ZERO else ZERO
        self._fit(order)

    def _fit(self, order: ManagedOrder) -> None:
        """What it has filled, or may fill, is another quantity than before."""
        order.overfilled = order.filled_qty > order.most_qty
        order.picture = None
        self._described.clear()
        if order.state in FINAL:
            return
        if order.filled_qty >= order.most_qty:
            self._move(order, Happening.FULL_FILL)
        else:
            self._reserve(order)

    # --- changes in place -------------------------------------------------------------------------------------------

    def edit(self, order: ManagedOrder, replace: ReplaceOrder) -> None:
        """A change is about to leave: from now on the order may be either version."""
        order.edit = replace
        self._fit(order)

    def replaced(self, event: OrderReplaced) -> tuple[ManagedOrder | None, bool]:
        """The venue shows a version.  Returns the order (None: not ours) and whether it was known or asked for."""
        order = self.get(event.client_order_id)
        if order is None:
            return None, True
        if order.state in FINAL and not self._lives_on(order, event.qty):
            return order, True
        shown, edit, intent = (event.qty, event.limit_px), order.edit, order.intent
        expected = shown == (intent.qty, intent.limit_px)
        if edit is not None and shown == (edit.qty, edit.limit_px):
            order.edit, expected = None, True
        order.intent = msgspec.structs.replace(intent, qty=event.qty, limit_px=event.limit_px)
        order.new = msgspec.structs.replace(order.new, intent=order.intent)
        self._fit(order)
        return order, expected

    def not_replaced(self, client_order_id: str) -> ManagedOrder | None:
        """It is as it was; None when the id is not ours."""
        order = self.get(client_order_id)
        if order is not None and order.edit is not None:
            order.edit = None
            self._fit(order)
        return order

    def know(self, venue: str, trade_id: str) -> None:
        """An execution that was taken back before it was told: should it be told, it is not booked."""
        self._executions.know((f"{venue}|{trade_id}",))

    @property
    def duplicate_fills(self) -> int:
        return self._executions.duplicates

    @property
    def conflicting_fills(self) -> int:
        """Told again with other values."""
        return self._executions.conflicts

    # --- from one session to the next -------------------------------------------------------------------------------

    def adopt(self, new: NewOrder, state: OrderState = _SENT) -> ManagedOrder:
        """Follow an order that another session has opened; it holds its whole quantity."""
        intent = new.intent
        reserved = self._buys if intent.side > 0 else self._sells
        order = ManagedOrder(new, intent, new.ts_ns, reserved, ZERO, state)
        self._open[new.client_order_id] = order
        self._described.clear()
        self._reserve(order)
        if isinstance(new, NewOrderWithExits):
            self.awaiting[new.client_order_id] = None
        return order

    def find(self, found: OrderFound) -> ManagedOrder:
        """Follow an order that nobody here has sent: it holds what it may still fill, and can be cancelled."""
        order = self.adopt(found_order(found), OrderState.ACCEPTED)
        order.venue_order_id, order.acknowledged = found.venue_order_id, True
        self.absorb(order, found.filled_qty)
        return order

    def absorb(self, order: ManagedOrder, filled_qty: Decimal) -> None:
        """So much of somebody else's order is filled in all; what of that nobody has told is part of the balances."""
        if order.intent.strategy != EXTERNAL or filled_qty <= order.filled_qty:
            return
        order.filled_qty = filled_qty
        self._move(order, Happening.FULL_FILL if filled_qty >= order.most_qty else Happening.PARTIAL_FILL)

    def attach(self, event: OrderAttached) -> ManagedOrder:
        """Follow the exit that the venue has made for an entry, as if the entry's strategy had sent it.  It belongs to
        the entry's group; of an entry that is not known any more it is nobody's."""
        entry = self.get(event.parent_id)
        self.awaiting.pop(event.parent_id, None)
        order = self.adopt(attached_order(event, entry), OrderState.ACCEPTED)
        order.venue_order_id, order.acknowledged = event.venue_order_id, True
        return order

    def resize(self, order: ManagedOrder, qty: Decimal) -> None:
        """The venue has given it another size."""
        if qty == order.intent.qty:
            return
        order.intent = msgspec.structs.replace(order.intent, qty=qty)
        order.new = msgspec.structs.replace(order.new, intent=order.intent)
        order.overfilled = order.filled_qty > qty
        order.picture = None
        self._described.clear()
        if order.state in FINAL and not self._lives_on(order, qty):
            return
        if order.filled_qty >= qty:
            self._move(order, Happening.FULL_FILL)
        else:
            self._reserve(order)

    def carried(self) -> tuple[CarriedOrder, ...]:
        """The open orders, and of the ended ones the newest, for facts that come late; oldest first.  Of an entry and
        the exit that came with it either both or none, and any that still waits for its exit."""
        self.awaiting = {name: None for name in self.awaiting if self._may_await(name)}
        newest = list(self._closed)[-ENDED_CARRIED:]
        known = set(newest)
        older = [name for name in self.awaiting if name not in known and self._has_ended_with_something(name)]
        exits = [attached_id(name) for name in (*newest, *self._open)]
        older += [name for name in exits if name in self._closed and name not in known]
        ended = [self._closed[name] for name in (*older, *newest)]
        return tuple([carry(order) for order in (*ended, *self._open.values())])

    def _may_await(self, name: str) -> bool:
        """Whether the exit of an entry may still show itself, also after a late fill."""
        return self.get(name) is not None and self.get(attached_id(name)) is None

    def _has_ended_with_something(self, name: str) -> bool:
        order = self._closed.get(name)
        return order is not None and order.filled_qty > ZERO

    def miss(self, client_order_id: str) -> None:
        """The venue has made no exit for this entry."""
        self.awaiting.pop(client_order_id, None)

    def carried_trades(self) -> tuple[str, ...]:
        return self._executions.carried()

    def carried_corrections(self) -> tuple[CarriedCorrection, ...]:
        return self._executions.carried_corrections()

    def restore(
        self, orders: Sequence[CarriedOrder], trades: Sequence[str], corrections: Sequence[CarriedCorrection] = ()
    ) -> None:
        """Go on with what an earlier session left, exactly as it was known."""
        self._executions.restore_corrections(corrections)
        for one in orders:
            # One that waited for the disk may have left since: its release is on no record.
            order = self.adopt(one.new, _SENT if one.state == _HELD else OrderState(one.state))
            order.venue_order_id = one.venue_order_id
            order.filled_qty, order.avg_px, order.trade_ids = one.filled_qty, one.avg_px, one.trade_ids
            order.edit = one.edit
            order.overfilled = order.filled_qty > order.most_qty
            if order.state in FINAL:
                self._adjust(order, ZERO)
                self._closed[order.client_order_id] = self._open.pop(order.client_order_id)
            else:
                self._reserve(order)
        newest = frozenset(trades)
        older = [f"{one.new.venue}|{trade_id}" for one in orders for trade_id in one.trade_ids]
        self._executions.know([key for key in older if key not in newest])
        self._executions.know(trades)

    def lose_all(self) -> None:
        """Nobody knows what became of the open orders since their session ended, also of one that it had not sent yet
        as far as is on record.  Their cancels, where they are still wanted, are asked for anew."""
        for order in self._open.values():
            order.state = OrderState.UNKNOWN
            order.cancel_sent, order.cancel_asked_ns = False, 0
            order.picture = None
        self._described.clear()

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def opened_count(self) -> int:
        """Orders that were opened here so far."""
        return self._count

    def opened(self, number: int) -> ManagedOrder | None:
        """The order that was opened as the ``number``-th, from 1 on; None for one that is forgotten."""
        return self.get(f"{self._id_prefix}-{number}")

    def cancel(self, order: ManagedOrder, ts_ns: int, reason: str) -> CancelOrder:
        """The command that cancels this order; the caller records and sends it, then reports ``CANCEL_SENT``."""
        return CancelOrder(
            ts_ns, order.client_order_id, order.new.venue, order.venue_order_id, order.intent.instrument, reason
        )

    def open_qty(self, instrument: str, side: int) -> Decimal:
        return (self._buys if side > 0 else self._sells).get(instrument, ZERO)

    def of_parent(self, parent_id: str) -> list[ManagedOrder]:
        """Open and lately ended orders that name it as their parent."""
        return [one for one in (*self._closed.values(), *self._open.values()) if one.intent.parent_id == parent_id]

    def open_orders(self, instrument: str | None = None) -> list[ManagedOrder]:
        if instrument is None:
            return list(self._open.values())
        return [order for order in self._open.values() if order.intent.instrument == instrument]

    def described(self, instrument: str | None = None) -> tuple[OpenOrder, ...]:
        """The open orders (of an instrument) as strategies and risk see them, oldest first."""
        if not self._open:
            return ()
        found = self._described.get(instrument)
        if found is None:
            orders = [order for order in self.open_orders(instrument) if order is not self._suspended]
            found = self._described[instrument] = exactly(describe_each, orders)
        return found

    @property
    def open_count(self) -> int:
        return len(self._open) - (self._suspended is not None)

    def suspend(self, order: ManagedOrder) -> None:
        """Hide an order and what it holds from readers while it is judged a second time: it must not count itself."""
        self._suspended = order
        self._described.clear()
        self._adjust(order, ZERO)

    def resume(self, order: ManagedOrder) -> None:
        self._suspended = None
        self._described.clear()
        self._reserve(order)

    def _move(self, order: ManagedOrder, what: Happening) -> None:
        after = TABLE.get((order.state, what))
        if after is None:
            raise IllegalTransition(
                f"order {order.client_order_id} is {order.state} and cannot {what}",
                do="see engine.order_states",
            )
        if after is OrderState.ACCEPTED and order.filled_qty > ZERO:
            after = OrderState.PARTLY_FILLED
        elif what is Happening.CANCEL_REFUSED and after is OrderState.ACCEPTED and not order.acknowledged:
            after = OrderState.SENT  # its cancel never left: the venue has said nothing of the order yet
        if order.state in FINAL and after not in FINAL:
            self._reopen(order)
        order.state = after
        order.picture = None
        self._described.clear()
        if after in FINAL:
            order.edit = None
            self._adjust(order, ZERO)
            if self._open.pop(order.client_order_id, None) is not None:
                self._closed[order.client_order_id] = order
                if len(self._closed) > CLOSED_KEPT:
                    self._closed.popitem(last=False)
        else:
            self._reserve(order)

    def _reopen(self, order: ManagedOrder) -> None:
        """The venue shows that an order lives which had ended: whatever was asked about it before is asked anew."""
        self._closed.pop(order.client_order_id, None)
        self._open[order.client_order_id] = order
        order.cancel_sent = False
        order.cancel_asked_ns = 0

    def _lives_on(self, order: ManagedOrder, qty: Decimal) -> bool:
        """Whether an order that has filled as far as was known is larger than that; then it holds its risk again."""
        if order.state is not OrderState.FILLED or qty <= order.filled_qty:
            return False
        self._move(order, Happening.GROW)
        return True

    def _reserve(self, order: ManagedOrder) -> None:
        self._adjust(order, order.leaves_qty)

    def _adjust(self, order: ManagedOrder, qty: Decimal) -> None:
        """Set what this order holds in the open quantity of its side to ``qty``."""
        before_qty = order.reserved_qty
        if qty != before_qty:
            reserved, name = order.reserved, order.intent.instrument
            reserved[name] = reserved.get(name, ZERO) - before_qty + qty
            order.reserved_qty = qty
