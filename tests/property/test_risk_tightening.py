"""Stricter limits never let more through, whatever is held, open and remembered; what passes fits the venue's grid."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.commands import Approved, OrderIntent, OrderType, RiskState
from engine.events import Side
from engine.instruments import AssetClass
from risk.gate import Gate
from risk.limits import Limits
from tests.support.fake_view import FakeView, make_instrument
from tests.support.limits import make_limits

D = Decimal
A, B = "BTC/USDT@binance_usdm", "ETH/EUR@binance_usdm"
MS = 1_000_000
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sides = st.sampled_from([*Side])
qtys = st.integers(1, 9_000).map(lambda lots: D(lots) / 1000)


@st.composite
def wishes(draw: st.DrawFn) -> OrderIntent:
    is_market = draw(st.integers(0, 4)) == 4
    return OrderIntent(
        ts_ns=1,
        strategy=draw(st.sampled_from(["s", "s", "s", "t"])),
        instrument=draw(st.sampled_from([A, A, B])),
        side=draw(sides),
        qty=draw(qtys),
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        limit_px=None if is_market else draw(st.integers(9_940, 10_060).map(lambda ticks: D(ticks) / 100)),
        reduce_only=draw(st.integers(0, 7)) == 7,
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, Any], list[OrderIntent], list[tuple[OrderIntent, int]]]:
    """What the view is changed to, what is open, and what was opened before and is remembered, each some time ago."""
    rarely = st.integers(0, 9).map(lambda number: number == 9)
    changes = {
        "held": {name: draw(qtys) * draw(sides) * draw(st.integers(0, 1)) for name in (A, B)},
        "equity_now": D(10_000 - draw(st.integers(0, 400))),
        "risk_state": RiskState.REDUCING if draw(rarely) else RiskState.ACTIVE,
        "late_ns": draw(st.sampled_from([0, 0, 300 * MS, 900 * MS])),
        "half_spread": draw(st.sampled_from([0.01, 0.1, 0.4])),
    }
    before = draw(st.lists(st.tuples(wishes(), st.integers(0, 400 * MS)), max_size=5))
    return changes, draw(st.lists(wishes(), max_size=2)), before


LOOSE: dict[str, Any] = {
    "allowed_instruments": [A, B],
    "max_order_qty": {"*": 12},
    "max_position_qty": {"*": 40},
    "max_order_notional": 2_000,
    "max_position_notional": 5_000,
    "max_gross_notional": 8_000,
    "max_net_notional": 8_000,
    "collar_bps": 100,
    "max_orders_per_s": 8,
    "max_orders_per_s_instrument": 8,
    "max_open_orders": 12,
    "duplicate_window_ns": 1,
    "max_daily_loss": 5_000,
    "max_drawdown_bps": 5_000,
}
TIGHTER: dict[str, list[Any]] = {
    "allowed_instruments": [[A], [B]],
    "collar_bps": [60, 20],
    "stale_quote_ns": [500 * MS],
    "duplicate_window_ns": [200 * MS, 2_000 * MS],  # longer is stricter
    "market_slip_bps": [150, 800],  # more is stricter
}
SHARES = (0.9, 0.5, 0.2, 0.05)


@st.composite
def stricter(draw: st.DrawFn) -> dict[str, Any]:
    """The same limits with one to four of them tightened, each by its own share."""

    def less(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: less(part) for key, part in value.items()}
        return max(1, int(value * draw(st.sampled_from(SHARES))))

    names = draw(st.sets(st.sampled_from(sorted({*LOOSE, *TIGHTER})), min_size=1, max_size=4))
    return {**LOOSE, **{name: _of(draw, name) if name in TIGHTER else less(LOOSE[name]) for name in sorted(names)}}


def _of(draw: st.DrawFn, name: str) -> Any:
    return draw(st.sampled_from(TIGHTER[name]))


def judged(limits: Limits, situation: Any, wish: OrderIntent) -> bool:
    changes, opened, before = situation
    perpetual: dict[str, Any] = {"asset_class": AssetClass.PERPETUAL, "can_short": True}
    view = FakeView(
        make_instrument(A, settlement="USDT", **perpetual), make_instrument(B, settlement="EUR", **perpetual)
    )
    view.rates = {"USDT": D(1), "EUR": D("1.2")}
    gate = Gate(limits)
    for intent, later_ns in before:
        view.now_ns += later_ns
        remembered = view.open(intent)
        gate.on_opened(remembered)
        view.close(remembered.client_order_id)
    for name, qty in changes["held"].items():
        view.quote(name, 100 - changes["half_spread"], 100 + changes["half_spread"])
        view.hold(name, qty, strategy="s")
    for intent in opened:
        view.open(intent)
    view.now_ns += changes["late_ns"]
    view.equity_now, view.risk_state = changes["equity_now"], changes["risk_state"]
    return isinstance(gate.review(wish, view), Approved)


@pytest.mark.fault("F2")
@pytest.mark.fault("F4")
@QUICK
@given(situations(), wishes(), stricter(), st.booleans())
def test_no_set_of_stricter_limits_approves_more(
    situation: Any, wish: OrderIntent, tight: dict[str, Any], again: bool
) -> None:
    """Two gates with the same memory before the same view, the order itself remembered now and then."""
    if again:
        situation = (*situation[:2], [*situation[2], (wish, 100 * MS)])
    if judged(make_limits(**tight), situation, wish):
        assert judged(make_limits(**LOOSE), situation, wish)


steps = st.sampled_from([D("0.001"), D("0.01"), D("0.05"), D("0.25"), D(1), D(5)])
counts = st.integers(1, 400)
near = st.sampled_from([D(0), D(0), D(0), D(0), D("0.0005")])


@pytest.mark.fault("F1")
@QUICK
@given(
    tick=steps,
    lot=steps,
    low=st.sampled_from(["0.001", "1", "20"]).map(D),
    high=st.sampled_from(["40", "2000"]).map(D),
    least=st.integers(0, 500),
    wish=wishes(),
    lots=counts,
    ticks=counts,
    off=st.tuples(near, near),
)
def test_what_passes_is_on_the_venues_grid_and_within_its_sizes(
    tick: Decimal,
    lot: Decimal,
    low: Decimal,
    high: Decimal,
    least: int,
    wish: OrderIntent,
    lots: int,
    ticks: int,
    off: tuple[Decimal, Decimal],
) -> None:
    """Any rules, any order: an approval means whole ticks, whole lots, and sizes as the venue asks, by fractions.

    Nothing is rounded on the way: the approved order is the very one that was asked for.
    """
    qty, px = lots * lot + off[0], ticks * tick + off[1]
    rules = make_instrument(
        A, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USDT",
        tick_px=tick, lot_qty=lot, min_qty=low, max_qty=high, min_notional=D(least),
    )  # fmt: skip
    view = FakeView(rules)
    view.rates = {"USDT": D(1)}
    is_limit = wish.limit_px is not None
    wish = msgspec.structs.replace(wish, instrument=A, qty=qty, limit_px=px if is_limit else None, reduce_only=False)
    view.quote(A, float(px) * 0.9999, float(px) * 1.0001)
    wide = dict.fromkeys(
        ("max_order_notional", "max_position_notional", "max_gross_notional", "max_net_notional"), 10**9
    )
    quantities = {name: {"*": 10**6} for name in ("max_order_qty", "max_position_qty")}
    verdict = Gate(make_limits(allowed_instruments=[A], collar_bps=9_000, **wide, **quantities)).review(wish, view)
    fits = Fraction(qty) % Fraction(lot) == 0 and low <= qty <= high
    if is_limit:
        fits = fits and Fraction(px) % Fraction(tick) == 0 and Fraction(qty) * Fraction(px) >= least
    if isinstance(verdict, Approved):
        assert verdict.intent is wish
        assert fits
    elif is_limit and view.mark_px(A):
        assert not fits, verdict


@pytest.mark.fault("F1")
@QUICK
@given(value=st.floats(0.001, 1e6), wanted=st.floats(0.001, 1e4), side=sides, tick=steps, lot=steps)
def test_a_strategys_floats_become_an_order_that_asks_for_no_more(
    value: float, wanted: float, side: Side, tick: Decimal, lot: Decimal
) -> None:
    """Through the door of the instrument: on the grid, never more of anything, never at a worse price."""
    rules = make_instrument(A, tick_px=tick, lot_qty=lot)
    px, qty = rules.price(value, side), rules.quantity(wanted)
    assert (Fraction(px) % Fraction(tick), Fraction(qty) % Fraction(lot)) == (0, 0)
    assert qty <= D(repr(wanted))
    assert (px - D(repr(value))) * side <= 0


@pytest.mark.fault("F5")
@QUICK
@given(
    situations(),
    wishes(),
    st.sampled_from(sorted({*LOOSE, "stale_quote_ns", "max_rejections_per_s"} - {"allowed_instruments"})),
    st.sampled_from([0, -1, "NaN", "Infinity"]),
)
def test_a_limit_that_limits_nothing_lets_no_entry_through(
    situation: Any, wish: OrderIntent, name: str, value: Any
) -> None:
    """From a flat account, in which everything is an entry: zero, negative, NaN and infinite, one limit at a time."""
    changes = {**situation[0], "held": {A: D(0), B: D(0)}}
    limits = make_limits(**LOOSE)
    kind = getattr(limits, name)
    assume(not isinstance(kind, int) or isinstance(value, int))
    broken: Any = {"*": D(value)} if isinstance(kind, dict) else value if isinstance(kind, int) else D(value)
    assert not judged(msgspec.structs.replace(limits, **{name: broken}), (changes, [], situation[2]), wish)
