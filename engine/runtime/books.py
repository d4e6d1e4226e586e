"""Books that make no sense for too long: their venue is asked to tell them anew.

Owns since when, and how often a venue is asked.  That entries wait meanwhile is the core's (``Top.crossed``), how a
book is asked for is the venue's.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from engine.core import TradingCore
from engine.ports import Venue

BEAR_NS = 5_000_000_000
"""Crossed, locked or one-sided for so long is no passing moment between two changes."""
AGAIN_MAX_NS = 300_000_000_000


@runtime_checkable
class Renews(Protocol):
    """A venue that can tell a book anew."""

    def renew(self, instrument: str, attempt: int) -> None: ...


class BookWatch:
    """``look`` is to be called about once a second.  The first question comes after ``BEAR_NS``, each further one after
    twice the time of the one before; a book that makes sense again begins anew."""

    def __init__(self, core: TradingCore, venue: Venue) -> None:
        self.asked = 0
        self._core = core
        self._renew = venue.renew if isinstance(venue, Renews) else None
        self._broken: dict[str, tuple[int, int]] = {}  # instrument -> (when to ask, attempts so far)

    def look(self, now_ns: int) -> None:
        if self._renew is None:
            return
        for name, lane in self._core.lanes.items():
            known = self._broken.get(name)
            if not lane.book.is_broken:
                if known is not None and lane.book.has_levels:
                    del self._broken[name]
            elif known is None:
                self._broken[name] = (now_ns + BEAR_NS, 0)
            elif now_ns >= known[0]:
                attempt = known[1] + 1
                self._broken[name] = (now_ns + min(BEAR_NS << attempt, AGAIN_MAX_NS), attempt)
                self.asked += 1
                self._renew(name, attempt)
