"""Settings of local venues that cannot be served."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.binance.sandbox.settings import BinanceSettings
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.local.options import balances_named
from connectors.local.settings import LocalSettings, SpotProduct
from engine.errors import ConfigError

GOOD = SpotProduct("BTC/USD", Decimal(100))


def odd(**changes: Any) -> tuple[SpotProduct, ...]:
    return (msgspec.structs.replace(GOOD, **changes),)


@pytest.mark.parametrize(
    "settings",
    [
        LocalSettings(),
        LocalSettings(products=odd(symbol="BTCUSD")),
        LocalSettings(products=odd(symbol="A/B/C")),
        LocalSettings(products=(GOOD, GOOD)),
        LocalSettings(products=odd(start_px=Decimal("0.001"))),
        LocalSettings(products=(GOOD,), balances=(("USD", Decimal(-1)),)),
        LocalSettings(products=(GOOD,), balances=(("USD", Decimal("NaN")),)),
        LocalSettings(products=(GOOD,), port=70_000),
        LocalSettings(products=(GOOD,), speed=0),
        LocalSettings(products=(GOOD,), rate_per_s=0),
        LocalSettings(products=(GOOD,), step_ms=0),
        LocalSettings(products=(GOOD,), taker_fee_rate=Decimal(1)),
        LocalSettings(products=(GOOD,), fees_in="shells"),
        BinanceSettings(duplicate_client_ids="maybe"),
        BinanceSettings(ping_s=0),
        KrakenSettings(signature_error="no"),
        KrakenSettings(duplicate_client_ids="maybe"),
        KrakenSettings(token_life_s=0),
        KrakenSettings(products=odd(tick_px=Decimal("0.05"))),
    ],
)
def test_what_cannot_be_served_is_refused(settings: LocalSettings) -> None:
    """In one line, before anything is made."""
    with pytest.raises(ConfigError) as caught:
        settings.check()
    assert "\n" not in str(caught.value)


def test_the_defaults_can_be_served() -> None:
    """Of both venues."""
    BinanceSettings().check()
    KrakenSettings().check()


@pytest.mark.parametrize("text", ["USDT", "=5", "USDT=much", ""])
def test_a_balance_that_is_none_is_refused(text: str) -> None:
    """And a good one is read."""
    with pytest.raises(ConfigError):
        balances_named([text])
    assert balances_named(["USDT=5", "BTC=0.1"]) == (("USDT", Decimal(5)), ("BTC", Decimal("0.1")))
