"""Rows as windows: views, and what of time each of them touches."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.labels.returns import log_return
from models.windows.rows import in_memory
from models.windows.samples import samples_of
from tests.support.candles import MINUTE, candle_spec, mapped_table, market


def resident_mb() -> float:
    """Memory of this process that is no file's, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError("no RssAnon")


def test_windows_are_views_until_they_are_asked_for() -> None:
    """The view shares the rows' memory; what is handed out does not."""
    table = in_memory([market(count=60)], candle_spec(), {})
    assert table.view.shape == (57, 4, 3)
    assert np.shares_memory(table.view, table.values)
    assert not table.view.flags.writeable
    chosen = table.windows(np.array([3, 20, 59]))
    assert not np.shares_memory(chosen, table.values)
    for window, last in zip(chosen, (3, 20, 59), strict=True):
        assert window.tobytes() == table.values[last - 3 : last + 1].tobytes()


def test_a_window_begins_when_the_row_before_it_was_made() -> None:
    """The first of an instrument begins its interval earlier, whatever lies before it in the table."""
    table = in_memory([market("A/USD@test", 20), market("B/USD@test", 20, begin=100, sha="cd")], candle_spec(), {})
    assert table.instrument_of(np.array([0, 19, 20, 39])).tolist() == [0, 0, 1, 1]
    begins = table.begin_ns(np.array([3, 4, 23, 24]))
    assert begins.tolist() == [
        table.ts_ns[0] - MINUTE,
        table.ts_ns[0],
        table.ts_ns[20] - MINUTE,
        table.ts_ns[20],
    ]


def test_all_windows_are_never_in_memory_at_once(tmp_path: Path) -> None:
    """120,000 windows of 60 x 40, which are 1.15 GB, drawn in batches from 19 MB of mapped rows: 40 MB at most."""
    table = mapped_table(tmp_path, 120_000, 40, 60)
    samples = samples_of(table, log_return(table.close_px + np.arange(len(table)) % 7, 1))
    assert len(samples) > 119_900
    before, total = resident_mb(), 0.0
    highest = before
    for start in range(0, len(samples), 1024):
        windows = samples.windows(np.arange(start, min(start + 1024, len(samples))))
        total += float(windows[0, 0, 0])
        highest = max(highest, resident_mb())
    assert np.isfinite(total)
    assert highest - before < 40


def test_fewer_rows_than_a_window_have_none() -> None:
    """Nothing is read beyond the rows; no sample either."""
    table = in_memory([market(count=3)], candle_spec(), {})
    assert table.view.shape == (0, 4, 3)
    assert table.windows(np.zeros(0, np.int64)).shape == (0, 4, 3)
    assert not len(samples_of(table, log_return(table.close_px, 1)))
