"""The one door from float to Decimal."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core import perpetual, spot

D = Decimal
finite = st.floats(min_value=1e-6, max_value=1e9, allow_nan=False)


@given(finite, st.sampled_from(["0.05", "0.01", "0.00001", "1", "5", "0.25", "0.10"]))
def test_prices_round_in_the_direction_that_adds_no_risk(value: float, tick: str) -> None:
    """A buy never pays more than asked, a sell never takes less, both within one tick and on the grid."""
    instrument = spot(tick_px=D(tick))
    exact = D(repr(value))
    buy, sell = instrument.price(value, 1), instrument.price(value, -1)
    assert buy <= exact <= sell
    assert sell - buy <= instrument.tick_px
    assert buy % instrument.tick_px == sell % instrument.tick_px == 0
    assert abs(instrument.price(value) - exact) * 2 <= instrument.tick_px


@given(st.floats(min_value=-1e6, max_value=1e6, allow_nan=False), st.sampled_from(["0.001", "1", "0.05", "100"]))
def test_quantities_round_towards_zero(value: float, lot: str) -> None:
    """Never more than asked, on the lot grid, sign kept."""
    qty = spot(lot_qty=D(lot)).quantity(value)
    assert abs(qty) <= abs(D(repr(value)))
    assert qty % D(lot) == 0
    assert qty == 0 or (qty > 0) == (value > 0)


def test_floats_go_through_their_shortest_text() -> None:
    """0.1 + 0.2 keeps its written digits: no binary noise beyond repr reaches money."""
    assert spot().price(60000.1) == D("60000.10")
    assert spot(tick_px=D("0.00000001")).price(0.1) == D("0.1")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_never_becomes_money(value: float) -> None:
    """NaN and infinities raise."""
    with pytest.raises(ValueError, match="not finite"):
        spot().price(value)
    with pytest.raises(ValueError, match="not finite"):
        spot().quantity(value)


def test_notional_of_linear_and_inverse_contracts() -> None:
    """Linear: qty x price x multiplier; inverse: qty x multiplier / price."""
    assert perpetual(multiplier=D("0.01")).notional(D(-3), D(50000)) == D(1500)
    assert perpetual(inverse=True, multiplier=D(100)).notional(D(5), D(50000)) == D("0.01")
