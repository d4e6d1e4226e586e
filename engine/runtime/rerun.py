"""The other half of ``replay``: a recorded session checked and run again on a core that is given, and told about.

Owns what makes a record fit to be replayed, how much of a damaged one was, and the words of the result.  The comparison
is ``engine.replay``'s; which core decides is wired in ``run.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import msgspec

from engine.core import TradingCore
from engine.errors import JournalError, SessionLocked
from engine.events import SessionStarted
from engine.replay import ReplayRecorder, ReplayResult, replay
from engine.runtime.journal_reader import JournalRecord, ReadReport, read_journal
from engine.runtime.session import Session, find_session, running_process

IDENTICAL, DIFFERS, PARTIAL = 0, 1, 3
"""Exit statuses.  PARTIAL: everything that could be read was identical, but not everything could be read."""


class Rerun(msgspec.Struct):
    """What came out.  ``session`` is the id in the header."""

    session: str
    result: ReplayResult
    report: ReadReport

    @property
    def status(self) -> int:
        """The exit status."""
        if not self.result.identical:
            return DIFFERS
        return PARTIAL if self.report.stopped else IDENTICAL

    def content(self) -> dict[str, Any]:
        """The object of ``replay --json``."""
        result, report = self.result, self.report
        difference = result.first_difference
        return {
            "session": self.session,
            "decisions": result.decisions,
            "recomputed_decisions": result.recomputed_decisions,
            "predictions": result.predictions,
            "events": result.events,
            "identical": result.identical,
            "first_difference": None
            if difference is None
            else {"seq": difference.seq, "recorded": difference.recorded, "replayed": difference.replayed},
            "unfinished": result.unfinished,
            "torn_bytes": report.torn_bytes,
            "partial": bool(report.stopped),
            "damage": report.stopped,
            "left_out_bytes": report.left_out_bytes,
        }

    def show(self, out: TextIO) -> None:
        """For people."""
        result, report = self.result, self.report
        difference = result.first_difference
        if difference is None:
            print(
                f"{self.session}: {'identical as far as it could be read' if report.stopped else 'identical'}; "
                f"{result.events} events, {result.decisions} decisions, "
                f"{result.predictions} predictions ({result.recomputed_decisions} recomputed)",
                file=out,
            )
        else:
            print(f"{self.session}: differs at seq {difference.seq}", file=out)
            print(f"- {difference.recorded or '(nothing)'}", file=out)
            print(f"+ {difference.replayed or '(nothing)'}", file=out)
        if report.stopped:
            print(
                f"partial: read up to record {report.last_seq}, {report.left_out_bytes:,} bytes behind it "
                f"were left out: {report.stopped}",
                file=out,
            )


def open_recorded(sessions: Path, wanted: str) -> Session:
    """The session to replay.  Raises ``DataError`` when there is none, or when its header was changed.

    Raises ``SessionLocked`` while its daemon runs: the two streams are read at different moments, so that records would
    seem to be missing, and the daemon cuts its files when it ends.
    """
    session = Session.open(find_session(sessions, wanted))
    process = running_process(session.path)
    if process:
        raise SessionLocked(
            f"session {session.id} is running (process {process})",
            expected="one that has ended: its journal is still being written",
            do="wait for its end or stop it, or name another session",
        )
    session.check_config()
    return session


def rerun(session: Session, recorder: ReplayRecorder, core: TradingCore, *, salvage: bool = False) -> Rerun:
    """Run ``core`` (built on ``recorder``) over the session's journal.

    ``salvage`` reads a damaged journal up to the damage.  Raises ``JournalError`` for one that cannot be read (with
    ``salvage``: of which nothing can be read), ``DataError`` for one that belongs to another header.
    """
    report = ReadReport()
    records = _checked(session, read_journal(session.journal, report=report, salvage=salvage))
    result = replay(records, recorder, core, _progress())
    if report.stopped and not report.records:
        raise JournalError(f"nothing can be salvaged: {report.stopped}")
    return Rerun(session.header.session, result, report)


def _checked(session: Session, records: Iterator[JournalRecord]) -> Iterator[JournalRecord]:
    """The records, after a look at the first one: it says what the session ran with."""
    for count, recorded in enumerate(records):
        if count == 0:
            started = recorded.record
            if not isinstance(started, SessionStarted):
                raise JournalError(
                    f"the journal in {session.journal} begins with {type(started).__name__}", expected="SessionStarted"
                )
            session.check_started(started)
        yield recorded


def _progress() -> Callable[[int], None] | None:
    """A counter on a terminal's stderr; silence elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(count: int) -> None:
        print(f"\rreplay: {count:,} events", end="", file=sys.stderr, flush=True)

    return show
