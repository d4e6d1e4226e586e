"""Markets of the library as instruments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.ccxt_venue.markets import (
    DECIMAL_PLACES,
    SIGNIFICANT_DIGITS,
    TICK_SIZE,
    make_instrument,
    off_grid,
    step_of,
)
from engine.errors import VenueError
from tests.support.ccxt_venue import MARKET


def made(**changes: Any) -> Any:
    mode = changes.pop("mode", TICK_SIZE)
    given = {name: changes.pop(name) for name in ("fees", "reference_px") if name in changes}
    return make_instrument(
        "ccxt_kraken", "BTC/USD", MARKET | changes, mode, default_fee_rate=Decimal("0.0026"), **given
    )


def test_each_way_of_counting_precision_is_a_step() -> None:
    """Steps, decimals, significant digits; what is no step is none."""
    assert step_of(1e-08, TICK_SIZE) == Decimal("1E-8")
    assert step_of("0.05", TICK_SIZE) == Decimal("0.05")
    assert step_of(8, DECIMAL_PLACES) == Decimal("1E-8")
    assert step_of(-2, DECIMAL_PLACES) == Decimal(100)
    assert step_of(5, SIGNIFICANT_DIGITS, Decimal("65123.4")) == Decimal(1)
    assert step_of(5, SIGNIFICANT_DIGITS, Decimal("0.0012345")) == Decimal("1E-7")
    nothing = [(None, TICK_SIZE), (0, TICK_SIZE), (2.5, DECIMAL_PLACES), (99, DECIMAL_PLACES), (5, SIGNIFICANT_DIGITS)]
    assert [step_of(precision, mode) for precision, mode in nothing] == [None] * 5


def test_a_market_becomes_an_instrument_with_its_rules() -> None:
    """Kraken's numbers, exact; a missing bound is a wide one, the account's own rates go first."""
    found = made(fees=("-0.0001", "0.002"))
    assert (found.id, found.venue_symbol) == ("BTC/USD@ccxt_kraken", "XXBTZUSD")
    assert (found.tick_px, found.lot_qty, found.min_qty) == (Decimal("0.1"), Decimal("1E-8"), Decimal("0.0001"))
    assert found.min_notional == Decimal("0.5")
    assert found.max_qty > 1000
    assert (found.maker_fee_rate, found.taker_fee_rate) == (Decimal("-0.0001"), Decimal("0.002"))
    assert made(maker=None, taker=[]).taker_fee_rate == Decimal("0.0026")
    assert made(mode=SIGNIFICANT_DIGITS, precision={"amount": 8, "price": 5}, reference_px=Decimal(64000)).tick_px == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "BTC/USDC"},
        {"base": "XBT"},
        {"spot": False},
        {"contract": True},
        {"precision": {"amount": 1e-8}},
        {"precision": None},
    ],
)
def test_what_is_not_that_spot_market_is_refused(changes: dict[str, Any]) -> None:
    """Another market under the name, a contract, one without steps."""
    with pytest.raises(VenueError):
        made(**changes)


def test_numbers_that_the_library_would_cut_or_round_are_named() -> None:
    """It cuts sizes and rounds prices without a word."""
    instrument = made()
    assert off_grid(instrument, Decimal("0.01"), Decimal("100.1")) == ""
    assert "size" in off_grid(instrument, Decimal("0.000000001"), None)
    assert "price" in off_grid(instrument, Decimal(1), Decimal("100.15"))
    assert "size" in off_grid(instrument, Decimal(0), None)
