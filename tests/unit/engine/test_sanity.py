"""What an account fact must be to be booked."""

from __future__ import annotations

from decimal import Decimal

from engine.commands import NewOrder
from engine.sanity import amounts_defect, fill_defect
from tests.support.core import fill, intent, spot


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
