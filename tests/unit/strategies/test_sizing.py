"""Sizes: caps hold, rounding goes down, what the venue refuses is nothing."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.sizing import fixed, floor_to_lot, quantity_for, volatility_target
from tests.support.fake_view import make_instrument

D = Decimal


def test_fixed_is_capped() -> None:
    """Wish and cap."""
    assert fixed(100.0, 50.0) == 50.0
    assert fixed(40.0, 50.0) == 40.0


@given(
    st.floats(1, 1e6),
    st.floats(0.1, 100),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0.01, 10),
    st.floats(1, 1e6),
)
def test_a_volatility_target_is_finite_and_within_the_cap(
    notional: float, target: float, realised: float, floor: float, cap: float
) -> None:
    """Whatever the realised figure is; unusable ones size to nothing."""
    size = volatility_target(
        notional, target_vol_bps=target, realised_vol_bps=realised, vol_floor_bps=floor, max_notional=cap
    )
    assert math.isfinite(size)
    assert 0.0 <= size <= cap
    if not math.isfinite(realised) or realised < 0:
        assert size == 0.0


@given(st.floats(0, 1e5), st.integers(1, 10_000_000).map(lambda ticks: D(ticks) / 100))
def test_a_quantity_is_on_the_grid_within_bounds_and_never_worth_more(notional: float, px: Decimal) -> None:
    """Or it is nothing."""
    rules = make_instrument(min_notional=D(5), max_qty=D("12.3456"))
    qty = quantity_for(rules, notional, px)
    if qty:
        assert qty % rules.lot_qty == 0
        assert rules.min_qty <= qty <= rules.max_qty
        assert D(5) <= qty * px <= Decimal(str(notional)) * (1 + D("1e-12"))


def test_contracts_count_their_multiplier_whatever_the_price_when_inverse() -> None:
    """1,000 USD: one contract of 10 units at 100; 100 inverse contracts of 10 USD at any price."""
    assert quantity_for(make_instrument(multiplier=D(10), lot_qty=D(1)), 1000.0, D(100)) == D(1)
    inverse = make_instrument(inverse=True, multiplier=D(10), lot_qty=D(1), settlement="BTC", min_notional=D(1000))
    assert quantity_for(inverse, 1000.0, D(100)) == quantity_for(inverse, 1000.0, D(50_000)) == D(100)
    assert quantity_for(inverse, 999.0, D(100)) == 0


@pytest.mark.parametrize(
    ("notional", "px"), [(float("nan"), "100"), (float("inf"), "100"), (-1.0, "100"), (0.0, "100"), (10.0, "0")]
)
def test_nonsense_sizes_to_nothing(notional: float, px: str) -> None:
    """Not finite, not positive."""
    assert quantity_for(make_instrument(), notional, D(px)) == 0


def test_floor_to_lot() -> None:
    """Down, also from between."""
    assert floor_to_lot(make_instrument(), D("1.2349")) == D("1.234")
