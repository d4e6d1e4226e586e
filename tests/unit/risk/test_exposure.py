"""Worst-case exposure against figures worked by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import OrderIntent, OrderType
from engine.events import Side
from risk.exposure import Exposure, OwnPart, UnknownValueError, committed, known_mark, worst_case
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


def figures(view: FakeView, side: Side, qty: str, px: str | None) -> tuple[Decimal, ...]:
    found = exposure(view, side, qty, px)
    # What the parts add up to is the whole.
    assert found.net == sum((net for _, net, _ in found.parts), D(0))
    assert found.gross == sum((gross for _, _, gross in found.parts), D(0))
    return found.order, found.position, found.gross, found.net


def test_one_order_alone() -> None:
    """Mark 100: a buy of 2 at 101 is 202 everywhere; a market buy counts at the mark plus 50 bps."""
    assert figures(FakeView(), Side.BUY, "2", "101") == (202, 202, 202, 202)
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
    assert figures(view, Side.BUY, "1", "100") == (100, 416, 416, 416)
    # Selling 1 at 100: (2 + 1 - 1) short at 110 = 220; long side 1 + 2 at 104 = 312 is the larger for gross.
    assert figures(view, Side.SELL, "1", "100") == (100, 220, 312, 220)


def test_an_order_that_is_being_changed_counts_at_the_price_that_is_worth_more() -> None:
    """Mark 100.  A buy of 2 on its way from 101 to 103 or back: with one more at 100, 3 at 103.  A sell of 2 between
    104 and 108: 2 short at 108.  A contract of the inverse kind is worth more where it is cheaper: at 92."""
    for px, other_px in ((101, 103), (103, 101)):
        view = FakeView()
        view.open(order(qty=D(2), limit_px=D(px)), other_px=D(other_px))
        assert figures(view, Side.BUY, "1", "100") == (100, 309, 309, 309)
        assert committed(view, D(100), view.open_orders(), FACTOR) == 306
    for px, other_px in ((104, 108), (108, 104)):
        view = FakeView()
        view.open(order(side=Side.SELL, qty=D(2), limit_px=D(px)), other_px=D(other_px))
        assert exposure(view, Side.BUY, "1", "100").gross == 216
    for px, other_px in ((96, 92), (92, 96)):
        view = FakeView(make_instrument(inverse=True, multiplier=D(9_200)))
        view.open(order(side=Side.SELL, qty=D(2), limit_px=D(px)), other_px=D(other_px))
        assert exposure(view, Side.BUY, "1", "130").gross == 200


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


def test_the_credit_in_use_offsets_nothing() -> None:
    """Long 1 at 100, an open sell of 1 at 110 and a buy of 2 at 90 (worth the mark), a new order of 50: 460."""
    view = FakeView()
    view.hold(NAME, D(1))
    view.open(order(side=Side.SELL, limit_px=D(110)))
    view.open(order(qty=D(2), limit_px=D(90)))
    assert committed(view, D(50), view.open_orders(), FACTOR) == 100 + 110 + 200 + 50
    view.rates = {}
    with pytest.raises(UnknownValueError):
        committed(view, D(50), view.open_orders(), FACTOR)


def _bracket(side: Side, target: str, stop: str) -> OrderIntent:
    return order(side=side, order_type=OrderType.BRACKET, limit_px=D(target), trigger_px=D(stop), reduce_only=True)


@pytest.mark.parametrize(
    ("open_order", "worth"),
    [
        (_bracket(Side.BUY, "90", "120"), 126),  # a short's stop, and the venue's 5 % beyond it
        (_bracket(Side.SELL, "110", "80"), 110),  # a long's target is dearer than its stop
        (order(order_type=OrderType.STOP, limit_px=None, trigger_px=D(120)), D("120.6")),
        (order(order_type=OrderType.STOP_LIMIT, limit_px=D(121), trigger_px=D(120)), 121),
    ],
)
@pytest.mark.fault("F2")
def test_an_order_with_a_trigger_is_valued_at_the_worse_of_its_ends(open_order: OrderIntent, worth: Decimal) -> None:
    """In the credit in use, and in the worst case of its side, beside another order of 100; slip 50 bps."""
    view = FakeView()
    view.open(open_order)
    assert committed(view, D(100), view.open_orders(), FACTOR) == worth + 100
    side = open_order.side
    assert exposure(view, side, "1", "100").position == worth * 2
    assert exposure(view, side.opposite, "1", "100").gross == max(worth, 100)


def test_a_bracket_of_an_inverse_contract_is_dearest_at_its_lower_end() -> None:
    """100 contracts of 1 USD settle in base: a long's stop at 80, 5 % beyond it at 76, is worth 1 / 76 each."""
    view = FakeView(make_instrument(inverse=True, settlement="USD"))
    view.open(_bracket(Side.SELL, "110", "80"))
    assert committed(view, D(0), view.open_orders(), FACTOR) == 1 / D(76)


@pytest.mark.parametrize(
    ("twin_qty", "twin_open", "position", "gross"),
    [("0", "", 300, 300), ("0.5", "", 350, 350), ("-0.5", "", 300, 300), ("0", "0.2", 320, 320)],
)
def test_a_strategys_own_part_leaves_the_others_out(twin_qty: str, twin_open: str, position: int, gross: int) -> None:
    """It holds 1 of 3 and has one of two open orders: its worst case is 1 + 1 and the new one.  What its twin holds and
    has open counts with it; what the twin holds the other way takes nothing off."""
    view = FakeView()
    view.hold(NAME, D(3))
    view.strategy_qtys = {("s", NAME): D(1), ("t", NAME): D(2)}
    view.open(order(limit_px=D(100)))
    view.open(order(limit_px=D(100), strategy="t"))
    view.strategy_qtys["s.canary", NAME] = D(twin_qty)
    if twin_open:
        view.open(order(limit_px=D(100), strategy="s.canary", qty=D(twin_open)))
    own = OwnPart(view, order(), view.open_orders())
    found = worst_case(
        own,
        view.instrument(NAME),
        side=Side.BUY,
        qty=D(1),
        limit_px=D(100),
        mark_px=D(100),
        orders=own.orders,
        market_factor=FACTOR,
    )
    assert (found.position, found.gross) == (position, gross)
