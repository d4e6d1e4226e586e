"""Worst-case exposure against figures worked by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.events import Side
from risk.exposure import Exposure, UnknownValueError, known_mark, worst_case
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import order
from tests.support.limits import NAME

D = Decimal
FACTOR = D("1.005")


def exposure(view: FakeView, side: Side, qty: str, px: str | None) -> Exposure:
    return worst_case(
        view,
        view.instrument(NAME),
        side=side,
        qty=D(qty),
        limit_px=None if px is None else D(px),
        mark_px=known_mark(view, view.instrument(NAME)),
        orders=view.open_orders(),
        market_factor=FACTOR,
    )


def test_one_order_alone() -> None:
    """Mark 100: a buy of 2 at 101 is 202 everywhere; a market buy counts at the mark plus 50 bps."""
    assert exposure(FakeView(), Side.BUY, "2", "101") == Exposure(D(202), D(202), D(202), D(202))
    assert exposure(FakeView(), Side.BUY, "2", None).order == D(201)


def test_open_orders_are_valued_at_their_worst_price() -> None:
    """Long 1, open buys of 1 at 104 and 1 at 90, open sell of 2 at 110; buy 1 at 100.

    Ahead: (1 + 2 + 1) at 104 = 416.  Against: 1 - 2 = -1, short 1 at 110 = 110.  Gross takes the larger.
    """
    view = FakeView()
    view.hold(NAME, D(1))
    view.open(order(limit_px=D(104)))
    view.open(order(limit_px=D(90)))
    view.open(order(side=Side.SELL, qty=D(2), limit_px=D(110)))
    assert exposure(view, Side.BUY, "1", "100") == Exposure(D(100), D(416), D(416), D(416))
    # Selling 1 at 100: (2 + 1 - 1) short at 110 = 220; long side 1 + 2 at 104 = 312 is the larger for gross.
    assert exposure(view, Side.SELL, "1", "100") == Exposure(D(100), D(220), D(312), D(220))


def test_an_offset_is_counted_at_the_mark() -> None:
    """Short 3, an open buy of 1 far above the mark: what offsets the rest must not look larger than it is."""
    view = FakeView()
    view.hold(NAME, D(-3))
    view.open(order(limit_px=D(150)))
    assert exposure(view, Side.BUY, "1", "100").net == D(-100)


def test_the_multiplier_and_the_rate_count() -> None:
    """A contract of 10 units, quoted in EUR at 1.2."""
    view = FakeView(make_instrument(multiplier=D(10), settlement="EUR"))
    view.rates["EUR"] = D("1.2")
    assert exposure(view, Side.BUY, "1", "100").order == D(1200)


def test_an_instrument_the_view_does_not_list_is_not_left_out() -> None:
    """A view that forgets the order's own instrument would hide its exposure."""
    view = FakeView()
    view.instruments = list  # type: ignore[method-assign]
    with pytest.raises(UnknownValueError):
        exposure(view, Side.BUY, "1", "100")
