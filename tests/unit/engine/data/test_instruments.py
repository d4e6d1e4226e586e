"""Default rules of known instruments, and the split of symbols."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.data.instruments import known_instrument, split_symbol, venue_id
from engine.errors import DataError
from engine.instruments import AssetClass


@pytest.mark.parametrize(
    ("venue", "symbol", "pair"),
    [
        ("binance_spot", "BTCUSDT", ("BTC", "USDT")),
        ("binance_spot", "BTCFDUSD", ("BTC", "FDUSD")),
        ("binance_spot", "XRPETH", ("XRP", "ETH")),
        ("binance_spot", "USDCUSDT", ("USDC", "USDT")),
        ("coinbase", "BTC-USD", ("BTC", "USD")),
        ("oanda", "EUR_USD", ("EUR", "USD")),
        ("oanda", "xauusd", ("XAU", "USD")),
        ("us_equities", "BRK.B", ("BRK.B", "USD")),
    ],
)
def test_symbols_split_into_base_and_quote(venue: str, symbol: str, pair: tuple[str, str]) -> None:
    """Spellings of several venues."""
    assert split_symbol(venue, symbol) == pair


@pytest.mark.parametrize("symbol", ["", "USD", "GLORP", "A/B/C", "BTC USD"])
def test_a_symbol_that_cannot_be_split_is_an_error(symbol: str) -> None:
    """Never a guess: what the base is decides what an order buys."""
    with pytest.raises(DataError, match="cannot be split"):
        split_symbol("x", symbol)


def test_venue_names_become_ids() -> None:
    """Names as recordings write them."""
    assert venue_id("Binance USD-M futures") == "binance_usdm"
    assert venue_id("Binance spot") == "binance_spot"
    assert venue_id("US consolidated tape") == "us_equities"
    assert venue_id("OANDA") == "oanda"


def test_known_rules() -> None:
    """The figures that a paper result depends on, for one instrument of each kind."""
    future = known_instrument("Binance USD-M futures", "BTCUSDT")
    spot = known_instrument("Binance spot", "BTCUSDT")
    fx = known_instrument("OANDA", "EUR_USD")
    yen = known_instrument("OANDA", "USD_JPY")
    gold = known_instrument("OANDA", "XAUUSD")
    stock = known_instrument("US consolidated tape", "SPY")
    assert future is not None
    assert spot is not None
    assert fx is not None
    assert yen is not None
    assert gold is not None
    assert stock is not None
    assert (future.asset_class, future.can_short, future.tick_px) == (AssetClass.PERPETUAL, True, Decimal("0.1"))
    assert (future.maker_fee_rate, future.taker_fee_rate) == (Decimal("0.0002"), Decimal("0.0005"))
    assert (spot.asset_class, spot.can_short, spot.taker_fee_rate) == (AssetClass.SPOT, False, Decimal("0.001"))
    assert (fx.asset_class, fx.tick_px, fx.has_quote_sizes) == (AssetClass.FX, Decimal("0.00001"), False)
    assert yen.tick_px == Decimal("0.001")
    assert (gold.asset_class, gold.tick_px) == (AssetClass.CFD, Decimal("0.001"))
    assert (stock.id, stock.can_short) == ("SPY/USD@us_equities", False)
    assert [i.session_calendar for i in (spot, fx, yen, gold, stock)] == [None, "FX", "FX", "CMES", "XNYS"]
    assert known_instrument("Binance spot", "NKNUSDT") is None


def test_a_remark_in_a_venues_name_is_no_part_of_it() -> None:
    """Names as publishers of files write them; a name that is nothing else stays."""
    assert venue_id("Bitstamp (as named by the download script of the source)") == "bitstamp"
    assert venue_id("FTX (by the instrument name)") == "ftx"
    assert venue_id("CME Globex (GLBX.MDP3)") == "cme_globex"
    assert venue_id("US listed (figures of Yahoo Finance)") == "us_listed"
    assert venue_id("Coinbase Pro") == venue_id("Coinbase") == "coinbase"
    assert venue_id("(a)") == "a"


def test_futures_and_listed_shares_are_bought_whole() -> None:
    """ESH4 is its own base; a ticker with a point too."""
    assert split_symbol("cme_globex", "ESH4") == ("ESH4", "USD")
    assert split_symbol("us_listed", "BRK.B") == ("BRK.B", "USD")
    with pytest.raises(DataError, match="cannot be split"):
        split_symbol("coinbase", "ESH4")
