"""One of the journal's two streams as the writer sees it: where the tail is, which segment comes next, page upkeep.

Owns no thread and no decision; ``engine.runtime.journal`` does.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.runtime.segment import HEADER_BYTES, MappedSegment

PREFAULT_BYTES = 4 << 20
"""Pages made writable ahead of the tail: 50 ms of the fastest pace measured (60 MB/s)."""


class JournalStats(NamedTuple):
    """For metrics.  ``bytes`` are used bytes of all segments, ``unsynced`` counts numbers not known to be on disk."""

    bytes: int
    segments: int
    last_seq: int
    synced_seq: int
    unsynced: int
    fault: str


class Stream:
    """The writer's state of one stream.  Only the appending thread writes it, except ``next``, which it takes."""

    __slots__ = (
        "done_bytes", "forgotten", "limit", "name", "next", "opened", "retry_ns", "salt", "seen_tail", "segment",
        "size", "tail", "view", "words",
    )  # fmt: skip

    def __init__(self, name: str, size: int, segment: MappedSegment) -> None:
        self.name = name
        self.size = size
        self.opened = 0
        self.done_bytes = 0
        self.next: MappedSegment | None = None
        self.retry_ns = 0
        self.enter(segment)

    def enter(self, segment: MappedSegment) -> None:
        self.segment = segment
        self.view = segment.view
        self.words = segment.words
        self.salt = segment.salt
        self.tail = HEADER_BYTES
        self.limit = 0
        self.opened += 1
        self.forgotten = 0
        self.seen_tail = HEADER_BYTES


def tend(stream: Stream) -> None:
    """Keep the pages just ahead of the tail writable and drop those well behind it from our resident memory.

    A page's first store faults, and again after the system has written the page back: some 10 us each, taken here
    instead of in ``append``.  How far ahead follows the pace of the last interval.
    """
    segment = stream.segment
    tail = stream.tail
    if stream.segment is not segment:  # rotated between the two reads: next time
        return
    moved = tail - stream.seen_tail
    stream.seen_tail = tail
    if moved > 0:
        segment.populate(tail, tail + min(max(4 * moved, PREFAULT_BYTES), 4 * PREFAULT_BYTES))
        if tail - stream.forgotten > 1 << 20:
            stream.forgotten = segment.forget_before(stream.forgotten, tail - (1 << 18))
    after = stream.next
    if after is not None and tail > 0.9 * segment.size:
        after.populate(0, 1 << 18)
