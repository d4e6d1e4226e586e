"""How long the disk will take what a session writes, and an alarm long before it is full.

Owns the forecast.  What happens on a full disk is the journal's and the desk's: trading halts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALARM_BYTES = 2 << 30
"""Less free than that is told at once, ..."""
ALARM_NS = 24 * 3_600_000_000_000
"""... and so is more, where it is used up in a day."""
_LOOK_NS = 30_000_000_000
_PACE_NS = 600_000_000_000
"""A pace is known after that long; the first minutes of a session write more than the rest."""


class DiskWatch:
    """Of one session in ``folder``.  ``used_bytes``: what its journal has written so far; ``now_ns``: a clock."""

    def __init__(self, folder: Path, used_bytes: Callable[[], int], now_ns: Callable[[], int]) -> None:
        self._folder = folder
        self._used_bytes = used_bytes
        self._now_ns = now_ns
        self._begun: tuple[int, int] | None = None  # ns, bytes
        self._looked_ns = 0
        self._told_bytes = 0
        self.free_bytes: int | None = None
        """At the last look; None where nobody could say."""
        self.left_ns: int | None = None
        """How long that lasts at the session's pace; None while there is none."""

    def look(self, log: Any) -> None:
        """About once a second; told to ``log`` once, and again whenever half of what was free then is gone."""
        now_ns = self._now_ns()
        if self._begun is not None and now_ns - self._looked_ns < _LOOK_NS:
            return
        self._looked_ns = now_ns
        try:
            self.free_bytes = free = shutil.disk_usage(self._folder).free
        except OSError:
            self.free_bytes = self.left_ns = None
            return
        used = self._used_bytes()
        self._begun = self._begun or (now_ns, used)
        passed_ns, grown = now_ns - self._begun[0], used - self._begun[1]
        self.left_ns = free * passed_ns // grown if passed_ns >= _PACE_NS and grown > 0 else None
        if free >= ALARM_BYTES and (self.left_ns is None or self.left_ns >= ALARM_NS):
            self._told_bytes = 0
        elif not self._told_bytes or free <= self._told_bytes // 2:
            self._told_bytes = free
            log.error(
                "the disk is filling: when it is full trading halts; remove old sessions: python run.py sessions prune",
                free_mb=free >> 20,
                hours_left=self.hours_left,
            )

    @property
    def hours_left(self) -> float | None:
        return None if self.left_ns is None else round(self.left_ns / 3.6e12, 1)
