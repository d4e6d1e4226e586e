"""The order desk of the core: intents in, commands out.

Owns the sequence strategy -> risk -> order -> record, and which open orders must go, also because risk has changed its
state (``engine.latch``).  Orders that wait for the disk are ``engine.held_orders``'s.  The core calls it; it calls no
strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

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
    RiskState,
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
from engine.order_states import FINAL, Happening, OrderState
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.ports import Probe, Recorder, RiskGate
from engine.replacing import Replacements
from engine.stakes import CLOSERS, GUARDIAN
from engine.view import CoreView

CANCEL_AGAIN_NS = 1_000_000_000
"""A cancel that is still wanted is asked for again after this time, on the next timer."""
EXPIRY_GRACE_NS = 2_000_000_000
"""How long a venue may take to end a good-till-date order by itself, before it is cancelled."""
# Enum members are slow to reach through their class in CPython 3.11; these are on the way of an order.
_STOP, _STOP_LIMIT, _TOUCH = OrderType.STOP, OrderType.STOP_LIMIT, OrderType.MARKET_IF_TOUCHED
_LIMIT, _MARKET, _GTC, _IOC = OrderType.LIMIT, OrderType.MARKET, TimeInForce.GTC, TimeInForce.IOC
_FOK = TimeInForce.FOK


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
        self.closing = False  # the session ends: written by the core
        self.latch = latch = RiskLatch(
            gate=gate, recorder=recorder, portfolio=portfolio, view=view, obey=self._obey, insist=self.insist
        )
        self._abandoned: set[tuple[str, str]] = set()  # strategies that are not heard; with "": in all instruments
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
        self._expiring: dict[str, int] = {}  # client order id -> when it is cancelled here
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
        approved = gate.review(intent if intent.instrument in self.shut else unnet(intent, view), view)
        self._mark(6)
        kind, tif = intent.order_type, intent.time_in_force
        if not ((kind is _LIMIT or kind is _MARKET) and (tif is _IOC or tif is _GTC)) or not self._plain:
            approved = self._fit(intent, approved)
        if isinstance(approved, Rejected):
            self._reject(approved)
            if approved.check == IN_THE_WAY:
                self._clear_way(approved)
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
            gate.on_opened(new)
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

    def _clear_way(self, verdict: Rejected) -> None:
        """What an exit would trade with goes first; whoever wants to leave asks again.  Another exit at market is gone
        in a moment."""
        for name in verdict.seen.split(","):
            order = self._orders.get(name)
            if order is not None and not self._leaves_at_market(order):
                self.withdraw(order, f"in the way of an exit of {verdict.intent.strategy}")

    def _leaves_at_market(self, order: ManagedOrder) -> bool:
        """Whether it closes, at market, what its strategy holds; the guardian and an operator close what all hold."""
        intent = order.intent
        closes = intent.reduce_only and intent.strategy in CLOSERS
        return intent.order_type is _MARKET and (closes or self._closes_its_own(order))

    def _closes_its_own(self, order: ManagedOrder) -> bool:
        """Whether its strategy holds all that it may close."""
        intent = order.intent
        own_qty = self._view.strategy_qty(intent.strategy, intent.instrument)
        return (-own_qty if intent.side > 0 else own_qty) >= order.leaves_qty

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
        self._send_cancel(order, intent.reason or "replaced")

    def _stays(self, order: ManagedOrder) -> bool:
        """Whether an order is a plain one that nothing wants gone: no group's, and no version of another."""
        name, instrument = order.client_order_id, order.intent.instrument
        return not (
            self._why_gone(order)
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
        self._expiring.pop(order.client_order_id, None)
        self.edits.forget(order.client_order_id)
        self._take_place(order)
        self.groups.moved(order)

    def _take_place(self, order: ManagedOrder) -> None:
        successor = self.replacements.take(order, self._view.now_ns)
        if successor is None or self._is_abandoned(order.intent) or self._why_gone(order):
            return
        opened = self.place(successor)
        after = self._orders.get(opened.client_order_id) if isinstance(opened, NewOrder) else None
        if after is not None:
            self.replacements.follow(order, after)
            self.groups.link(after.new)

    def keep(self, client_order_id: str) -> None:
        """The venue has not cancelled it: nothing takes its place."""
        self.replacements.drop(client_order_id)

    def mend_surplus(self, order: ManagedOrder) -> None:
        """A version that was replaced has filled: the one that followed it must fill less."""
        found = self.replacements.surplus(order)
        if found is not None and not self.groups.waits:
            self._mend(*found)

    def mend_surpluses(self) -> None:
        """The same for what old versions have filled while nothing could be sent."""
        for newest, surplus_qty in self.replacements.surpluses():
            self._mend(newest, surplus_qty)

    def _mend(self, newest: ManagedOrder, surplus_qty: Decimal) -> None:
        if newest.state in FINAL:
            self.latch.reduce(f"versions of an order up to {newest.client_order_id} filled {surplus_qty} too much")
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

    def cancel_all(self, reason: str) -> None:
        """Cancel every open order; one that waits for the disk is dropped instead.  Nothing follows them."""
        self.replacements.clear()
        self.edits.clear()
        self._cancel_each([(order, reason) for order in self._orders.open_orders()])

    def cancel_these(self, orders: Sequence[ManagedOrder], reason: str) -> None:
        """Ask for each of them, and again where that was refused; paced like ``insist``, however often it is called."""
        latest_ns = self._view.now_ns - CANCEL_AGAIN_NS
        due = [one for one in orders if not one.cancel_asked_ns or one.cancel_asked_ns <= latest_ns]
        for one in due:
            self.groups.cancel(one.client_order_id, "", reason)
        self._cancel_each([(one, reason) for one in due if not one.cancel_sent])

    def withdraw(self, order: ManagedOrder, reason: str) -> None:
        """Ask for an order to be cancelled, paced likewise; what belongs to it stays."""
        if not order.cancel_sent and (
            not order.cancel_asked_ns or order.cancel_asked_ns <= self._view.now_ns - CANCEL_AGAIN_NS
        ):
            self._send_cancel(order, reason)

    def expect_end(self, order: ManagedOrder | None) -> None:
        """Cancel it at its ``expire_ns`` where the venue does not, or was not told of it."""
        if order is not None and order.intent.expire_ns is not None:
            grace_ns = 0 if order.intent.time_in_force is _GTC else EXPIRY_GRACE_NS
            self._expiring[order.client_order_id] = order.intent.expire_ns + grace_ns

    def abandon(self, strategy: str, instrument: str = "") -> None:
        """A strategy is not trusted any more, or is not there: its open orders go, and so does what shows itself later.
        ``instrument``: in that alone."""
        self._abandoned.add((strategy, instrument))
        self.groups.abandon(strategy, instrument)
        self.insist()

    def _is_abandoned(self, intent: OrderIntent) -> bool:
        gone = self._abandoned
        return (intent.strategy, "") in gone or (intent.strategy, intent.instrument) in gone

    def insist(self) -> None:
        """Ask for each cancel that is wanted and not out: it was refused, or never got away.  Paced by order."""
        if not self.closing and not self._abandoned and not self._expiring and self._gate.state is RiskState.ACTIVE:
            return
        latest_ns = self._view.now_ns - CANCEL_AGAIN_NS
        due = []
        for order in self._orders.open_orders():
            if not order.cancel_sent and (not order.cancel_asked_ns or order.cancel_asked_ns <= latest_ns):
                reason = self._why_gone(order)
                if reason:
                    due.append((order, reason))
        self._cancel_each(due)

    def _why_gone(self, order: ManagedOrder) -> str:
        """Why an open order must go; empty when it may stay."""
        state = self._gate.state
        if state is RiskState.HALTED:
            return "halted"
        if self.closing:
            return "shutdown"
        if (
            self._abandoned
            and self._is_abandoned(order.intent)
            and not self._is_closing(order.intent)
            and not self.groups.protects(order)
            and not self._is_left_to_protect(order)
        ):
            return self._why_abandoned(order.intent)
        if self._expiring and self._expiring.get(order.client_order_id, self._view.now_ns + 1) <= self._view.now_ns:
            return "expired"
        if state is RiskState.REDUCING and not order.intent.reduce_only:
            return "reducing"
        return ""

    def _is_left_to_protect(self, order: ManagedOrder) -> bool:
        """Whether it only reduces what a strategy holds that is not here: nobody would send it again."""
        intent = order.intent
        return intent.reduce_only and (intent.strategy, "") not in self._abandoned and self._closes_its_own(order)

    def _why_abandoned(self, intent: OrderIntent) -> str:
        if (intent.strategy, "") in self._abandoned:
            return f"strategy {intent.strategy} quarantined"
        return f"strategy {intent.strategy} does not trade {intent.instrument} in this session"

    def _is_closing(self, intent: OrderIntent) -> bool:
        """Whether it closes at market, as the core itself does for a strategy that is not heard (``held_off``), there
        also by an order that may turn the account (``engine.netted_exits``)."""
        held_off = (intent.strategy, intent.instrument) in self._held_off
        return intent.order_type is _MARKET and (intent.reduce_only or held_off)

    def _cancel_each(self, orders: Sequence[tuple[ManagedOrder, str]]) -> None:
        """One order that cannot be cancelled takes no other's cancel with it; its error is raised after the last."""
        failed: Exception | None = None
        for order, reason in orders:
            try:
                self._send_cancel(order, reason)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _send_cancel(self, order: ManagedOrder, reason: str) -> None:
        if order.state is OrderState.HELD:
            self._held.drop(order, "cancelled before it was sent", reason)
            return
        if order.state in FINAL or order.cancel_sent:
            return
        self.edits.forget(order.client_order_id)
        order.cancel_asked_ns = self._view.now_ns
        command = self._orders.cancel(order, self._view.now_ns, reason)
        self._recorder.record(command)
        self._orders.happen(order.client_order_id, Happening.CANCEL_SENT)
        self._counters.cancels += 1
        self.out.append(command)

    # --- orders that are not where they were -----------------------------------------------------------------------

    def look_again(self, order: ManagedOrder) -> None:
        """The venue has shown an order that may have been UNKNOWN, or given up as never arrived."""
        if order.state in FINAL:
            return
        if order.cancel_sent:
            # Its cancel is out and still wanted.
            self._orders.happen(order.client_order_id, Happening.CANCEL_SENT)
        elif not order.cancel_asked_ns:
            reason = self._why_gone(order) or self.groups.why_stray(order)
            if reason:
                self._send_cancel(order, reason)

    # --- what risk says --------------------------------------------------------------------------------------------

    def _obey(self, change: RiskStateChanged) -> None:
        """Open orders that the new state does not leave go at once."""
        if change.after is RiskState.HALTED:
            self.cancel_all(f"halted: {change.reason}")
        elif change.after is RiskState.REDUCING:
            entries = [order for order in self._orders.open_orders() if not order.intent.reduce_only]
            self._cancel_each([(order, f"reducing: {change.reason}") for order in entries])


def _may_leave_beside_a_close(intent: OrderIntent) -> bool:
    """Whether it only reduces and is gone at once: an exit that rests is cancelled, and one that its strategy sends
    again each time would keep the closing order back for ever."""
    at_once = intent.order_type is _MARKET or intent.time_in_force in (_IOC, _FOK)
    return intent.reduce_only and (at_once or intent.strategy in CLOSERS)
