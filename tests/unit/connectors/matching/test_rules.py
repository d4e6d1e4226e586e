"""Instrument rules as a venue applies them."""

from __future__ import annotations

import msgspec
import pytest

from connectors.matching.rules import violation
from engine.instruments import AssetClass
from tests.support.matching import SPOT, D


@pytest.mark.parametrize(
    ("qty", "px", "reason"),
    [
        ("1", "100.5", None),
        ("0.05", "100", "lot_qty"),
        ("0", "100", "bad_qty"),
        ("NaN", "100", "bad_qty"),
        ("1001", "100", "max_qty"),
        ("1", "100.3", "tick_px"),
        ("1", "-1", "bad_px"),
        ("0.1", "99.5", "min_notional"),
    ],
)
def test_each_rule_is_named_when_broken(qty, px, reason):
    """One order per rule, on an instrument with tick 0.5, lot 0.1 and smallest notional 10."""
    found = violation(SPOT, qty=D(qty), limit_px=D(px))
    assert (found.reason if found else None) == reason
    if found:
        assert "expected" in found.text
        assert "\n" not in found.text


def test_a_market_order_is_valued_at_the_reference_and_a_remainder_on_margin_may_always_be_closed():
    """0.1 at 50 is below the smallest notional, unless it only reduces a position on margin."""
    perpetual = msgspec.structs.replace(SPOT, asset_class=AssetClass.PERPETUAL)
    for instrument in (SPOT, perpetual):
        assert violation(instrument, qty=D("0.1"), reference_px=D(50)).reason == "min_notional"
    assert violation(SPOT, qty=D("0.1"), reference_px=D(50), reduce_only=True).reason == "min_notional"
    assert violation(perpetual, qty=D("0.1"), reference_px=D(50), reduce_only=True) is None
