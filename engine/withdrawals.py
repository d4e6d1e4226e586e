"""Which open orders must go, and the asking for it until they are gone.

Owns the reasons (risk's state, the session's end, a strategy that is not heard or not there, a date, an exit's way) and
the pace of asking again, which ends where nobody is there to be asked.  What follows an order that went is
``engine.desk``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.commands import (
    Command,
    OrderIntent,
    OrderType,
    Rejected,
    RiskState,
    RiskStateChanged,
    TimeInForce,
)
from engine.counters import Counters
from engine.editing import Edits
from engine.grouping import Grouping
from engine.held_orders import HeldOrders
from engine.managed_order import ManagedOrder
from engine.order_states import FINAL, Happening, OrderState
from engine.orders import OrderManager
from engine.ports import Recorder, RiskGate
from engine.refusals import NO_GATEWAY
from engine.replacing import Replacements
from engine.stakes import CLOSERS
from engine.view import CoreView

CANCEL_AGAIN_NS = 1_000_000_000
"""A cancel that is still wanted is asked for again after this time, on the next timer."""
EXPIRY_GRACE_NS = 2_000_000_000
"""How long a venue may take to end a good-till-date order by itself, before it is cancelled."""
_MARKET, _GTC = OrderType.MARKET, TimeInForce.GTC


class Withdrawals:
    """Of one desk.  ``out`` takes the commands; ``held_off`` has who is held off, by strategy and instrument."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        gate: RiskGate,
        orders: OrderManager,
        view: CoreView,
        counters: Counters,
        held: HeldOrders,
        groups: Grouping,
        edits: Edits,
        replacements: Replacements,
        held_off: Mapping[tuple[str, str], str],
        out: list[Command],
    ) -> None:
        self.closing = False
        """The session ends."""
        self._recorder = recorder
        self._gate = gate
        self._orders = orders
        self._view = view
        self._counters = counters
        self._held = held
        self._groups = groups
        self._edits = edits
        self._replacements = replacements
        self._held_off = held_off
        self._out = out
        self._abandoned: set[tuple[str, str]] = set()  # strategies that are not heard; with "": in all instruments
        self._expiring: dict[str, int] = {}  # client order id -> when it is cancelled here
        self._displaced: set[str] = set()  # old versions of orders that live although another is in their place
        self._untaken: set[str] = set()  # orders whose last cancel nobody took: no connector trades at their venue

    def clear_way(self, verdict: Rejected) -> None:
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

    def cancel_all(self, reason: str) -> None:
        """Cancel every open order; one that waits for the disk is dropped instead.  Nothing follows them."""
        self._replacements.clear()
        self._edits.clear()
        self._cancel_each([(order, reason) for order in self._orders.open_orders()])

    def cancel_these(self, orders: Sequence[ManagedOrder], reason: str) -> None:
        """Ask for each of them, and again where that was refused; paced like ``insist``, however often it is called."""
        due = [one for one in orders if self._is_due(one)]
        for one in due:
            self._groups.cancel(one.client_order_id, "", reason)
        self._cancel_each([(one, reason) for one in due if not one.cancel_sent])

    def withdraw(self, order: ManagedOrder, reason: str) -> None:
        """Ask for an order to be cancelled, paced likewise; what belongs to it stays."""
        if not order.cancel_sent and self._is_due(order):
            self.send(order, reason)

    def expect_end(self, order: ManagedOrder | None) -> None:
        """Cancel it at its ``expire_ns`` where the venue does not, or was not told of it."""
        if order is not None and order.intent.expire_ns is not None:
            grace_ns = 0 if order.intent.time_in_force is _GTC else EXPIRY_GRACE_NS
            self._expiring[order.client_order_id] = order.intent.expire_ns + grace_ns

    def forget(self, order: ManagedOrder) -> None:
        """It is over: neither its date nor what is in its place matters any more."""
        self._expiring.pop(order.client_order_id, None)
        self._displaced.discard(order.client_order_id)
        self._untaken.discard(order.client_order_id)

    def refused(self, order: ManagedOrder, reason: str) -> None:
        """Its cancel was.  Where no connector trades at its venue it is not asked for again before one is there, or for
        another reason: it may live and holds its risk until then, and until a later session else."""
        if reason == NO_GATEWAY and order.state not in FINAL:
            self._untaken.add(order.client_order_id)
        else:
            self._untaken.discard(order.client_order_id)

    def is_unreached(self, order: ManagedOrder) -> bool:
        """Whether nobody here can cancel it."""
        return order.client_order_id in self._untaken and not self._view.is_reached(order.new.venue)

    def _is_due(self, order: ManagedOrder) -> bool:
        if order.cancel_asked_ns and order.cancel_asked_ns > self._view.now_ns - CANCEL_AGAIN_NS:
            return False
        return not (self._untaken and self.is_unreached(order))

    def abandon(self, strategy: str, instrument: str = "") -> None:
        """A strategy is not trusted any more, or is not there: its open orders go, and so does what shows itself later.
        ``instrument``: in that alone."""
        self._abandoned.add((strategy, instrument))
        self._groups.abandon(strategy, instrument)
        self.insist()

    def is_abandoned(self, intent: OrderIntent) -> bool:
        gone = self._abandoned
        return (intent.strategy, "") in gone or (intent.strategy, intent.instrument) in gone

    def insist(self) -> None:
        """Ask for each cancel that is wanted and not out: it was refused, or never got away.  Paced by order."""
        wanted = self.closing or self._abandoned or self._expiring or self._displaced
        if not wanted and self._gate.state is RiskState.ACTIVE:
            return
        due = []
        for order in self._orders.open_orders():
            if not order.cancel_sent and self._is_due(order):
                reason = self.why_gone(order)
                if reason:
                    due.append((order, reason))
        self._cancel_each(due)

    def lingering_count(self) -> int:
        """Open orders; while halted without those that may be left to their venue."""
        if self._gate.state is not RiskState.HALTED or self.closing:
            return self._orders.open_count
        return sum(not _closes_at_once(order.intent) for order in self._orders.open_orders())

    def why_gone(self, order: ManagedOrder) -> str:
        """Why an open order must go; empty when it may stay."""
        state = self._gate.state
        if state is RiskState.HALTED and not _closes_at_once(order.intent):
            return "halted"
        if self.closing:
            return "shutdown"
        if (
            self._abandoned
            and self.is_abandoned(order.intent)
            and not self._is_closing(order.intent)
            and not self._groups.protects(order)
            and not self._is_left_to_protect(order)
        ):
            return self._why_abandoned(order.intent)
        if self._expiring and self._expiring.get(order.client_order_id, self._view.now_ns + 1) <= self._view.now_ns:
            return "expired"
        if state is RiskState.REDUCING and not order.intent.reduce_only:
            return "reducing"
        return "another version is in its place" if order.client_order_id in self._displaced else ""

    def _is_left_to_protect(self, order: ManagedOrder) -> bool:
        """Whether it only reduces what a strategy holds that is not here: nobody would send it again."""
        intent = order.intent
        return intent.reduce_only and (intent.strategy, "") not in self._abandoned and self._fits_its_own(order)

    def _fits_its_own(self, order: ManagedOrder) -> bool:
        """Whether its strategy holds what it may close beside exits of groups and the orders before it."""
        intent = order.intent
        own_qty = self._view.strategy_qty(intent.strategy, intent.instrument)
        left_qty = -own_qty if intent.side > 0 else own_qty
        is_earlier = True
        for one in self._orders.open_orders(intent.instrument):
            if one is order:
                is_earlier = False
            elif (
                one.intent.strategy == intent.strategy
                and one.intent.side is intent.side
                and one.intent.reduce_only
                and (is_earlier or self._groups.protects(one))
            ):
                left_qty -= one.leaves_qty
        return left_qty >= order.leaves_qty

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
                self.send(order, reason)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def send(self, order: ManagedOrder, reason: str) -> None:
        if order.state is OrderState.HELD:
            self._held.drop(order, "cancelled before it was sent", reason)
            return
        if order.state in FINAL or order.cancel_sent:
            return
        self._edits.forget(order.client_order_id)
        order.cancel_asked_ns = self._view.now_ns
        command = self._orders.cancel(order, self._view.now_ns, reason)
        self._recorder.record(command)
        self._orders.happen(order.client_order_id, Happening.CANCEL_SENT)
        self._counters.cancels += 1
        self._out.append(command)

    def look_again(self, order: ManagedOrder) -> None:
        """The venue has shown an order that may have been UNKNOWN, or given up as never arrived."""
        if order.state in FINAL:
            return
        if order.intent.expire_ns is not None:
            self.expect_end(order)  # forgotten where it had been given up
        if order.cancel_sent:
            # Its cancel is out and still wanted.
            self._orders.happen(order.client_order_id, Happening.CANCEL_SENT)
        elif not order.cancel_asked_ns:
            if self._replacements.was_followed(order.client_order_id):
                self._displaced.add(order.client_order_id)
            reason = self.why_gone(order) or self._groups.why_stray(order)
            if reason:
                self.send(order, reason)

    def obey(self, change: RiskStateChanged) -> None:
        """Open orders that the new state does not leave go at once."""
        if change.after is RiskState.HALTED:
            self.cancel_all(f"halted: {change.reason}")
        elif change.after is RiskState.REDUCING:
            entries = [order for order in self._orders.open_orders() if not order.intent.reduce_only]
            self._cancel_each([(order, f"reducing: {change.reason}") for order in entries])


def _closes_at_once(intent: OrderIntent) -> bool:
    """Whether it may leave while halted and is gone by itself: where a venue is slow to fill a cancel would be first,
    and so would the next one's."""
    return intent.reduce_only and not intent.may_rest
