"""When instruments trade, as far as somebody has said until when: judged by the time of events, never by a clock.

Owns the schedules that were told (``SessionScheduled``), and whether one is open at a moment.  Where hours come from is
the connectors': the venue's own word, and a compiled calendar (``engine.data.calendars``) only where the venue gives
none.  A schedule closes by itself.  It opens nothing that a state of the venue holds shut (``engine.venues``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.events import SessionScheduled


class TradingHours:
    """Of one core.  ``now_ns`` is the time of the event that is handled."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._sessions: dict[tuple[str, str], SessionScheduled] = {}
        self._was_open: dict[tuple[str, str], bool] = {}

    def take(self, event: SessionScheduled) -> None:
        """The newest word stands; one without times says that nobody knows."""
        key = (event.venue, event.instrument)
        if event.closes_ns:
            self._sessions[key] = event
            self._was_open.setdefault(key, True)
        else:
            self._sessions.pop(key, None)
            self._was_open.pop(key, None)

    def has_turned(self) -> bool:
        """Whether anything has opened or closed since this was asked last."""
        found = False
        for key, session in self._sessions.items():
            is_open = session.opens_ns <= self._now_ns() < session.closes_ns
            found |= is_open is not self._was_open[key]
            self._was_open[key] = is_open
        return found

    def is_scheduled(self, venue: str, instrument: str) -> bool:
        return bool(self._sessions) and self._find(venue, instrument) is not None

    def why_closed(self, venue: str, instrument: str) -> str:
        """Empty while its session is open, and where nobody has said until when it is."""
        session = self._find(venue, instrument)
        if session is None:
            return ""
        now_ns = self._now_ns()
        if now_ns < session.opens_ns:
            return f"{instrument} is closed: it opens at {_utc(session.opens_ns)} ({session.source})"
        if now_ns >= session.closes_ns:
            return f"{instrument} is closed: its session ended at {_utc(session.closes_ns)} ({session.source})"
        return ""

    def _find(self, venue: str, instrument: str) -> SessionScheduled | None:
        """The instrument's own hours come before those of the whole venue."""
        own = self._sessions.get((venue, instrument))
        return self._sessions.get((venue, "")) if own is None else own


def _utc(ts_ns: int) -> str:
    return f"{np.datetime64(ts_ns, 'ns').astype('datetime64[s]')}Z"
