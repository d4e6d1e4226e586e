"""The one door from float to Decimal."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.instruments import Instrument
from tests.support.core import perpetual, spot

D = Decimal
finite = st.floats(min_value=1e-6, max_value=1e9, allow_nan=False)


@pytest.mark.fault("F1")
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


@given(
    st.integers(-(10**15), 10**15) | st.integers(-40, 40) | st.integers(-(2 * 10**7), 2 * 10**7),
    st.sampled_from([0, 0, 1, -1, 7]),
    st.sampled_from(["0.01", "0.1", "1", "0.00000001", "0.05", "10", "1E+1", "0.010", "1E-25"]),
    st.sampled_from([0, 1, -1]),
)
def test_the_short_way_to_a_price_writes_what_the_text_says(halves: int, ulps: int, tick: str, side: int) -> None:
    """Floats on half ticks and next to them, small to beyond 15 digits: the same digits, exponent and sign of zero."""
    instrument = spot(tick_px=D(tick))
    value = float(D(halves) * D(tick) / 2)
    for _ in range(abs(ulps)):
        value = nextafter(value, inf if ulps > 0 else -inf)
    assert instrument.price(value, side).as_tuple() == instrument._price_by_text(value, side).as_tuple()


@given(st.floats(allow_nan=False, min_value=-1e18, max_value=1e18), st.sampled_from([0, 1, -1]))
def test_any_float_becomes_the_price_its_text_says(value: float, side: int) -> None:
    """Arbitrary floats, by both ways."""
    assert spot().price(value, side).as_tuple() == spot()._price_by_text(value, side).as_tuple()


@given(
    st.integers(-(10**15), 10**15) | st.integers(-40, 40) | st.integers(0, 2 * 10**9),
    st.sampled_from([0, 1, -1, 3]),
    st.sampled_from(["0.00000001", "0.001", "1", "100", "0.05", "1E+1"]),
)
def test_the_short_way_to_a_quantity_writes_what_the_text_says(halves: int, ulps: int, lot: str) -> None:
    """The same for lots."""
    instrument = spot(lot_qty=D(lot))
    value = float(D(halves) * D(lot) / 2)
    for _ in range(abs(ulps)):
        value = nextafter(value, inf if ulps > 0 else -inf)
    assert instrument.quantity(value).as_tuple() == instrument._quantity_by_text(value).as_tuple()


@given(st.floats(allow_nan=False, min_value=-1e18, max_value=1e18) | st.floats(-10, 10))
def test_any_float_becomes_the_quantity_its_text_says(value: float) -> None:
    """Arbitrary floats, by both ways."""
    assert spot().quantity(value).as_tuple() == spot()._quantity_by_text(value).as_tuple()


def test_the_short_way_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the long way taken out, prices and quantities still come, on the grid and off it."""
    monkeypatch.setattr(Instrument, "_price_by_text", None)
    monkeypatch.setattr(Instrument, "_quantity_by_text", None)
    assert [str(spot().price(60000.0149, side)) for side in (-1, 0, 1)] == ["60000.02", "60000.01", "60000.01"]
    assert str(spot(lot_qty=D("0.001")).quantity(0.0169)) == "0.016"
    assert [str(spot().price(60000.01, side)) for side in (-1, 0, 1)] == ["60000.01"] * 3
    assert [str(spot().price(100.125, side)) for side in (-1, 0, 1)] == ["100.13", "100.12", "100.12"]


@pytest.mark.fault("F1")
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
