"""Recorded files that cannot be played are refused before a session exists; bad rows are dropped and counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.bad_input import attempt_to_play, nothing_written, play, refused
from tests.support.daemon import into, kestrel, last_json, paper_session, replay_session


def _plain(text: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(text)  # type: ignore[return-value]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _misname(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["bidd" if name == "bid" else name for name in table.column_names]), path)


def _doubled(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("bid", table["bid"]), path)


def _as_text(path: Path) -> None:
    table = pq.read_table(path)
    at = table.column_names.index("bid")
    pq.write_table(table.set_column(at, "bid", table["bid"].cast(pa.string())), path)


def _unlabelled(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, ("does not exist", "a Parquet file")),
        (_plain(b""), ("is empty", "a Parquet file")),
        (_plain(b"ts_ns,bid,ask\n1,2,3\n" * 10), ("no readable Parquet file", "truncated or of another format")),
        (_cut, ("no readable Parquet file", "truncated or of another format")),
        (_misname, ("no column 'bid'", "rename 'bidd' to 'bid'")),
        (_doubled, ("2 columns named 'bid'", "expected one", "rename or drop")),
        (_as_text, ("bid", "double")),
        (_unlabelled, ("venue and symbol", "metadata")),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_before_a_session_exists(
    damage: Callable[[Path], None], said: tuple[str, ...], market: tuple[Path, Path], tmp_path: Path
) -> None:
    """A copy of a real file is damaged; the line names it and what it should have been."""
    quotes = tmp_path / market[0].name
    shutil.copy(market[0], quotes)
    damage(quotes)
    refused(attempt_to_play(tmp_path, (quotes, market[1])), quotes.name, *said)
    nothing_written(tmp_path)


def test_the_same_stream_twice_is_refused(market: tuple[Path, Path], tmp_path: Path) -> None:
    """The quotes file named twice would play every quote twice."""
    refused(play(tmp_path, (market[0], *market)), "are the same stream", "leave one of them out")


def changed(source: Path, target: Path, change: Callable[[dict[str, list[Any]]], None]) -> Path:
    table = pq.read_table(source)
    rows = table.to_pydict()
    change(rows)
    pq.write_table(pa.table(rows, schema=table.schema), target)
    return target


@pytest.mark.fault("D1")
def test_bad_rows_are_dropped_and_counted_by_reason(market: tuple[Path, Path], tmp_path: Path) -> None:
    """NaN, infinite, zero and negative prices, a crossed quote, a negative size: six drops, and the rest trades."""

    def spoil(rows: dict[str, list[Any]]) -> None:
        rows["bid"][100] = float("nan")
        rows["ask"][200] = float("inf")
        rows["bid"][300] = 0.0
        rows["ask"][400] = -5.0
        rows["bid"][500] = rows["ask"][500] + 10
        rows["bid_size"][600] = -1.0

    quotes = changed(market[0], tmp_path / market[0].name, spoil)
    summary = paper_session(tmp_path, [quotes, market[1]])
    assert summary["drops"] == {"not_finite": 2, "not_positive": 2, "crossed": 1, "bad_size": 1}
    assert summary["dropped"] == 6
    assert summary["ticks"] == 4000 - 6
    assert summary["orders"] > 0
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True


NAN = float("nan")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows.update(bid=[NAN] * 3000), ("3,000 of 4,000 market events (75%)", "not_finite 3,000")),
        (
            lambda rows: rows.update(bid_size=[n * 1e297 for n in range(3000, 6000)]),
            ("first row; 3,000 events have numbers out of range",),
        ),
        (lambda rows: [rows.update({n: [px * 1e250 for px in rows[n]]}) for n in ("bid", "ask")], ("out of range",)),
        (
            lambda rows: [values.__delitem__(slice(20, None)) for values in rows.values()],
            ("warming up: 20 of 80 rows",),
        ),
    ],
)
def test_a_recording_on_which_nothing_could_be_done_says_so(
    spoil: Callable[[dict[str, list[Any]]], None], said: tuple[str, ...], market: tuple[Path, Path], tmp_path: Path
) -> None:
    """Every bid missing, sizes and prices beyond all bounds, a file that is too short: in JSON, log, table, report."""
    quotes = changed(market[0], tmp_path / market[0].name, spoil)
    files = map(str, (quotes, market[1]))
    done = kestrel("paper", "--replay", *files, "--json", *into(tmp_path))
    assert done.returncode == 0
    summary = last_json(done)
    assert (summary["predictions"], summary["orders"]) == (0, 0)
    warnings = " / ".join(summary["warnings"])
    for part in ("no prediction was made although a model is assigned: BTC/USDT@binance_usdm: ", *said):
        assert part in warnings
    assert all(f"warning  {text}" in done.stderr for text in summary["warnings"])
    assert " WARNING " in done.stderr
    assert "no prediction was made" in (tmp_path / "sessions" / summary["session"] / "report.html").read_text()


def test_a_session_whose_every_intent_was_refused_says_by_what(market: tuple[Path, Path], tmp_path: Path) -> None:
    """A limit of a cent an order; with the shipped one the same files warn of nothing."""
    summary = paper_session(tmp_path, market, "--set", "risk.max_order_notional=0.01")
    count = summary["intents"]
    assert count > 0
    assert summary["warnings"] == [f"none of {count} intents became an order; refused by max_order_notional {count}"]
    summary = paper_session(tmp_path, market)
    assert (summary["orders"] > 0, summary["warnings"]) == (True, [])


def test_unsorted_rows_play_in_file_order_and_are_reported(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Two rows swapped: nothing is re-sorted behind the user's back, one line says so, and the session replays.  After
    the row from a second ahead the others are late until their time has reached it, and counted."""

    def swap(rows: dict[str, list[Any]]) -> None:
        for values in rows.values():
            values[1000], values[2000] = values[2000], values[1000]

    quotes = changed(market[0], tmp_path / market[0].name, swap)
    done = play(tmp_path, (quotes, market[1]))
    assert done.returncode == 0
    assert "expected rows in order of time" in done.stderr
    summary = last_json(done)
    assert any("rows in order of time" in text for text in summary["warnings"])
    assert summary["ticks"] + summary["drops"]["late"] == 4000
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True


def test_a_page_that_turns_out_damaged_ends_the_session_in_one_line(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Bytes of the bid column's second page overwritten: what was played before is kept and replays."""
    quotes = tmp_path / market[0].name
    pq.write_table(pq.read_table(market[0]), quotes, row_group_size=1500, compression="snappy", use_dictionary=False)
    column = pq.ParquetFile(quotes).metadata.row_group(1).column(3)
    assert column.path_in_schema == "bid"
    start, size = column.data_page_offset, column.total_compressed_size
    content = bytearray(quotes.read_bytes())
    content[start + size // 4 : start + size // 2] = b"\xff" * (size // 2 - size // 4)
    quotes.write_bytes(content)
    done = play(tmp_path, (quotes, market[1]))
    assert done.returncode == 2
    assert "is damaged" in last_json(done)["error"]
    assert done.stderr.strip().splitlines()[-1] == f"kestrel: {last_json(done)['error']}"
    (session,) = (tmp_path / "sessions").iterdir()
    status, result = replay_session(tmp_path, session.name)
    assert (status, result["identical"]) == (0, True)
