"""Each trap of the recorded data's README (1 to 17), on the real file: what is reported, what becomes of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.book import OrderBook
from engine.data.catalogue import Catalogue
from engine.data.importing.importer import FileReport, examine_file, import_file
from engine.data.importing.options import Options, make_options
from engine.data.sessions import Market, bars_expected
from engine.events import BookDelta, BookSnapshot


@pytest.fixture
def examined(market_data: Path) -> Any:
    def look(name: str) -> FileReport:
        found = sorted(market_data.glob(f"*/{name}.*"))
        assert len(found) == 1, name
        return examine_file(found[0], Options())

    return look


def stored(folder: Path, path: Path, kind: str, options: Options | None = None) -> Any:
    """The rows of a kind after an import of one file."""
    catalogue = Catalogue(folder)
    import_file(catalogue, path, options or Options())
    return pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in catalogue.read(kind)])


def test_1_a_recorder_clock_behind_the_venue_is_measured(examined: Any) -> None:
    """Binance futures trades: every row is flagged, with the median lag; none is dropped or shifted."""
    report = examined("binance_usdm_btcusdt_20240808_trades")
    assert report.defects == {"clock_behind": 21_313}
    assert report.clock_ms == pytest.approx(-1268.2, abs=0.1)
    assert report.imported == report.rows == 21_313


def test_2_quotes_without_a_venue_time_are_remarked(examined: Any) -> None:
    """Binance spot quotes carry the receiver's time twice: no defect of a row, but said."""
    report = examined("binance_spot_ethusdt_20240808_quotes")
    assert report.defects == {}
    assert report.remarks == {"no_venue_time": 24_077}


@pytest.mark.parametrize("name", ["binance_spot_btcusdt_20240808_l2_deltas", "binance_usdm_ethusdt_20240808_l2_deltas"])
def test_3_the_chain_of_book_updates_has_no_break(name: str, examined: Any) -> None:
    """Spot chains by first_update_id, futures by prev_update_id; the next test shows that a break is seen."""
    assert set(examined(name).defects) == {"clock_behind"}


@pytest.mark.parametrize("name", ["binance_spot_btcusdt_20240808", "binance_usdm_ethusdt_20240808"])
def test_3_a_book_begins_with_its_snapshot_and_what_is_newer(name: str, market_data: Path, tmp_path: Path) -> None:
    """The engine's book, fed from the catalogue: its best prices at every message are those that the publisher made by
    update id.  Messages that are newer than the snapshot arrived before it, in both files."""
    catalogue = Catalogue(tmp_path / "c")
    for ending in ("l2_snapshot", "l2_deltas"):
        import_file(catalogue, market_data / "lob" / f"{name}_{ending}.parquet", Options())
    columns = ["recv_ns", "bid_price_1", "bid_size_1", "ask_price_1", "ask_size_1"]
    ten = pq.read_table(market_data / "lob" / f"{name}_book10.parquet", columns=columns)
    expected = {row[0]: row[1:] for row in zip(*(ten.column(column).to_pylist() for column in columns), strict=True)}
    book: OrderBook | None = None
    compared = 0
    for event in catalogue.events():
        if isinstance(event, BookSnapshot):
            book = OrderBook(event.instrument)
            best = book.apply_snapshot(event)
        elif isinstance(event, BookDelta) and book is not None:
            best = book.apply_delta(event)
        else:
            continue
        if best is not None and event.ts_recv_ns in expected:
            compared += 1
            assert (best.bid_px, best.bid_qty, best.ask_px, best.ask_qty) == expected[event.ts_recv_ns]
    assert compared > 0.99 * ten.num_rows


def test_3_a_missing_book_message_is_a_broken_chain(market_data: Path, tmp_path: Path) -> None:
    """One message is taken out of the middle of each of the two files."""
    for name in ("binance_spot_ethusdt_20240808_l2_deltas", "binance_usdm_btcusdt_20240808_l2_deltas"):
        table = pq.read_table(market_data / "lob" / f"{name}.parquet")
        ids = table.column("last_update_id").to_numpy()
        gone = np.unique(ids)[1000]
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table.filter(pa.array(ids != gone)), path)
        assert examine_file(path, Options()).defects["broken_chain"] == 1


def test_4_crossed_quotes_are_counted_and_kept(examined: Any) -> None:
    """FXCM EURUSD ticks: a tenth is crossed; the store keeps them, for the quality gate to judge when they are used."""
    report = examined("fxcm_eurusd_quotes_20140501_20140516")
    assert (report.defects["crossed"], report.defects["locked"]) == (116_871, 142_462)
    assert report.imported == report.rows == 1_144_807


def test_5_crossed_candles_are_counted_and_kept(examined: Any) -> None:
    """FXCM GBPUSD minutes whose bid close is above the ask close."""
    report = examined("fx_1m_fxcm_gbpusd_201202")
    assert report.defects["crossed"] == 347
    assert report.imported == report.rows


def test_6_exact_repeats_and_the_missing_week(examined: Any) -> None:
    """OANDA: 12 repeats; two weekends are no defects; the week of 2016-12-09 is a long hole in the candle files."""
    ticks = examined("oanda_eurusd_quotes_20140501_20140515")
    assert ticks.defects == {"duplicates": 12}
    assert ticks.remarks == {"session_holes": 2}
    for name, holes in (("fx_1d_oanda_eurusd", 1), ("fx_1h_oanda_eurusd", 4), ("fx_1h_oanda_xauusd", 2)):
        assert examined(name).defects["long_holes"] == holes
    week = np.arange(np.datetime64("2016-12-09T22", "ns"), np.datetime64("2016-12-16T05", "ns"), np.timedelta64(1, "h"))
    assert bars_expected(Market.FX, week.astype(np.int64), 3_600 * 10**9).sum() == 103


def test_7_identical_prints_are_all_kept(market_data: Path, tmp_path: Path) -> None:
    """IBM trades: 7,147 identical rows are counted, and all rows are in the catalogue, in their order."""
    path = market_data / "ticks" / "us_ibm_trades_20131007_20131011.parquet"
    rows = stored(tmp_path / "c", path, "trades")
    assert rows.num_rows == 126_395
    assert rows.column("price").to_pylist() == pq.read_table(path).column("price").to_pylist()


def test_7_prints_that_the_vendor_distrusts_are_named(examined: Any) -> None:
    """Three of the quotes of IBM."""
    assert examined("us_ibm_quotes_20131007_20131011").defects["suspicious"] == 3


def test_8_backward_hours_are_sorted_and_reported(market_data: Path, tmp_path: Path) -> None:
    """Coinbase BTCUSD: five steps back in the file, none in the catalogue, and no bar is missing or doubled."""
    path = market_data / "bars" / "crypto_1h_coinbase_btcusd_2017_2019.parquet"
    report = examine_file(path, Options())
    assert report.defects == {"non_monotonic": 5, "zero_volume": 28}
    times = stored(tmp_path / "c", path, "bars").column("ts_ns").to_numpy()
    assert times.size == 20_111
    assert (np.diff(times) == 3_600 * 10**9).all()


def test_9_bars_without_trades_are_missing_not_invented(examined: Any) -> None:
    """Bitstamp: 13 hours of ETHUSD and 19 of LTCUSD."""
    report = examined("crypto_1h_ethusd_ltcusd_2017_2019")
    assert report.defects == {"missing_bars": 32}
    assert (report.venue, report.series, report.imported) == ("bitstamp", 2, 41_108)


def test_10_missing_maintenance_hours_and_two_sources_of_the_same_bars(market_data: Path, tmp_path: Path) -> None:
    """Binance: 20 hours in each of four pairs; 2024 of the other source is the same bars, which are stored once."""
    catalogue = Catalogue(tmp_path / "c")
    first = import_file(catalogue, market_data / "bars" / "crypto_1h_binance_2020_2024.parquet", Options())
    assert first.defects == {"missing_bars": 80, "zero_volume": 8}
    second = import_file(catalogue, market_data / "bars" / "crypto_1h_binance_2024.parquet", Options())
    assert second.defects["stored_already"] == 3 * 5112
    assert "differs_from_stored" not in second.defects
    bars = pa.Table.from_batches(
        [batch.replace_schema_metadata(None) for batch in catalogue.read("bars", instrument="BTC/USDT@binance_spot")]
    )
    assert np.unique(bars.column("ts_ns").to_numpy()).size == bars.num_rows == 37_516


def test_11_holidays_are_no_gaps_and_splits_are_jumps(examined: Any) -> None:
    """Forty stocks since 2000, September 2001 included: no bar is missing.  Hourly AAPL: four splits, one bad day."""
    daily = examined("us_1d_2000_2024")
    assert daily.defects == {"zero_volume": 1, "jumps": 8}
    assert daily.venue == "us_listed"
    assert examined("us_1h_aapl").defects == {"jumps": 5, "missing_bars": 3}


def test_12_snapshot_rows_before_the_session_are_no_gap(examined: Any) -> None:
    """CME: 8,725 rows of snapshot with times of 33 hours before; 12 repeats; the auction's 143 crossed rows."""
    messages = examined("cme_esh4_mbo_20231225")
    assert messages.defects == {"duplicates": 12}
    assert messages.remarks == {"snapshot_rows": 8725}
    book = examined("cme_esh4_book10_20231225").defects
    assert book.get("crossed", 0) + book.get("locked", 0) == 143


def test_13_sizes_after_a_deletion_stay_what_was_left(market_data: Path, tmp_path: Path) -> None:
    """Bitstamp orders: one repeat, words in our vocabulary, sizes as they were."""
    path = market_data / "lob" / "bitstamp_btcusd_l3_20150501.parquet"
    assert examine_file(path, Options()).defects == {"duplicates": 1}
    rows = stored(tmp_path / "c", path, "orders")
    assert set(rows.column("action").to_pylist()) == {"add", "modify", "cancel"}
    assert rows.column("size").to_pylist() == pq.read_table(path).column("size").to_pylist()


def test_14_separate_days_are_long_holes(examined: Any) -> None:
    """Coinbase minutes of nine days in four stretches; minutes without trades within them are missing bars."""
    assert examined("crypto_1m_coinbase_btcusd_trade").defects == {"missing_bars": 537, "long_holes": 3}


@pytest.mark.parametrize(
    ("name", "rows"),
    [("coinbase_adapter_fixtures", 21), ("kraken_adapter_fixtures", 65), ("oanda_v20_responses", 31)],
)
def test_15_and_16_messages_without_a_time_are_stored_only_at_a_given_one(
    name: str, rows: int, market_data: Path, tmp_path: Path
) -> None:
    """Counted and left out by default; with --received they are there, byte for byte."""
    path = market_data / "raw_frames" / f"{name}.jsonl.gz"
    report = examine_file(path, Options())
    assert (report.imported, report.defects) == (0, {"undated": rows})
    made = stored(tmp_path / "c", path, "frames", make_options(received="2017-06-30T12:00:00Z"))
    assert made.num_rows == rows
    assert set(made.column("direction").to_pylist()) == {"response"}


def test_17_a_bar_label_that_nobody_explains_is_flagged(examined: Any, market_data: Path, tmp_path: Path) -> None:
    """BTC-PERP: every row is flagged; whoever knows that labels are ends says so, and the times move by one minute.
    Its volumes are of USD, which is flagged too."""
    assert examined("crypto_1m_btc_perp_202201").defects == {"label_unclear": 45_031, "volume_unit": 45_031}
    path = market_data / "bars" / "crypto_1m_btc_perp_202201.parquet"
    ends = make_options(label="end")
    assert examine_file(path, ends).defects == {"volume_unit": 45_031}
    rows = stored(tmp_path / "c", path, "bars", ends)
    assert rows.column("ts_ns")[0].as_py() == pq.read_table(path).column("ts_ns")[0].as_py() - 60 * 10**9
