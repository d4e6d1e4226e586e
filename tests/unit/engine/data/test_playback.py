"""``engine.data.playback``: stored rows as events, in one order."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.book import OrderBook
from engine.data.catalogue import Catalogue, Source
from engine.data.parquet import read_events
from engine.errors import DataError
from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from tests.support.stored import DAY_NS, T0, bars, quotes, store

BTC = "BTC/USD@test"
HOUR = 3_600 * 10**9


def trades(times: list[int], recv: list[int] | None = None, **columns: Any) -> Any:
    made: dict[str, Any] = {"ts_ns": times, "price": [7.0] * len(times), "size": [1.0] * len(times)} | columns
    return pa.table(made if recv is None else made | {"recv_ns": recv})


def test_quotes_and_trades_become_events(tmp_path: Path) -> None:
    """Values as stored; what was not given is NaN, 0 or empty."""
    store(tmp_path / "c", quotes(1).drop(["bid_size", "ask_size"]))
    table = trades([T0 + 1, T0 + 2, T0 + 3], side=["buy", "sell", None], trade_id=["a", None, "c"])
    quote, *found = store(tmp_path / "c", table, "trades").events()
    assert isinstance(quote, Quote)
    assert (quote.ts_event_ns, quote.ts_recv_ns, quote.instrument, quote.bid_px, quote.ask_px) == (
        T0,
        T0,
        BTC,
        100,
        101,
    )
    assert math.isnan(quote.bid_qty)
    assert math.isnan(quote.ask_qty)
    assert found == [
        Trade(T0 + 1, T0 + 1, BTC, 7.0, 1.0, 1, "a"),
        Trade(T0 + 2, T0 + 2, BTC, 7.0, 1.0, -1, ""),
        Trade(T0 + 3, T0 + 3, BTC, 7.0, 1.0, 0, "c"),
    ]


def test_order_is_of_arrival_where_every_row_has_one(tmp_path: Path) -> None:
    """A trade that the venue stamped first but that arrived last; without its receive time it comes first."""
    root = tmp_path / "c"
    store(root, quotes(2, recv_lag_ns=10))
    late = store(root, trades([T0 - 5], [T0 + 10**9 + 11]), "trades")
    assert [type(event) for event in late.events()] == [Quote, Quote, Trade]
    mixed = store(root, trades([T0 - 4]), "trades")
    assert [event.ts_recv_ns for event in mixed.events()] == [T0 - 5, T0 - 4, T0, T0 + 10**9]


def test_rows_around_midnight_are_merged_across_their_days(tmp_path: Path) -> None:
    """Stamped before midnight, received after one of the next day: parts overlap in the order that counts."""
    midnight = T0 + DAY_NS
    table = trades([midnight - 5, midnight - 1, midnight + 1], [midnight + 1, midnight + 9, midnight + 4])
    catalogue = store(tmp_path / "c", table, "trades")
    assert len(catalogue.parts()) == 2
    assert [event.ts_event_ns - midnight for event in catalogue.events()] == [-5, 1, -1]


def test_a_bar_comes_at_its_end(tmp_path: Path) -> None:
    """Stored by its start; an event at its start would tell the future."""
    root = tmp_path / "c"
    store(root, bars(2, HOUR), "bars", interval_ns=HOUR)
    catalogue = store(root, quotes(3, step_ns=HOUR))
    found = list(catalogue.events())
    assert [type(event) for event in found] == [Quote, Quote, Bar, Quote, Bar]
    assert found[2] == Bar(T0 + HOUR, T0 + HOUR, BTC, HOUR, 100.0, 102.0, 99.0, 101.0, 5.0)


def test_rows_of_one_update_make_one_event_also_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told apart by update id, else by time; with three rows a batch every update spans two of them."""
    monkeypatch.setattr("engine.data.catalogue.BATCH_ROWS", 3)
    root = tmp_path / "c"
    rows = {
        "ts_ns": [T0, T0, T0, T0, T0 + 1, T0 + 1],
        "last_update_id": [1, 1, 2, 2, None, None],
        "side": ["bid", "ask", "bid", "bid", "ask", "ask"],
        "price": [10.0, 12.0, 10.5, 9.0, 12.5, 13.0],
        "size": [1.0, 2.0, 3.0, 0.0, 5.0, 6.0],
    }
    store(root, pa.table(rows), "book_deltas")
    levels = {
        "ts_ns": [T0] * 4, "side": ["ask", "bid", "bid", "ask"], "level": [2, 1, 2, 1],
        "price": [13.0, 10.0, 9.0, 12.0], "size": [1.0, 2.0, 3.0, 4.0],
    }  # fmt: skip
    catalogue = store(root, pa.table(levels), "book_snapshots")
    assert list(catalogue.events()) == [
        BookSnapshot(T0, T0, BTC, ((10.0, 2.0), (9.0, 3.0)), ((12.0, 4.0), (13.0, 1.0))),
        BookDelta(T0, T0, BTC, ((1, 10.0, 1.0), (-1, 12.0, 2.0))),
        BookDelta(T0, T0, BTC, ((1, 10.5, 3.0), (1, 9.0, 0.0))),
        BookDelta(T0 + 1, T0 + 1, BTC, ((-1, 12.5, 5.0), (-1, 13.0, 6.0))),
    ]


def test_ten_levels_are_a_snapshot_without_the_empty_ones(tmp_path: Path) -> None:
    """Two levels a side; the other eight are null."""
    columns: dict[str, Any] = {"ts_ns": [T0]}
    for level in range(1, 11):
        here = level <= 2
        for side, sign in (("bid", -1), ("ask", 1)):
            columns[f"{side}_price_{level}"] = pa.array([100.0 + sign * level if here else None], pa.float64())
            columns[f"{side}_size_{level}"] = pa.array([float(level) if here else None], pa.float64())
    catalogue = store(tmp_path / "c", pa.table(columns), "book10")
    with pytest.raises(DataError, match="has no book_snapshots, book_deltas, quotes"):
        list(catalogue.events())
    assert list(catalogue.events(kinds=("book10",))) == [
        BookSnapshot(T0, T0, BTC, ((99.0, 1.0), (98.0, 2.0)), ((101.0, 1.0), (102.0, 2.0)))
    ]


def test_kinds_that_are_no_events_say_so(tmp_path: Path) -> None:
    table = pa.table({"ts_ns": [T0], "recv_ns": [T0], "message": ["{}"]})
    catalogue = store(tmp_path / "c", table, "frames")
    with pytest.raises(DataError, match="frames are no events of the engine"):
        list(catalogue.events(kinds=("frames",)))


def test_files_and_catalogue_play_the_same_events(market_data: Path, tmp_path: Path) -> None:
    """Quotes and trades of two recorded instruments: the order and values of ``paper --replay`` on the files."""
    names = ("binance_spot_btcusdt_20240808", "binance_spot_ethusdt_20240808")
    paths = [market_data / "ticks" / f"{name}_{kind}.parquet" for kind in ("quotes", "trades") for name in names]
    catalogue = Catalogue(tmp_path / "c")
    for path in paths:
        table = pq.read_table(path)
        symbol = table.schema.metadata[b"symbol"].decode()
        with catalogue.writer("Binance spot", symbol, path.stem.split("_")[-1], source=Source.of_file(path)) as writer:
            writer.write(table)
    stored = list(catalogue.events())
    assert len(stored) == 67_980
    assert stored == list(read_events(paths))


def test_a_recorded_book_is_rebuilt_from_its_snapshot_and_changes(market_data: Path, tmp_path: Path) -> None:
    """The engine's own book, fed from the catalogue, ends with the best prices of the recording's last ten levels."""
    name = "binance_usdm_btcusdt_20240808"
    root = tmp_path / "c"
    last: Any = None
    for kind, ending in (("book_snapshots", "l2_snapshot"), ("book_deltas", "l2_deltas"), ("book10", "book10")):
        last = pq.read_table(market_data / "lob" / f"{name}_{ending}.parquet")
        catalogue = store(root, last, kind, "BTCUSDT")
    book = OrderBook("BTC/USDT@test")
    for event in catalogue.events():
        best = book.apply_snapshot(event) if isinstance(event, BookSnapshot) else None
        if isinstance(event, BookDelta):
            best = book.apply_delta(event)
        if best is not None:
            book.apply_quote(best)
    end = last.slice(last.num_rows - 1).to_pylist()[0]
    assert (book.top.bid_px, book.top.ask_px) == (end["bid_price_1"], end["ask_price_1"])
    assert (book.top.bid_qty, book.top.ask_qty) == (end["bid_size_1"], end["ask_size_1"])
