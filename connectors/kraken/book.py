"""One of Kraken's books of a fixed depth, as the venue wants it kept, with the checksum that proves it.

Owns levels by their exact text, as the checksum is of text.  The venue tells no removal of a level that is pushed out
of the depth: that is the reader's to do, and one that comes back in is told again.  Source: Kraken WebSocket v1, "book"
and "book checksum".
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from zlib import crc32

_CHECKED = 10
"""Levels of each side that the checksum is of."""

Row = list[str]
"""Price, size, time, and for a level that came back in, ``r``."""


class Book:
    """Both sides.  Changes are returned as ``BookDelta`` has them: ``(side, px, qty)``."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._texts: dict[int, dict[float, tuple[str, str]]] = {1: {}, -1: {}}
        self._keys: dict[int, list[float]] = {1: [], -1: []}
        """Prices with the best one first: those of bids negated."""

    def change(self, side: int, rows: Iterable[Row]) -> list[tuple[int, float, float]]:
        """Levels of one side, told.  Raises ``ValueError`` for what is no number, ``IndexError`` for a short row."""
        texts, keys = self._texts[side], self._keys[side]
        made = []
        for row in rows:
            px, qty = float(row[0]), float(row[1])
            key = -px if side > 0 else px
            if not qty > 0.0:
                if texts.pop(px, None) is not None:
                    del keys[bisect_left(keys, key)]
                made.append((side, px, 0.0))
                continue
            if px not in texts:
                insort(keys, key)
            texts[px] = (row[0], row[1])
            made.append((side, px, qty))
        return made

    def cut(self, side: int) -> list[tuple[int, float, float]]:
        """Levels beyond the depth, taken out."""
        keys = self._keys[side]
        over = [-key if side > 0 else key for key in keys[self._depth :]]
        del keys[self._depth :]
        for px in over:
            del self._texts[side][px]
        return [(side, px, 0.0) for px in over]

    def checksum(self) -> int:
        """CRC-32 of the best ten asks and the best ten bids: prices and sizes without point and leading zeros."""
        parts: list[str] = []
        for side in (-1, 1):
            texts = self._texts[side]
            for key in self._keys[side][:_CHECKED]:
                px, qty = texts[-key if side > 0 else key]
                parts += (px.replace(".", "").lstrip("0"), qty.replace(".", "").lstrip("0"))
        return crc32("".join(parts).encode())
