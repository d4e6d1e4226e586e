"""A share over the last so many cases: what is new is seen after days of health, and what is old is forgotten."""

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
