"""Where a stream of book changes and a snapshot of the book meet, and whether a change follows on the one before.

Owns the alignment of one symbol: what waits for a snapshot, what is old, where messages are missing.  Asks for no
snapshot (the caller does when ``wants_snapshot``) and keeps no book once the two have met: that is the core's.

Rules (Binance, "how to manage a local order book").  Spot numbers each change of the book; a message covers the ids
``U`` to ``u`` and the next begins at ``u + 1``.  Futures number across symbols, so ids have holes; there ``pu`` names
the ``u`` before.  Both come to the same: a message *follows on* an id, ``pu`` or ``U - 1``.  The first one behind a
snapshot must follow on an id that the snapshot has and end behind it; every later one must follow on the one before
exactly.
The venue's text for futures asks that the first message has ``U <= lastUpdateId``; a snapshot taken in a hole between
``pu`` and ``U`` lacks nothing either, and is taken here too.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from connectors.binance.wire import DepthUpdate, Level, PartialDepth

WAITING_MAX = 4096
"""Changes kept while a snapshot is on its way, the newest: at 100 ms almost seven minutes."""
OLD_MAX = 100
"""So many old changes in a row are none: the venue has begun to count anew, or a number was wrong."""


# What a change is to the book as it stands.  Plain numbers: members of an enum are slow to reach in CPython 3.11.
FOLLOWS: Final = 0
WAITS: Final = 1
"""No book yet: kept until a snapshot comes."""
OLD: Final = 2
"""The book has it already."""
GAP: Final = 3
"""Something is missing before it: the book is void, this change waits for the next snapshot."""


class Alignment:
    """One symbol's changes.  ``last_id`` is the book's newest update, -1 while there is no book; whoever finds that a
    change follows on it exactly may set it without asking ``take``."""

    __slots__ = ("_met_id", "_old", "_old_at", "_waiting", "asked", "last_id", "strict")

    def __init__(self, *, strict: bool) -> None:
        """``strict``: a change that overlaps the one before is a gap, as on futures; on spot it is applied."""
        self.strict = strict
        self.last_id = -1
        self.asked = False
        """A snapshot was asked for since the book was lost."""
        self._met_id = -1
        """Of the snapshot; while the book's newest update is that one, no change has followed on it yet."""
        self._old = 0
        self._old_at = -1
        self._waiting: deque[DepthUpdate] = deque(maxlen=WAITING_MAX)

    @property
    def wants_snapshot(self) -> bool:
        return self.last_id < 0 and not self.asked and bool(self._waiting)

    def forget(self) -> None:
        """A new connection, or a book that is not believed any more."""
        self.last_id = -1
        self.asked = False
        self._waiting.clear()

    def take(self, change: DepthUpdate) -> int:
        """The next change of the stream: ``FOLLOWS``, ``WAITS``, ``OLD`` or ``GAP``."""
        known = self.last_id
        if known < 0:
            self._wait(change)
            return WAITS
        last = change.last_id
        before = _before(change)
        if last > known and (before == known or (before < known and (known == self._met_id or not self.strict))):
            self.last_id = last
            return FOLLOWS
        if last <= known:
            self._old = self._old + 1 if self._old_at == known else 1
            self._old_at = known
            if self._old <= OLD_MAX:
                return OLD
        self.forget()
        self._wait(change)
        return GAP

    def meet(self, snapshot: PartialDepth) -> tuple[list[Level], list[Level], int] | None:
        """The book once a snapshot came: levels of both sides with every waiting change applied, and the time of the
        last of those (0: none).  None when the snapshot is of no use: then another one is wanted, unless the book
        goes on without it."""
        if snapshot.last_id < self.last_id:
            return None
        waiting = self._waiting
        self.asked = False
        while waiting and waiting[0].last_id <= snapshot.last_id:
            waiting.popleft()
        if waiting and _before(waiting[0]) > snapshot.last_id:
            return None  # older than what waits: changes between the two are missing
        bids = {px: qty for px, qty in snapshot.bids if qty > 0.0}
        asks = {px: qty for px, qty in snapshot.asks if qty > 0.0}
        self.last_id = self._met_id = snapshot.last_id
        time = 0
        for change in waiting:
            _apply(bids, change.bids)
            _apply(asks, change.asks)
            self.last_id = change.last_id
            time = change.time or change.sent
        waiting.clear()
        return list(bids.items()), list(asks.items()), time

    def _wait(self, change: DepthUpdate) -> None:
        """What waits is without holes: a snapshot that fits before one hole cannot fit behind it."""
        waiting = self._waiting
        if waiting:
            newest = waiting[-1].last_id
            if change.last_id <= newest:
                return
            before = _before(change)
            if before > newest or (self.strict and before != newest):
                waiting.clear()
                self.asked = False
        waiting.append(change)


def _before(change: DepthUpdate) -> int:
    """The id that a change follows on."""
    return change.previous_id if change.previous_id >= 0 else change.first_id - 1


def _apply(side: dict[float, float], levels: list[Level]) -> None:
    for px, qty in levels:
        if qty > 0.0:
            side[px] = qty
        else:
            side.pop(px, None)
