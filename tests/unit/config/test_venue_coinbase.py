"""Settings become a Coinbase connector: endpoints, keys, what will be listed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from config.load import load
from config.schema import Settings
from config.venue_coinbase import KIND, coinbase_settings
from connectors.coinbase.sandbox.records import make_instrument as made_by_sandbox
from connectors.coinbase.sandbox.settings import DEFAULT_PRODUCTS
from engine.errors import ConfigError
from tests.support.core import D


def settings_with(**overrides: Any) -> Settings:
    return load(env={}, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def test_the_users_own_endpoints_win_over_the_sandboxes() -> None:
    """Addresses of a sandbox, one of which is configured otherwise; then none of either."""
    sandbox = {
        "rest": "http://127.0.0.1:1", "ws_market": "ws://127.0.0.1:2", "ws_user": "ws://127.0.0.1:3",
        "key_file": "sandbox.json",
    }  # fmt: skip
    made = coinbase_settings(settings_with(venue__rest_url="http://127.0.0.1:9"), sandbox)
    assert (made.rest_url, made.ws_market_url, made.ws_user_url, made.key_file) == (
        "http://127.0.0.1:9", "ws://127.0.0.1:2", "ws://127.0.0.1:3", "sandbox.json",
    )  # fmt: skip
    plain = coinbase_settings(settings_with(venue__request_timeout_ms=1500), {})
    assert plain.rest_url.startswith("https://api.coinbase.com")
    assert (plain.key_file, plain.order_timeout_s, plain.symbols) == ("", 1.5, ("BTC/USD", "ETH/USD"))


def test_an_endpoint_of_the_wrong_kind_is_refused() -> None:
    """A web address where a WebSocket is wanted."""
    with pytest.raises(ConfigError, match="ws_market_url"):
        coinbase_settings(settings_with(venue__ws_market_url="https://host"), {})


def test_foreseen_instruments_are_what_the_venue_will_define() -> None:
    """Held against a definition as the sandbox makes it: all but steps, bounds and fees is the same."""
    foreseen = KIND.foresee(settings_with(venue__symbols=["BTC/USD", "ETH/USD"]))
    listed = [made_by_sandbox(product, D(0), D(0)) for product in DEFAULT_PRODUCTS]
    told = ("tick_px", "lot_qty", "min_qty", "max_qty", "min_notional")
    assert foreseen == [
        msgspec.structs.replace(instrument, **{name: getattr(mine, name) for name in told})
        for instrument, mine in zip(listed, foreseen, strict=True)
    ]
    deep = KIND.foresee(settings_with(venue__channels=["level2"]))
    assert [instrument.has_depth for instrument in (*foreseen, *deep)] == [False, False, True, True]
