"""Files of FI-2010: what is read is what was written, what is none is refused by its first wrong place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError
from models.fi2010.files import BOOK_COLUMNS, FEATURES, HORIZONS_EVENTS, fold_paths, read_recording
from tests.support.fi2010 import made_up_table, write_data_set, write_table


def test_a_file_is_read_as_rows_in_time(tmp_path: Path) -> None:
    """Columns become rows, 1 2 3 become up, stationary, down; the book begins with the best prices and sizes."""
    table = made_up_table(50, seed=1)
    recording = read_recording(write_table(tmp_path / "file.txt", table))
    assert recording.values.shape == (50, FEATURES)
    assert recording.labels.shape == (50, len(HORIZONS_EVENTS))
    np.testing.assert_allclose(recording.values, table[:FEATURES].T, rtol=1e-6, atol=1e-7)
    assert (recording.labels == 3 - table[FEATURES:].T).all()
    assert set(np.unique(recording.labels)) == {0, 1, 2}
    assert recording.book.shape == (50, 40)
    assert BOOK_COLUMNS[:5] == ("ask_px_1", "ask_qty_1", "bid_px_1", "bid_qty_1", "ask_px_2")


def test_one_event_is_a_file_too(tmp_path: Path) -> None:
    assert read_recording(write_table(tmp_path / "file.txt", made_up_table(9, seed=1)[:, :1])).values.shape == (
        1,
        FEATURES,
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda table: table[:-1], "has 148 lines"),
        (lambda table: np.vstack([table, table[:1]]), "has 150 lines"),
        (lambda table: np.where(np.arange(149)[:, None] == 2, np.nan, table), "has nan in line 3, column 1"),
        (lambda table: np.where(np.arange(149)[:, None] == 145, 0, table), "has the label 0 in line 146, column 1"),
        (lambda table: np.where(np.arange(149)[:, None] == 148, 1.5, table), "has the label 1.5 in line 149"),
    ],
)
def test_another_table_is_refused(spoil, said, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_recording(write_table(tmp_path / "file.txt", spoil(made_up_table(5, seed=1))))


@pytest.mark.parametrize("text", ["", "one two\n", "1 2\n1 2 3\n", "\x00\x01"])
def test_no_table_at_all_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text(text)
    with pytest.raises(DataError, match=r"file\.txt (has \d+ lines|is not a table of numbers)"):
        read_recording(tmp_path / "file.txt")


def test_a_missing_file_and_one_that_is_there_twice_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.txt cannot be read|missing\.txt not found"):
        read_recording(tmp_path / "missing.txt")
    write_data_set(tmp_path, days=3, rows=3)
    assert [path.name for path in fold_paths(tmp_path, "ZScore", 2)] == [
        "Train_Dst_NoAuction_ZScore_CF_2.txt",
        "Test_Dst_NoAuction_ZScore_CF_2.txt",
    ]
    with pytest.raises(DataError, match=r"0 files Train_Dst_NoAuction_ZScore_CF_3\.txt"):
        fold_paths(tmp_path, "ZScore", 3)
    with pytest.raises(DataError, match="0 files Train_Dst_NoAuction_DecPre"):
        fold_paths(tmp_path, "DecPre", 1)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "Test_Dst_NoAuction_ZScore_CF_1.txt").write_text("")
    with pytest.raises(DataError, match="2 files Test_Dst_NoAuction_ZScore_CF_1"):
        fold_paths(tmp_path, "ZScore", 1)
