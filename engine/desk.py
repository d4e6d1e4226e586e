"""The order desk of the core: intents in, commands out.

Owns the sequence strategy -> risk -> order -> record, the orders that wait for the disk, and what a change of risk
state does to open orders.  The core calls it; it calls no strategy.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine import events as e
from engine.commands import (
    CancelIntent,
    Command,
    Intent,
    NewOrder,
    OrderIntent,
    Rejected,
    ReplaceIntent,
    RiskState,
    RiskStateChanged,
)
from engine.counters import Counters
from engine.errors import JournalError
from engine.orders import FINAL, Happening, ManagedOrder, OrderManager, OrderState
from engine.portfolio import Mark, Portfolio
from engine.ports import Probe, Recorder, RiskGate
from engine.replacing import Replacements
from engine.stakes import GUARDIAN
from engine.view import CoreView

CANCEL_AGAIN_NS = 1_000_000_000
"""A cancel that is still wanted is asked for again after this time, on the next timer."""
JOURNAL_HALT = "journal: "
"""How the reason of a halt for the journal's sake begins; replay knows it by this."""
HELD_MAX = 256
"""Orders that may wait for the disk at once; one more is refused with the reason ``durability_backlog``."""


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
    ) -> None:
        self.out: list[Command] = []
        self._recorder = recorder
        self._gate = gate
        self._orders = orders
        self._portfolio = portfolio
        self._view = view
        self._counters = counters
        self._mark = probe.mark
        self._hold_orders = hold_orders
        self._opened_as = OrderState.HELD if hold_orders else OrderState.SENT
        self._hold_deadline_ns = hold_deadline_ns
        self._replacements = Replacements()
        self.closing = False  # the session ends: written by the core
        self._journal_refuses = False
        self.risk_reason = ""  # why risk is in the state that it is in
        self._abandoned: set[str] = set()  # names of quarantined strategies
        self._held: dict[str, int] = {}  # client order id -> seq of its record

    # --- intents ------------------------------------------------------------------------------------------------

    def carry_out(self, intents: Sequence[Intent]) -> None:
        """Judge and open each intent in turn; they are well formed (``engine.intents``)."""
        for intent in intents:
            kind = type(intent)
            if kind is OrderIntent:
                self.place(intent)  # type: ignore[arg-type]
            elif kind is ReplaceIntent:
                self._replace(intent)  # type: ignore[arg-type]
            else:
                self._cancel_one(intent)  # type: ignore[arg-type]

    def place(self, intent: OrderIntent) -> NewOrder | Rejected | None:
        """Risk, order, record, send: in that order, for one intent.  Returns what became of it; None where the journal
        took no order."""
        self._counters.intents += 1
        view, orders, gate = self._view, self._orders, self._gate
        approved = gate.review(intent, view)
        self._mark(6)
        if isinstance(approved, Rejected):
            self._reject(approved)
            return approved
        if self._hold_orders and len(self._held) >= HELD_MAX:
            refused = Rejected(view.now_ns, intent, "durability_backlog", str(len(self._held)), str(HELD_MAX))
            self._reject(refused)
            return refused
        venue = view.instrument(approved.intent.instrument).venue
        new = orders.open(approved, view.now_ns, venue, self._opened_as)
        try:
            seq = self._recorder.record(new)
            gate.on_opened(new)
        except JournalError as error:
            # Nothing may leave that is not on record: the order never existed for the venue.
            orders.drop(new.client_order_id)
            self.halt_for_journal(error.seen)
            return None
        except Exception:  # a defect of ours: nothing has left, so nothing may be held as if it had
            orders.drop(new.client_order_id)
            raise
        self._counters.orders += 1
        if self._hold_orders:
            self._held[new.client_order_id] = seq
        else:
            self.out.append(new)
        self._mark(7)
        return new

    def _reject(self, verdict: Rejected) -> None:
        Counters.add(self._counters.rejected, verdict.check)
        try:
            self._recorder.record(verdict)
        except JournalError as error:
            # On a full disk what is left of the journal is kept for cancels and account facts.
            self.halt_for_journal(error.seen)

    def _cancel_one(self, intent: CancelIntent) -> None:
        order = self._orders.get(intent.client_order_id)
        if order is not None and intent.strategy in (order.intent.strategy, GUARDIAN):
            self._send_cancel(order, intent.reason)

    def _replace(self, intent: ReplaceIntent) -> None:
        """Cancel one order; what is left of the wish follows when it is gone (``engine.replacing``)."""
        order = self._orders.get(intent.client_order_id)
        if order is None or order.intent.strategy != intent.strategy or order.state in FINAL:
            return
        self._replacements.wish(intent)
        self._send_cancel(order, intent.reason or "replaced")

    def succeed(self, order: ManagedOrder) -> None:
        """An order is gone: send what was to take its place, unless nothing of it may leave any more."""
        if order.state not in FINAL:
            return
        successor = self._replacements.take(order, self._view.now_ns)
        if successor is None or self._why_gone(order):
            return
        opened = self.place(successor)
        after = self._orders.get(opened.client_order_id) if isinstance(opened, NewOrder) else None
        if after is not None:
            self._replacements.follow(order, after)

    def keep(self, client_order_id: str) -> None:
        """The venue has not cancelled it: nothing takes its place."""
        self._replacements.drop(client_order_id)

    def mend_surplus(self, order: ManagedOrder) -> None:
        """A version that was replaced has filled: the one that followed it must fill less."""
        found = self._replacements.surplus(order)
        if found is None:
            return
        newest, surplus_qty = found
        if newest.state in FINAL:
            self._latch(
                RiskState.REDUCING,
                f"versions of {order.client_order_id} up to {newest.client_order_id} filled {surplus_qty} too much",
            )
            return
        left_qty = self._replacements.filled_qty(newest) + newest.leaves_qty - surplus_qty
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
        self._replacements.clear()
        self._cancel_each([(order, reason) for order in self._orders.open_orders()])

    def cancel_these(self, orders: Sequence[ManagedOrder], reason: str) -> None:
        """Ask for each of them, and again where that was refused; paced like ``insist``, however often it is called."""
        latest_ns = self._view.now_ns - CANCEL_AGAIN_NS
        due = [one for one in orders if not one.cancel_asked_ns or one.cancel_asked_ns <= latest_ns]
        self._cancel_each([(one, reason) for one in due if not one.cancel_sent])

    def abandon(self, strategy: str) -> None:
        """A strategy is not trusted any more: its open orders go, and so does what shows itself later."""
        self._abandoned.add(strategy)
        self.insist()

    def insist(self) -> None:
        """Ask for each cancel that is wanted and not out: it was refused, or never got away.  Paced by order."""
        if not self.closing and not self._abandoned and self._gate.state is RiskState.ACTIVE:
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
        if order.intent.strategy in self._abandoned:
            return f"strategy {order.intent.strategy} quarantined"
        if state is RiskState.REDUCING and not order.intent.reduce_only:
            return "reducing"
        return ""

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
            self._drop_held(order, "cancelled before it was sent", reason)
            return
        if order.state in FINAL or order.cancel_sent:
            return
        order.cancel_asked_ns = self._view.now_ns
        command = self._orders.cancel(order, self._view.now_ns, reason)
        self._recorder.record(command)
        self._orders.happen(order.client_order_id, Happening.CANCEL_SENT)
        self._counters.cancels += 1
        self.out.append(command)

    # --- orders that wait for the disk ----------------------------------------------------------------------------

    def on_synced(self, event: e.JournalSynced) -> None:
        """Release every held order whose record is on disk, after risk has judged it again."""
        for client_order_id in [cid for cid, at in self._held.items() if at <= event.upto_seq]:
            order = self._orders.get(client_order_id)
            if order is None or order.state is not OrderState.HELD:
                self._held.pop(client_order_id, None)
                continue
            self._release(order)

    def _release(self, order: ManagedOrder) -> None:
        waited_ns = self._view.now_ns - order.opened_ns
        if waited_ns > self._hold_deadline_ns:
            self._drop_held(order, f"{waited_ns} ns", f"{self._hold_deadline_ns} ns", check="durability_deadline")
            return
        self._orders.suspend(order)
        try:
            verdict = self._gate.review_again(order.intent, self._view)
        finally:
            self._orders.resume(order)
        if isinstance(verdict, Rejected):
            self._drop_held(order, verdict.seen, verdict.limit, check=verdict.check)
            return
        self._held.pop(order.client_order_id, None)
        self._orders.happen(order.client_order_id, Happening.SEND)
        self.out.append(order.new)

    def _drop_held(self, order: ManagedOrder, seen: str, limit: str, check: str = "dropped") -> None:
        self._held.pop(order.client_order_id, None)
        self._orders.happen(order.client_order_id, Happening.DROP)
        self._reject(Rejected(self._view.now_ns, order.intent, check, seen, limit))
        self.succeed(order)

    # --- orders that are not where they were -----------------------------------------------------------------------

    def look_again(self, order: ManagedOrder) -> None:
        """The venue has shown an order that may have been UNKNOWN, or given up as never arrived."""
        if order.state in FINAL:
            return
        if order.cancel_sent:
            # Its cancel is out and still wanted.
            self._orders.happen(order.client_order_id, Happening.CANCEL_SENT)
        elif not order.cancel_asked_ns:
            reason = self._why_gone(order)
            if reason:
                self._send_cancel(order, reason)

    # --- money and state ------------------------------------------------------------------------------------------

    def revalue(self, mark: Mark) -> None:
        """Refresh equity and ask the breakers."""
        self._portfolio.revalue(self._view.now_ns, mark)
        breach = self._gate.breach(self._view)
        if breach is not None:
            self._latch(*breach)

    def on_control(self, event: e.Halted | e.Reduced | e.Resumed) -> None:
        change = self._gate.apply(event)
        if change is not None:
            self._journal_refuses = self._journal_refuses and change.after is RiskState.HALTED
            self._changed(change)
        else:
            self.insist()  # said again: what it did not achieve is tried again

    def on_journal_failed(self, event: e.JournalFailed) -> None:
        self.halt_for_journal(event.text)

    def halt_for_journal(self, seen: str) -> None:
        """A decision, or all that follows, finds no room in the journal.

        Once in each halt this is on record, in what the journal keeps in reserve, also when trading was halted before:
        it is how replay knows that decisions are missing.
        """
        if self._journal_refuses:
            return
        state, reason = self._gate.state, f"{JOURNAL_HALT}{seen}"
        if state is RiskState.HALTED:
            self._recorder.record(RiskStateChanged(self._view.now_ns, state, state, reason))
        else:
            self.halt(reason)
        self._journal_refuses = True

    def halt(self, reason: str) -> None:
        """The core's own kill switch."""
        self._latch(RiskState.HALTED, reason)

    def reduce(self, reason: str) -> None:
        """No new risk until an operator has looked."""
        self._latch(RiskState.REDUCING, reason)

    def go_on_in(self, state: RiskState, reason: str) -> None:
        """What an earlier session has latched holds in this one."""
        self._latch(state, reason)

    def _latch(self, state: RiskState, reason: str) -> None:
        self._changed(self._gate.latch(state, reason, self._view.now_ns))

    def _changed(self, change: RiskStateChanged | None) -> None:
        if change is None:
            return
        self._view.risk_state = change.after
        self.risk_reason = change.reason
        self._recorder.record(change)
        if change.after is RiskState.HALTED:
            self.cancel_all(f"halted: {change.reason}")
        elif change.after is RiskState.REDUCING:
            entries = [order for order in self._orders.open_orders() if not order.intent.reduce_only]
            self._cancel_each([(order, f"reducing: {change.reason}") for order in entries])
