"""Holes in a series of rows: missing bars, silence, and what a closed market explains.

Owns the measure of a hole in open hours (``engine.data.sessions`` knows these).  Bars: every step of the interval
inside a hole is asked for; ticks: every minute of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.data.sessions import Market, bars_expected, is_open

Times = npt.NDArray[np.int64]

SILENCE_NS: Final = 3_600 * 10**9
"""Open hours without a row from which ticks are called silent."""
LONG_NS: Final = 86_400 * 10**9
"""Open hours missing from which a hole is one between separate recordings rather than a number of missing bars."""
_MINUTE_NS: Final = 60 * 10**9
_STEPS_MAX: Final = 1_000_000
"""Steps of a hole that are asked for one by one; a longer hole is long, whatever the market."""


class Holes:
    """Counts holes; ``add`` times in any order within a table (they are sorted), tables in order.

    ``breaks`` are the times, in the last table, of rows that follow a long hole: their prices go on from nothing.
    """

    def __init__(self, kind: str, market: Market, interval_ns: int = 0) -> None:
        self.breaks: Times = np.zeros(0, np.int64)
        self._begun = False
        self._market = market
        self._interval_ns = interval_ns
        self._counted = kind in ("bars", "quote_bars") if interval_ns else kind in _TICKS
        self._last: int | None = None
        self._first: int | None = None
        self._counts: Counter[str] = Counter()

    def follow(self, before: Holes) -> None:
        """Go on where another left off."""
        self._last, self._first, self._begun = before._last, before._first, before._begun

    def add(self, times: Times) -> None:
        if not self._counted or not times.size:
            return
        times = np.sort(times)
        if self._last is not None:
            times = np.concatenate((np.array([self._last], np.int64), times))
        else:
            self._first = int(times[0])
        self._last = int(times[-1])
        if self._interval_ns:
            self._bars(times)
        else:
            self._ticks(times)

    def finish(self) -> Counter[str]:
        return +self._counts

    def _bars(self, times: Times) -> None:
        step = self._interval_ns
        spans = np.diff(times)
        fresh = times[-spans.size :] if self._begun else times
        self._begun = True
        self._counts["off_grid"] += int(((fresh - (self._first or 0)) % step != 0).sum())
        at = np.flatnonzero(spans > step)
        missing = (spans[at] - 1) // step
        short = missing <= _STEPS_MAX
        expected = np.where(short, 0, _STEPS_MAX)
        expected[short] = self._expected(times[at[short]], missing[short])
        long = expected * step >= max(LONG_NS, 3 * step)
        self._counts["session_holes"] += int((expected == 0).sum())
        self._counts["long_holes"] += int(long.sum())
        self._counts["missing_bars"] += int(expected[~long].sum())
        self.breaks = times[at[long] + 1]

    def _expected(self, before: Times, missing: Times) -> Times:
        """How many bars of each hole the session should have: all their steps are asked for at once."""
        total = int(missing.sum())
        if not total:
            return missing
        first = np.cumsum(missing) - missing
        number = np.arange(total, dtype=np.int64) - np.repeat(first, missing) + 1
        steps = np.repeat(before, missing) + number * self._interval_ns
        due = bars_expected(self._market, steps, self._interval_ns).astype(np.int64)
        return np.add.reduceat(due, first)

    def _ticks(self, times: Times) -> None:
        spans = np.diff(times)
        at = np.flatnonzero(spans >= SILENCE_NS)
        for number, span in zip(at, spans[at], strict=True):
            minutes = int(span // _MINUTE_NS)
            if minutes > _STEPS_MAX:
                self._counts["long_holes"] += 1
                continue
            steps = times[number] + _MINUTE_NS * np.arange(minutes, dtype=np.int64)
            silent_ns = int(is_open(self._market, steps).sum()) * _MINUTE_NS
            self._counts["silences" if silent_ns >= SILENCE_NS else "session_holes"] += 1


_TICKS: Final = frozenset({"quotes", "side_quotes", "trades", "book_deltas", "book10", "orders"})
