"""Exchanges of the ccxt library as kinds of venue."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import load
from config.venue_ccxt import ccxt_settings, kind_named
from config.venue_registry import kind_of
from engine.commands import OrderType, TimeInForce
from engine.errors import ConfigError


def test_one_line_names_any_exchange_of_the_library() -> None:
    """As a user writes it, and as it stands in instrument ids."""
    for name in ("ccxt:kraken", "ccxt_kraken"):
        settings = load((), env={}, overrides={"venue.name": name})
        assert settings.venue.name == "ccxt_kraken"
        kind = kind_of(settings)
        assert kind.speaks == "kraken, through ccxt"
        assert [one.id for one in kind.foresee(settings)] == ["BTC/USD@ccxt_kraken", "ETH/USD@ccxt_kraken"]
    for wrong in ("ccxt:", "ccxt:Kraken", "ccxt:../x", "kraken"):
        with pytest.raises(ConfigError, match="ccxt:EXCHANGE"):
            load((), env={}, overrides={"venue.name": wrong})


def test_what_a_server_says_is_its_addresses_whatever_it_calls_them(tmp_path: Path) -> None:
    """The three built-in ones; a setting goes before what they say, and who only watches is given no key."""
    settings = load((), env={}, overrides={"venue.name": "ccxt:kraken", "venue.channels": ["level2"]})
    rest = "http://127.0.0.1:1"
    for said in (
        {"ws_market": "ws://127.0.0.1:1/a", "ws_user": "ws://127.0.0.1:1/b"},
        {"ws": "ws://127.0.0.1:1/a", "ws_auth": "ws://127.0.0.1:1/b"},
        {"ws": "ws://127.0.0.1:1/a", "ws_api": "ws://127.0.0.1:1/b"},
    ):
        made = ccxt_settings("kraken", settings, {"rest": rest, "key_file": "/k", **said}, "play")
        assert (made.rest_url, made.ws_market_url, made.ws_user_url) == (rest, f"{rest}/a".replace("http", "ws"),
                                                                        f"{rest}/b".replace("http", "ws"))  # fmt: skip
        assert (made.depth, made.trades, made.money, made.key_file) == (True, False, "play", "/k")
    assert ccxt_settings("kraken", settings, {"rest": rest, "key_file": "/k"}, keyed=False).key_file == ""
    told = load((), env={}, overrides={"venue.name": "ccxt:kraken", "venue.rest_url": "http://127.0.0.1:2"})
    assert ccxt_settings("kraken", told, {"rest": rest}).rest_url == "http://127.0.0.1:2"


def test_a_built_in_server_is_started_where_there_is_one(tmp_path: Path) -> None:
    """Products and balances in the words of each command; of another exchange there is none."""
    settings = load((), env={}, overrides={"venue.name": "ccxt:kraken"})
    kraken = kind_named("ccxt_kraken").sandbox_command(settings, tmp_path / "key", Path("run.py"))
    assert kraken[2:4] == ["sandbox", "kraken"]
    assert "BTC/USD" in kraken
    assert "BTC-USD" in kind_named("ccxt_coinbase").sandbox_command(settings, tmp_path / "key", Path("run.py"))
    with pytest.raises(ConfigError, match="feed to live"):
        kind_named("ccxt_okx").sandbox_command(settings, tmp_path / "key", Path("run.py"))
    perpetual = load((), env={}, overrides={"venue.name": "ccxt:binance", "venue.symbols": ["BTC/USDT:USDT"]})
    with pytest.raises(ConfigError, match=r"BTC/USDT:USDT at the built-in exchange.*binance_usdm"):
        kind_named("ccxt_binance").sandbox_command(perpetual, tmp_path / "key", Path("run.py"))


def test_other_addresses_are_told_where_there_are_several() -> None:
    """To the connector and to the watchdog; of a venue that has one, or of streams, they are refused."""
    given = {"venue.name": "ccxt:binance", "venue.rest_fallbacks": ["https://api1.binance.com"]}
    settings = load((), env={}, overrides=given)
    assert ccxt_settings("binance", settings, {}).rest_fallbacks == ("https://api1.binance.com",)
    settings = load((), env={}, overrides={**given, "venue.key_file": "k.json"})
    assert kind_of(settings).cancel_only(settings).told["rest_fallbacks"] == ["https://api1.binance.com"]
    for name, field in (
        ("coinbase", "rest_fallbacks"),
        ("oanda", "rest_fallbacks"),
        ("ccxt:okx", "ws_market_fallbacks"),
    ):
        wrong = load((), env={}, overrides={"venue.name": name, f"venue.{field}": ["wss://elsewhere.example"]})
        with pytest.raises(ConfigError, match=f"venue.{field} with {wrong.venue.name}"):
            kind_of(wrong)


def test_what_an_exchange_takes_is_the_librarys_word_where_it_is_right() -> None:
    """Kraken knows no all-or-nothing, whatever is promised; nobody is sent a stop."""
    kraken, binance = kind_named("ccxt_kraken").offer, kind_named("ccxt_binance").offer
    assert kraken.takes(OrderType.LIMIT, TimeInForce.IOC)
    assert not kraken.takes(OrderType.LIMIT, TimeInForce.FOK)
    assert binance.takes(OrderType.LIMIT, TimeInForce.FOK)
    assert not binance.takes(OrderType.STOP_LIMIT, TimeInForce.GTC)


def test_the_account_is_named_without_its_secret(tmp_path: Path) -> None:
    """By a digest of the key's name; the watchdog is told where the file is."""
    key = tmp_path / "key.json"
    key.write_text('{"apiKey": "sesame", "secret": "open"}')
    settings = load((), env={}, overrides={
        "venue.name": "ccxt:kraken", "venue.key_file": str(key), "venue.rest_url": "http://127.0.0.1:1"})  # fmt: skip
    kind = kind_named("ccxt_kraken")
    assert len(kind.key_name(settings)) == 16
    told = kind.cancel_only(settings)
    assert told.module == "connectors.ccxt_venue.cancel_only"
    assert told.told["exchange"] == "kraken"
    assert "sesame" not in repr(told) + kind.key_name(settings)
