"""When a transaction that is missing in the venue's answers does not exist: pure.

Owns that judgement.  Ids count up without gaps as far as anybody knows; where one is missing all the same, an account
whose reading waits for it would stay blind for good.
"""

from __future__ import annotations

ANSWERS, LONG_NS = 4, 5_000_000_000
"""So many answers that go on behind the same number, for so long, are no delay: what is written is readable within a
second."""


class Holes:
    """``passed`` counts those that were gone over."""

    def __init__(self) -> None:
        self.passed = 0
        self._number = 0
        self._since_ns = 0
        self._answers = 0

    def is_hole(self, number: int, recv_ns: int) -> bool:
        """Asked once for each answer that lacks ``number`` and has something behind it."""
        if self._number != number:
            self._number, self._since_ns, self._answers = number, recv_ns, 0
        self._answers += 1
        return self._answers >= ANSWERS and recv_ns - self._since_ns >= LONG_NS
