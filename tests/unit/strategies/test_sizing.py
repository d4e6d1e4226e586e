"""Sizes: caps hold, rounding goes down, what the venue refuses is nothing."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.sizing import (
    fixed,
    floor_to_lot,
    kelly,
    kelly_of_bet,
    kelly_of_return,
    quantity_for,
    risk_parity,
    volatility_target,
)
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


@given(st.floats(0.01, 0.99), st.floats(0.05, 20))
def test_the_kelly_share_of_a_bet_grows_faster_than_its_neighbours(probability: float, payoff: float) -> None:
    """Compares the expected logarithm of capital at the share with that at a little more and a little less."""
    best = kelly_of_bet(probability, payoff)
    assert 0.0 <= best < 1.0

    def growth(share: float) -> float:
        return probability * math.log1p(share * payoff) + (1.0 - probability) * math.log1p(-share)

    for other in (best * 0.99 - 1e-6, best * 1.01 + 1e-6):
        if 0.0 <= other < 1.0:
            assert growth(best) >= growth(other) - 1e-12


@pytest.mark.parametrize("payoff", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bet_without_a_payoff_is_no_bet(payoff: float) -> None:
    """Nor is one with a probability that is none."""
    assert kelly_of_bet(0.9, payoff) == 0.0
    assert kelly_of_bet(float("nan"), 1.0) == kelly_of_bet(1.1, 1.0) == 0.0


def test_the_kelly_share_of_a_return_is_its_mean_by_its_variance() -> None:
    """1 bps expected with a standard deviation of 1 %: one; twice the deviation, a quarter.  Unknown: nothing."""
    assert kelly_of_return(0.0001, 0.01) == pytest.approx(1.0)
    assert kelly_of_return(0.0001, 0.02) == pytest.approx(0.25)
    for mean, volatility in ((float("nan"), 0.01), (0.0001, float("nan")), (0.0001, 0.0), (-0.1, 0.01), (1.0, 1e-200)):
        assert kelly_of_return(mean, volatility) == 0.0


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.floats(1, 1e9),
)
def test_kelly_is_capped_by_equity_and_by_amount(
    best: float, equity: float, fraction: float, cap: float, max_notional: float
) -> None:
    """Whatever the odds and the equity are said to be."""
    size = kelly(best, equity, fraction=fraction, cap=cap, max_notional=max_notional)
    assert 0.0 <= size <= max_notional
    if not (math.isfinite(best) and math.isfinite(equity) and best > 0 and equity > 0):
        assert size == 0.0
    else:
        assert size <= equity * cap * (1 + 1e-12)


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.0, 10.0), min_size=1))
def test_risk_parity_gives_each_the_same_risk(volatilities: dict[str, float]) -> None:
    """Weights sum to one, and weight times volatility (at least the floor) is the same for all."""
    weights = risk_parity(volatilities, vol_floor=0.001)
    assert sum(weights.values()) == pytest.approx(1.0)
    risks = [weights[name] * max(vol, 0.001) for name, vol in volatilities.items()]
    assert risks == pytest.approx([risks[0]] * len(risks))


@pytest.mark.parametrize("unknown", [float("nan"), float("inf"), -0.1])
def test_a_share_of_an_unknown_whole_is_unknown(unknown: float) -> None:
    """One volatility is none: no weights at all."""
    assert risk_parity({"a": 0.1, "b": unknown}, vol_floor=0.01) == {}
