"""Which levels of a book differ from what was last told: the source of level-2 updates.

Owns the difference, nothing else.  Exact and bounded by the size of the book, whether anybody drains it or not.
"""

from __future__ import annotations

from decimal import Decimal

from connectors.matching.book import BookSide
from engine.events import Side

Change = tuple[Side, Decimal, Decimal]
"""``(side, px, new total qty)``; quantity 0 means that the level is gone."""

_ZERO = Decimal(0)
_PRUNE_ABOVE = 4096


class LevelChanges:
    """Marks touched levels and compares them with what the last ``drain`` told."""

    __slots__ = ("_asks", "_bids", "_dirty", "_told")

    def __init__(self, bids: BookSide, asks: BookSide) -> None:
        self._bids = bids
        self._asks = asks
        self._dirty: dict[tuple[Side, Decimal], None] = {}  # a dict keeps the order of the first touch
        self._told: dict[tuple[Side, Decimal], Decimal] = {}

    def mark(self, side: Side, px: Decimal) -> None:
        dirty = self._dirty
        dirty[side, px] = None
        size = len(dirty)
        if size > _PRUNE_ABOVE and size > 4 * (len(self._bids) + len(self._asks) + len(self._told)):
            # Nobody drains: levels that came and went without being told can no longer make a difference.
            self._dirty = {key: None for key in dirty if key in self._told or self._qty(*key)}

    def drain(self) -> list[Change]:
        """Levels that differ from what the last call told, in the order of their first touch since."""
        out: list[Change] = []
        told = self._told
        for key in self._dirty:
            qty = self._qty(*key)
            if qty == told.get(key, _ZERO):
                continue
            if qty:
                told[key] = qty
            else:
                del told[key]
            out.append((key[0], key[1], qty))
        self._dirty.clear()
        return out

    def _qty(self, side: Side, px: Decimal) -> Decimal:
        return (self._bids if side is Side.BUY else self._asks).qty_at(px)
