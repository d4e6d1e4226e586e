"""Marketable prices: on the tick grid, beyond the touch, within the range of the instrument."""

from __future__ import annotations

import msgspec
import pytest

from engine.events import Side
from engine.ports import Top
from strategies.pricing import marketable_px
from tests.support.core import D, spot


def top(bid_px: float, ask_px: float) -> Top:
    return Top(bid_px=bid_px, bid_qty=1.0, ask_px=ask_px, ask_qty=1.0)


@pytest.mark.parametrize(("side", "px"), [(Side.BUY, "100.05"), (Side.SELL, "99.97")])
def test_the_far_touch_and_the_slip_beyond_it(side: Side, px: str) -> None:
    """A cent wide, three ticks of slip: a buy above the ask, a sell below the bid."""
    assert marketable_px(spot(), top(100.00, 100.02), side, 3) == D(px)


def test_a_price_below_the_range_of_the_instrument_is_none() -> None:
    """One tick above zero, sold two ticks lower, then exactly to zero; where negative prices are allowed, a price."""
    low = top(0.01, 0.02)
    assert marketable_px(spot(), low, Side.SELL, 2) is None
    assert marketable_px(spot(), low, Side.SELL, 1) is None
    assert marketable_px(spot(), low, Side.SELL, 0) == D("0.01")
    spread = msgspec.structs.replace(spot(), allows_negative_px=True)
    assert marketable_px(spread, low, Side.SELL, 2) == D("-0.01")
