"""``engine.data.books``: snapshots among changes, by update id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engine.data.books import UNDER_WAY_NS
from engine.data.catalogue import Catalogue
from engine.events import BookDelta, BookSnapshot
from tests.support.stored import T0, store

MS = 10**6
Change = tuple[int, int, int, float]
"""Receipt in ms, first and last update id, size at 100."""


def play(tmp_path: Path, snapshots: list[tuple[int, int | None]], changes: list[Change], prev: Any = None) -> list[Any]:
    """Sizes at 100 as the snapshot (whose own is 1) and the changes say, in the order in which they are played."""
    times = pa.array([T0 + at * MS for at, _ in snapshots for _ in range(2)], pa.int64())
    ids = pa.array([number for _, number in snapshots for _ in range(2)], pa.int64())
    columns = {"side": ["bid", "ask"], "level": [1, 1], "price": [100.0, 101.0], "size": [1.0, 1.0]}
    rows = {name: column * len(snapshots) for name, column in columns.items()}
    store(tmp_path, pa.table({"ts_ns": times, "recv_ns": times, "last_update_id": ids, **rows}), "book_snapshots")
    times = pa.array([T0 + change[0] * MS for change in changes], pa.int64())
    table = {
        "ts_ns": times,
        "recv_ns": times,
        "side": ["bid"] * len(changes),
        "price": [100.0] * len(changes),
        "size": [change[3] for change in changes],
        "first_update_id": pa.array([change[1] for change in changes]),
        "last_update_id": pa.array([change[2] for change in changes]),
    }
    if prev is not None:
        table["prev_update_id"] = pa.array(prev)
    store(tmp_path, pa.table(table), "book_deltas")
    said: list[Any] = []
    for event in Catalogue(tmp_path).events():
        if isinstance(event, BookSnapshot):
            said.append(("book", event.bids[0][1] if event.bids else 0.0))
        elif isinstance(event, BookDelta):
            said.append(event.changes[0][2])
    return said


def test_changes_that_came_before_and_are_newer_are_in_the_snapshot(tmp_path: Path) -> None:
    """It has all up to 20; 18 to 22 and 23 came before it.  They are played at their time too, as they came."""
    changes = [(0, 11, 17, 2.0), (1, 18, 22, 3.0), (2, 23, 23, 4.0), (4, 24, 24, 5.0)]
    assert play(tmp_path, [(3, 20)], changes) == [2.0, 3.0, 4.0, ("book", 4.0), 5.0]


def test_a_level_that_was_removed_meanwhile_is_not_in_the_snapshot(tmp_path: Path) -> None:
    """Size 0 in a change that is newer."""
    assert play(tmp_path, [(3, 20)], [(1, 18, 22, 0.0)]) == [0.0, ("book", 0.0)]


def test_changes_that_the_snapshot_has_are_left_out_behind_it(tmp_path: Path) -> None:
    """It has all up to 20, and overtook two of them."""
    changes = [(4, 11, 17, 2.0), (5, 18, 20, 3.0), (6, 21, 22, 4.0), (7, 23, 23, 5.0)]
    assert play(tmp_path, [(3, 20)], changes) == [("book", 1.0), 4.0, 5.0]


def test_ids_with_holes_chain_by_the_one_before(tmp_path: Path) -> None:
    """As futures count: the snapshot's 20 is the end of a change, the next begins at 25 and says that it follows 20."""
    changes = [(0, 11, 20, 2.0), (1, 25, 28, 3.0), (4, 31, 33, 4.0)]
    assert play(tmp_path, [(3, 20)], changes, prev=[9, 20, 28]) == [2.0, 3.0, ("book", 3.0), 4.0]


@pytest.mark.parametrize(
    ("snapshot", "changes"),
    [
        ((3, 1), [(0, 500, 501, 2.0), (1, 502, 502, 3.0), (4, 2, 2, 4.0)]),  # the venue counts anew
        ((3, None), [(0, 11, 17, 2.0), (1, 18, 22, 3.0), (4, 23, 23, 4.0)]),  # nobody counts snapshots
        ((UNDER_WAY_NS // MS + 9, 20), [(0, 18, 22, 2.0), (1, 23, 23, 3.0), (UNDER_WAY_NS // MS + 10, 24, 24, 4.0)]),
    ],
)
def test_changes_that_are_not_of_the_snapshots_count_are_not_touched(
    snapshot: tuple[int, int | None], changes: list[Change], tmp_path: Path
) -> None:
    """Neither put into it nor left out."""
    assert play(tmp_path, [snapshot], changes) == [2.0, 3.0, ("book", 1.0), 4.0]


def test_a_second_snapshot_takes_only_what_it_lacks(tmp_path: Path) -> None:
    """Asked for again in the same minute: 31 is newer than it, 25 is not."""
    changes = [(4, 21, 25, 2.0), (5, 26, 31, 3.0), (8, 32, 32, 4.0)]
    assert play(tmp_path, [(3, 20), (6, 30)], changes) == [("book", 1.0), 2.0, 3.0, ("book", 3.0), 4.0]
