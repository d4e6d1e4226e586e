"""What the built-in exchange trades: what it has, what it is told to make up, and no typing error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.load import load
from config.made_up import check_made_up
from config.schema import Settings
from config.venue_registry import kind_of
from engine.errors import ConfigError
from tests.support.daemon import NO_CHAMPIONS


def check(**changes: Any) -> Settings:
    settings = load(env=NO_CHAMPIONS, overrides={key.replace("__", "."): value for key, value in changes.items()})
    check_made_up(settings, kind_of(settings).foresee(settings))
    return settings


@pytest.mark.parametrize(
    ("venue", "symbols"),
    [
        ("coinbase", ["BTC/USD", "SOL/EUR", "BTC/USDC", "BIP-20DEC30-CDE/USD"]),
        ("ccxt_kraken", ["BTC/USD", "LTC/BTC"]),
        ("binance_spot", ["BTC/USDT"]),
        ("binance_usdm", ["BTC/USDT", "SOL/USDT"]),
        ("oanda", ["EUR/USD", "XAU/USD", "SPX500/USD"]),
        ("robinhood", ["DOGE/USD"]),
        ("robin_stocks", ["AAPL/USD", "AAPL/USD:USD-301218-200-C"]),
    ],
)
def test_markets_that_exist_need_no_word(venue: str, symbols: list[str]) -> None:
    check(venue__name=venue, venue__symbols=symbols)


@pytest.mark.parametrize(
    ("venue", "symbol", "said"),
    [
        (
            "coinbase",
            "FOO/BAR",
            r"has no FOO/BAR; .*; to have it made up: --set 'sandbox.products=\{\"FOO/BAR\": 100\}'",
        ),
        ("coinbase", "BTCC/USD", r"did you mean BTC/USD\?"),
        ("coinbase", "BTC/USDD", r"did you mean BTC/USDC?\?"),
        ("coinbase", "BIP-21DEC30-CDE/USD", r"has no BIP-21DEC30-CDE/USD"),
        ("ccxt_kraken", "ETH/ETH", r"has no ETH/ETH"),
        ("robin_stocks", "AAPLE/USD", r"did you mean AAPL/USD\?"),
        ("oanda", "EUR/USX", r"has no EUR/USX"),
    ],
)
def test_a_typing_error_is_no_market(venue: str, symbol: str, said: str) -> None:
    """One line that names what was meant, and how to have it made up all the same."""
    with pytest.raises(ConfigError, match=said):
        check(venue__name=venue, venue__symbols=[symbol])
    check(venue__name=venue, venue__symbols=[symbol], sandbox__products={symbol: "12.5"})


def test_a_server_that_runs_already_and_a_real_market_say_so_themselves() -> None:
    """What they list is theirs."""
    check(venue__symbols=["FOO/BAR"], venue__feed="live")
    check(venue__symbols=["FOO/BAR"], venue__rest_url="http://127.0.0.1:8443")


@pytest.mark.parametrize("venue", ["coinbase", "ccxt_kraken", "binance_usdm", "oanda", "robinhood", "robin_stocks"])
def test_the_server_is_told_the_price_at_which_it_starts(venue: str, tmp_path: Path) -> None:
    """Behind the name that it has there."""
    symbol = "FOO/USD"
    settings = check(venue__name=venue, venue__symbols=[symbol], sandbox__products={symbol: "12.5"})
    command = kind_of(settings).sandbox_command(settings, tmp_path / "key", Path("run.py"))
    assert [part for part in command if part.endswith("=12.5")] == [
        {"oanda": "FOO_USD", "robin_stocks": "FOO", "ccxt_kraken": symbol, "binance_usdm": symbol}.get(venue, "FOO-USD")
        + "=12.5"
    ]
