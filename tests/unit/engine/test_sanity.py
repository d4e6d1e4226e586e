"""What an event must be to be believed."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan

import pytest

from engine.commands import NewOrder
from engine.events import Bar, Quote, Trade
from engine.sanity import amounts_defect, bar_defect, fill_defect, quote_defect, trade_defect
from tests.support.core import BTC, fill, intent, spot


@pytest.mark.fault("D1")
@pytest.mark.parametrize(
    ("bid_px", "ask_px", "defect"),
    [
        (100.0, 100.01, ""),
        (100.0, 100.0, ""),
        (100.02, 100.01, "crossed"),
        (nan, 100.0, "not_finite"),
        (100.0, nan, "not_finite"),
        (100.0, inf, "not_finite"),
        (-inf, 100.0, "not_finite"),
        (0.0, 100.0, "not_positive"),
        (-5.0, 100.0, "not_positive"),
    ],
)
def test_quote_prices(bid_px: float, ask_px: float, defect: str) -> None:
    """Each defect by name."""
    assert quote_defect(Quote(1, 1, BTC, bid_px, 1.0, ask_px, 1.0), spot()) == defect


@pytest.mark.fault("D1")
@pytest.mark.parametrize("size", [nan, 0.0, -1.0, inf])
def test_sizes_matter_only_where_the_instrument_has_them(size: float) -> None:
    """The same quote is good for a quote-only instrument."""
    quote = Quote(1, 1, BTC, 100.0, size, 100.01, 1.0)
    assert quote_defect(quote, spot()) == "bad_size"
    assert quote_defect(quote, spot(has_quote_sizes=False)) == ""


def test_negative_prices_only_where_allowed() -> None:
    """Oil did it; a spot pair may not."""
    quote = Quote(1, 1, BTC, -3.0, 1.0, -2.5, 1.0)
    assert quote_defect(quote, spot()) == "not_positive"
    assert quote_defect(quote, spot(allows_negative_px=True)) == ""


@pytest.mark.parametrize(
    ("px", "qty", "defect"),
    [
        (1.0, 1.0, ""),
        (nan, 1.0, "not_finite"),
        (0.0, 1.0, "not_positive"),
        (1.0, 0.0, "bad_size"),
        (1.0, nan, "bad_size"),
    ],
)
def test_trades(px: float, qty: float, defect: str) -> None:
    """Each defect by name."""
    assert trade_defect(Trade(1, 1, BTC, px, qty, 1, "t"), spot()) == defect


def test_candles_enclose_their_open_and_close() -> None:
    """Relations, finiteness and volume."""
    assert bar_defect(Bar(1, 1, BTC, 60, 10.0, 12.0, 9.0, 11.0, 5.0)) == ""
    assert bar_defect(Bar(1, 1, BTC, 60, 10.0, 10.5, 9.0, 11.0, 5.0)) == "crossed"
    assert bar_defect(Bar(1, 1, BTC, 60, 10.0, nan, 9.0, 11.0, 5.0)) == "not_finite"
    assert bar_defect(Bar(1, 1, BTC, 60, 10.0, 12.0, 0.0, 11.0, 5.0)) == "not_positive"
    assert bar_defect(Bar(1, 1, BTC, 60, 10.0, 12.0, 9.0, 11.0, -1.0)) == "bad_size"


def test_amounts_are_finite_and_within_what_money_can_be() -> None:
    """The first bad one names the defect."""
    good, huge = Decimal("999999999999.99999999"), Decimal("1e24")
    assert amounts_defect() == amounts_defect(good, -good, Decimal(0)) == ""
    for bad in ("NaN", "sNaN", "Infinity", "-Infinity"):
        assert amounts_defect(good, Decimal(bad)) == "not_finite"
    assert amounts_defect(huge) == amounts_defect(-huge) == "too_large"


def test_a_fill_may_have_a_negative_price_only_where_the_instrument_does() -> None:
    """As quotes do."""
    execution = fill(NewOrder(1, "k-1", "coinbase", intent()), "1", "-3", "t1")
    assert fill_defect(execution, spot()) == "not_positive"
    assert fill_defect(execution, spot(allows_negative_px=True)) == ""
    assert fill_defect(execution, None) == "unknown_instrument"
