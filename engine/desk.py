"""The order desk of the core: intents in, commands out.

Owns the sequence strategy -> risk -> order -> record, and what follows an order.  Which open orders must go is
``engine.withdrawals``', orders that wait for the disk are ``engine.held_orders``'s.  The core calls it; it calls no
strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from engine.commands import (
    IN_THE_WAY,
    Approved,
    CancelIntent,
    Command,
    GroupIntent,
    Intent,
    NewOrder,
    OrderIntent,
    OrderType,
    Rejected,
    ReplaceIntent,
    RiskStateChanged,
    TimeInForce,
    Verdict,
)
from engine.counters import Counters
from engine.editing import Edits
from engine.entry_sizes import EntrySizes
from engine.errors import JournalError
from engine.grouping import Grouping
from engine.held_off import HeldOff
from engine.held_orders import HELD_MAX, HeldOrders
from engine.latch import RiskLatch
from engine.managed_order import ManagedOrder
from engine.netted_exits import unnet
from engine.offers import ALL_PLAIN, Offer
from engine.order_states import FINAL, OrderState
from engine.orders import OrderManager
from engine.plain_exits import PlainExits
from engine.portfolio import Portfolio
from engine.ports import Probe, Recorder, RiskGate
from engine.replacing import ZERO, Replacements, open_qty
from engine.stakes import CLOSERS, GUARDIAN
from engine.view import CoreView
from engine.withdrawals import Withdrawals

# Enum members are slow to reach through their class in CPython 3.11; these are on the way of an order.
_STOP, _STOP_LIMIT, _TOUCH = OrderType.STOP, OrderType.STOP_LIMIT, OrderType.MARKET_IF_TOUCHED
_LIMIT, _MARKET, _GTC, _IOC = OrderType.LIMIT, OrderType.MARKET, TimeInForce.GTC, TimeInForce.IOC


class Desk:
    """See the module docstring.  ``out`` collects the commands of the current event."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        gate: RiskGate,
        orders: OrderManager,
        portfolio: Portfolio,
        view: CoreView,
        counters: Counters,
        probe: Probe,
        hold_orders: bool,
        hold_deadline_ns: int,
        id_prefix: str,
        offers: Mapping[str, Offer],
    ) -> None:
        self.out: list[Command] = []
        self._recorder = recorder
        self._gate = gate
        self._orders = orders
        self._view = view
        self._counters = counters
        self._mark = probe.mark
        self._hold_orders = hold_orders
        self._opened_as = OrderState.HELD if hold_orders else OrderState.SENT
        self.replacements = Replacements()
        self.closing = False  # the session ends
        self.latch = latch = RiskLatch(
            gate=gate, recorder=recorder, portfolio=portfolio, view=view, obey=self._obey, insist=self._insist
        )
        self.shut: Mapping[str, str] = {}
        """Instruments in which nothing may be entered or come to rest, and why: an operator has them closed
        (``engine.manual``)."""
        self.sizes = EntrySizes(view, orders, self.replacements.filled_qty)
        self._cut = self.sizes.table
        self._offers = offers
        # Nearly every venue takes limit and market orders, good till cancelled or immediate, as they are.
        self._plain = all(
            offer.takes(kind, tif) for offer in offers.values() for kind in (_LIMIT, _MARKET) for tif in (_GTC, _IOC)
        )
        self._held = HeldOrders(
            orders=orders,
            gate=gate,
            view=view,
            deadline_ns=hold_deadline_ns,
            out=self.out,
            reject=self._reject,
            gone=self.succeed,
        )
        self.on_synced = self._held.on_synced
        self.groups = Grouping(
            desk=self,
            latch=latch,
            orders=orders,
            view=view,
            counters=counters,
            id_prefix=id_prefix,
            offers=offers,
        )
        view.groups = self.groups.pictures
        self.held_off = HeldOff(view=view, orders=orders, groups=self.groups.pictures, refuse=self.refuse)
        self._held_off = self.held_off.table
        self.edits = Edits(
            gate=gate,
            orders=orders,
            view=view,
            counters=counters,
            latch=latch,
            offers={} if hold_orders else offers,  # what waits for the disk waits as an order of its own
            out=self.out,
            refuse=self.refuse,
            stays=self._stays,
            beside_awaited=self.groups.refusal_beside_awaited,
        )
        self._withdrawals = going = Withdrawals(
            recorder=recorder,
            gate=gate,
            orders=orders,
            view=view,
            counters=counters,
            held=self._held,
            groups=self.groups,
            edits=self.edits,
            replacements=self.replacements,
            held_off=self._held_off,
            out=self.out,
        )
        self.withdraw, self.cancel_these, self.cancel_all = going.withdraw, going.cancel_these, going.cancel_all
        self.abandon, self.expect_end, self.look_again = going.abandon, going.expect_end, going.look_again
        self.insist, self.is_unreached = going.insist, going.is_unreached
        self.lingering_count = going.lingering_count
        self.plain_exits = PlainExits(
            orders=orders,
            view=view,
            replacements=self.replacements,
            withdraw=self.withdraw,
            is_grouped=self.groups.has,
        )

    def end(self, reason: str) -> None:
        """The session ends: nothing is asked for any more, and every open order goes."""
        self.closing = self._withdrawals.closing = True
        self.cancel_all(f"shutdown: {reason}")

    def _insist(self) -> None:
        self._withdrawals.insist()

    def _obey(self, change: RiskStateChanged) -> None:
        self._withdrawals.obey(change)

    # --- intents ------------------------------------------------------------------------------------------------

    def carry_out(self, intents: Sequence[Intent]) -> None:
        """Judge and open each intent in turn; they are well formed (``engine.intents``)."""
        for intent in intents:
            if self._held_off and self.held_off.stops(intent):
                continue
            if self._cut:
                fitted = self.sizes.fit(intent)
                if isinstance(fitted, Rejected):
                    self.refuse(fitted)
                    continue
                intent = fitted  # noqa: PLW2901 - what is left of the wish takes its place
            kind = type(intent)
            if kind is OrderIntent:
                if intent.parent_id and self.groups.knows(intent.parent_id):  # type: ignore[union-attr]
                    # A next session would take it for one of that group's orders.
                    refused = Rejected(self._view.now_ns, intent, "group", "a group's order as parent_id", "none")  # type: ignore[arg-type]
                    self.refuse(refused)
                elif self._waits_here(intent):  # type: ignore[arg-type]
                    self.groups.open(GroupIntent(intent.ts_ns, intent.strategy, (intent,)))  # type: ignore[arg-type]
                else:
                    self.place(intent)  # type: ignore[arg-type]
            elif kind is GroupIntent:
                self.groups.open(intent)  # type: ignore[arg-type]
            elif kind is ReplaceIntent:
                self._replace(intent)  # type: ignore[arg-type]
            else:
                self._cancel_one(intent)  # type: ignore[arg-type]

    def _waits_here(self, intent: OrderIntent) -> bool:
        """Whether it waits here for its price, with the venue's help where that holds such orders."""
        kind = intent.order_type
        if kind is _STOP or kind is _TOUCH or intent.trailing_px is not None:
            return True
        if kind is not _STOP_LIMIT:
            return False
        venue = intent.instrument.rpartition("@")[2]
        return not self._offers.get(venue, ALL_PLAIN).takes(_STOP_LIMIT, _GTC)

    def place(self, intent: OrderIntent, exits_px: tuple[Decimal, Decimal] | None = None) -> NewOrder | Rejected | None:
        """Risk, order, record, send: in that order, for one intent.  Returns what became of it; None where the journal
        took no order.  ``exits_px``: target and stop that the venue is to place for what it fills."""
        self._counters.intents += 1
        view, orders, gate = self._view, self._orders, self._gate
        if self.shut and intent.instrument in self.shut and not _may_leave_beside_a_close(intent):
            shut = Rejected(view.now_ns, intent, "closing", self.shut[intent.instrument], "closed first")
            self._reject(shut)
            return shut
        refused = self.sizes.refusal(intent) if self._cut else None
        if refused is not None:
            self._reject(refused)
            return refused
        if orders.awaiting:
            waits = self.groups.refusal_beside_awaited(intent)
            if waits is not None:
                self._reject(waits)
                return waits
        # Where an operator has all of it closed, nothing of ours turns it.
        approved = judged = gate.review(intent if intent.instrument in self.shut else unnet(intent, view), view)
        self._mark(6)
        kind, tif = intent.order_type, intent.time_in_force
        if not ((kind is _LIMIT or kind is _MARKET) and (tif is _IOC or tif is _GTC)) or not self._plain:
            approved = self._fit(intent, approved)
        if isinstance(approved, Rejected):
            self._reject(approved)
            if approved.check == IN_THE_WAY:
                self._withdrawals.clear_way(approved)
            return approved
        if self._hold_orders and len(self._held) >= HELD_MAX:
            refused = Rejected(view.now_ns, intent, "durability_backlog", str(len(self._held)), str(HELD_MAX))
            self._reject(refused)
            return refused
        name = approved.intent.instrument
        try:
            venue = view.instrument(name).venue
        except KeyError:  # whatever a gate says: there is nowhere to send it
            refused = Rejected(view.now_ns, intent, "instrument", name, "a defined instrument")
            self._reject(refused)
            return refused
        new = orders.open(approved, view.now_ns, venue, self._opened_as, exits_px)
        try:
            seq = self._recorder.record(new)
            # As it was judged, also where the venue takes it in another form: an exit is counted as one by that.
            gate.on_opened(new if approved is judged else msgspec.structs.replace(new, intent=judged.intent))
        except JournalError as error:
            # Nothing may leave that is not on record: the order never existed for the venue.
            orders.drop(new.client_order_id)
            self.latch.halt_for_journal(error.seen)
            return None
        except Exception:  # a defect of ours: nothing has left, so nothing may be held as if it had
            orders.drop(new.client_order_id)
            raise
        self._counters.orders += 1
        if approved.intent is not intent or intent.expire_ns is not None:
            self._remember(intent, new)
        if self._hold_orders:
            self._held.add(new.client_order_id, seq)
        else:
            self.out.append(new)
        self._mark(7)
        return new

    def _remember(self, wish: OrderIntent, new: NewOrder) -> None:
        """What an order alone does not say: when it ends, and what may follow it."""
        self.expect_end(self._orders.get(new.client_order_id))
        if wish.reduce_only and not new.intent.reduce_only:
            self.replacements.only_reduce(new.client_order_id)

    def _fit(self, intent: OrderIntent, verdict: Verdict) -> Verdict:
        """An approved order as its venue takes it."""
        if isinstance(verdict, Rejected):
            return verdict
        offer = self._offers.get(self._view.instrument(intent.instrument).venue, ALL_PLAIN)
        fitting = offer.substitute(verdict.intent)
        if fitting is None:
            seen = f"{intent.order_type.value} {intent.time_in_force.value}"
            return Rejected(self._view.now_ns, intent, "not_offered", seen, "what the venue takes")
        return Approved(fitting, verdict.notional)

    def refuse(self, verdict: Rejected) -> None:
        """A wish that is no order yet and will not be one."""
        self._counters.intents += 1
        self._reject(verdict)

    def _reject(self, verdict: Rejected) -> None:
        Counters.add(self._counters.rejected, verdict.check)
        # On a full disk what is left of the journal is kept for cancels and account facts.
        self.latch.put_on_record(verdict)

    def _cancel_one(self, intent: CancelIntent) -> None:
        asks = "" if intent.strategy == GUARDIAN else intent.strategy
        if self.groups.cancel(intent.client_order_id, asks, intent.reason):
            return
        order = self._orders.get(intent.client_order_id)
        if order is not None and intent.strategy in (order.intent.strategy, GUARDIAN):
            self.keep(order.client_order_id)  # one that is being replaced is gone in a moment: nothing follows it now
            self.withdraw(order, intent.reason)  # paced: a strategy may ask at each tick for what the venue refuses

    def _replace(self, intent: ReplaceIntent) -> None:
        """Change one order in place (``engine.editing``), or cancel it: then what is left of the wish follows when it
        is gone (``engine.replacing``)."""
        order = self._orders.get(intent.client_order_id)
        if order is None or order.intent.strategy != intent.strategy or order.state in FINAL:
            return
        if self.groups.is_exit(intent.client_order_id):
            # Its size is what is left to close, its price the group's: another one is another group.
            self.refuse(Rejected(self._view.now_ns, order.intent, "group", "an exit replaced", "a new group"))
            return
        if self.edits.take(order, intent):
            return
        self.replacements.wish(intent)
        self._withdrawals.send(order, intent.reason or "replaced")

    def _stays(self, order: ManagedOrder) -> bool:
        """Whether an order is a plain one that nothing wants gone: no group's, and no version of another."""
        name, instrument = order.client_order_id, order.intent.instrument
        return not (
            self._withdrawals.why_gone(order)
            or (instrument in self.shut and not order.intent.reduce_only)
            or (self._cut and self.sizes.bars(order))
            or self.groups.has(name)
            or self.replacements.has(name)
        )

    def edited(self, order: ManagedOrder) -> None:
        """A change of an order is done or refused: the next one, unless that was the order's end."""
        if order.state in FINAL:
            self.succeed(order)
            return
        wish = self.edits.settled(order)
        if wish is not None:
            self._replace(wish)

    def succeed(self, order: ManagedOrder) -> None:
        """An order has filled or is gone: send what was to take its place, unless nothing of it may leave any more."""
        if order.state not in FINAL:
            self.groups.moved(order)
            return
        self._withdrawals.forget(order)
        self.edits.forget(order.client_order_id)
        self._take_place(order)
        self.groups.moved(order)

    def _take_place(self, order: ManagedOrder) -> None:
        successor = self.replacements.take(order, self._view.now_ns)
        going = self._withdrawals
        if successor is None or going.is_abandoned(order.intent) or going.why_gone(order):
            return
        opened = self.place(successor)
        after = self._orders.get(opened.client_order_id) if isinstance(opened, NewOrder) else None
        if after is not None:
            self.replacements.follow(order, after)
            self.groups.link(after.new)

    def not_cancelled(self, order: ManagedOrder, reason: str) -> None:
        """A cancel was refused."""
        self._withdrawals.refused(order, reason)
        self.keep(order.client_order_id)

    def keep(self, client_order_id: str) -> None:
        """The venue has not cancelled it: nothing takes its place."""
        self.replacements.drop(client_order_id)

    def mend_surplus(self, order: ManagedOrder) -> None:
        """A version has filled: the newest must fill less where all together would fill too much."""
        found = self.replacements.surplus(order)
        if found is not None and not self.groups.waits:
            self._mend(*found)

    def mend_surpluses(self) -> None:
        """The same for what old versions have filled while nothing could be sent."""
        for newest, surplus_qty in self.replacements.surpluses():
            self._mend(newest, surplus_qty)

    def _mend(self, newest: ManagedOrder, surplus_qty: Decimal) -> None:
        too_much_qty = surplus_qty - open_qty(newest)
        if too_much_qty > ZERO:
            self.replacements.accept(newest, too_much_qty)
            self.latch.reduce(f"versions of an order up to {newest.client_order_id} filled {too_much_qty} too much")
        # One whose cancel is out goes as somebody wished, and what is to follow counts what all have filled by then.
        if newest.state in FINAL or newest.cancel_sent:
            return
        left_qty = self.replacements.filled_qty(newest) + newest.leaves_qty - surplus_qty
        intent = newest.intent
        self._replace(
            ReplaceIntent(
                self._view.now_ns,
                intent.strategy,
                newest.client_order_id,
                left_qty,
                intent.limit_px,
                "old version filled",
            )
        )


def _may_leave_beside_a_close(intent: OrderIntent) -> bool:
    """Whether it only reduces and is gone at once: an exit that rests is cancelled, and one that its strategy sends
    again each time would keep the closing order back for ever."""
    return intent.reduce_only and (not intent.may_rest or intent.strategy in CLOSERS)
