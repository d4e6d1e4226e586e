"""ADWIN: has the mean of a stream changed?  A window that drops its older part as soon as it differs from the newer.

A. Bifet, R. Gavaldà, Learning from Time-Changing Data with Adaptive Windowing (SIAM 2007), the version with
exponential histograms (ADWIN2).  Memory is ``5 log2(n)`` buckets, whatever the length of the stream.  Sides of a cut
count as MOA and river count them, less the fewest that they may have: few values need a greater difference.
"""

from __future__ import annotations

import math
from typing import Final

_BUCKETS: Final = 5
"""Of one size, before two of them become one of twice the size."""
_LEAST: Final = 5
"""Values on each side of a cut."""
_CLOCK: Final = 32
"""Values between two looks for a cut."""
_LEVELS_MAX: Final = 40
"""Sizes of buckets, the largest of 2^39 values: no stream is longer."""


class Adwin:
    """Values are in 0 to 1.  ``delta``: how likely a change is seen where there is none, for each look.

    With ``for_all`` it is so for all looks together: the k-th is made at ``6 delta / (pi k)^2``, and their sum is
    ``delta``.
    """

    def __init__(self, delta: float, *, for_all: bool = False) -> None:
        self._delta = delta
        self._for_all = for_all
        self._looks = 0
        # By size 2^level: buckets as (sum, sum of squared deviations), the oldest first.
        self._levels: list[list[tuple[float, float]]] = [[]]
        self.count = 0
        self._total = 0.0
        self._deviation = 0.0
        self._since = 0
        self.changes = 0
        """Cuts so far."""
        self.rose = False
        """Of the last cut: the newer mean was the greater one."""

    @property
    def mean(self) -> float:
        """Of what is still in the window; 0 before the first value."""
        return self._total / self.count if self.count else 0.0

    def add(self, value: float) -> bool:
        """Take a value in; True when a change was seen, and what precedes it was dropped."""
        if self.count:
            self._deviation += self.count * (value - self.mean) ** 2 / (self.count + 1)
        self._levels[0].append((value, 0.0))
        self.count += 1
        self._total += value
        self._compress()
        self._since += 1
        if self._since < _CLOCK or self.count < 2 * _LEAST:
            return False
        self._since = 0
        return self._cut()

    def _compress(self) -> None:
        for level, buckets in enumerate(self._levels):
            if len(buckets) <= _BUCKETS or level == _LEVELS_MAX:
                return
            (first, first_deviation), (second, second_deviation) = buckets.pop(0), buckets.pop(0)
            size = 2.0**level
            between = (first - second) ** 2 / (2.0 * size)
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append((first + second, first_deviation + second_deviation + between))

    def _cut(self) -> bool:
        """Drop the oldest buckets as long as some cut shows two means."""
        self._looks += 1
        found = False
        while (rose := self._differs()) is not None:
            found, self.rose = True, rose
            self._drop_oldest()
        self.changes += found
        return found

    def _differs(self) -> bool | None:
        """Whether the newer mean is greater, of the first cut whose sides differ; None where none does."""
        count, total = float(self.count), self._total
        variance = self._deviation / count
        delta = 6.0 * self._delta / (math.pi * self._looks) ** 2 if self._for_all else self._delta
        strict = math.log(2.0 * math.log(count) / delta)
        older, older_total = 0.0, 0.0
        for level in range(len(self._levels) - 1, -1, -1):
            for bucket, _ in self._levels[level]:
                older += 2.0**level
                older_total += bucket
                newer = count - older
                if newer < _LEAST:
                    return None
                if older < _LEAST:
                    continue
                harmonic = 1.0 / (older - _LEAST + 1.0) + 1.0 / (newer - _LEAST + 1.0)
                bound = math.sqrt(2.0 * harmonic * variance * strict) + 2.0 / 3.0 * harmonic * strict
                gap = (total - older_total) / newer - older_total / older
                if abs(gap) > bound:
                    return gap > 0.0
        return None

    def _drop_oldest(self) -> None:
        level = len(self._levels) - 1
        total, deviation = self._levels[level].pop(0)
        size = 2.0**level
        self.count -= int(size)
        self._total -= total
        mean = total / size
        if self.count:
            between = size * self.count * (mean - self.mean) ** 2 / (size + self.count)
            self._deviation = max(self._deviation - deviation - between, 0.0)
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()
