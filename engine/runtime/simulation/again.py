"""The sessions of a seed run again from their journals alone (I7).

Owns which sessions there are and what is said of one that decides otherwise.  The comparison is ``engine.replay``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from pathlib import Path

from engine.core import TradingCore
from engine.errors import JournalError
from engine.ports import Recorder
from engine.replay import ReplayRecorder, replay
from engine.runtime.journal_reader import ReadReport, read_journal
from engine.runtime.session import order_prefix

MakeCore = Callable[[Recorder, str, int], TradingCore]


def differences(sessions: Path, make_core: MakeCore, spoiled: Container[str]) -> Iterator[str]:
    """One line for each session that cannot be read or decides otherwise.  ``make_core`` as the sessions had it;
    ``spoiled``: those whose journal has been made unreadable."""
    for path in sorted(sessions.iterdir()):
        if path.name in spoiled or not list((path / "journal").glob("*.seg")):
            continue  # it never came so far
        recorder, report = ReplayRecorder(), ReadReport()
        core = make_core(recorder, order_prefix(path.name), int(path.name.removeprefix("s")))
        try:
            found = replay(read_journal(path / "journal", report=report), recorder, core).first_difference
        except JournalError as error:
            yield f"the journal of session {path.name} cannot be read: {error}"
            continue
        if found is not None:
            yield (
                f"session {path.name} decides otherwise at {found.seq}: recorded {found.recorded or 'nothing'}, "
                f"replayed {found.replayed or 'nothing'}"
            )
