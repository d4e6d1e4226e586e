"""Files that cannot be imported: one clear line each, and a catalogue that is as it was, byte for byte."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from config import data_commands
from engine.data.catalogue import Catalogue
from engine.errors import KestrelError

START_NS = 1_704_067_200 * 10**9  # 2024-01-01
HOUR_NS = 3_600 * 10**9
NAN = float("nan")
ABOUT = {"venue": "coinbase", "symbol": "BTC-USD"}


def bars(rows: int = 5, **change: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"ts_ns": pa.array([START_NS + n * HOUR_NS for n in range(rows)], pa.int64())}
    made |= {"open": [1.0] * rows, "high": [3.0] * rows, "low": [0.5] * rows, "close": [2.0] * rows}
    return made | {"volume": [7.0] * rows} | change


def parquet(path: Path, columns: dict[str, Any], **about: str) -> None:
    pq.write_table(pa.table(columns).replace_schema_metadata({**ABOUT, **about}), path)


CSV = "Date,Open,High,Low,Close,Volume\n" + "".join(f"2024-01-01 0{hour}:00:00,1,3,0.5,2,7\n" for hour in range(5))


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def table(columns: dict[str, Any], **about: str) -> Callable[[Path], None]:
    return lambda path: parquet(path, columns, **about)


def cut(path: Path) -> None:
    parquet(path, bars(1000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    """A whole footer, and a page in the middle that is something else."""
    parquet(path, bars(20_000, close=[n * 0.37 for n in range(20_000)]))
    data = bytearray(path.read_bytes())
    data[400:20_000] = b"\xff" * 19_600
    path.write_bytes(bytes(data))


def cut_gzip(path: Path) -> None:
    packed = gzip.compress(CSV.encode() * 200)
    path.write_bytes(packed[: len(packed) // 2])


def cut_feather(path: Path) -> None:
    pyarrow.feather.write_feather(pa.table(bars(1000)), str(path))
    path.write_bytes(path.read_bytes()[:-200])


Bad = tuple[str, Callable[[Path], None], tuple[str, ...], tuple[str, ...]]
CASES: dict[str, Bad] = {
    "truncated Parquet": ("a.parquet", cut, (), ("is damaged", "copy it again")),
    "overwritten Parquet": ("a.parquet", overwritten, (), ("is damaged", "copy it again")),
    "text called Parquet": ("a.parquet", text("hello"), (), ("no readable parquet file", "of another format")),
    "truncated gzip": ("a.csv.gz", cut_gzip, (), ("is damaged", "copy it again")),
    "truncated feather": ("BTC_USDT-1h.feather", cut_feather, ("--venue", "kraken"), ("is damaged",)),
    "empty file": ("a.csv", text(""), (), ("is empty",)),
    "no rows": ("a.parquet", table(bars(0)), (), ("has no rows",)),
    "header only": ("a.csv", text("Date,Open,High,Low,Close,Volume\n"), (), ("has no rows",)),
    "binary": ("a.bin", lambda path: path.write_bytes(b"\0\1\2" * 50) and None, (), ("no known format",)),
    "zip": ("a.zip", lambda path: path.write_bytes(b"PK\3\4" + b"\0" * 50) and None, (), ("zip archive", "unpack")),
    "absent": ("a.parquet", lambda path: None, (), ("does not exist",)),
    "text where numbers are": (
        "a.parquet",
        table(bars(close=["2.0", "2.1", "x", "2.2", "2.3"])),
        (),
        ("column 'close' is 'x' in row 3", "a number"),
    ),
    "dates where numbers are": (
        "a.parquet",
        table(bars(close=pa.array([1, 2, 3, 4, 5], pa.timestamp("ns")))),
        (),
        ("column 'close' is of type timestamp", "a number"),
    ),
    "mixed time units": (
        "a.parquet",
        table(bars(ts_ns=pa.array([START_NS, START_NS + HOUR_NS, START_NS // 10**6, START_NS, START_NS], pa.int64()))),
        (),
        ("row 3", "milliseconds, not nanoseconds", "mixed"),
    ),
    "mixed times as text": (
        "a.csv",
        text(CSV + "1704067200,1,3,0.5,2,7\n"),
        (),
        ("'Date' is '1704067200' in line 7", "written like the ones before"),
    ),
    "NaN column": ("a.parquet", table(bars(close=[NAN] * 5)), (), ("'close' has no value in any row",)),
    "empty column": ("a.csv", text(CSV.replace(",7\n", ",\n")), (), ("'Volume' has no value in any row",)),
    "symbol of spaces": ("a.parquet", table(bars(), symbol="   "), (), ("symbol",)),
    "endless symbol": ("a.parquet", table(bars(), symbol="A" * 500), (), ("symbol", "1 to 200 bytes")),
    "bad number in a CSV": (
        "a.csv",
        text(CSV + "2024-01-01 05:00:00,1,3,abc,2,7\n"),
        (),
        ("'Low' is 'abc' in line 7", "correct or remove"),
    ),
    "too many fields": (
        "a.csv",
        text(CSV + "2024-01-01 05:00:00,1,3,1,2,7,9\n"),
        (),
        ("line 7 has 7 fields", "expected 6"),
    ),
    "bad time in a CSV": ("a.csv", text(CSV + "yesterday,1,3,1,2,7\n"), (), ("'yesterday' in line 7",)),
    "not UTF-8": ("a.csv", lambda path: path.write_bytes(CSV.encode("utf-16")) and None, (), ("a.csv",)),
    "same column twice": ("a.csv", text(CSV.replace("Low", "High")), (), ("2 columns named 'High'", "rename")),
    "a name that no column has": (
        "a.csv",
        text(CSV),
        ("--columns", "ts=Date,close=Clsoe"),
        ("no column 'Clsoe'", "did you mean 'Close'?"),
    ),
    "a column mapped twice": ("a.csv", text(CSV), ("--columns", "ts=Date,ts=Open"), ("maps 'ts' twice",)),
    "a source read twice": ("a.csv", text(CSV), ("--columns", "open=Open,close=Open"), ("reads 'Open' twice",)),
    "a column that no kind has": ("a.csv", text(CSV), ("--columns", "clsoe=Close"), ("did you mean 'close'?",)),
    "unknown kind": ("a.csv", text(CSV), ("--kind", "candles"), ("--kind candles", "one of", "bars")),
    "columns of no kind": ("a.csv", text("a,b\n1,2\nx,y\n"), (), ("a.csv", "a, b", "--columns")),
    "another kind's columns": ("a.csv", text(CSV), ("--kind", "trades"), ("no column for 'price' of trades",)),
    "a macro series without publication": (
        "a.csv",
        text("date,series,value\n2024-01-31,CPI,3.1\n"),
        ("--kind", "exogenous"),
        ("does not say when its values were published", "tells the future"),
    ),
    "a wrong interval": ("a.csv", text(CSV), ("--interval", "1d"), ("1h apart", "said to be of 1d")),
    "one bar": ("a.csv", text("\n".join(CSV.splitlines()[:2]) + "\n"), (), ("nothing says how long", "--interval")),
    "unknown zone": ("a.csv", text(CSV), ("--tz", "Mars/Olympus"), ("--tz 'Mars/Olympus'", "a time zone")),
    "a broken message": (
        "a.jsonl",
        text('{"recv_ns": 1, "msg": {}}\n{"recv_ns": \n'),
        (),
        ("line 2 is no recorded message",),
    ),
    "an object that is no message": ("a.jsonl", text('{"vendor": "x"}\n'), (), ("line 1 is no recorded message",)),
    "a message of no time": (
        "a.jsonl",
        text('{"recv_ns": 99999999999999999999, "msg": 1}\n'),
        (),
        ("line 1 is no recorded message", "64"),
    ),
    "a message that is no text": (
        "a.jsonl",
        lambda path: path.write_bytes(b'{"recv_ns": 1704067200000000000, "msg": "\xff\xfe"}\n') and None,
        (),
        ("line 1 is no recorded message", "UTF-8"),
    ),
    "a time beyond all numbers": (
        "a.parquet",
        table(bars(ts_ns=pa.array([2**64 - 1] * 5, pa.uint64()))),
        (),
        ("column 'ts_ns' is 18446744073709551615 in row 1", "no time of market data"),
    ),
    "bars that last less than nothing": (
        "a.parquet",
        table(bars(interval_ns=pa.array([-HOUR_NS] * 5))),
        (),
        ("interval_ns", "-3600000000000", "above 0"),
    ),
    "a link that leads nowhere": (
        "a.parquet",
        lambda path: path.symlink_to(path),
        (),
        ("is a link to nothing",),
    ),
    "a pipe": ("a.parquet", lambda path: os.mkfifo(path), (), ("is no file",)),
    "a gzip within a gzip": (
        "a.csv.gz",
        lambda path: path.write_bytes(gzip.compress(gzip.compress(CSV.encode()))) and None,
        (),
        ("no known format",),
    ),
    "a side that is none": (
        "a.parquet",
        table({"ts_ns": [START_NS], "price": [1.0], "size": [1.0], "side": ["up"]}),
        (),
        ("'side' is 'up' in row 1", "buy or sell"),
    ),
}


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a catalogue but the lock, which holds nothing."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_import(*arguments: str) -> Any:
    return CliRunner().invoke(data_commands.app, ["import", *arguments])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_that_cannot_be_imported_is_one_line_and_changes_nothing(case: str, tmp_path: Path) -> None:
    """Into a catalogue with rows in it; the line says what was seen, and where."""
    name, make, options, said = CASES[case]
    good = tmp_path / "good.parquet"
    parquet(good, bars(3), symbol="ETH-USD")
    to = str(tmp_path / "c")
    assert run_import(str(good), "--to", to).exit_code == 0
    before = content(tmp_path / "c")
    path = tmp_path / name
    make(path)
    named = () if name.endswith("parquet") or "--venue" in options else ("--venue", "coinbase", "--symbol", "BTC-USD")
    done = run_import(str(path), "--to", to, *named, *options)
    assert isinstance(done.exception, KestrelError), (done.exception, done.output)
    line = str(done.exception)
    assert "\n" not in line
    for part in said:
        assert part in line
    assert content(tmp_path / "c") == before


@pytest.mark.parametrize("case", ["truncated Parquet", "bad number in a CSV", "NaN column"])
def test_a_refused_file_makes_no_catalogue(case: str, tmp_path: Path) -> None:
    """Where there was no folder, there is none."""
    name, make, options, _ = CASES[case]
    make(tmp_path / name)
    done = run_import(
        str(tmp_path / name), "--to", str(tmp_path / "c"), "--venue", "x", "--symbol", "BTC-USD", *options
    )
    assert isinstance(done.exception, KestrelError)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("symbol", ["PEPE/USDT", "../../x", "BTC 1000$", "日経225", ".", "-", "NUL"])
def test_a_symbol_with_odd_characters_is_stored_under_its_name_and_nowhere_else(symbol: str, tmp_path: Path) -> None:
    """It comes back as it was, and no file lies outside of the catalogue."""
    parquet(tmp_path / "a.parquet", bars(), symbol=symbol)
    done = run_import(str(tmp_path / "a.parquet"), "--to", str(tmp_path / "c"))
    assert done.exit_code == 0, done.exception
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "c"]
    parts = Catalogue(tmp_path / "c").parts()
    assert [part.symbol for part in parts] == [symbol]
    assert parts[0].path.resolve().is_relative_to((tmp_path / "c").resolve())


@pytest.mark.parametrize("symbol", ["a\nb", "BTC-\x1b[2JUSD"])
def test_a_symbol_that_would_command_a_terminal_is_refused_in_one_line(symbol: str, tmp_path: Path) -> None:
    """A line end or an escape within; nothing is stored, and the error itself shows it escaped."""
    parquet(tmp_path / "a.parquet", bars(), symbol=symbol)
    done = run_import(str(tmp_path / "a.parquet"), "--to", str(tmp_path / "c"))
    assert isinstance(done.exception, KestrelError)
    assert "cannot be a name" in str(done.exception)
    assert str(done.exception).isprintable()
    assert not (tmp_path / "c").exists()


def test_bad_files_of_a_folder_are_named_and_the_others_are_imported(tmp_path: Path) -> None:
    """Three files, one bad: two are in, the report has the line of the third, the exit status says so."""
    folder = tmp_path / "in"
    folder.mkdir()
    parquet(folder / "a.parquet", bars())
    cut(folder / "b.parquet")
    parquet(folder / "c.parquet", bars(), symbol="ETH-USD")
    (folder / "README.md").write_text("about")
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0")
    done = run_import(str(folder), "--to", str(tmp_path / "c"), "--json")
    assert done.exit_code == 2
    made = json.loads(done.stdout.splitlines()[-1])
    assert [bool(report["error"]) for report in made["files"]] == [False, True, False]
    assert [Path(path).name for path in made["skipped"]] == ["picture.png"]
    assert made["imported"] == 10
    assert sum(part.rows for part in Catalogue(tmp_path / "c").parts()) == 10


def test_rows_without_a_time_or_a_price_are_dropped_and_counted(tmp_path: Path) -> None:
    """NaN, infinite and empty prices and an empty time among good rows: what is left out has a name and a number."""
    times = bars(8)["ts_ns"].to_pylist()
    times[6] = None
    close = [2.0, NAN, float("inf"), None, 2.0, 2.0, 2.0, 2.0]
    parquet(tmp_path / "a.parquet", bars(8, ts_ns=pa.array(times, pa.int64()), close=pa.array(close)))
    done = run_import(str(tmp_path / "a.parquet"), "--to", str(tmp_path / "c"), "--json")
    report = json.loads(done.stdout.splitlines()[-1])["files"][0]
    assert report["defects"] == {"no_time": 1, "no_value": 3, "missing_bars": 4}
    assert (report["rows"], report["imported"]) == (8, 4)


def test_bars_that_come_twice_are_stored_once(tmp_path: Path) -> None:
    """A repeat and a contradiction, out of order: the first row of each time stays."""
    hours = [0, 1, 2, 1, 2, 3]
    close = [2.0, 2.0, 2.0, 2.0, 2.5, 2.0]
    columns = bars(6, ts_ns=pa.array([START_NS + hour * HOUR_NS for hour in hours], pa.int64()), close=close)
    parquet(tmp_path / "a.parquet", columns)
    done = run_import(str(tmp_path / "a.parquet"), "--to", str(tmp_path / "c"), "--json")
    report = json.loads(done.stdout.splitlines()[-1])["files"][0]
    assert report["defects"] == {"repeated_bars": 1, "conflicting_bars": 1, "non_monotonic": 1}
    rows = [row for batch in Catalogue(tmp_path / "c").read("bars") for row in batch.to_pylist()]
    assert [(row["ts_ns"] - START_NS) // HOUR_NS for row in rows] == [0, 1, 2, 3]
    assert [row["close"] for row in rows] == [2.0] * 4
