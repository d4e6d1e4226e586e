"""Best prices of a market that is told by its levels, for matching: judged as the core judges them.

Owns one instrument's book on paper, and which source of best prices counts.  What is matched against them is
``exchange``.
"""

from __future__ import annotations

from engine.book import OrderBook
from engine.events import BookDelta, BookSnapshot, Quote
from engine.quality.gate import QualityGate
from engine.quality.verdicts import SUSPECT, TIME_ISSUES, is_shown


class Levels:
    """``take`` gives what the best prices are after a change of the book.

    Where the venue tells best prices of their own, the book says nothing: its changes are gathered for a while, and
    would take back what a quote has said since.
    """

    def __init__(self, instrument: str, gate: QualityGate) -> None:
        self.overruled = False
        """The venue tells best prices of their own."""
        self._book = OrderBook(instrument)
        self._gate = gate

    @property
    def is_known(self) -> bool:
        """Whether prices come from here: a snapshot came, and no quote."""
        return self._book.has_levels and not self.overruled

    def take(self, change: BookDelta | BookSnapshot) -> tuple[Quote | None, int]:
        """The best prices when they are new, and what the quality gate says of them; of a change that it refuses, None
        and what it says of that; ``(None, 0)`` for no news."""
        if self.overruled:
            return None, 0
        snapshot = change if type(change) is BookSnapshot else None
        code = self._gate.delta(change) if snapshot is None else self._gate.snapshot(snapshot)  # type: ignore[arg-type]
        if code & 3 and code >> 2 not in TIME_ISSUES:
            self._book.invalidate()
            return None, code
        best = self._book.apply_delta(change) if snapshot is None else self._book.apply_snapshot(snapshot)  # type: ignore[arg-type]
        if code & 3:
            self._book.top.suspect = True
            best = self._book.best(change.ts_event_ns, change.ts_recv_ns) if is_shown(code) else None
            return (best, code) if best is not None and self._gate.is_plausible(best) else (None, code)
        if best is None:
            return None, SUSPECT if self._book.is_broken else 0
        code = self._gate.quote(best)
        if code & 3:
            self._book.top.suspect = True
        else:
            self._book.apply_quote(best)
        return best, code

    def doubt(self) -> None:
        """Nothing is offered until prices come that are believed: those that stand count again when they are told."""
        self._book.top.suspect = True

    def forget(self) -> bool:
        """Changes were lost; True when prices came from here, which nobody knows any more."""
        was_known = self.is_known
        self._book.invalidate()
        return was_known
