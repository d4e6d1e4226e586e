"""Each way in which a recorded file can be wrong is one clear line before a session starts."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.schema import describe_file, describe_files
from engine.errors import DataError

T0 = 1_700_000_000_000_000_000
QUOTES: dict[str, Any] = {"ts_ns": [T0, T0 + 9], "bid": [1.25, 1.5], "ask": [1.375, 1.625]}
TRADES: dict[str, Any] = {"ts_ns": [T0, T0 + 9], "price": [1.25, 1.5], "size": [1.0, 2.0]}
BINANCE = {"venue": "Binance spot", "symbol": "BTCUSDT"}


def write(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None = None, **options: Any) -> Path:
    table = pa.table(columns).replace_schema_metadata(BINANCE if metadata is None else metadata)
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"ts_ns": [T0], "bid": [1.0]}, ["no column 'ask'", "add the column"]),
        ({"ts_ns": [T0], "bid": [1.0], "ask_price": [1.0]}, ["no column 'ask'", "rename 'ask_price' to 'ask'"]),
        ({"timestamp": [T0], "bid": [1.0], "ask": [1.0]}, ["no column 'ts_ns'"]),
        ({**QUOTES, "bid_size": [1.0, 1.0]}, ["no column 'ask_size'"]),
        ({"ts_ns": [T0], "price": [1.0], "quantity": [1.0]}, ["no column 'size'"]),
        ({"ts_ns": [T0], "bid_price": [1.0], "px": [1.0]}, ["expected quotes", "or trades", "bid_price"]),
        ({"ts_ns": [T0], "open": [1.0], "high": [1.0], "low": [1.0], "close": [1.0]}, ["candles"]),
        ({**QUOTES, "ts_ns": [1.0e18, 1.0e18]}, ["'ts_ns' of type double", "int64"]),
        ({**QUOTES, "bid": ["1", "2"]}, ["'bid' of type string", "double"]),
        ({**QUOTES, "bid": pa.array([1.0, 2.0], pa.float32())}, ["'bid' of type float", "double"]),
        ({**TRADES, "side": [1, -1]}, ["'side' of type int64", "buy or sell"]),
        ({**TRADES, "trade_id": [1.5, 2.5]}, ["'trade_id' of type double"]),
        ({**TRADES, "side": ["bid", "ask"]}, ["one side of a quote or book"]),
        ({**QUOTES, "ts_ns": [T0 // 10**6, T0 // 10**6 + 1]}, ["reads as milliseconds", "nanoseconds"]),
        ({**QUOTES, "ts_ns": [T0 // 10**3, T0 // 10**3 + 1]}, ["reads as microseconds"]),
        ({**QUOTES, "ts_ns": [T0 // 10**9, T0 // 10**9 + 1]}, ["reads as seconds"]),
        ({**QUOTES, "ts_ns": [T0, T0 // 10**6]}, ["reads as milliseconds", "mixed"]),
        ({**QUOTES, "ts_ns": [0, T0]}, ["ts_ns = 0", "no time"]),
        ({**QUOTES, "ts_ns": [T0, 9 * 10**18]}, ["no time between 2000 and 2100"]),
        ({**QUOTES, "ts_ns": [T0, None]}, ["rows without ts_ns"]),
        ({**QUOTES, "recv_ns": [T0, T0 // 1000]}, ["recv_ns", "microseconds"]),
        ({"ts_ns": pa.array([], pa.int64()), "bid": pa.array([], pa.float64()), "ask": pa.array([], pa.float64())},
         ["no rows"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("statistics", [True, False])
def test_a_wrong_file_names_what_was_seen_and_expected(
    tmp_path: Path, columns: dict[str, Any], parts: list[str], statistics: bool
) -> None:
    """Writes one defect, with and without column statistics, and looks for each part of the one-line error."""
    path = write(tmp_path / "x.parquet", columns, write_statistics=statistics)
    with pytest.raises(DataError) as caught:
        describe_file(path)
    message = str(caught.value)
    for part in [*parts, "x.parquet"]:
        assert part in message, message
    assert "\n" not in message


@pytest.mark.parametrize("columns", [{**QUOTES, "bid_size": [1.0, 1.0], "ask_size": [1.0, 1.0]}, TRADES])
def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    """Each column that would be read, added once more; one that is not read may be there twice."""
    columns = {**columns, "recv_ns": columns["ts_ns"]}
    for name, values in columns.items():
        table = pa.table(columns).append_column(name, pa.array(values)).replace_schema_metadata(BINANCE)
        pq.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(DataError, match=f"x.parquet has 2 columns named '{name}'; expected one; rename or drop"):
            describe_file(tmp_path / "x.parquet")
    table = pa.table({**columns, "extra": [1, 2]}).append_column("extra", pa.array([1, 2]))
    pq.write_table(table.replace_schema_metadata(BINANCE), tmp_path / "x.parquet")
    assert describe_file(tmp_path / "x.parquet").rows == 2


def test_times_are_those_of_the_time_column_whatever_stands_before_it(tmp_path: Path) -> None:
    """A nested column first: the file stores it as two columns, each with statistics of its own."""
    path = write(tmp_path / "x.parquet", {"meta": [{"a": 1, "b": 2}] * 2, **QUOTES})
    assert (describe_file(path).first_ns, describe_file(path).last_ns) == (T0, T0 + 9)


@pytest.mark.parametrize("key", ["venue", "symbol"])
@pytest.mark.parametrize(("value", "length"), [("x" * 5000, "5,000"), ("?!", "2"), ("\u9280\u884c", "2")])
def test_a_venue_or_symbol_that_is_no_name_is_refused_and_cut_short(
    tmp_path: Path, key: str, value: str, length: str
) -> None:
    """Too long, and without a letter: the line shows its beginning, and what a name is."""
    path = write(tmp_path / "x.parquet", QUOTES, {"venue": "x", "symbol": "A-B", key: value})
    with pytest.raises(DataError, match=rf"{key} '.*\({length} characters\); expected a name of at most 60") as caught:
        describe_file(path)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_long_column_names_are_cut_short(tmp_path: Path) -> None:
    """In the list of what a file has instead."""
    with pytest.raises(DataError, match="zzz, ok") as caught:
        describe_file(write(tmp_path / "x.parquet", {"y" * 5000: [1], "zzz": [1], "ok": [1]}))
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_what_is_no_parquet_file_is_said_in_one_line(tmp_path: Path) -> None:
    """Missing, folder, zero bytes, text, truncated."""
    text = tmp_path / "text.parquet"
    text.write_text("ts_ns,bid,ask\n" * 100)
    empty = tmp_path / "empty.parquet"
    empty.touch()
    whole = write(tmp_path / "whole.parquet", QUOTES)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-40])
    for path, words in (
        (tmp_path / "nowhere.parquet", "does not exist"),
        (tmp_path, "is a folder"),
        (empty, "is empty"),
        (text, "no readable Parquet file"),
        (cut, "no readable Parquet file"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            describe_file(path)
        assert "\n" not in str(caught.value)


def test_a_file_must_say_its_venue_and_symbol(tmp_path: Path) -> None:
    """Without metadata, with half of it, and with a symbol that cannot be split."""
    for number, (metadata, words) in enumerate(
        [
            ({}, "venue and symbol"),
            ({"venue": "x"}, "its symbol"),
            ({"venue": "x", "symbol": "GLORP"}, "'GLORP'.*cannot be split"),
        ]
    ):
        path = write(tmp_path / f"{number}.parquet", QUOTES, metadata)
        with pytest.raises(DataError, match=words):
            describe_file(path)


def test_no_file_at_all_is_an_error() -> None:
    """An empty list."""
    with pytest.raises(DataError, match="no recorded file"):
        describe_files([])


def test_the_same_stream_twice_is_refused_unless_the_files_follow_one_another(tmp_path: Path) -> None:
    """The same file twice, an overlapping copy, and the next day's file."""
    first = write(tmp_path / "a.parquet", QUOTES)
    overlapping = write(tmp_path / "b.parquet", {**QUOTES, "ts_ns": [T0 + 5, T0 + 20]})
    later = write(tmp_path / "c.parquet", {**QUOTES, "ts_ns": [T0 + 10, T0 + 20]})
    other = write(tmp_path / "d.parquet", QUOTES, {"venue": "Binance spot", "symbol": "ETHUSDT"})
    for second in (first, overlapping):
        with pytest.raises(DataError, match="are the same stream"):
            describe_files([first, second])
    assert [info.path for info in describe_files([later, first, other])] == [later, first, other]


def test_a_described_file_says_what_it_is(tmp_path: Path) -> None:
    """All fields of one description."""
    info = describe_file(write(tmp_path / "q.parquet", {**QUOTES, "recv_ns": [T0 + 3, T0 + 1], "extra": [1, 2]}))
    assert (info.kind, info.rows, info.has_recv, info.note) == ("quotes", 2, True, "")
    assert info.columns == ("ts_ns", "bid", "ask", "recv_ns")
    assert (info.first_ns, info.last_ns) == (T0 + 1, T0 + 3)
    assert info.instrument.id == "BTC/USDT@binance_spot"
    assert info.instrument.has_quote_sizes is False


def test_an_unknown_instrument_is_inferred_and_noted(tmp_path: Path) -> None:
    """Steps come from the decimals of the data; the note says which figures are guesses."""
    columns = {**TRADES, "price": [1.25, 1.125], "size": [0.5, 2.0]}
    info = describe_file(write(tmp_path / "t.parquet", columns, {"venue": "My Venue", "symbol": "FOO-BAR"}))
    assert info.instrument.id == "FOO/BAR@my_venue"
    assert info.instrument.tick_px == Decimal("0.001")
    assert info.instrument.lot_qty == Decimal("0.1")
    assert info.instrument.can_short is False
    assert "inferred" in info.note
    assert "10 bps" in info.note


@pytest.mark.parametrize(
    ("prices", "step"),
    [
        ([61269.78, 61269.7], "0.01"),
        ([123456.1, 99999.9], "0.1"),
        ([0.00001234], "0.00000001"),
        ([1e-9], "0.000000001"),
        ([1e22, 30000.0], "1"),
        ([0.1 + 0.2], "0.000000000001"),
    ],
)
def test_the_step_is_that_of_the_shortest_text_of_each_price(tmp_path: Path, prices: list[float], step: str) -> None:
    """Prices whose binary form has more digits than they were written with; what is noise stops at twelve decimals."""
    count = len(prices)
    columns = {"ts_ns": [T0 + n for n in range(count)], "price": prices, "size": [1.0] * count}
    info = describe_file(write(tmp_path / "t.parquet", columns, {"venue": "My Venue", "symbol": "FOO-BAR"}))
    assert info.instrument.tick_px == Decimal(step)


def test_inferred_rules_are_the_finest_of_all_files_and_noted_once(tmp_path: Path) -> None:
    """A later file with round prices does not make the step of the earlier one coarser."""
    named = {"venue": "My Venue", "symbol": "FOO-BAR"}
    fine = write(tmp_path / "1.parquet", {**TRADES, "price": [1.25, 1.5], "size": [0.001, 1.0]}, named)
    later = {**TRADES, "ts_ns": [T0 + 10, T0 + 11], "price": [1.5, 2.0], "size": [3.0, 4.0]}
    infos = describe_files([fine, write(tmp_path / "2.parquet", later, named)])
    assert {info.instrument.tick_px for info in infos} == {Decimal("0.01")}
    assert {info.instrument.lot_qty for info in infos} == {Decimal("0.001")}
    assert {info.instrument.has_trades for info in infos} == {True}
    assert [bool(info.note) for info in infos] == [True, False]
    assert "price step 0.01 and size step 0.001" in infos[0].note


def test_parts_of_one_source_may_touch_and_copies_of_them_may_not(tmp_path: Path) -> None:
    """Two trades of one message, where a segment of the journal ended between them; then the same part twice, and the
    same rows from another session."""

    def part(name: str, start_ns: int, source: str) -> Path:
        rows = {**TRADES, "ts_ns": [start_ns, start_ns + 9], "recv_ns": [start_ns, start_ns + 9]}
        return write(tmp_path / name, rows, {**BINANCE, "source": source})

    first, second = part("1.parquet", T0, "session a"), part("2.parquet", T0 + 9, "session a")
    assert [info.source for info in describe_files([first, second])] == ["session a", "session a"]
    for other in (first, part("3.parquet", T0, "session a"), part("4.parquet", T0 + 9, "session b")):
        with pytest.raises(DataError, match="are the same stream"):
            describe_files([first, other])
