"""What came already, while two connections tell the same.

Owns the newest number of each stream that has numbers and no memory of its own: best prices and candles.  Trades are
known by their ids, changes of books by the numbers of their updates (``depth``).
"""

from __future__ import annotations


class Overlap:
    """``active`` from the opening of a second connection until one is left."""

    __slots__ = ("_newest", "active")

    def __init__(self) -> None:
        self.active = False
        self._newest: dict[str, int] = {}

    def begin(self) -> None:
        self.active = True

    def end(self) -> None:
        self.active = False
        self._newest.clear()

    def is_told(self, stream: str, number: int) -> bool:
        """Whether this message of a stream, or a newer one, came before."""
        if number <= self._newest.get(stream, -1):
            return True
        self._newest[stream] = number
        return False
