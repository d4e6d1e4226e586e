"""Files on their way into the catalogue: formats, streams, order, and what is stored in the end."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from engine.data.catalogue import Catalogue
from engine.data.importing import sources
from engine.data.importing.importer import examine_file, import_file, is_beside
from engine.data.importing.options import make_options
from engine.data.importing.reading import Reader
from engine.errors import DataError
from tests.support.stored import meanwhile

START_NS = 1_704_067_200 * 10**9  # 2024-01-01
HOUR_NS = 3_600 * 10**9
ABOUT = {"venue": "coinbase", "symbol": "BTC-USD"}


def rows(catalogue: Catalogue, kind: str, **chosen: Any) -> list[dict[str, Any]]:
    return [row for batch in catalogue.read(kind, **chosen) for row in batch.to_pylist()]


def trades(count: int, start: int = 0, **change: Any) -> Any:
    columns = {"ts_ns": pa.array([START_NS + (start + n) * 10**9 for n in range(count)], pa.int64())}
    columns |= {"price": [100.0 + n for n in range(count)], "size": [1.0] * count}
    return pa.table(columns | change).replace_schema_metadata(ABOUT)


def test_a_csv_with_a_column_map_is_stored_as_it_reads(tmp_path: Path) -> None:
    """Semicolons, a title line, quotes, New York times, gzip; every value in its place."""
    text = (
        'made by us\n"When";"O";"H";"L";"C";"Vol";note\n2024-01-01 10:00;1;4;0.5;2;7;x\n2024-01-01 11:00;2;4;1;3;8;y\n'
    )
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(text.encode("utf-8-sig")))
    options = make_options(
        columns="ts=When,open=O,high=H,low=L,close=C,volume=Vol", venue="Some Venue", symbol="abc/usd",
        tz="America/New_York",
    )  # fmt: skip
    catalogue = Catalogue(tmp_path / "c")
    report = import_file(catalogue, path, options)
    assert (report.kind, report.interval, report.imported) == ("bars", "1h", 2)
    assert report.columns_left_out == ("note",)
    stored = rows(catalogue, "bars", instrument="ABC/USD@some_venue")
    wanted = ("ts_ns", "interval_ns", "open", "high", "low", "close", "volume")
    assert [tuple(row[name] for name in wanted) for row in stored] == [
        (START_NS + 15 * HOUR_NS, HOUR_NS, 1.0, 4.0, 0.5, 2.0, 7.0),
        (START_NS + 16 * HOUR_NS, HOUR_NS, 2.0, 4.0, 1.0, 3.0, 8.0),
    ]


def test_a_csv_without_a_header_is_mapped_by_number(tmp_path: Path) -> None:
    """Candles as Binance publishes them."""
    path = tmp_path / "BTCUSDT.csv"
    path.write_text("".join(f"{START_NS // 10**6 + n * 60_000},1,3,0.5,2,7,0,14,3\n" for n in range(3)))
    options = make_options(
        columns="ts=1,open=2,high=3,low=4,close=5,volume=6,trades=9", venue="Binance spot", symbol="BTCUSDT"
    )
    catalogue = Catalogue(tmp_path / "c")
    assert import_file(catalogue, path, options).interval == "1m"
    assert [row["trades"] for row in rows(catalogue, "bars")] == [3, 3, 3]


def test_freqtrades_feather_is_known_by_its_name(tmp_path: Path) -> None:
    """binance/BTC_USDT-5m.feather with a column 'date', lz4 as freqtrade writes it."""
    folder = tmp_path / "binance"
    folder.mkdir()
    times = pa.array([START_NS // 10**6 + n * 300_000 for n in range(3)], pa.timestamp("ms", "UTC"))
    table = pa.table({"date": times, **{name: [2.0] * 3 for name in ("open", "high", "low", "close", "volume")}})
    pyarrow.feather.write_feather(table, str(folder / "BTC_USDT-5m.feather"), compression="lz4")
    catalogue = Catalogue(tmp_path / "c")
    report = import_file(catalogue, folder / "BTC_USDT-5m.feather", make_options())
    assert (report.venue, report.interval, report.imported, report.defects) == ("binance_spot", "5m", 3, {})
    assert [part.instrument for part in catalogue.parts()] == ["BTC/USDT@binance_spot"]


def test_a_file_of_several_symbols_and_kinds_is_one_commit(tmp_path: Path) -> None:
    """A book file with snapshots and differences of two symbols in turn: levels are counted, all is visible at once."""
    table = pa.table(
        {
            "ts_ns": [START_NS] * 4 + [START_NS + 1] * 2,
            "symbol": ["BTCUSDT", "BTCUSDT", "ETHUSDT", "BTCUSDT", "BTCUSDT", "ETHUSDT"],
            "message_type": ["snapshot"] * 4 + ["delta"] * 2,
            "update_id": [5, 5, 9, 5, 6, 10],
            "side": ["Buy", "bids", "b", "ASK", "sell", "a"],
            "price": [10.0, 9.0, 3.0, 11.0, 11.0, 4.0],
            "size": [1.0, 2.0, 3.0, 4.0, 0.0, 6.0],
        }
    ).replace_schema_metadata({"venue": "Bybit spot or linear"})
    pq.write_table(table, tmp_path / "a.parquet")
    catalogue = Catalogue(tmp_path / "c")
    report = import_file(catalogue, tmp_path / "a.parquet", make_options())
    assert (report.kind, report.series, report.imported) == ("book_deltas + book_snapshots", 4, 6)
    snapshot = rows(catalogue, "book_snapshots", instrument="BTC/USDT@bybit")
    assert [(row["side"], row["level"], row["last_update_id"]) for row in snapshot] == [
        ("bid", 1, 5), ("bid", 2, 5), ("ask", 1, 5)
    ]  # fmt: skip
    assert [row["first_update_id"] for row in rows(catalogue, "book_deltas")] == [6, 10]
    assert len(list((tmp_path / "c" / "log").iterdir())) == 1


def test_one_sided_books_that_end_and_begin_a_batch_keep_their_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot cut by the end of a batch is counted on."""
    monkeypatch.setattr(sources, "BATCH_ROWS", 2)
    table = pa.table({"ts_ns": [START_NS] * 5, "message_type": ["snapshot"] * 5, "update_id": [1, 1, 1, 2, 2]})
    for name, values in (("side", ["bid"] * 5), ("price", [5.0, 4.0, 3.0, 5.0, 4.0]), ("size", [1.0] * 5)):
        table = table.append_column(name, pa.array(values))
    pq.write_table(table.replace_schema_metadata(ABOUT), tmp_path / "a.parquet")
    catalogue = Catalogue(tmp_path / "c")
    import_file(catalogue, tmp_path / "a.parquet", make_options())
    assert [row["level"] for row in rows(catalogue, "book_snapshots")] == [1, 2, 3, 1, 2]


@pytest.mark.parametrize("received", [True, False])
def test_ticks_out_of_order_are_sorted_unless_they_were_received_so(
    received: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven rows over two days in batches of three; equal times keep their order, order of arrival is never undone."""
    monkeypatch.setattr(sources, "BATCH_ROWS", 3)
    day = 86_400
    seconds = [day, 5, 3, 5, day, 3, 1]
    table = trades(7, ts_ns=pa.array([START_NS + second * 10**9 for second in seconds], pa.int64()))
    if received:
        arrivals = pa.array([START_NS + 2 * day * 10**9 + n for n in range(7)], pa.int64())
        table = table.append_column("recv_ns", arrivals).replace_schema_metadata(ABOUT)
    pq.write_table(table, tmp_path / "a.parquet")
    catalogue = Catalogue(tmp_path / "c")
    report = import_file(catalogue, tmp_path / "a.parquet", make_options())
    assert report.defects["non_monotonic"] == 4
    assert report.imported == 7
    order = {row["price"] for row in rows(catalogue, "trades")}
    assert len(order) == 7
    first_day = [row["price"] - 100 for row in rows(catalogue, "trades", end_ns=START_NS + day * 10**9)]
    assert first_day == ([1, 2, 3, 5, 6] if received else [6, 2, 5, 1, 3])


def test_a_file_that_is_in_already_is_no_error_and_stays_as_it_is(tmp_path: Path) -> None:
    """Under another name too: its content is what counts.  With ``again`` it is replaced."""
    pq.write_table(trades(5), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes())
    catalogue = Catalogue(tmp_path / "c")
    import_file(catalogue, tmp_path / "a.parquet", make_options())
    parts = catalogue.parts()
    for name in ("a", "b"):
        report = import_file(catalogue, tmp_path / f"{name}.parquet", make_options())
        assert (report.rows, report.imported, report.defects, report.remarks) == (5, 0, {}, {"stored_before": 5})
        assert (report.venue, report.kind, report.series) == ("coinbase", "trades", 1)
    assert catalogue.parts() == parts
    assert import_file(catalogue, tmp_path / "b.parquet", make_options(), again=True).imported == 5
    assert len(rows(catalogue, "trades")) == 5
    assert catalogue.parts() != parts


def test_a_file_that_is_in_and_is_to_be_read_otherwise_now_is_refused(tmp_path: Path) -> None:
    """What is stored is not what these options would give: nothing may look as if they had been followed."""
    text = "time,open,high,low,close,volume\n2024-01-01 00:00,1,2,1,2,1\n2024-01-01 01:00,1,2,1,2,1\n"
    path = tmp_path / "a.csv"
    path.write_text(text)
    named = {"venue": "coinbase", "symbol": "BTC-USD", "interval": "1h"}
    catalogue = Catalogue(tmp_path / "c")
    import_file(catalogue, path, make_options(**named))
    for change in ({"label": "end"}, {"tz": "America/New_York"}, {"columns": "open=close,close=open"}):
        with pytest.raises(DataError, match=r"in the catalogue already.*--again"):
            import_file(catalogue, path, make_options(**(named | change)))
    report = import_file(catalogue, path, make_options(**named, label="end"), again=True)
    assert report.imported == 2
    with pytest.raises(DataError, match=r"in the catalogue already.*--again"):
        import_file(catalogue, path, make_options(**named))
    assert import_file(catalogue, path, make_options(**named, label="end")).remarks == {"stored_before": 2}


def test_a_file_of_which_a_part_was_lost_is_not_taken_for_stored(tmp_path: Path) -> None:
    """Two days, of which one is gone: to call it stored would hide the hole."""
    day = 86_400
    pq.write_table(pa.concat_tables([trades(3), trades(3, day)]), tmp_path / "a.parquet")
    catalogue = Catalogue(tmp_path / "c")
    import_file(catalogue, tmp_path / "a.parquet", make_options())
    catalogue.parts()[0].path.unlink()
    with pytest.raises(DataError, match=r"in the catalogue already.*--again"):
        import_file(Catalogue(tmp_path / "c"), tmp_path / "a.parquet", make_options())
    assert import_file(Catalogue(tmp_path / "c"), tmp_path / "a.parquet", make_options(), again=True).imported == 6


def test_two_imports_of_one_file_at_once_store_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes in while the first has its rows ready: it is stored before, and no error."""
    pq.write_table(trades(5), tmp_path / "a.parquet")
    other = Catalogue(tmp_path / "c")
    meanwhile(monkeypatch, lambda: import_file(other, tmp_path / "a.parquet", make_options()))
    report = import_file(Catalogue(tmp_path / "c"), tmp_path / "a.parquet", make_options())
    assert (report.imported, report.remarks) == (0, {"stored_before": 5})
    other.refresh()
    assert len(rows(other, "trades")) == 5


def test_a_file_that_another_import_stores_while_it_is_read_is_no_error(tmp_path: Path) -> None:
    """The other is done before the first pass of this one is."""
    pq.write_table(trades(5), tmp_path / "a.parquet")
    other = Catalogue(tmp_path / "c")
    first: list[float] = []

    def progress(share: float) -> None:
        if not first:
            first.append(share)
            import_file(other, tmp_path / "a.parquet", make_options())

    report = import_file(Catalogue(tmp_path / "c"), tmp_path / "a.parquet", make_options(), progress=progress)
    assert first[0] <= 0.5
    assert (report.imported, report.remarks) == (0, {"stored_before": 5})
    assert len(rows(other, "trades")) == 5


def test_ticks_that_are_stored_meanwhile_are_not_stored_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file with some of the same seconds is published while this one has its rows ready: it is refused."""
    for name, start in (("a", 0), ("b", 4)):
        pq.write_table(trades(5, start), tmp_path / f"{name}.parquet")
    other = Catalogue(tmp_path / "c")
    meanwhile(monkeypatch, lambda: import_file(other, tmp_path / "a.parquet", make_options()))
    with pytest.raises(DataError, match=r"of a time that the catalogue has already, from a\.parquet"):
        import_file(Catalogue(tmp_path / "c"), tmp_path / "b.parquet", make_options())
    other.refresh()
    assert len(rows(other, "trades")) == 5


def test_bars_that_are_stored_meanwhile_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files that have three hours in common, at once: nine hours are stored, each once."""
    for name, start in (("a", 0), ("b", 3)):
        table = pa.table({
            "ts_ns": [START_NS + (start + n) * 3_600 * 10**9 for n in range(6)],
            **{price: [1.0] * 6 for price in ("open", "high", "low", "close", "volume")},
        }).replace_schema_metadata(ABOUT)  # fmt: skip
        pq.write_table(table, tmp_path / f"{name}.parquet")
    other = Catalogue(tmp_path / "c")
    meanwhile(monkeypatch, lambda: import_file(other, tmp_path / "a.parquet", make_options()))
    report = import_file(Catalogue(tmp_path / "c"), tmp_path / "b.parquet", make_options())
    assert (report.imported, report.defects) == (3, {"stored_already": 3})
    other.refresh()
    assert len({row["ts_ns"] for row in rows(other, "bars")}) == len(rows(other, "bars")) == 9


def test_ticks_over_a_time_that_is_stored_are_refused(tmp_path: Path) -> None:
    """Two files that overlap by one second; the third follows and is taken."""
    for name, start in (("a", 0), ("b", 4), ("c", 5)):
        pq.write_table(trades(5, start), tmp_path / f"{name}.parquet")
    catalogue = Catalogue(tmp_path / "c")
    import_file(catalogue, tmp_path / "a.parquet", make_options())
    with pytest.raises(DataError, match=r"of a time that the catalogue has already, from a\.parquet"):
        import_file(catalogue, tmp_path / "b.parquet", make_options())
    import_file(catalogue, tmp_path / "c.parquet", make_options())
    assert len(rows(catalogue, "trades")) == 10


def test_bars_that_are_stored_from_another_file_are_left_out_and_told_apart(tmp_path: Path) -> None:
    """Of four bars one is the same, one differs, two are new; the stored ones stay."""
    header = "ts,open,high,low,close,volume\n"
    lines = {hour: f"2024-01-01 0{hour}:00,1,3,1,2,7\n" for hour in range(4)}
    (tmp_path / "a.csv").write_text(header + lines[0] + lines[1])
    (tmp_path / "b.csv").write_text(header + lines[0] + lines[1].replace("2,7", "2.5,7") + lines[2] + lines[3])
    catalogue = Catalogue(tmp_path / "c")
    options = make_options(venue="coinbase", symbol="BTC-USD")
    import_file(catalogue, tmp_path / "a.csv", options)
    report = import_file(catalogue, tmp_path / "b.csv", options)
    assert (report.imported, report.defects) == (2, {"stored_already": 1, "differs_from_stored": 1})
    assert [row["close"] for row in rows(catalogue, "bars")] == [2.0] * 4


def test_exogenous_series_are_stored_at_their_publication(tmp_path: Path) -> None:
    """Two indicators and a revision; importing the grown file again adds what is new."""
    text = (
        "indicator,period_end,released,value,vintage\n"
        "CPI,2023-11-30,2023-12-12 13:30,3.1,0\n"
        "GDP,2023-09-30,2023-12-21 13:30,4.9,2\n"
        "CPI,2023-11-30,2024-01-11 13:30,3.2,1\n"
    )
    catalogue = Catalogue(tmp_path / "c")
    options = make_options(kind="exogenous", venue="BLS")
    (tmp_path / "macro.csv").write_text(text)
    report = import_file(catalogue, tmp_path / "macro.csv", options)
    assert (report.imported, report.series, report.defects) == (3, 1, {})
    stored = rows(catalogue, "exogenous", instrument="ALL@bls")
    assert [(row["series"], row["value"], row["revision"]) for row in stored] == [
        ("CPI", 3.1, 0), ("GDP", 4.9, 2), ("CPI", 3.2, 1)
    ]  # fmt: skip
    assert all(row["ts_ns"] > row["period_end_ns"] for row in stored)
    (tmp_path / "macro.csv").write_text(text + "CPI,2023-12-31,2024-01-11 13:30,3.4,0\n")
    assert import_file(catalogue, tmp_path / "macro.csv", options).imported == 1


def test_what_was_published_on_a_day_is_known_at_its_end(tmp_path: Path) -> None:
    """No value is there before anybody could know it; midnights are flagged, since they may be days."""
    day = 86_400 * 10**9
    (tmp_path / "days.csv").write_text("series,period_end,released,value\nCPI,2024-01-31,2024-02-13,3.1\n")
    catalogue = Catalogue(tmp_path / "c")
    report = import_file(catalogue, tmp_path / "days.csv", make_options(kind="exogenous", venue="BLS"))
    assert (report.defects, report.remarks) == ({}, {"published_by_day": 1, "naive_time": 1})
    (row,) = rows(catalogue, "exogenous")
    assert (row["ts_ns"] // day, row["ts_ns"] % day) == ((date(2024, 2, 14) - date(1970, 1, 1)).days, 0)
    assert (row["period_end_ns"] // day, row["period_end_ns"] % day) == ((date(2024, 1, 31) - date(1970, 1, 1)).days, 0)
    (tmp_path / "times.csv").write_text("series,period_end,released,value\nGDP,2024-01-31,2024-02-13 00:00,3.1\n")
    report = import_file(catalogue, tmp_path / "times.csv", make_options(kind="exogenous", venue="BLS"))
    assert (report.defects, report.remarks) == ({"published_at_midnight": 1}, {"naive_time": 1})


def test_frames_keep_every_byte_of_a_message(tmp_path: Path) -> None:
    """Spaces, escapes and order of keys within; a connection's address goes to each message that came by it."""
    message = '{"b" : "\\u00e9",  "a":[1.50,{"x":null}]}'
    lines = [
        '{"recv_ns": 1704067200000000000, "dir": "open", "url": "wss://x", "file": "X.1"}',
        '{"recv_ns": 1704067200000000001, "dir": "recv", "file": "X.1","msg":' + message + "}",
        '{"recv_ns": 1704067200000000002, "dir": "recv", "file": "X.1", "text": "not JSON"}',
        '{"name": "a response", "msg": {}}',
    ]
    (tmp_path / "kraken_1.jsonl").write_text("\n".join(lines) + "\n")
    catalogue = Catalogue(tmp_path / "c")
    report = import_file(catalogue, tmp_path / "kraken_1.jsonl", make_options())
    assert (report.rows, report.imported, report.defects) == (4, 3, {"undated": 1})
    stored = rows(catalogue, "frames", venue="kraken")
    assert [row["message"] for row in stored] == ["", message, "not JSON"]
    assert {row["url"] for row in stored} == {"wss://x#X.1"}
    assert json.loads(stored[1]["message"])["b"] == "é"


def test_a_large_file_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No table that is judged or stored is larger than a batch of the file."""
    monkeypatch.setattr(sources, "BATCH_ROWS", 100)
    pq.write_table(trades(1050), tmp_path / "a.parquet")
    reader = Reader(tmp_path / "a.parquet", make_options())
    assert [table.num_rows for _, table in reader.chunks()] == [100] * 10 + [50]


def test_progress_rises_to_one(tmp_path: Path) -> None:
    """Over both passes."""
    pq.write_table(trades(300_000), tmp_path / "a.parquet")
    told: list[float] = []
    examine_file(tmp_path / "a.parquet", make_options(), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 4


@pytest.mark.parametrize(
    ("path", "beside"),
    [
        ("README.md", True), ("licences/x.txt", True), ("LICENSE", True), ("a.csv.sha256", True), (".hidden", True),
        ("a.csv", False), ("readme_prices.csv", False), ("x/trades.parquet", False),
    ],
)  # fmt: skip
def test_files_beside_data_are_known_by_name(path: str, beside: bool) -> None:
    """What a folder import passes over without a word."""
    assert is_beside(Path(path)) is beside


def test_a_symbol_of_one_bar_has_the_length_of_the_others(tmp_path: Path) -> None:
    """A file of three symbols: hourly, hourly with every other bar missing, and just listed."""
    hours = {"BTC-USD": range(10), "ETH-USD": range(0, 10, 2), "NEW-USD": range(9, 10)}
    lines = [f"{name},2024-01-01 {hour:02}:00,1,3,1,2,7" for name, each in hours.items() for hour in each]
    (tmp_path / "a.csv").write_text("symbol,ts,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    catalogue = Catalogue(tmp_path / "c")
    report = import_file(catalogue, tmp_path / "a.csv", make_options(venue="coinbase"))
    assert (report.series, report.interval, report.defects) == (3, "1h", {"missing_bars": 4})


def test_of_two_columns_with_one_name_none_is_chosen(tmp_path: Path) -> None:
    """Parquet allows it."""
    table = trades(3)
    pq.write_table(table.append_column("price", table["size"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="2 columns named 'price'"):
        examine_file(tmp_path / "a.parquet", make_options())


def test_a_file_whose_every_time_is_missing_is_refused(tmp_path: Path) -> None:
    """Nothing of it could be stored."""
    pq.write_table(trades(3, ts_ns=pa.nulls(3, pa.int64())), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'ts_ns' has no value in any row"):
        examine_file(tmp_path / "a.parquet", make_options())
