"""Files of candles as markets: what is read, what is refused, and that a catalogue gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.catalogue import Catalogue
from engine.data.importing.importer import import_file
from engine.data.importing.options import Options
from engine.errors import ConfigError, DataError
from engine.features import FeatureSpec, GapPolicy, Sampling
from models.trainer.candle_files import holds_candles, read_candles
from models.trainer.recorded import recorded_markets
from models.trainer.settings import Data

HOUR = 3_600_000_000_000
START = 1_704_067_200_000_000_000
SPEC = FeatureSpec("own", ("close",), 5, Sampling.time_bar(HOUR, price="trade"), gap=GapPolicy(flat_rows_max=4))


def table(symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT"), rows: int = 40, **columns: Any) -> pa.Table:
    """Rows of the symbols in turn, an hour apart."""
    random = np.random.default_rng(1)
    count = rows * len(symbols)
    close = np.round(100 + np.cumsum(random.normal(0, 0.5, count)), 2)
    content: dict[str, Any] = {
        "symbol": np.tile(symbols, rows),
        "ts_ns": START + np.repeat(np.arange(rows), len(symbols)) * HOUR,
        "open": close,
        "high": close + 0.5,
        "low": close - 0.5,
        "close": close,
        "volume": random.exponential(2.0, count),
    }
    return pa.table(content | columns).replace_schema_metadata({"venue": "Binance spot", "symbol": " ".join(symbols)})


def write(folder: Path, content: pa.Table, name: str = "bars.parquet") -> Path:
    pq.write_table(content, folder / name)
    return folder / name


def test_each_symbol_is_a_market_and_the_catalogue_gives_the_same(tmp_path: Path) -> None:
    """Events of a file and of the same file imported are equal; known rules, an id of base, quote and venue."""
    path = write(tmp_path, table())
    markets = recorded_markets(Data(files=(path.name,)), tmp_path, SPEC)
    assert [market.instrument.id for market in markets] == ["BTC/USDT@binance_spot", "ETH/USDT@binance_spot"]
    catalogue = Catalogue(tmp_path / "catalogue")
    import_file(catalogue, path, Options())
    names = tuple(market.instrument.id for market in markets)
    stored = recorded_markets(Data(catalogue=str(catalogue.root), instruments=names), tmp_path, SPEC)
    for one, other in zip(markets, stored, strict=True):
        events = list(one.events())
        assert len(events) == 40
        assert events == list(other.events())
        assert one.instrument == other.instrument
        assert events[0].ts_event_ns == START + HOUR


def test_some_of_the_symbols_may_be_chosen(tmp_path: Path) -> None:
    """By id; a wrong one names the nearest."""
    path = write(tmp_path, table())
    (market,) = recorded_markets(Data(files=(path.name,), instruments=("ETH/USDT@binance_spot",)), tmp_path, SPEC)
    assert market.instrument.id == "ETH/USDT@binance_spot"
    with pytest.raises(ConfigError, match="expected 'ETH/USDT@binance_spot'"):
        recorded_markets(Data(files=(path.name,), instruments=("ETH/USDT@binance",)), tmp_path, SPEC)


def test_a_symbol_that_names_no_quote_gets_the_one_that_is_set(tmp_path: Path) -> None:
    """BTC in USDT; without the setting the file is refused."""
    path = write(tmp_path, table(("BTC", "ARB")))
    assert [one.instrument.id for one in read_candles(path, "USDT")] == [
        "BTC/USDT@binance_spot",
        "ARB/USDT@binance_spot",
    ]
    with pytest.raises(DataError, match=r"the symbol 'BTC', which does not say what it is priced in.*set data\.quote"):
        read_candles(path)


def test_candles_are_put_in_order_of_time(tmp_path: Path) -> None:
    """A file whose times go back, as one of the recorded ones does."""
    path = write(tmp_path, table(("BTCUSDT",)).take(np.r_[0:10, 20:30, 10:20, 30:40]))
    (series,) = read_candles(path)
    assert (np.diff(series.start_ns) == HOUR).all()
    assert series.interval_ns == HOUR


def test_every_recorded_file_of_trade_candles_is_read(market_data: Path) -> None:
    """All rows of each, by symbol; quote candles are no market of trades and are refused by their columns."""
    rows = 0
    for path in sorted((market_data / "bars").glob("*.parquet")):
        if not holds_candles(path):
            with pytest.raises(DataError, match="has no open"):
                read_candles(path)
            continue
        found = read_candles(path, "USDT")
        rows += sum(len(one.start_ns) for one in found)
        assert sum(len(one.start_ns) for one in found) == pq.ParquetFile(path).metadata.num_rows
        assert len({one.instrument.id for one in found}) == len(found)
    assert rows > 800_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: table().drop_columns(["volume"]), "has no volume"),
        (lambda: table(ts_ns=np.arange(80.0)), "column 'ts_ns' of type double; expected int64"),
        (lambda: table(close=pa.array(np.ones(80), pa.float32())), "column 'close' of type float"),
        (lambda: table(ts_ns=np.arange(80)), "which is no time between 2000 and 2100"),
        (lambda: table(ts_ns=np.full(80, START)), "two candles of BTCUSDT at one time"),
        (lambda: table().replace_schema_metadata({}), "does not say its venue and symbol"),
        (lambda: table(rows=0), "has no rows"),
        (lambda: table().set_column(1, "ts_ns", pa.array([None] + [START] * 79, pa.int64())), "rows without ts_ns"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_in_one_line(tmp_path: Path, content: Any, said: str) -> None:
    """What was seen and what was expected."""
    with pytest.raises(DataError, match=said) as caught:
        read_candles(write(tmp_path, content()))
    assert "\n" not in str(caught.value)


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    """Another length than the rows', an instrument twice, quotes beside candles, ticks of candles, others' prices."""
    path = write(tmp_path, table())
    day = FeatureSpec("own", ("close",), 5, Sampling.time_bar(24 * HOUR, price="trade"), gap=SPEC.gap)
    with pytest.raises(DataError, match=r"has candles of 3600 s; expected 86400 s, as features.sampling says"):
        recorded_markets(Data(files=(path.name,)), tmp_path, day)
    write(tmp_path, table(), "again.parquet")
    with pytest.raises(DataError, match=r"bars\.parquet and again\.parquet have candles of BTC/USDT@binance_spot"):
        recorded_markets(Data(files=(path.name, "again.parquet")), tmp_path, SPEC)
    quotes = pa.table({"ts_ns": [START], "bid": [1.0], "ask": [2.0]})
    write(tmp_path, quotes.replace_schema_metadata({"venue": "OANDA", "symbol": "EURUSD"}), "quotes.parquet")
    with pytest.raises(DataError, match=r"holds candles and .*quotes\.parquet does not; expected files of one kind"):
        recorded_markets(Data(files=(path.name, "quotes.parquet")), tmp_path, SPEC)
    with pytest.raises(DataError, match="expected quotes or trades for rows of every tick"):
        recorded_markets(Data(files=(path.name,)), tmp_path, FeatureSpec("own", ("close",), 5))
    peers = FeatureSpec("own", ("close", "peer_move(BTC/USDT@binance_spot)"), 5, SPEC.sampling, gap=SPEC.gap)
    with pytest.raises(DataError, match="expected candles of a catalogue"):
        recorded_markets(Data(files=(path.name,)), tmp_path, peers)
