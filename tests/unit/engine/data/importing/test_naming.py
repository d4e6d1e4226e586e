"""What a file is about, from its metadata, its name, its folder, or the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.importing.naming import find_subject
from engine.data.importing.options import make_options
from engine.errors import DataError

MINUTE_NS = 60 * 10**9


@pytest.mark.parametrize(
    ("path", "venue", "symbol", "interval_ns"),
    [
        ("binance/BTC_USDT-5m.feather", "binance_spot", "BTC/USDT", 5 * MINUTE_NS),
        ("binance/futures/ETH_USDT_USDT-1h-futures.feather", "binance_usdm", "ETH/USDT", 60 * MINUTE_NS),
        ("kraken/XBT_EUR-trades.feather", "kraken", "XBT/EUR", 0),
        ("bybit/futures/SOL_USDT_USDT-1d-futures.feather", "bybit_futures", "SOL/USDT", 1440 * MINUTE_NS),
        ("x/binance_spot_btcusdt_20240808.jsonl.gz", "binance_spot", "BTCUSDT", 0),
        ("x/binance_spot_misc_20211012.jsonl.gz", "binance_spot", "", 0),
        ("x/coinbase_BTC-USD_1h.csv", "coinbase", "BTC-USD", 60 * MINUTE_NS),
        ("x/kraken_futures_20210722.jsonl.gz", "kraken_futures", "", 0),
    ],
)
def test_the_path_says_what_a_file_is_about(path: str, venue: str, symbol: str, interval_ns: int) -> None:
    """freqtrade's folders, and names that begin with a venue."""
    found = find_subject(Path(path), {}, make_options())
    assert (found.venue, found.symbol, found.interval_ns) == (venue, symbol, interval_ns)


def test_options_count_more_than_metadata_and_that_more_than_the_name() -> None:
    """One path, three times."""
    path = Path("binance/BTC_USDT-5m.feather")
    about = {"venue": "Kraken", "symbol": "XBT/EUR"}
    told = make_options(venue="me", symbol="A/B", interval="1m")
    assert find_subject(path, about, make_options()).venue == "Kraken"
    assert find_subject(path, about, told).symbol == "A/B"
    assert find_subject(path, about, told).interval_ns == MINUTE_NS


def test_a_list_of_symbols_is_no_symbol() -> None:
    """Metadata of files with a column of symbols; "each /USDT" completes those that name only a base."""
    found = find_subject(Path("a.parquet"), {"venue": "b", "symbol": "BTC ETH (each /USDT)"}, make_options())
    assert (found.symbol, found.full_symbol("BTC"), found.full_symbol("BTCUSDT")) == ("", "BTC/USDT", "BTCUSDT")
    assert find_subject(Path("a"), {"venue": "b", "symbol": "BTCUSDT ETHUSDT"}, make_options()).symbol == ""
    assert find_subject(Path("a"), {"venue": "b", "symbol": "BTC 1000$"}, make_options()).symbol == "BTC 1000$"


@pytest.mark.parametrize("name", ["mark", "index", "funding_rate"])
def test_prices_that_nobody_traded_at_are_refused(name: str) -> None:
    """freqtrade keeps mark prices beside candles, under almost the same name."""
    with pytest.raises(DataError, match="of freqtrade"):
        find_subject(Path(f"binance/futures/BTC_USDT_USDT-8h-{name}.feather"), {}, make_options())


def test_a_file_that_nobody_names_is_refused() -> None:
    """No venue anywhere."""
    with pytest.raises(DataError, match="which venue"):
        find_subject(Path("data.csv"), {}, make_options())
