"""Every address of a class is led to this machine."""

from __future__ import annotations

from connectors.ccxt_venue.addresses import outside, redirected
from connectors.ccxt_venue.library import class_of, load

REST, MARKET, USER = "http://127.0.0.1:1234", "ws://127.0.0.1:1234/ws", "ws://127.0.0.1:1234/ws-user"


def test_no_address_of_any_exchange_is_left_out() -> None:
    """All classes of the installed library: after the rewriting nothing names another machine."""
    ccxt = load()
    for name in ccxt.exchanges:
        urls = getattr(ccxt, name)().urls["api"]
        assert outside(urls), name
        assert outside(redirected(urls, rest=REST, ws_market=MARKET, ws_user=USER)) == [], name


def test_paths_are_kept_and_private_streams_told_apart() -> None:
    """Binance's addresses hold the path, Kraken's the kind of stream."""
    binance = redirected(class_of("binance")().urls["api"], rest=REST, ws_market=MARKET, ws_user=USER)
    assert binance["public"] == f"{REST}/api/v3"
    kraken = redirected(class_of("kraken")().urls["api"], rest=REST, ws_market=MARKET, ws_user=USER)
    assert (kraken["ws"]["publicV2"], kraken["ws"]["privateV2"]) == (MARKET, USER)
    assert redirected({"a": None}, rest=REST, ws_market="", ws_user="") == {"a": None}
