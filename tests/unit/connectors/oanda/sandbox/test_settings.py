"""What a sandbox lists by name alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.oanda.sandbox.settings import SandboxSettings, instruments_named


@pytest.mark.parametrize(
    ("name", "px", "digits"),
    [("EUR_GBP", "0.855", 5), ("EUR_JPY", "163.9", 3), ("GBP_CHF", "1.123", 5), ("XXX_USD", "1", 5)],
)
def test_pairs_of_known_currencies_go_together(name: str, px: str, digits: int) -> None:
    """A cross begins where its two sides against the dollar put it, with the digits of its quote currency."""
    (made,) = instruments_named([name])
    assert abs(made.start_px / Decimal(px) - 1) < Decimal("0.002")
    assert made.display_precision == digits
    SandboxSettings(instruments=(made, *instruments_named(["GBP_USD", "USD_JPY", "USD_CHF"]))).check()
