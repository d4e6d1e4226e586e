"""Where a recorded snapshot of a book belongs among the recorded changes: by update id, not by when it arrived.

A venue that streams changes and answers a request with the book gives both a number.  The answer is on its way while
changes go on coming: what arrived before it may be newer than it, what arrives behind it may be older.  Owns the
bringing together: changes that the snapshot has already are left out, and those that it lacks are put into it, so that
at its arrival the book is what a consumer who kept them would have.  Rows without update ids are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from engine.events import BookDelta, BookSnapshot, MarketEvent

Int64 = npt.NDArray[np.int64]

UNDER_WAY_NS: Final = 60 * 1_000_000_000
"""A snapshot answers in seconds.  Changes farther from it are none of its: ids may have begun anew since."""


class _Arrival(msgspec.Struct):
    """A snapshot of one instrument, by its place in the order of events."""

    key_ns: int
    update_id: int
    lacks: list[BookDelta] = []
    reached: bool = False
    """A change was seen that leads from before the snapshot to it or over it."""
    passed: bool = False
    """A change behind it was seen that is newer."""


class Meeting:
    """The snapshots of a playback; told of its changes as they are read, asked for each snapshot as it comes."""

    def __init__(self) -> None:
        self._arrivals: dict[str, list[_Arrival]] = {}

    def expect(self, instrument: str, keys_ns: Int64, update_ids: Any) -> None:
        """Rows of snapshots (an Arrow column of ids, null where there is none), before the first change is told."""
        known = update_ids.is_valid().to_numpy(zero_copy_only=False)
        ids = pc.fill_null(update_ids, 0).to_numpy(zero_copy_only=False)
        found = {*zip(keys_ns[known].tolist(), ids[known].tolist(), strict=True)}
        here = self._arrivals.setdefault(instrument, [])
        here += [_Arrival(key_ns, update_id) for key_ns, update_id in sorted(found)]
        here.sort(key=lambda arrival: arrival.key_ns)

    def wanted(self, instrument: str, keys_ns: Sequence[int], ids: Any, deltas: Sequence[BookDelta]) -> list[bool]:
        """Which of the changes are to be played; ``ids`` is a table with a row of update ids for each."""
        keep = [True] * len(deltas)
        near = [
            arrival
            for arrival in self._arrivals.get(instrument, ())
            if keys_ns[0] - UNDER_WAY_NS <= arrival.key_ns <= keys_ns[-1] + UNDER_WAY_NS
        ]
        if not near:
            return keep
        last = pc.fill_null(ids.column("last_update_id"), -1).to_pylist()
        for arrival in near:
            self._sort(arrival, keys_ns, _before(ids), last, deltas, keep)
        return keep

    @staticmethod
    def _sort(
        arrival: _Arrival,
        keys_ns: Sequence[int],
        before: Sequence[int],
        last: Sequence[int],
        deltas: Sequence[BookDelta],
        keep: list[bool],
    ) -> None:
        for at, (key_ns, low, high) in enumerate(zip(keys_ns, before, last, strict=True)):
            if high < 0 or abs(key_ns - arrival.key_ns) > UNDER_WAY_NS:
                continue
            if key_ns >= arrival.key_ns:
                arrival.passed = arrival.passed or high > arrival.update_id
                keep[at] = keep[at] and arrival.passed
            else:
                arrival.reached = arrival.reached or 0 <= low <= arrival.update_id <= high
                if arrival.reached and high > arrival.update_id:
                    arrival.lacks.append(deltas[at])

    def played(self, events: Iterable[MarketEvent]) -> Iterator[MarketEvent]:
        """The events, each snapshot with the changes that it lacked."""
        for event in events:
            if isinstance(event, BookSnapshot) and event.instrument in self._arrivals:
                yield self._completed(event)
            else:
                yield event

    def _completed(self, snapshot: BookSnapshot) -> BookSnapshot:
        arrivals = self._arrivals[snapshot.instrument]
        lacks = next((each.lacks for each in arrivals if each.key_ns == snapshot.ts_recv_ns and each.lacks), [])
        if not lacks:
            return snapshot
        sides = {1: dict(snapshot.bids), -1: dict(snapshot.asks)}
        for delta in lacks:
            for side, px, qty in delta.changes:
                if qty > 0:
                    sides[side][px] = qty
                else:
                    sides[side].pop(px, None)
        return msgspec.structs.replace(
            snapshot,
            ts_event_ns=max(snapshot.ts_event_ns, lacks[-1].ts_event_ns),
            bids=tuple(sorted(sides[1].items(), reverse=True)),
            asks=tuple(sorted(sides[-1].items())),
        )


def _before(ids: Any) -> list[int]:
    """The id that each change follows (-1: not told): said by futures, else the one before its first."""
    first = pc.fill_null(ids.column("first_update_id"), 0).to_numpy() - 1
    told = pc.fill_null(ids.column("prev_update_id"), -1).to_numpy()
    followed: list[int] = np.where(told >= 0, told, first).tolist()
    return followed
