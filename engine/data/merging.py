"""Streams of events in one order.

Owns the k-way merge that stored parts and recorded files share.  What an order key is, and which stream comes first
among equals, is the caller's.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final, TypeVar

_Event = TypeVar("_Event")
Chunk = tuple[list[int], list[_Event]]
"""Order keys and events, of equal length, at least one."""
_FAR: Final = 2**63 - 1


def merge(streams: list[Iterator[Chunk[_Event]]], firsts: list[int]) -> Iterator[_Event]:
    """A k-way merge that stays with one stream while it is the earliest, and opens a file when its time has come.

    ``firsts``: no key of a stream is less.  A row that is earlier than the one before it in its file keeps its place.
    """
    heap = [(first, number) for number, first in enumerate(firsts)]
    heapq.heapify(heap)
    cursors: list[tuple[list[int], list[_Event], int]] = [([], [], 0)] * len(streams)
    while heap:
        number = heap[0][1]
        # The runner-up sits in one of the root's two children.
        limit, rival = min(heap[1:3], default=(_FAR, len(streams)))
        if number > rival:
            limit -= 1  # a tie goes to the stream that comes first
        keys, found, at = cursors[number]
        while True:
            if at == len(keys):
                chunk = next(streams[number], None)
                if chunk is None:
                    heapq.heappop(heap)
                    break
                keys, found = chunk
                at = 0
            if keys[at] > limit:
                cursors[number] = (keys, found, at)
                heapq.heapreplace(heap, (keys[at], number))
                break
            yield found[at]
            at += 1
