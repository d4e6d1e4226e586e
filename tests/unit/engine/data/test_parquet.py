"""Reading and merging recorded files: order, values, damage, and the real recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data import parquet
from engine.data.parquet import describe_file, describe_files, read_events, read_file
from engine.errors import DataError
from engine.events import Quote, Trade

T0 = 1_700_000_000_000_000_000

Write = Callable[..., Path]
Real = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return lambda name, columns, **options: write_table(tmp_path / f"{name}.parquet", columns, **options)


def write_table(
    path: Path,
    columns: dict[str, Any],
    *,
    venue: str = "Binance USD-M futures",
    symbol: str = "BTCUSDT",
    statistics: bool = True,
    group_rows: int | None = None,
) -> Path:
    table = pa.table(columns).replace_schema_metadata({"venue": venue, "symbol": symbol})
    pq.write_table(table, path, write_statistics=statistics, row_group_size=group_rows)
    return path


def quotes(times: Sequence[int], recv: Sequence[int] | None = None, first_px: float = 100.0) -> dict[str, Any]:
    columns: dict[str, Any] = {"ts_ns": [T0 + t for t in times]}
    if recv is not None:
        columns["recv_ns"] = [T0 + t for t in recv]
    bids = [first_px + i for i in range(len(times))]
    return columns | {
        "bid": bids,
        "bid_size": [1.0] * len(bids),
        "ask": [b + 1 for b in bids],
        "ask_size": [2.0] * len(bids),
    }


def trades(times: Sequence[int], recv: Sequence[int] | None = None, **more: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {"ts_ns": [T0 + t for t in times]}
    if recv is not None:
        columns["recv_ns"] = [T0 + t for t in recv]
    return columns | {"price": [10.0 + i for i in range(len(times))], "size": [0.5] * len(times)} | more


def test_rows_become_events_with_every_value_in_place(write: Write) -> None:
    """One quote and one trade, compared field by field."""
    q = write("q", quotes([5], [7]))
    t = write("t", trades([6], [8], trade_id=[42], side=["sell"]))
    name = "BTC/USDT@binance_usdm"
    assert list(read_events([q, t])) == [
        Quote(T0 + 5, T0 + 7, name, 100.0, 1.0, 101.0, 2.0),
        Trade(T0 + 6, T0 + 8, name, 10.0, 0.5, -1, "42"),
    ]


def test_merge_is_by_receive_time_only_if_every_file_has_it(write: Write) -> None:
    """The two clocks order the rows in opposite ways; one file without recv_ns turns the order."""
    q = write("q", quotes([10], [1]))
    with_recv = write("t1", trades([5], [2]))
    without = write("t2", trades([5]))
    assert [type(e) for e in read_events([q, with_recv])] == [Quote, Trade]
    by_event_time = list(read_events([q, without]))
    assert [type(e) for e in by_event_time] == [Trade, Quote]
    assert [e.ts_recv_ns for e in by_event_time] == [T0 + 5, T0 + 10]


def test_ties_go_by_file_order_then_row(write: Write) -> None:
    """All rows have the same time; the two orders of the same files give the two orders of events."""
    q = write("q", quotes([1, 1, 1]))
    t = write("t", trades([1, 1]))
    assert [type(e) for e in read_events([q, t])] == [Quote] * 3 + [Trade] * 2
    assert [type(e) for e in read_events([t, q])] == [Trade] * 2 + [Quote] * 3
    assert [e.bid_px for e in read_events([q, t]) if isinstance(e, Quote)] == [100.0, 101.0, 102.0]


def test_rows_that_go_backwards_and_bad_values_are_delivered_as_they_are(write: Write) -> None:
    """Unsorted times, NaN, a missing value, zero, a crossed quote: nothing is dropped, sorted or repaired."""
    columns = {
        "ts_ns": [T0 + 3, T0 + 1, T0 + 2],
        "bid": [float("nan"), 0.0, 105.0],
        "bid_size": [1.0, -1.0, 1.0],
        "ask": [None, 1.0, 100.0],
        "ask_size": [1.0, 1.0, 1.0],
    }
    events = [e for e in read_events([write("q", columns)]) if isinstance(e, Quote)]
    assert [e.ts_event_ns - T0 for e in events] == [3, 1, 2]
    assert math.isnan(events[0].bid_px)
    assert math.isnan(events[0].ask_px)
    assert (events[1].bid_px, events[1].bid_qty) == (0.0, -1.0)
    assert events[2].bid_px > events[2].ask_px


def test_sides_and_ids_that_are_absent_are_not_invented(write: Write) -> None:
    """Buy, sell, upper case, empty and missing sides; no id column."""
    t = write("t", trades([1, 2, 3, 4, 5], side=["buy", "SELL", "", None, "Buy"]))
    assert [(e.aggressor, e.trade_id) for e in read_events([t]) if isinstance(e, Trade)] == [
        (1, ""), (-1, ""), (0, ""), (0, ""), (1, ""),
    ]  # fmt: skip
    plain = write("p", trades([1], trade_id=["x7"]))
    assert [(e.aggressor, e.trade_id) for e in read_events([plain]) if isinstance(e, Trade)] == [(0, "x7")]


def test_quotes_without_sizes_have_nan_sizes(write: Write) -> None:
    """An OANDA file has prices only; the instrument says so."""
    path = write("q", {"ts_ns": [T0], "bid": [1.1], "ask": [1.2]}, venue="OANDA", symbol="EURUSD")
    (event,) = read_events([path])
    assert isinstance(event, Quote)
    assert math.isnan(event.bid_qty)
    assert math.isnan(event.ask_qty)
    instrument = describe_file(path).instrument
    assert (instrument.id, instrument.has_quote_sizes, instrument.has_trades) == ("EUR/USD@oanda", False, False)


def test_only_the_named_instruments_are_read(write: Write) -> None:
    """Two instruments, one kept; none of them is an error."""
    btc = write("b", quotes([1, 2]))
    eth = write("e", quotes([1, 2]), symbol="ETHUSDT")
    kept = list(read_events([btc, eth], instruments=["ETH/USDT@binance_usdm"]))
    assert {e.instrument for e in kept} == {"ETH/USDT@binance_usdm"}
    with pytest.raises(DataError, match="none of the files is about SOL"):
        read_events([btc, eth], instruments=["SOL/USDT@binance_usdm"])


def test_memory_is_bounded_by_batches(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts the events that exist when the first one arrives: one batch of the file, not all of it."""
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 100)
    made = 0

    def counting(*args: Any) -> Quote:
        nonlocal made
        made += 1
        return Quote(*args)

    monkeypatch.setattr(parquet, "Quote", counting)
    events = read_events([write("q", quotes(range(1000)))])
    next(events)
    assert made == 100


def test_a_page_damaged_in_the_middle_is_one_error_after_the_good_rows(write: Write) -> None:
    """Overwrites bytes of a later row group; reading stops there with the file's name."""
    path = write("q", quotes(range(40_000)), group_rows=10_000)
    meta = pq.ParquetFile(path).metadata.row_group(3).column(1)
    data = bytearray(path.read_bytes())
    start = meta.dictionary_page_offset or meta.data_page_offset
    data[start : start + 64] = b"\xff" * 64
    path.write_bytes(data)
    seen: list[Quote | Trade] = []
    with pytest.raises(DataError, match="is damaged") as caught:
        seen.extend(read_events([path]))
    assert len(seen) >= 10_000
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_strange_side_in_a_later_row_is_an_error_not_a_zero(write: Write) -> None:
    """The first rows are fine, the last says "short"."""
    path = write("t", trades([1, 2], side=["buy", "short"]))
    with pytest.raises(DataError, match="side = 'short'; expected buy or sell"):
        list(read_events([path]))


@pytest.fixture
def real(market_data: Path) -> Real:
    """A file of recorded ticks by its name."""
    return lambda name: market_data / "ticks" / f"{name}.parquet"


def test_real_futures_quotes_and_trades_merge_in_arrival_order(real: Real) -> None:
    """Counts and checks the order of a recorded session, and compares values with pyarrow's own reading."""
    q, t = real("binance_usdm_btcusdt_20240808_quotes"), real("binance_usdm_btcusdt_20240808_trades")
    events = list(read_events([q, t]))
    assert len(events) == 66_089 + 21_313
    assert all(a.ts_recv_ns <= b.ts_recv_ns for a, b in pairwise(events))
    table = pq.read_table(t).to_pylist()
    for row, event in zip(table, (e for e in events if isinstance(e, Trade)), strict=True):
        assert (row["ts_ns"], row["recv_ns"], row["price"], row["size"]) == (
            event.ts_event_ns, event.ts_recv_ns, event.px, event.qty,
        )  # fmt: skip
        assert event.aggressor == {"buy": 1, "sell": -1}[row["side"]]
        assert event.trade_id == str(row["trade_id"])


def test_every_price_of_real_files_lies_on_the_tick_of_its_known_instrument(real: Real) -> None:
    """Rounds each of the first prices of each recorded file to the declared grid; nothing moves."""
    for path in sorted(real("binance_spot_btcusdt_20240808_quotes").parent.glob("*.parquet")):
        if path.name.startswith("us_ibm_quotes"):
            continue
        info = describe_file(path)
        for event, _ in zip(read_file(info), range(5_000), strict=False):
            px = event.bid_px if isinstance(event, Quote) else event.px
            assert abs(float(info.instrument.price(px)) - px) < 1e-9, (path.name, px)


def test_real_one_sided_quotes_are_refused_in_one_line(real: Real) -> None:
    """The US quotes have one side in each row."""
    with pytest.raises(DataError, match="one side of a quote"):
        describe_file(real("us_ibm_quotes_20131007_20131011"))


def test_real_files_declare_exactly_what_is_given(real: Real) -> None:
    """Quotes alone have no trades; with the trades file both; trades alone have no quote sizes."""
    q, t = real("binance_usdm_btcusdt_20240808_quotes"), real("binance_usdm_btcusdt_20240808_trades")
    alone = describe_files([q])[0].instrument
    both = describe_files([q, t])
    assert (alone.has_quote_sizes, alone.has_trades) == (True, False)
    assert {(i.instrument.has_quote_sizes, i.instrument.has_trades) for i in both} == {(True, True)}
    only_trades = describe_files([t])[0].instrument
    assert (only_trades.has_quote_sizes, only_trades.has_trades) == (False, True)
