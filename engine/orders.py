"""The life of our orders: a state table, and the manager that is the only writer of order state.

``TABLE`` is the state machine; a pair that is not in it is illegal and raises ``IllegalTransition`` naming both.  Fills
are facts: they are booked in every state, distinct by ``(venue, trade_id)``, also after a cancel or a rejection.  A
rejection says that the order does not exist; an acknowledgement or a fill that contradicts it brings the order back.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from engine.arithmetic import exactly
from engine.carried import ENDED, CarriedOrder
from engine.commands import Approved, CancelOrder, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.errors import IllegalTransition
from engine.events import FillCorrected, OrderFilled, OrderFound, Side
from engine.ports import OpenOrder

ZERO = Decimal(0)
CLOSED_KEPT = 4096
"""Closed orders remembered for late facts; older ones are forgotten, oldest first."""
EXTERNAL = ""
"""Strategy of orders that nobody here has sent."""
_CARRIED = -1
"""In place of a trade's values, where an earlier session has booked it."""
ENDED_CARRIED = 64
TRADES_CARRIED = 512
"""How many of the newest a next session is told of; open orders bring all of theirs."""
TRADES_KEPT = 16384
"""Trade ids remembered against duplicates, at least; from twice as many on the older half is forgotten."""


class OrderState(enum.StrEnum):
    HELD = "held"  # journaled, waiting for the disk (journal mode "always")
    SENT = "sent"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PARTLY_FILLED = "partly_filled"
    CANCEL_PENDING = "cancel_pending"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class Happening(enum.StrEnum):
    SEND = "send"
    ACCEPT = "accept"
    PARTIAL_FILL = "partial_fill"
    FULL_FILL = "full_fill"
    CANCEL_SENT = "cancel_sent"
    CANCEL_REFUSED = "cancel_refused"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REJECT = "reject"
    LOSE = "lose"  # the outcome became unknown
    DROP = "drop"  # never sent: the second judgement or the disk refused it


_HELD, _SENT = OrderState.HELD, OrderState.SENT
_S = OrderState
_H = Happening
FINAL = frozenset(OrderState(name) for name in ENDED)
_LIVE = (_S.SENT, _S.UNKNOWN, _S.ACCEPTED, _S.PARTLY_FILLED, _S.CANCEL_PENDING)


def _table() -> dict[tuple[OrderState, Happening], OrderState]:
    table: dict[tuple[OrderState, Happening], OrderState] = {
        (_S.HELD, _H.SEND): _S.SENT,
        (_S.HELD, _H.DROP): _S.REJECTED,
        (_S.SENT, _H.ACCEPT): _S.ACCEPTED,
        (_S.UNKNOWN, _H.ACCEPT): _S.ACCEPTED,
        # A second acknowledgement (REST answer and user stream both tell) changes nothing.
        (_S.ACCEPTED, _H.ACCEPT): _S.ACCEPTED,
        (_S.PARTLY_FILLED, _H.ACCEPT): _S.PARTLY_FILLED,
        (_S.CANCEL_PENDING, _H.ACCEPT): _S.CANCEL_PENDING,
        (_S.SENT, _H.LOSE): _S.UNKNOWN,
        (_S.UNKNOWN, _H.LOSE): _S.UNKNOWN,
        (_S.ACCEPTED, _H.LOSE): _S.UNKNOWN,
        (_S.PARTLY_FILLED, _H.LOSE): _S.UNKNOWN,
        (_S.CANCEL_PENDING, _H.LOSE): _S.UNKNOWN,
        (_S.CANCEL_PENDING, _H.CANCEL_REFUSED): _S.ACCEPTED,
    }
    for state in _LIVE:
        table[state, _H.PARTIAL_FILL] = _S.CANCEL_PENDING if state is _S.CANCEL_PENDING else _S.PARTLY_FILLED
        table[state, _H.FULL_FILL] = _S.FILLED
        table[state, _H.CANCEL] = _S.CANCELLED
        table[state, _H.EXPIRE] = _S.EXPIRED
        table[state, _H.REJECT] = _S.REJECTED
        table[state, _H.CANCEL_SENT] = _S.CANCEL_PENDING
        table.setdefault((state, _H.CANCEL_REFUSED), state)
    # An unknown order keeps that name while a cancel is out: only evidence about the order itself resolves it.
    table[_S.UNKNOWN, _H.CANCEL_SENT] = _S.UNKNOWN
    for state in FINAL:
        # Late facts: a fill after a cancel is booked and the order stays closed; late acknowledgements change nothing.
        table[state, _H.PARTIAL_FILL] = state
        table[state, _H.FULL_FILL] = _S.FILLED
        for late in (_H.ACCEPT, _H.CANCEL, _H.EXPIRE, _H.REJECT, _H.LOSE, _H.CANCEL_SENT, _H.CANCEL_REFUSED):
            table[state, late] = state
    # "It never arrived" was wrong: the order lives, holds its risk again and can be cancelled.
    table[_S.REJECTED, _H.ACCEPT] = _S.ACCEPTED
    table[_S.REJECTED, _H.PARTIAL_FILL] = _S.PARTLY_FILLED
    return table


TABLE = _table()


class Correction(enum.Enum):
    """What a correction finds."""

    BOOKED = "the execution as it was told"
    UNTOLD = "no such execution"
    KNOWN = "what it says"
    CONFLICT = "the execution otherwise than it was told"


class ManagedOrder(msgspec.Struct, gc=False, eq=False):
    """One order of ours; written by ``OrderManager`` alone."""

    new: NewOrder
    intent: OrderIntent
    opened_ns: int
    reserved: dict[str, Decimal]
    """Open quantities of its side by instrument; ``reserved_qty`` of them is its own."""
    reserved_qty: Decimal
    state: OrderState = _HELD
    venue_order_id: str = ""
    filled_qty: Decimal = ZERO
    avg_px: Decimal = ZERO
    picture: OpenOrder | None = None
    """What ``describe`` made of the present state."""
    cancel_sent: bool = False
    """A cancel is out that was not refused."""
    cancel_asked_ns: int = 0
    """When the last one went out; 0: none yet."""
    overfilled: bool = False
    acknowledged: bool = False
    """The venue has said that it has the order."""
    trade_ids: tuple[str, ...] = ()
    """Of the fills that are booked in it."""

    @property
    def client_order_id(self) -> str:
        return self.new.client_order_id

    @property
    def leaves_qty(self) -> Decimal:
        leaves_qty = self.intent.qty - self.filled_qty
        return leaves_qty if leaves_qty > ZERO else ZERO


class OrderManager:
    """Opens approved orders, follows them through ``TABLE`` and answers what they may still do to the position."""

    def __init__(self, id_prefix: str) -> None:
        self._id_prefix = id_prefix
        self._count = 0
        self._open: dict[str, ManagedOrder] = {}
        self._closed: OrderedDict[str, ManagedOrder] = OrderedDict()
        self._trades: dict[str, int] = {}
        self._older_trades: dict[str, int] = {}
        self._corrected: dict[str, tuple[Decimal, Decimal, Decimal]] = {}  # quantity, price and fee that stand
        self._buys: dict[str, Decimal] = {}  # open quantity by instrument
        self._sells: dict[str, Decimal] = {}
        self._described: dict[str | None, tuple[OpenOrder, ...]] = {}  # by instrument; emptied by every change
        self._suspended: ManagedOrder | None = None
        self.duplicate_fills = 0
        self.conflicting_fills = 0

    def open(self, approved: Approved, ts_ns: int, venue: str, state: OrderState = _HELD) -> NewOrder:
        """Give the approved intent its only client order id and hold its risk from now on.

        ``state`` is SENT for an order that leaves within the same event: that is ``happen(SEND)`` done already.
        """
        self._count += 1
        client_order_id = f"{self._id_prefix}-{self._count}"
        intent = approved.intent
        new = NewOrder(ts_ns, client_order_id, venue, intent)
        reserved = self._buys if intent.side > 0 else self._sells
        name, qty = intent.instrument, intent.qty
        reserved[name] = reserved.get(name, ZERO) + qty
        self._open[client_order_id] = ManagedOrder(new, intent, ts_ns, reserved, qty, state)
        self._described.clear()
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
        # Two tables of hashes instead of one of values: tens of thousands of fills a day must not cost memory.
        key = f"{fill.venue}|{fill.trade_id}"
        values = hash((fill.qty, fill.px, int(fill.side)))
        seen = self._seen(key)
        if seen is not None:
            if seen in (values, _CARRIED):
                self.duplicate_fills += 1
            else:
                self.conflicting_fills += 1
            return order, False
        if len(self._trades) >= TRADES_KEPT:
            self._older_trades, self._trades = self._trades, {}
        corrected = self._corrected.get(key)
        self._trades[key] = values if corrected is None else _CARRIED
        if order is None:
            return None, True
        if fill.venue_order_id and not order.venue_order_id:
            order.venue_order_id = fill.venue_order_id
        filled = order.filled_qty + fill.qty
        order.avg_px = (order.avg_px * order.filled_qty + fill.px * fill.qty) / filled
        order.filled_qty = filled
        order.trade_ids += (fill.trade_id,)
        order.overfilled = filled > order.intent.qty
        self._move(order, Happening.FULL_FILL if filled >= order.intent.qty else Happening.PARTIAL_FILL)
        return order, True

    def correct(self, event: FillCorrected) -> tuple[ManagedOrder | None, Correction]:
        """What a correction is about, and whether the order (None: not ours) now counts it."""
        order = self.get(event.client_order_id)
        key = f"{event.venue}|{event.trade_id}"
        told = (event.qty, event.px, event.fee)
        becomes = (event.new_qty, event.new_px, event.new_fee)
        stands = self._corrected.get(key)
        if stands is not None:
            if stands == becomes:
                self.duplicate_fills += 1
                return order, Correction.KNOWN
            if stands != told:
                self.conflicting_fills += 1
                return order, Correction.CONFLICT
        elif not self._is_known(key):
            self._stand(key, becomes)
            return order, Correction.UNTOLD
        elif self._seen(key) not in (hash((event.qty, event.px, int(event.side))), _CARRIED):
            self.conflicting_fills += 1
            return order, Correction.CONFLICT
        self._stand(key, becomes)
        self._trades[key] = _CARRIED
        if order is not None:
            self._recount(order, event)
        return order, Correction.BOOKED

    def _stand(self, key: str, values: tuple[Decimal, Decimal, Decimal]) -> None:
        self._corrected[key] = values
        if len(self._corrected) > CLOSED_KEPT:
            del self._corrected[next(iter(self._corrected))]

    def _recount(self, order: ManagedOrder, event: FillCorrected) -> None:
        filled_qty = order.filled_qty + event.new_qty - event.qty
        worth = order.avg_px * order.filled_qty - event.px * event.qty + event.new_px * event.new_qty
        order.filled_qty = filled_qty
        order.avg_px = worth / filled_qty if filled_qty > ZERO else ZERO
        order.overfilled = filled_qty > order.intent.qty
        order.picture = None
        self._described.clear()
        if order.state in FINAL:
            return
        if filled_qty >= order.intent.qty:
            self._move(order, Happening.FULL_FILL)
        else:
            self._reserve(order)

    def know(self, venue: str, trade_id: str) -> None:
        """An execution that was taken back before it was told: should it be told, it is not booked."""
        self._trades[f"{venue}|{trade_id}"] = _CARRIED

    def _seen(self, key: str) -> int | None:
        seen = self._trades.get(key)
        return self._older_trades.get(key) if seen is None else seen

    def _is_known(self, key: str) -> bool:
        return key in self._trades or key in self._older_trades

    # --- from one session to the next -------------------------------------------------------------------------------

    def adopt(self, new: NewOrder, state: OrderState = _SENT) -> ManagedOrder:
        """Follow an order that another session has opened; it holds its whole quantity."""
        intent = new.intent
        reserved = self._buys if intent.side > 0 else self._sells
        order = ManagedOrder(new, intent, new.ts_ns, reserved, ZERO, state)
        self._open[new.client_order_id] = order
        self._described.clear()
        self._reserve(order)
        return order

    def find(self, found: OrderFound) -> ManagedOrder:
        """Follow an order that nobody here has sent: it holds what it may still fill, and can be cancelled."""
        intent = OrderIntent(
            found.ts_event_ns,
            EXTERNAL,
            found.instrument,
            found.side,
            found.qty,
            OrderType.MARKET if found.limit_px is None else OrderType.LIMIT,
            found.limit_px,
            TimeInForce.GTC,
        )
        order = self.adopt(NewOrder(found.ts_recv_ns, found.client_order_id, found.venue, intent), _S.ACCEPTED)
        order.venue_order_id, order.acknowledged = found.venue_order_id, True
        order.filled_qty = found.filled_qty
        if found.filled_qty > ZERO:
            order.state = _S.PARTLY_FILLED
        self._reserve(order)
        return order

    def carried(self) -> tuple[CarriedOrder, ...]:
        """The open orders, and of the ended ones the newest, for facts that come late; oldest first."""
        ended = list(self._closed.values())[-ENDED_CARRIED:]
        return tuple([_carry(order) for order in (*ended, *self._open.values())])

    def carried_trades(self) -> tuple[str, ...]:
        """The newest executions, of anybody's orders, as ``venue|id``; oldest first."""
        return tuple([*self._older_trades, *self._trades][-TRADES_CARRIED:])

    def restore(self, orders: Sequence[CarriedOrder], trades: Sequence[str]) -> None:
        """Go on with what an earlier session left, exactly as it was known."""
        for one in orders:
            order = self.adopt(one.new, OrderState(one.state))
            order.venue_order_id = one.venue_order_id
            order.filled_qty, order.avg_px, order.trade_ids = one.filled_qty, one.avg_px, one.trade_ids
            order.overfilled = order.filled_qty > order.intent.qty
            if order.state in FINAL:
                self._adjust(order, ZERO)
                self._closed[order.client_order_id] = self._open.pop(order.client_order_id)
            else:
                self._reserve(order)
        newest = frozenset(trades)
        older = [f"{one.new.venue}|{trade_id}" for one in orders for trade_id in one.trade_ids]
        self._trades.update(dict.fromkeys([key for key in older if key not in newest], _CARRIED))
        self._trades.update(dict.fromkeys(trades, _CARRIED))

    def lose_all(self) -> None:
        """Nobody knows what became of the open orders since their session ended, also of one that it had not sent yet
        as far as is on record.  Their cancels, where they are still wanted, are asked for anew."""
        for order in self._open.values():
            order.state = OrderState.UNKNOWN
            order.cancel_sent, order.cancel_asked_ns = False, 0
            order.picture = None
        self._described.clear()

    # --- reading ----------------------------------------------------------------------------------------------------

    def cancel(self, order: ManagedOrder, ts_ns: int, reason: str) -> CancelOrder:
        """The command that cancels this order; the caller records and sends it, then reports ``CANCEL_SENT``."""
        return CancelOrder(
            ts_ns, order.client_order_id, order.new.venue, order.venue_order_id, order.intent.instrument, reason
        )

    def open_qty(self, instrument: str, side: int) -> Decimal:
        return (self._buys if side > 0 else self._sells).get(instrument, ZERO)

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
            found = self._described[instrument] = exactly(_describe_each, orders)
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
                f"order {order.client_order_id} is {order.state} and cannot {what}", do="see the table in engine.orders"
            )
        if after is OrderState.ACCEPTED and order.filled_qty > ZERO:
            after = OrderState.PARTLY_FILLED
        elif what is Happening.CANCEL_REFUSED and after is OrderState.ACCEPTED and not order.acknowledged:
            after = OrderState.SENT  # its cancel never left: the venue has said nothing of the order yet
        if order.state is OrderState.REJECTED and after not in FINAL:
            self._reopen(order)
        order.state = after
        order.picture = None
        self._described.clear()
        if after in FINAL:
            self._adjust(order, ZERO)
            if self._open.pop(order.client_order_id, None) is not None:
                self._closed[order.client_order_id] = order
                if len(self._closed) > CLOSED_KEPT:
                    self._closed.popitem(last=False)
        else:
            self._reserve(order)

    def _reopen(self, order: ManagedOrder) -> None:
        """The venue shows an order that was given up: whatever was asked about it before is asked anew."""
        self._closed.pop(order.client_order_id, None)
        self._open[order.client_order_id] = order
        order.cancel_sent = False
        order.cancel_asked_ns = 0

    def _reserve(self, order: ManagedOrder) -> None:
        self._adjust(order, order.leaves_qty)

    def _adjust(self, order: ManagedOrder, qty: Decimal) -> None:
        """Set what this order holds in the open quantity of its side to ``qty``."""
        before_qty = order.reserved_qty
        if qty != before_qty:
            reserved, name = order.reserved, order.intent.instrument
            reserved[name] = reserved.get(name, ZERO) - before_qty + qty
            order.reserved_qty = qty


def _carry(order: ManagedOrder) -> CarriedOrder:
    return CarriedOrder(
        order.new, order.state.value, order.venue_order_id, order.filled_qty, order.avg_px, order.trade_ids
    )


def _describe_each(orders: list[ManagedOrder]) -> tuple[OpenOrder, ...]:
    return tuple([order.picture or describe(order) for order in orders])


def describe(order: ManagedOrder) -> OpenOrder:
    """The read-only picture of an order that strategies and risk see."""
    intent = order.intent
    picture = order.picture = OpenOrder(
        order.client_order_id,
        intent.strategy,
        intent.instrument,
        Side(intent.side),
        intent.qty,
        order.leaves_qty,
        intent.limit_px,
        order.state._value_,  # ``value`` is a slow look-up in CPython 3.11
        intent.reduce_only,
        order.opened_ns,
    )
    return picture
