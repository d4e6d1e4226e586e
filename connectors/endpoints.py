"""Which of a venue's addresses is used: the first that works, in the order given.

Owns the count of failures and the way back.  Dials nothing and reads no clock: ``now_s`` is given (any monotonic
clock), and what counts as a failure is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf


class Endpoints:
    """``urls``, the preferred first.

    After ``failures_max`` failures in a row the next one is used, after the last the first again.  Another address than
    the preferred is left at the first ``current`` that comes ``back_after_s`` after the preferred was given up
    (``math.inf``: never while it works); a preferred one that fails on that try is given up at once.
    """

    def __init__(self, urls: Sequence[str], *, failures_max: int = 3, back_after_s: float = 300.0) -> None:
        if not urls or failures_max < 1 or back_after_s <= 0:
            raise ValueError(
                f"endpoints need an address, failures_max >= 1, back_after_s > 0: {urls=} {failures_max=} "
                f"{back_after_s=}"
            )
        self.urls = tuple(urls)
        self.moves = 0
        """How often another address was taken, ways back included."""
        self._failures_max = failures_max
        self._back_after_s = back_after_s
        self._index = 0
        self._failures = 0
        self._left_s = inf
        self._on_trial = False

    def __len__(self) -> int:
        return len(self.urls)

    def current(self, now_s: float) -> str:
        """The address to try now."""
        if self._index and now_s - self._left_s >= self._back_after_s:
            self._move(0)
            self._on_trial = True
        return self.urls[self._index]

    def failed(self, now_s: float) -> bool:
        """The current address gave nothing; True when another one is current from now on."""
        self._failures += 1
        if len(self.urls) == 1 or (self._failures < self._failures_max and not self._on_trial):
            return False
        if self._index == 0:
            self._left_s = now_s
        self._move((self._index + 1) % len(self.urls))
        return True

    def succeeded(self) -> None:
        """The current address gave what was asked of it."""
        self._failures = 0
        self._on_trial = False

    def _move(self, index: int) -> None:
        self._index = index
        self._failures = 0
        self._on_trial = False
        self.moves += 1
