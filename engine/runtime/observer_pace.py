"""Does the process that watches models keep up with the record?  What it does without while it does not.

Owns that: when shadows, which cost the most, are not run, and whether what is known is of now.
"""

from __future__ import annotations

from typing import Final

BEHIND_S: Final = 30.0
"""Without having read the record to its end: what is known then is of another time."""
PAUSE_S: Final = (60.0, 3_600.0)
"""How long shadows are not run: the first time, and at most; each time twice as long."""


class Pace:
    """``now_s``: monotonic.  Whoever has begun has time for what was recorded before."""

    def __init__(self, now_s: float) -> None:
        self._end_s = now_s
        self._paused_s = 0.0
        self._pause_s = PAUSE_S[0] / 2
        self.reached = False
        """The end of the record was reached at least once."""
        self.is_paused = False
        """Shadows are not run."""

    def behind_s(self, now_s: float) -> float:
        """Since when the end of the record was not reached."""
        return now_s - self._end_s

    def is_current(self, now_s: float) -> bool:
        """What is known may be told as true."""
        return self.reached and self.behind_s(now_s) <= BEHIND_S

    def read(self, now_s: float, *, to_end: bool, is_over: bool = False) -> str:
        """Some of the record was read.  ``is_over``: nobody waits any more.  What is to be said about it, or empty."""
        if to_end:
            self._end_s, self.reached = now_s, True
        if self.is_paused and (is_over or (to_end and now_s - self._paused_s >= self._pause_s)):
            self.is_paused = False
            return "the end of the record is reached: shadows run again"
        if not (self.is_paused or is_over) and self.behind_s(now_s) > BEHIND_S:
            self.is_paused, self._paused_s = True, now_s
            self._pause_s = min(2 * self._pause_s, PAUSE_S[1])
            return (
                f"the record comes faster than it is watched: its end was not reached for {BEHIND_S:.0f} s; no shadow "
                f"is run for {self._pause_s:.0f} s at least, and nothing is judged until its end is reached"
            )
        return ""
