"""The checks as functions: boundaries, and what each says when it refuses."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import pytest

from engine.events import Side
from engine.ports import Top
from risk import checks
from tests.support.fake_view import make_instrument
from tests.support.gate import order

D = Decimal
NAN = float("nan")
TEN = make_instrument(min_notional=D(10))
TEN_INVERSE = make_instrument(min_notional=D(10), inverse=True)


@pytest.mark.fault("F1")
@pytest.mark.fault("F2")
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (checks.check_order_qty(D(2), D(1)), ("max_order_qty", "2", "1")),
        (checks.check_order_qty(D(2), None), ("max_order_qty", "2", "None")),
        (checks.check_order_notional(D(2), D(1)), ("max_order_notional", "2", "1")),
        (checks.check_position_qty(D(2), D(1)), ("max_position_qty", "2", "1")),
        (checks.check_position_notional(D(2), D(1)), ("max_position_notional", "2", "1")),
        (checks.check_gross(D(2), D(1)), ("max_gross_notional", "2", "1")),
        (checks.check_net(D(2), D(1)), ("max_net_notional", "2", "1")),
        (checks.check_open_orders(3, 3), ("max_open_orders", "3", "3")),
        (checks.check_reduces(D(-1), D(1)), ("reduce_only", "1", "0 left to close")),
        (checks.check_reduces(D("0E-8"), D("1E+1")), ("reduce_only", "10", "0.00000000 left to close")),
        (checks.check_min_notional(TEN_INVERSE, D(9), D(50_000)), ("min_notional", "9", "10")),
        (checks.check_min_notional(TEN, D(3), D(3)), ("min_notional", "9", "10")),
        (checks.check_daily_loss(D(90), D(100), D(10)), ("daily_loss", "10", "10")),
        (checks.check_drawdown(D(90), D(100), D(1000)), ("drawdown", "90 from 100", "1000 bps")),
        (checks.check_collar(D(102), D(100), D(100)), ("collar", "102 against 100", "100 bps")),
        (checks.check_quote_fresh(None, 5, 1), ("no_quote", "none", "a quote")),
        (checks.check_duplicate(1, 3, 5), ("duplicate", "the same order 2 ns ago", "5 ns")),
        (checks.check_opposing(D(-1), Side.BUY), ("opposing_strategy", "-1", "no entry against it")),
    ],
)
def test_a_refusal_names_the_check_what_it_saw_and_the_limit(
    found: checks.Finding | None, expected: checks.Finding
) -> None:
    """Beyond the limit by one, or at it where the limit itself is a breach."""
    assert found == expected


@pytest.mark.parametrize(
    "found",
    [
        checks.check_order_qty(D(1), D(1)),
        checks.check_net(D(-5), D(1)),
        checks.check_open_orders(2, 3),
        checks.check_reduces(D(1), D(1)),
        checks.check_min_notional(TEN, D(2), D(5)),
        checks.check_min_notional(TEN_INVERSE, D(10), D(50_000)),
        checks.check_daily_loss(D("90.01"), D(100), D(10)),
        checks.check_daily_loss(D(200), D(100), D(10)),
        checks.check_drawdown(D("90.01"), D(100), D(1000)),
        checks.check_collar(D(101), D(100), D(100)),
        checks.check_collar(D(50), D(100), D(100), Side.BUY),
        checks.check_collar(D(150), D(100), D(100), Side.SELL),
        checks.check_duplicate(1, 6, 5),
        checks.check_duplicate(None, 6, 5),
        checks.check_opposing(D(1), Side.BUY),
        checks.check_tradable("", order()),
        checks.check_entry_open(""),
        checks.check_entry_open("closed for all: said by the check before"),
    ],
)
def test_at_the_limit_or_on_the_safe_side_passes(found: checks.Finding | None) -> None:
    """The other side of each boundary."""
    assert found is None


@pytest.mark.parametrize(("side", "px"), [(Side.BUY, "102"), (Side.SELL, "98"), (0, "102"), (0, "98")])
def test_the_collar_sees_the_costly_side(side: int, px: str) -> None:
    """2 % away, limit 1 %."""
    assert checks.check_collar(D(px), D(100), D(100), side) is not None


def test_the_collar_holds_for_negative_prices() -> None:
    """Around -100 a buy at -98 pays more."""
    assert checks.check_collar(D(-98), D(-100), D(100), Side.BUY) is not None
    assert checks.check_collar(D(-99), D(-100), D(100), Side.BUY) is None


@pytest.mark.fault("D2")
@pytest.mark.parametrize(("bid", "ask"), [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (1.0, 1.0), (2.0, 1.0)])
def test_a_book_with_unknown_or_crossed_sides_is_refused(bid: float, ask: float) -> None:
    """What cannot be compared must not pass, in the spread check either."""
    top = Top(bid_px=bid, ask_px=ask, ts_recv_ns=1)
    assert checks.check_book_sane(top) is not None
    if bid != ask and not bid > ask:
        assert checks.check_spread(top, 1e9) is not None


def test_the_rate_window_is_one_second() -> None:
    """Two orders at 0 and 10 ns, limit two."""
    times = deque([0, 10])
    assert checks.check_rate("r", times, 2, checks.SECOND_NS - 1) == ("r", "2 orders within 999999999 ns", "2 a second")
    assert checks.check_rate("r", times, 2, checks.SECOND_NS) is None
    assert checks.check_rate("r", times, 3, 20) is None


@pytest.mark.fault("C16")
def test_a_clock_that_went_back_does_not_open_the_rate() -> None:
    """Now lies before the recorded orders."""
    assert checks.check_rate("r", deque([1_000]), 1, 0) is not None
