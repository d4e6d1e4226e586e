"""The state that risk is in, as the core changes it: breakers, an operator's commands, a journal that takes nothing.

Owns why it is in that state, and that each change is on record before it is obeyed.  Which changes there may be is the
gate's (``engine.ports.RiskGate``), what they do to orders the desk's.
"""

from __future__ import annotations

from collections.abc import Callable

from engine import events as e
from engine.codec import Record
from engine.commands import RiskState, RiskStateChanged
from engine.errors import JournalError
from engine.portfolio import Mark, Portfolio
from engine.ports import Recorder, RiskGate
from engine.view import CoreView

JOURNAL_HALT = "journal: "
"""How the reason of a halt for the journal's sake begins; replay knows it by this."""

REASON_MAX = 400
"""Characters of a reason that a next session takes over."""
REASONS_KEPT = 8
"""That came while risk was stopped already."""
_LEFT = "left by session "


class RiskLatch:
    """``obey`` is told of each change once it is on record; ``insist`` asks again for what the state wants."""

    def __init__(
        self,
        *,
        gate: RiskGate,
        recorder: Recorder,
        portfolio: Portfolio,
        view: CoreView,
        obey: Callable[[RiskStateChanged], None],
        insist: Callable[[], None],
    ) -> None:
        self._gate = gate
        self._recorder = recorder
        self._portfolio = portfolio
        self._view = view
        self._obey = obey
        self._insist = insist
        self._journal_refuses = False
        self.reason = ""
        """What brought risk into the state that it is in."""
        self.other_reasons: list[str] = []
        """What would have done so too, or had done less before: ``resume`` ends that as well, and whoever types it has
        to know.  The first ones.  What a breaker goes on seeing is not among them: it stops risk again."""

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
            if not isinstance(event, e.Resumed):
                self._note(f"{event.source}: {event.reason}")
            self._insist()  # said again: what it did not achieve is tried again

    def on_journal_failed(self, event: e.JournalFailed) -> None:
        self.halt_for_journal(event.text)

    def put_on_record(self, record: Record) -> bool:
        """Whether a decision is on record; where the journal takes it not, trading halts."""
        try:
            self._recorder.record(record)
        except JournalError as error:
            self.halt_for_journal(error.seen)
            return False
        return True

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
            self._note(reason)
        else:
            self.halt(reason)
        self._journal_refuses = True

    def halt(self, reason: str) -> None:
        """The core's own kill switch."""
        self._stop(RiskState.HALTED, reason)

    def reduce(self, reason: str) -> None:
        """No new risk until an operator has looked."""
        self._stop(RiskState.REDUCING, reason)

    def go_on_in(self, state: RiskState, session: str, reason: str) -> None:
        """What an earlier session has latched holds in this one.  The reason names the last session and the first
        cause, however many there were in between."""
        while reason.startswith(_LEFT) and ": " in reason:
            reason = reason.partition(": ")[2]
        self._stop(state, f"{_LEFT}{session}: {reason}"[:REASON_MAX])

    def _stop(self, state: RiskState, reason: str) -> None:
        if not self._latch(state, reason):
            self._note(reason)

    def _note(self, reason: str) -> None:
        if reason not in (self.reason, *self.other_reasons) and len(self.other_reasons) < REASONS_KEPT:
            self.other_reasons.append(reason)

    def _latch(self, state: RiskState, reason: str) -> bool:
        change = self._gate.latch(state, reason, self._view.now_ns)
        self._changed(change)
        return change is not None

    def _changed(self, change: RiskStateChanged | None) -> None:
        if change is None:
            return
        if change.after is RiskState.ACTIVE:
            self.other_reasons.clear()
        elif change.before is not RiskState.ACTIVE:
            self.other_reasons.insert(0, self.reason)
            del self.other_reasons[REASONS_KEPT:]
        self._view.risk_state = change.after
        self.reason = change.reason
        self._recorder.record(change)
        self._obey(change)
