"""The bus: gives every record its ``seq``, journals it, hands it to the core and the core's commands to the router.

It is the only caller of the core.  Events that arrive while one is being handled (a gateway that refuses at once, say)
wait their turn in a bounded queue: the core is never entered twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from engine.codec import Record
from engine.commands import CancelOrder, Command, NewOrder, ReplaceOrder, RiskState
from engine.core import TradingCore
from engine.errors import JournalError
from engine.events import (
    MARKET_TYPES,
    CancelRejected,
    Halted,
    InputEvent,
    OrderOutcomeUnknown,
    PredictionMade,
    Quote,
    ReplaceOutcomeUnknown,
)
from engine.intents import said
from engine.ports import Journal, Probe, Router
from engine.router import refusal_of

WAITING_MAX = 65536
"""Events that may wait while one is handled.  Policy when full: quotes are dropped and counted, nothing else is."""

LOSABLE_TYPES = frozenset({*MARKET_TYPES, PredictionMade})
"""Events that come at the pace of the market: one that the journal has no room for is lost, and trading halts."""

PLAIN_HALT = "halt"
"""Source of the halt that stands in for one that the journal could not write."""


class EventBus:
    """Also the ``Recorder`` of the core: derived records take the following numbers of the same ``seq``.

    ``on_error(text, error)`` is told of a defect of ours inside the core and of a dead journal; trading is halted by
    then.
    """

    def __init__(self, journal: Journal, probe: Probe, on_error: Callable[[str, Exception], None]) -> None:
        self.seq = 0
        self.dead = ""
        self._journal = journal
        self._probe = probe
        self._on_error = on_error
        self._core: TradingCore | None = None
        self._router: Router | None = None
        self._busy = False
        self._waiting: deque[InputEvent] = deque()
        self.waiting_dropped = 0
        self.unjournaled = 0
        """Market events lost because the journal had no room for them."""

    def attach(self, core: TradingCore, router: Router) -> None:
        """Must be called before the first ``publish``."""
        self._core = core
        self._router = router

    def publish(self, event: InputEvent) -> None:
        """Handle an event now, or after the one being handled."""
        if self._busy:
            if len(self._waiting) >= WAITING_MAX and isinstance(event, Quote):
                self.waiting_dropped += 1
                return
            self._waiting.append(event)
            return
        self._busy = True
        try:
            self._handle(event)
            waiting = self._waiting
            while waiting:
                self._handle(waiting.popleft())
        finally:
            self._busy = False

    @property
    def waiting(self) -> int:
        """Events that wait while one is handled."""
        return len(self._waiting)

    def record(self, record: Record) -> int:
        """Journal a derived record; returns its ``seq``."""
        seq = self.seq + 1
        self._journal.append(seq, record)
        self.seq = seq
        return seq

    def _handle(self, event: InputEvent) -> None:
        core, router = self._core, self._router
        if core is None or router is None:
            raise RuntimeError("attach() comes before publish()")
        if self.dead:
            return
        probe = self._probe
        probe.begin(event.ts_recv_ns)
        seq = self.seq + 1
        try:
            self._journal.append(seq, event)
        except JournalError as error:
            self._not_journaled(core, event, error)
            return
        self.seq = seq
        probe.mark(1)
        try:
            commands = core.on_event(event)
        except JournalError as error:
            self._send_cancels(core.commands, event, router)
            self._die(error)
            return
        except Exception as error:
            self._core_failed(core, router, seq, event, error)
            return
        if commands:
            for command in commands:
                try:
                    router.send(command)
                except Exception as error:
                    self._not_sent(command, event, error)
            probe.mark(8)
        probe.end()

    def _core_failed(self, core: TradingCore, router: Router, seq: int, event: InputEvent, error: Exception) -> None:
        """A defect of ours.  Fail closed: no new risk, but cancels and account facts go on.

        What the event had put on record before is not lost: its cancels leave, its orders are told as refused.
        """
        core.counters.core_errors += 1
        now_ns = event.ts_recv_ns
        first: list[InputEvent] = [
            refusal_of(command, "core_failed", ts_ns=now_ns)
            for command in core.commands
            if type(command) is not CancelOrder
        ]
        if type(event) is not Halted:
            first.append(Halted(now_ns, now_ns, "core", said(error)))
        self._waiting.extendleft(reversed(first))
        self._send_cancels(core.commands, event, router)
        self._on_error(f"core failed on {type(event).__name__} {seq}", error)

    def _send_cancels(self, commands: Sequence[Command], event: InputEvent, router: Router) -> None:
        for command in commands:
            if type(command) is CancelOrder:
                try:
                    router.send(command)
                except Exception as error:
                    self._not_sent(command, event, error)

    def _not_sent(self, command: Command, event: InputEvent, error: Exception) -> None:
        """A gateway raised, which is a defect of ours: nobody knows whether the bytes left.

        An order is unknown until the venue has told; a cancel is told as refused, so that it is asked for again.  The
        time is that of ``event``: a held order was written down long before it was sent.
        """
        now_ns, venue, name = event.ts_recv_ns, command.venue, command.client_order_id
        first: list[InputEvent] = []
        if isinstance(command, NewOrder):
            first.append(OrderOutcomeUnknown(now_ns, now_ns, venue, name, "send_failed"))
        elif type(command) is ReplaceOrder:
            first.append(ReplaceOutcomeUnknown(now_ns, now_ns, venue, name, "send_failed"))
        else:
            first.append(CancelRejected(now_ns, now_ns, venue, name, "send_failed"))
        first.append(Halted(now_ns, now_ns, "gateway", f"{type(error).__name__} while sending"))
        self._waiting.extendleft(reversed(first))
        self._on_error(f"{type(command).__name__} {name} could not be handed to {venue}", error)

    def _not_journaled(self, core: TradingCore, event: InputEvent, error: JournalError) -> None:
        """What is not on record did not happen: the core must not act on it.

        A market event or a prediction that finds no room is lost and trading halts, by a record in what the journal
        keeps in reserve, so that open orders can still be cancelled.  Anything else that finds no room is the end.
        """
        if type(event) is Halted and event.source != PLAIN_HALT:
            # Its words may be what cannot be written; the kill switch works without them.
            now_ns = event.ts_recv_ns
            self._waiting.appendleft(Halted(now_ns, now_ns, PLAIN_HALT, "its text is not on record"))
            self._on_error("a halt could not be recorded as it was given", error)
            return
        if type(event) not in LOSABLE_TYPES:
            self._die(error)
            return
        self.unjournaled += 1
        if core.risk_state is not RiskState.HALTED and not any(type(next_one) is Halted for next_one in self._waiting):
            self._on_error("the journal takes no more market data; trading halts", error)
            self._waiting.append(Halted(event.ts_recv_ns, event.ts_recv_ns, "journal", error.seen[:300]))

    def _die(self, error: JournalError) -> None:
        self.dead = str(error)
        self._on_error("the journal takes no more records; nothing is sent any more", error)
