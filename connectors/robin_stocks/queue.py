"""What waits for the worker: three lanes, bounded, cancels before orders before questions.

Owns who is next and who waited too long.  Pure: time is given.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from connectors.robin_stocks.messages import Told

MAX_WAITING = 64
"""In each lane; what finds it full is refused at once."""


class Lane(enum.IntEnum):
    """Lowest first."""

    CANCEL = 0
    ORDER = 1
    READ = 2


class Waiting(msgspec.Struct):
    """A request and who hears of it.  ``until_ns``: from then on nobody wants it any more."""

    call: str
    given: dict[str, Any]
    lane: Lane
    until_ns: int
    timeout_s: float
    tell: Callable[[Told], None]
    key: str = ""
    """By which it can be taken back; empty for one that nobody takes back."""

    def __repr__(self) -> str:
        return f"Waiting({self.call!r}, {self.lane.name})"


class RequestQueue:
    """First come, first served within a lane."""

    def __init__(self, most: int = MAX_WAITING) -> None:
        self._most = most
        self._lanes: tuple[deque[Waiting], ...] = tuple(deque() for _ in Lane)
        self.refused = 0

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    def waiting(self, lane: Lane) -> int:
        return len(self._lanes[lane])

    def put(self, request: Waiting) -> bool:
        """False when its lane is full."""
        lane = self._lanes[request.lane]
        if len(lane) >= self._most:
            self.refused += 1
            return False
        lane.append(request)
        return True

    def next_lane(self) -> Lane | None:
        """The lane that would be served now."""
        return next((lane for lane in Lane if self._lanes[lane]), None)

    def take(self, lane: Lane) -> Waiting:
        """The oldest of a lane that is not empty."""
        return self._lanes[lane].popleft()

    def withdraw(self, key: str) -> Waiting | None:
        """Take out the order with this key; None where none waits: it has left, or was told that it did not."""
        lane = self._lanes[Lane.ORDER]
        found = next((request for request in lane if request.key == key), None) if key else None
        if found is not None:
            lane.remove(found)
        return found

    def first_until_ns(self) -> int | None:
        """When the first of those that wait has waited too long; None where none waits."""
        return min((request.until_ns for lane in self._lanes for request in lane), default=None)

    def expired(self, now_ns: int) -> list[Waiting]:
        """Take out those that waited too long, in the order of the lanes."""
        late: list[Waiting] = []
        for lane in self._lanes:
            kept = [request for request in lane if request.until_ns > now_ns]
            if len(kept) < len(lane):
                late += [request for request in lane if request.until_ns <= now_ns]
                lane.clear()
                lane.extend(kept)
        return late

    def drain(self, *lanes: Lane) -> list[Waiting]:
        """Take out everything of these lanes."""
        found: list[Waiting] = []
        for lane in lanes:
            found += self._lanes[lane]
            self._lanes[lane].clear()
        return found
