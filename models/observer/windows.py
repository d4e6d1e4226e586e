"""What was so of late: a share of the last so many cases, and since when somebody speaks.

What is new is seen after days of health, and what is old is forgotten.
"""

from __future__ import annotations

import numpy as np


class Recent:
    """Yes or no of the last ``size`` cases."""

    def __init__(self, size: int) -> None:
        self._held = np.zeros(size, bool)
        self._next = 0
        self.count = 0
        """Cases that are held."""
        self.yes = 0
        """Of them."""

    def add(self, is_so: bool) -> None:
        at = self._next
        self.yes += int(is_so) - int(self._held[at])
        self._held[at] = is_so
        self._next = (at + 1) % len(self._held)
        self.count = min(self.count + 1, len(self._held))

    def clear(self) -> None:
        self._held[:] = False
        self._next = self.count = self.yes = 0


class Spoken:
    """The last stretch of time without a break in which a model was asked and answered.  ``begun`` is the row with
    which its feed began anew: before its first answer after that it is cold."""

    def __init__(self) -> None:
        self._since_ns = self._until_ns = 0
        self._begun = -1
        self._may = True

    def add(self, ts_ns: int, begun: int) -> None:
        """An answer about the row of that time."""
        if self._may and (self._until_ns or begun != self._begun):
            self._since_ns, self._until_ns, self._begun = ts_ns, 0, begun

    def allow(self, may: bool, now_ns: int) -> None:
        """Whether it is asked from now on."""
        if not may and self._may and not self._until_ns:
            self._until_ns = max(now_ns, 1)
        self._may = may

    def holds(self, ts_ns: int, begun: int) -> bool:
        if self._begun != begun or ts_ns < self._since_ns:
            return False
        return not self._until_ns or ts_ns < self._until_ns
