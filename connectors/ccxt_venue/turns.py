"""Whose request is next where they must go one after the other: cancels, then orders, then questions.

Owns the queue and nothing of what is asked.  A turn is handed on to who is next, never left for whoever comes by.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque


class Lane(enum.IntEnum):
    CANCEL = 0
    ORDER = 1
    QUESTION = 2


class Turns:
    """One turn at a time.  Whoever waits may be cancelled at any moment, also while the turn is on its way to it."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}

    async def take(self, lane: Lane) -> None:
        """Returns when it is this one's turn, which then must be given on."""
        if not self._taken:
            self._taken = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give_on()
            else:
                self._waiting[lane].remove(mine)
            raise

    def give_on(self) -> None:
        for lane in Lane:
            while self._waiting[lane]:
                following = self._waiting[lane].popleft()
                if not following.done():
                    following.set_result(None)
                    return
        self._taken = False
