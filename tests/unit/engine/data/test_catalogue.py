"""``engine.data.catalogue``: what is stored is read back, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.data import kinds
from engine.data.catalogue import Batch, Catalogue, Source
from engine.data.kinds import KINDS, conform
from engine.data.parquet import describe_file, read_events
from engine.errors import DataError
from engine.events import Quote
from tests.support.stored import DAY_NS, T0, bars, quotes, rows_of, store

HOUR = 3_600 * 10**9


def test_what_was_written_is_read_back_by_day(tmp_path: Path) -> None:
    """Three days of quotes in one table: three parts, the same rows in the same order, facts about each part."""
    table = quotes(3 * 24, step_ns=HOUR, recv_lag_ns=5)
    catalogue = store(tmp_path / "c", table)
    assert rows_of(catalogue, "quotes").equals(conform(table, "quotes"))
    parts = catalogue.parts()
    assert [part.path.parent.name for part in parts] == ["date=2024-06-26", "date=2024-06-27", "date=2024-06-28"]
    first = parts[0]
    assert (first.venue, first.instrument, first.symbol, first.kind) == ("test", "BTC/USD@test", "BTC-USD", "quotes")
    assert (first.rows, first.first_ns, first.last_ns) == (24, T0, T0 + 23 * HOUR)
    assert (first.first_recv_ns, first.bytes) == (T0 + 5, first.path.stat().st_size)


def test_a_part_says_in_its_own_footer_what_it_is(tmp_path: Path) -> None:
    """Kind, version, names, source, rows and times, without the log."""
    part = store(tmp_path / "c", quotes(10), source=Source("day.csv", "ab12")).parts()[0]
    raw = pq.read_metadata(part.path).metadata
    said = {key.decode(): value.decode() for key, value in raw.items()}
    expected = {
        "venue": "test", "symbol": "BTC-USD", "instrument": "BTC/USD@test", "kind": "quotes", "schema_version": "1",
        "interval_ns": "0", "source": "day.csv", "source_sha256": "ab12", "rows": "10", "first_ns": str(T0),
        "last_ns": str(T0 + 9 * 10**9),
    }  # fmt: skip
    assert {key: said.get(key) for key in expected} == expected


def test_a_part_can_be_played_and_trained_on_as_a_file(tmp_path: Path) -> None:
    """``paper --replay`` and ``train`` describe files by their columns: one that holds nothing is not in the file."""
    bare = store(tmp_path / "c", quotes(5).drop(["bid_size", "ask_size"])).parts()[0]
    info = describe_file(bare.path)
    assert (info.kind, info.instrument.id, info.has_recv) == ("quotes", "BTC/USD@test", False)
    assert not info.instrument.has_quote_sizes
    full = store(tmp_path / "d", quotes(5, recv_lag_ns=7)).parts()[0]
    info = describe_file(full.path)
    assert (info.has_recv, info.instrument.has_quote_sizes) == (True, True)
    assert [event.ts_recv_ns for event in read_events([full.path])] == [T0 + n * 10**9 + 7 for n in range(5)]


def test_a_column_that_fills_later_goes_on_in_a_part_of_its_own(tmp_path: Path) -> None:
    """Sizes are missing in a first lot and there in a second one of the same day: no row is lost, none is invented."""
    catalogue = Catalogue(tmp_path / "c")
    with catalogue.batch(Source("made")) as batch:
        writer = batch.writer("test", "BTC-USD", "quotes")
        writer.write(quotes(3).drop(["bid_size", "ask_size"]))
        writer.flush()
        writer.write(quotes(3, start_ns=T0 + HOUR))
        writer.flush()
        writer.write(quotes(3, start_ns=T0 + 2 * HOUR).drop(["bid_size", "ask_size"]))
    catalogue.refresh()
    assert [part.rows for part in catalogue.parts()] == [3, 6]
    assert rows_of(catalogue, "quotes").column("bid_size").to_pylist() == [None] * 3 + [1.0] * 3 + [None] * 3


def test_nothing_is_visible_before_the_clean_exit_and_all_of_it_after(tmp_path: Path) -> None:
    """Two series and a mark in one batch, looked at from a second catalogue meanwhile."""
    reader = Catalogue(tmp_path / "c")
    with Catalogue(tmp_path / "c").batch(Source("session")) as batch:
        batch.writer("test", "BTC-USD", "quotes").write(quotes(4))
        batch.writer("test", "BTC-USD", "bars", HOUR).write(bars(3, HOUR))
        batch.mark("session", 9, expected=None)
        reader.refresh()
        assert (reader.parts(), reader.mark("session")) == ([], None)
    reader.refresh()
    assert {(part.kind, part.rows) for part in reader.parts()} == {("quotes", 4), ("bars", 3)}
    assert reader.mark("session") == 9
    assert [part.kind for part in batch.parts] == ["quotes", "bars"]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    """A table that is refused half way, an interrupt: no part, no leftover, and the next writer starts clean."""
    catalogue = Catalogue(tmp_path / "c")

    def write_half(then: Callable[[Batch], None]) -> None:
        with catalogue.batch(Source("made")) as batch:
            batch.writer("test", "BTC-USD", "quotes").write(quotes(4))
            then(batch)

    def interrupt(batch: Batch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(DataError, match="no column 'ask'"):
        write_half(lambda batch: batch.writer("test", "ETH-USD", "quotes").write(quotes(4).drop(["ask"])))
    with pytest.raises(KeyboardInterrupt):
        write_half(interrupt)
    assert list((tmp_path / "c").rglob("*.parquet")) == []
    again = Catalogue(tmp_path / "c")
    assert (again.parts(), again.problems) == ([], [])


def test_the_same_source_twice_is_refused_and_replaced_on_demand(tmp_path: Path) -> None:
    """Known by its digest, whatever its name; ``again`` swaps the rows of that source and no others."""
    root = tmp_path / "c"
    source = Source("day.csv", "ab12")
    store(root, quotes(5), source=Source("other.csv", "cd34"))
    store(root, quotes(4, start_ns=T0 + DAY_NS), source=source)
    for name in ("day.csv", "copy of day.csv"):
        with pytest.raises(DataError, match=r"in the catalogue already.*--again"):
            store(root, quotes(4), source=Source(name, "ab12"))
    store(root, bars(4, HOUR), "bars", interval_ns=HOUR, source=source)  # another series of the same file
    catalogue = store(root, quotes(3, start_ns=T0 + DAY_NS), source=source, again=True)
    assert {(part.kind, part.source.name): part.rows for part in catalogue.parts()} == {
        ("quotes", "other.csv"): 5,
        ("quotes", "day.csv"): 3,
        ("bars", "day.csv"): 4,
    }
    on_disk = sorted(str(path.relative_to(root)) for path in root.rglob("*.parquet"))
    assert on_disk == sorted(part.file for part in catalogue.parts())


def test_rows_without_a_digest_are_appended(tmp_path: Path) -> None:
    """Two lots of one session: the mark, not the source, tells what is in."""
    for count in (2, 3):
        catalogue = store(tmp_path / "c", quotes(count), source=Source("session"))
    assert [part.rows for part in catalogue.parts()] == [2, 3]


def test_a_mark_that_another_process_moved_stops_the_commit(tmp_path: Path) -> None:
    """Two compactions of one session at once: the second publishes nothing, so no row is there twice."""
    catalogue = Catalogue(tmp_path / "c")

    def compact(rows: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        with catalogue.batch(Source("session")) as batch:
            batch.writer("test", "BTC-USD", "quotes").write(quotes(rows))
            batch.mark("session", rows, expected=None)
            meanwhile()

    with pytest.raises(DataError, match="stored by another process meanwhile"):
        compact(4, lambda: compact(3))
    catalogue.refresh()
    assert (catalogue.mark("session"), [part.rows for part in catalogue.parts()]) == (3, [3])


def test_parts_are_chosen_by_name_kind_interval_and_time(tmp_path: Path) -> None:
    root = tmp_path / "c"
    store(root, quotes(48, step_ns=HOUR))
    store(root, quotes(5), symbol="ETH-USD")
    catalogue = store(root, bars(5, HOUR), "bars", interval_ns=HOUR)
    assert len(catalogue.parts()) == 4
    for name in ("BTC/USD@test", "BTC/USD", "BTC-USD"):
        assert [part.kind for part in catalogue.parts(instrument=name)] == ["bars", "quotes", "quotes"]
    assert catalogue.parts(venue="nowhere") == []
    assert [part.kind for part in catalogue.parts(interval_ns=HOUR)] == ["bars"]
    assert len(catalogue.parts(kind="quotes", start_ns=T0 + DAY_NS)) == 1
    assert len(catalogue.parts("test", "BTC/USD", "quotes", end_ns=T0 + DAY_NS)) == 1
    inside = rows_of(catalogue, "quotes", instrument="BTC/USD", start_ns=T0 + 20 * HOUR, end_ns=T0 + 26 * HOUR)
    assert inside.column("ts_ns").to_pylist() == [T0 + hour * HOUR for hour in range(20, 26)]


def test_batches_say_whose_they_are_and_have_the_columns_asked_for(tmp_path: Path) -> None:
    catalogue = store(tmp_path / "c", quotes(5))
    (batch,) = catalogue.read("quotes", columns=["ts_ns", "ask"])
    assert batch.schema.names == ["ts_ns", "ask"]
    assert batch.schema.metadata == {
        b"venue": b"test", b"instrument": b"BTC/USD@test", b"symbol": b"BTC-USD", b"interval_ns": b"0"
    }  # fmt: skip


def test_bars_are_kept_in_order_of_time_and_of_one_interval(tmp_path: Path) -> None:
    """Hours that run backwards, as in a Coinbase file: sorted, none lost.  Another interval among them is refused."""
    table = bars(6, HOUR)
    shuffled = table.take(pa.array([0, 3, 1, 4, 2, 5]))
    catalogue = store(tmp_path / "c", shuffled, "bars", interval_ns=HOUR)
    assert rows_of(catalogue, "bars").equals(conform(table, "bars"))
    with pytest.raises(DataError, match="expected 60000000000 in every row"):
        store(tmp_path / "c", table, "bars", interval_ns=60 * 10**9)


def test_ticks_keep_the_order_of_their_source(tmp_path: Path) -> None:
    """A quote that is late stays where it was: its place is what the venue's feed said."""
    shuffled = quotes(4).take(pa.array([0, 2, 1, 3]))
    catalogue = store(tmp_path / "c", shuffled)
    assert rows_of(catalogue, "quotes").column("bid").to_pylist() == [100.0, 102.0, 101.0, 103.0]
    assert (catalogue.parts()[0].first_ns, catalogue.parts()[0].last_ns) == (T0, T0 + 3 * 10**9)


def test_memory_is_bounded_whatever_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for a few rows and two open files, five days in turn: all rows come back."""
    monkeypatch.setattr("engine.data.staging.HELD_BYTES", 2_000)
    monkeypatch.setattr("engine.data.staging.OPEN_FILES", 2)
    catalogue = Catalogue(tmp_path / "c")
    with catalogue.batch(Source("made")) as batch:
        for start in range(3):
            for day in range(5):
                batch.writer("test", "BTC-USD", "quotes").write(quotes(50, start_ns=T0 + day * DAY_NS + start * HOUR))
        assert batch.rows == 750
    catalogue.refresh()
    assert sum(part.rows for part in catalogue.parts()) == 750
    times = rows_of(catalogue, "quotes").column("ts_ns").to_pylist()
    assert sorted(times) == sorted(
        T0 + day * DAY_NS + start * HOUR + n * 10**9 for day in range(5) for start in range(3) for n in range(50)
    )


def test_a_folder_that_holds_something_else_is_no_catalogue(tmp_path: Path) -> None:
    """Nothing is written between a user's own files; a catalogue of a later format is left alone."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"no catalogue: it holds thesis\.txt"):
        Catalogue(tmp_path)
    store(tmp_path / "c", quotes(1))
    (tmp_path / "c" / "catalogue.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="a catalogue of format 99; expected format 1"):
        Catalogue(tmp_path / "c")


def test_an_older_schema_is_migrated_on_read_and_a_newer_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored in version 1, read when trades are in version 2 (sizes in lots of ten), and the other way round."""
    table = pa.table({"ts_ns": [T0], "price": [60.5], "size": [30.0]})
    store(tmp_path / "old", table, "trades")

    def to_lots(old: Any) -> Any:
        return old.set_column(old.schema.names.index("size"), "size", pc.divide(old.column("size"), 10))

    with monkeypatch.context() as patch:
        second = msgspec.structs.replace(KINDS["trades"], version=2, migrations={1: to_lots})
        patch.setitem(kinds.KINDS, "trades", second)
        assert rows_of(Catalogue(tmp_path / "old"), "trades").column("size").to_pylist() == [3.0]
        store(tmp_path / "new", table, "trades")
    with pytest.raises(DataError, match="trades of schema version 2; expected version 1 or older"):
        rows_of(Catalogue(tmp_path / "new"), "trades")


REAL = [
    ("ticks/fxcm_eurusd_quotes_20140501_20140516.parquet", "quotes"),
    ("ticks/us_ibm_quotes_20131007_20131011.parquet", "side_quotes"),
    ("ticks/us_ibm_trades_20131007_20131011.parquet", "trades"),
    ("ticks/binance_usdm_btcusdt_20240808_trades.parquet", "trades"),
    ("lob/binance_usdm_btcusdt_20240808_l2_deltas.parquet", "book_deltas"),
    ("lob/binance_usdm_btcusdt_20240808_l2_snapshot.parquet", "book_snapshots"),
    ("lob/cme_esh4_book10_20231225.parquet", "book10"),
    ("lob/cme_esh4_mbo_20231225.parquet", "orders"),
]


@pytest.mark.parametrize(("name", "kind"), REAL, ids=[Path(name).stem for name, _ in REAL])
def test_real_recordings_come_back_as_they_were(name: str, kind: str, market_data: Path, tmp_path: Path) -> None:
    """Each kind from a whole file: same values in the same order within each day."""
    path = market_data / name
    table = pq.read_table(path)
    raw = table.schema.metadata
    catalogue = store(tmp_path / "c", table, kind, raw[b"symbol"].decode(), source=Source.of_file(path))
    back = rows_of(catalogue, kind)
    wanted = conform(table, kind)
    days = pc.divide(wanted.column("ts_ns"), DAY_NS)
    order = pc.sort_indices(
        pa.table({"day": days, "row": range(len(days))}), [("day", "ascending"), ("row", "ascending")]
    )
    assert back.equals(wanted.take(order))
    assert catalogue.verify() == []


def test_a_crossed_quote_is_stored_as_it_is(tmp_path: Path) -> None:
    """Storage judges no price: verdicts are the quality gate's, before or after."""
    table = quotes(1).set_column(3, "ask", pa.array([99.0]))
    assert list(store(tmp_path / "c", table).events()) == [Quote(T0, T0, "BTC/USD@test", 100.0, 1.0, 99.0, 2.0)]


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "c").write_text("")
    with pytest.raises(DataError, match="cannot be read: Not a directory; expected a folder"):
        Catalogue(tmp_path / "c")
