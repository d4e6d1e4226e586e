"""Stored rows get the verdicts of a session, whatever the kind, the file or the catalogue they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.catalogue import Catalogue, Source
from engine.data.importing.importer import import_file
from engine.data.importing.options import Options
from engine.data.judging import SeriesJudge, judge_catalogue, judge_file, trade_keys
from engine.data.parts import series_of
from engine.errors import DataError
from engine.quality.gate import id_key
from engine.quality.tolerances import Tolerances

START = 1_700_000_000_000_000_000
S = 1_000_000_000
HOUR = 3600 * S
LIMITS = Tolerances()


def judged(kind: str, columns: Mapping[str, Any], interval_ns: int = 0, hours: float | None = None) -> Any:
    """One series, in two tables."""
    judge = SeriesJudge(series_of("binance_spot", "BTCUSDT", kind, interval_ns), LIMITS, hours)
    table = pa.table(dict(columns))
    judge.add(table.slice(0, table.num_rows // 2))
    judge.add(table.slice(table.num_rows // 2))
    return judge


def calm(n: int, step_ns: int = S) -> dict[str, Any]:
    bid = 100.0 + 0.01 * (np.arange(n) % 2)
    return {"ts_ns": START + np.arange(n) * step_ns, "bid": bid, "ask": bid + 0.02}


def test_quotes_with_and_without_sizes() -> None:
    """Crossed, locked, a spike; a size of zero where there are sizes."""
    columns = calm(60)
    columns["bid"][50:] += 0.02
    columns["bid"][52] += 0.5
    columns["ask"][55] = columns["bid"][55] = 150.0
    line = judged("quotes", columns).line()
    assert (line.points, line.suspect, line.dropped) == (60, 1, 1)
    # Ten are locked, but for the crossed one, the outlier, and the one behind it, which is told as the end of a spike.
    assert line.issues == {"crossed": 1, "locked": 7, "outlier": 1, "spike": 1}
    sizes = np.ones(60)
    sizes[3] = 0.0
    assert judged("quotes", {**calm(60), "bid_size": sizes, "ask_size": sizes}).line().issues == {"bad_size": 1}
    holes = pa.array([None, *[1.0] * 59])
    assert judged("quotes", {**calm(60), "bid_size": holes, "ask_size": sizes}).line().issues == {}


def test_a_recorders_clock_is_told_and_no_defect() -> None:
    """1.27 s behind the venue; rows without a receive time take the venue's."""
    columns = calm(60)
    judge = judged("quotes", {**columns, "recv_ns": columns["ts_ns"] - 1_270_000_000})
    assert (judge.line().issues, judge.clock_offset_ms()) == ({}, {"quotes": -1270.0})
    received = pa.array([None, *columns["ts_ns"][1:].tolist()], pa.int64())
    assert judged("quotes", {**columns, "recv_ns": received}).line().issues == {}


def test_trades_are_told_apart_by_their_ids() -> None:
    """A repeated id is dropped; identical rows without ids are prints of their own."""
    columns = {"ts_ns": START + np.arange(10) * S, "price": np.full(10, 100.0), "size": np.ones(10)}
    assert judged("trades", columns).line().issues == {}
    ids = ["1", "2", "3", "3", "4", "5", "6", "7", "8", "8"]
    assert judged("trades", {**columns, "trade_id": ids}).line().issues == {"duplicate": 2}
    columns["ts_ns"] = np.full(10, START)
    assert judged("trades", columns).line().issues == {}


@pytest.mark.parametrize(
    "ids", [["7", "8", "007"], ["7", "t8", None], ["9" * 19, "1", "2"], ["-5", "1", "2"], [None] * 3]
)
def test_keys_of_a_column_are_keys_of_its_ids(ids: list[str | None]) -> None:
    """The same number for a file and for an event, whatever the ids look like."""
    keys = trade_keys(pa.array(ids, pa.string()))
    if any(ids):
        assert keys is not None
        assert keys.tolist() == [id_key(one or "") for one in ids]
    else:
        assert keys is None


def test_candles_and_their_relations() -> None:
    """High below close, negative volume, a jump that is counted and used."""
    n = 60
    close = 100.0 + 0.1 * (np.arange(n) % 2)
    columns = {"ts_ns": START + np.arange(n) * 60 * S, "interval_ns": np.full(n, 60 * S), "open": close.copy()}
    columns |= {"high": close + 1.0, "low": close - 1.0, "close": close, "volume": np.ones(n)}
    columns["high"][3] = 50.0
    columns["volume"][4] = -1.0
    for name in ("open", "high", "low", "close"):
        columns[name][40:] += 50.0
    line = judged("bars", columns, 60 * S).line()
    assert (line.points, line.suspect, line.dropped) == (60, 0, 2)
    assert line.issues == {"bad_size": 1, "high_low": 1, "outlier": 1}


def test_quote_candles_are_judged_by_their_close_and_both_sides() -> None:
    """Crossed at the close; a high below the close on one side only."""
    n = 60
    mid = 100.0 + 0.01 * (np.arange(n) % 2)
    columns: dict[str, Any] = {"ts_ns": START + np.arange(n) * HOUR, "interval_ns": np.full(n, HOUR)}
    for side, shift in (("bid", -0.01), ("ask", 0.01)):
        for name, more in (("open", 0.0), ("high", 0.5), ("low", -0.5), ("close", 0.0)):
            columns[f"{side}_{name}"] = mid + shift + more
    columns["bid_close"][5] = columns["ask_close"][5] + 0.01
    columns["ask_high"][6] = columns["ask_low"][6] - 0.1
    for name, column in columns.items():
        if name.startswith(("bid", "ask")):
            column[40:] += 30.0
    line = judged("quote_bars", columns, HOUR).line()
    assert line.issues == {"crossed": 1, "high_low": 1, "outlier": 1, "confirmed": 1}


def test_only_the_last_hours_are_told_and_all_are_judged() -> None:
    """Ten hours of quotes, one an hour, all locked: the last three, by the newest row."""
    columns = calm(10, HOUR)
    columns["ask"] = columns["bid"]
    line = judged("quotes", columns, hours=2.0).line()
    assert (line.points, line.issues) == (3, {"locked": 3})
    assert judged("quotes", {name: column[:0] for name, column in columns.items()}, hours=2.0).line().points == 0


def test_a_file_and_the_catalogue_it_went_into_are_judged_alike(tmp_path: Path) -> None:
    """The same line both ways; kinds that are raw are named and not judged."""
    columns = calm(60)
    columns["bid"][7] = 200.0
    table = pa.table(columns).replace_schema_metadata({"venue": "Coinbase", "symbol": "BTC-USD"})
    path = tmp_path / "quotes.parquet"
    pq.write_table(table, path)
    (of_file,) = judge_file(path, Options(), LIMITS)
    assert (of_file.instrument, of_file.venue, of_file.kind) == ("BTC/USD@coinbase", "coinbase", "quotes")
    assert of_file.quality.issues == {"crossed": 1}
    catalogue = Catalogue(tmp_path / "catalogue")
    import_file(catalogue, path, Options())
    (stored,) = judge_catalogue(catalogue, LIMITS)
    assert (stored.quality, stored.instrument) == (of_file.quality, of_file.instrument)
    sides = {"ts_ns": columns["ts_ns"], "side": ["bid"] * 60, "price": columns["bid"], "size": np.ones(60)}
    raw = pa.table(sides).replace_schema_metadata({"venue": "Coinbase", "symbol": "ETH-USD"})
    pq.write_table(raw, tmp_path / "sides.parquet")
    (unjudged,) = judge_file(tmp_path / "sides.parquet", Options(kind="side_quotes"), LIMITS)
    assert (unjudged.kind, unjudged.quality) == ("side_quotes", None)


def test_parts_that_lie_among_each_other_are_judged_in_the_order_of_a_session(tmp_path: Path) -> None:
    """Bars of which a second source filled the hole, and ticks that two recordings took in turns: none is late."""
    catalogue = Catalogue(tmp_path)
    for numbers in ([0, 1, 2, 5, 6], [3, 4]):
        prices = {name: [100.0] * len(numbers) for name in ("open", "high", "low", "close", "volume")}
        times = pa.array([START + number * HOUR for number in numbers])
        lengths = pa.array([HOUR] * len(numbers))
        with catalogue.writer("coinbase", "BTC-USD", "bars", HOUR, source=Source("made")) as writer:
            writer.write(pa.table({"ts_ns": times, "interval_ns": lengths, **prices}))
    for first in (0, 1):
        count = 100
        times = pa.array([START + number * 60 * S for number in range(first, 2 * count, 2)])
        quotes = {"bid": [100.0] * count, "ask": [101.0 + n % 2 for n in range(count)]}
        with catalogue.writer("coinbase", "BTC-USD", "quotes", source=Source("made")) as writer:
            writer.write(pa.table({"ts_ns": times, "recv_ns": times, **quotes}))
    for judged in judge_catalogue(catalogue, LIMITS):
        assert judged.quality is not None
        assert (judged.quality.dropped, judged.quality.suspect) == (0, 0), (judged.kind, judged.quality.issues)
        assert judged.quality.points == {"bars": 7, "quotes": 200}[judged.kind]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """In one line, by the import's own reader."""
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        judge_file(path, Options(), LIMITS)


def test_known_defects_of_recorded_data_are_found_and_no_others(market_data: Path) -> None:
    """Crossed quotes of FXCM, in ticks and in candles, and of the CME before its opening, to the row."""
    for name, issues in (
        ("bars/fx_1m_fxcm_gbpusd_201202", {"crossed": 347, "locked": 306, "outlier": 1, "spike": 1}),
        ("lob/cme_esh4_book10_20231225", {"crossed": 143}),
        ("bars/crypto_1h_coinbase_btcusd_2017_2019", {"outlier": 5}),
        ("bars/crypto_5m_binance_btcusdt_2024", {}),
        ("lob/binance_usdm_btcusdt_20240808_book10", {}),
    ):
        (one,) = judge_file(market_data / f"{name}.parquet", Options(), LIMITS)
        assert one.quality is not None
        assert one.quality.issues == issues, name
