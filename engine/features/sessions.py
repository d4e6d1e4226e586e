"""When an instrument's market is open: the session that a time lies in, or the next one.

Owns the lookup.  Which calendar an instrument follows is part of the instrument (``session_calendar``).
"""

from __future__ import annotations

from engine.instruments import Instrument

_DAY_NS = 86_400_000_000_000


class Sessions:
    """Sessions of one calendar.  A market that never closes has one session a UTC day."""

    @classmethod
    def of(cls, instrument: Instrument) -> Sessions:
        return cls()

    def around(self, ts_ns: int) -> tuple[int, int]:
        """Opening and close (ns) of the session that holds ``ts_ns``, else of the next one; ``open <= t < close``."""
        begin = ts_ns - ts_ns % _DAY_NS
        return begin, begin + _DAY_NS
