"""The short way through the gate never says anything but what all checks, asked one by one, would have said."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.commands import Approved, OrderIntent, OrderType, Rejected, RiskState, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass
from engine.ports import Tally
from risk.exposure import known_mark, worst_case
from risk.gate import Gate
from tests.support.fake_view import START_NS, FakeFeatures, FakeView, make_instrument
from tests.support.gate import held, leave, order
from tests.support.limits import make_limits

D = Decimal
A, B = "BTC/USDT@binance_usdm", "ETH/EUR@binance_usdm"
sides = st.sampled_from([Side.BUY, Side.SELL])
lots = st.integers(200, 3_000).map(lambda count: D(count) / 1000)
pxs = st.integers(9_960, 10_040).map(lambda ticks: D(ticks) / 100)


@st.composite
def intents(draw: st.DrawFn, names: tuple[str, ...], side: Side | None = None) -> OrderIntent:
    kind = draw(st.integers(0, 9))
    if kind == 8:
        return draw(odd_intents(names))
    is_market = kind == 9
    return OrderIntent(
        ts_ns=1,
        strategy=draw(st.sampled_from(["s", "s", "s", "s.canary", "t"])),
        instrument=draw(st.sampled_from(names)),
        side=draw(sides) if side is None else side,
        qty=draw(lots),
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        limit_px=None if is_market else draw(pxs),
        reduce_only=draw(st.integers(0, 4)) == 4,
    )


@st.composite
def odd_intents(draw: st.DrawFn, names: tuple[str, ...]) -> OrderIntent:
    """Orders that something about their form, time in force, price or quantity makes uncommon or wrong."""
    return OrderIntent(
        ts_ns=1,
        strategy="s",
        instrument=draw(st.sampled_from(names)),
        side=draw(st.sampled_from([Side.BUY, Side.SELL, 1, -1, 0])),
        qty=draw(
            st.sampled_from([D("0.5"), D("0.0005"), D("0.001"), D(0), D(-1), D("NaN"), D("Infinity"), D(2_000), 1])
        ),
        order_type=draw(st.sampled_from([OrderType.LIMIT, OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.BRACKET])),
        limit_px=draw(st.sampled_from([D(100), D("100.005"), D(-1), D("NaN"), D("Infinity"), None, 100.0])),
        time_in_force=draw(st.sampled_from([*TimeInForce])),
        post_only=draw(st.booleans()),
        reduce_only=draw(st.booleans()),
        trigger_px=draw(st.sampled_from([None, None, D(100), D(99), D(101)])),
        trailing_px=draw(st.sampled_from([None, None, None, D(1)])),
        expire_ns=draw(st.sampled_from([None, 1, 2 * START_NS])),
    )


@st.composite
def views(draw: st.DrawFn) -> FakeView:
    """Accounts near the common one: mostly flat or held one way, mostly orders of one side, now and then all else."""
    rarely = st.integers(0, 19).map(lambda number: number == 19)
    changes: dict[str, Any] = {
        "asset_class": AssetClass.PERPETUAL,
        "can_short": not draw(rarely),
        "inverse": draw(rarely),
        "allows_negative_px": draw(rarely),
        "multiplier": draw(st.sampled_from([D(1), D(1), D("0.1"), D(3)])),
        "margin_rate": draw(st.sampled_from([D("0.1"), D("0.5"), None, D(0)])),
        "min_notional": draw(st.sampled_from([D(1), D(1), D(1), D(1), D(1), D(200)])),
    }
    view = FakeView(make_instrument(A, settlement="USDT", **changes), make_instrument(B, settlement="EUR", **changes))
    view.rates = {
        "USDT": draw(st.sampled_from([*[D(1)] * 8, *[D(1) / 3] * 6, D(0), D("NaN")])),
        "EUR": D("1.2"),
    }
    for name in (A,) if draw(st.booleans()) else (A, B):
        if not draw(st.booleans()):
            view.hold(name, draw(lots) * draw(sides), strategy=draw(st.sampled_from(["s", "s", "s.canary", "t", ""])))
        if draw(rarely):
            view.strategy_qtys["s.canary", name] = draw(lots) * draw(sides)
    only = (A,) if draw(st.booleans()) else (A, B)
    for intent in draw(st.lists(intents(only, draw(sides)) if draw(st.booleans()) else intents(only), max_size=4)):
        view.open(intent, draw(st.sampled_from([*[None] * 6, D("99.5"), D(101)])))
    if draw(rarely):
        view.quote(A, draw(st.sampled_from([99.0, 100.01, -1.0, float("nan")])), 100.01)
    if draw(rarely):
        view.now_ns += draw(st.sampled_from([1_000_000_000, 1_000_000_001, -2_000_000_000]))
    if draw(rarely):
        view.equity_now = draw(st.sampled_from([None, D(9_400)]))
    if draw(rarely):
        view.risk_state = draw(st.sampled_from([RiskState.REDUCING, RiskState.ACTIVE]))
    if draw(rarely):
        view.marks_known = False
    if draw(st.booleans()):
        view.tally_of = {
            name: Tally(
                fills=draw(st.integers(0, 3)),
                losses=draw(st.integers(0, 2)),
                lost_ns=START_NS - draw(st.sampled_from([0, 2_000_000_000])),
                day=draw(st.sampled_from([None, D(-100), D(-1), D(0), D(7)])),
            )
            for name in draw(st.sampled_from([("s",), ("s",), ("s", "s.canary"), ("s.canary",)]))
        }
    if draw(st.booleans()):
        view.feature_views = {A: FakeFeatures({"volume_sma_20": draw(st.sampled_from([9.0, 5.0, 1.0, float("nan")]))})}
    if draw(rarely):
        view.closed = {A: "market stream of binance_usdm is down: test"}
    return view


@st.composite
def controls(draw: st.DrawFn, money: st.SearchStrategy[int]) -> dict[str, Any]:
    """Some of what a configuration may add, near the sizes too."""
    by_name = st.sampled_from(["*", "*", "s", "t"])
    own = st.fixed_dictionaries(
        {"max_order_notional": money},
        optional={
            "max_position_notional": money,
            "max_gross_notional": money,
            "max_open_orders": st.integers(1, 4),
            "max_orders_per_s": st.integers(1, 4),
            "max_daily_loss": st.sampled_from([1, 500]),
        },
    )
    group = st.fixed_dictionaries(
        {"instruments": st.sampled_from([[A], ["BTC/USDT"], [A, B], [B]]), "max_gross_notional": money},
        optional={"max_net_notional": money},
    )
    pairs = {
        "restricted_instruments": st.sampled_from([[], [], ["BTC/USDT"], [B]]),
        "allowed_strategies": st.sampled_from([["s", "t"], ["s"], ["t"]]),
        "restricted_strategies": st.sampled_from([[], ["t"]]),
        "strategy_limits": st.dictionaries(by_name, own, min_size=1, max_size=2),
        "group_limits": st.dictionaries(st.just("g"), group, min_size=1),
        "max_credit": money,
        "max_leverage": st.sampled_from(["0.02", "0.1", 1]),
        "max_margin_bps": st.sampled_from([1, 100, 5_000]),
        "reference_collar_bps": st.sampled_from([5, 100]),
        "stale_mark_ns": st.sampled_from([1, 100_000_000_000]),
        "max_spread_bps": st.sampled_from([1, 2, 20]),
        "min_volume": st.just(5),
        "opposing": st.sampled_from(["block", "net"]),
    }
    found = {name: draw(one) for name, one in pairs.items() if draw(st.integers(0, 3)) == 3}
    if draw(st.booleans()):
        found |= {"max_repeats": draw(st.integers(1, 3)), "repeat_window_ns": 300_000_000}
    if draw(st.booleans()):
        found |= {"max_consecutive_losses": 2, "loss_cooldown_ns": 1_000_000_000}
    return {**found, "references": draw(st.sampled_from([{}, {A: B}, {A: "gone"}]))}


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """Limits near the sizes the orders have; one of them may sit exactly on a round figure that orders reach."""
    money = st.integers(1, 40).map(lambda steps: steps * 100) | st.just(10_000)
    by_name = st.sampled_from([{"*": 5}, {"*": 10}, {"*": 10}, {A: 3}, {B: 3}, {A: 12, "*": 1}])
    return {
        "allowed_instruments": draw(st.sampled_from([[A, B], [A, B], [A, B], [A], [A], [B]])),
        "max_order_qty": draw(by_name),
        "max_position_qty": draw(by_name),
        "max_order_notional": draw(money),
        "max_position_notional": draw(money),
        "max_gross_notional": draw(money),
        "max_net_notional": draw(money),
        "collar_bps": draw(st.sampled_from([10, 50, 100, 120])),
        "max_open_orders": draw(st.sampled_from([1, 2, 4, 20])),
        "max_drawdown_bps": draw(st.sampled_from([1, 1_000])),
        **(draw(controls(money)) if draw(st.booleans()) else {}),
    }


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(limits(), views(), intents((A,)))
def test_the_screen_changes_no_verdict(values: dict[str, Any], view: FakeView, intent: OrderIntent) -> None:
    """One order before two gates, one of which has no screen: the same verdict, down to what it saw and held."""
    screened, plain = Gate(make_limits(**values)), Gate(make_limits(**values))
    assert screened._screen is not None
    plain._screen = None
    # By their text: 1.0 and 1.00 are equal, and journaled differently; NaN is equal to nothing.
    for judge, judge_plainly in ((screened.review, plain.review), (screened.review_again, plain.review_again)):
        assert str(judge(intent, view)) == str(judge_plainly(intent, view))
        assert screened._last_exit is plain._last_exit


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(limits(), views(), st.lists(st.tuples(intents((A,)), st.integers(0, 400_000_000)), max_size=8), st.data())
def test_the_screen_changes_no_verdict_of_a_sequence(
    values: dict[str, Any], view: FakeView, batch: list[tuple[OrderIntent, int]], data: st.DataObject
) -> None:
    """Orders over time, some repeated, some filled, pace limits tight: both gates answer alike and count alike."""
    values = {**values, "max_orders_per_s": 3, "max_orders_per_s_instrument": 2, "duplicate_window_ns": 300_000_000}
    screened, plain = Gate(make_limits(**values)), Gate(make_limits(**values))
    plain._screen = None
    for intent, later_ns in batch:
        view.now_ns += later_ns
        for wish in (intent, intent) if data.draw(st.booleans()) else (intent,):
            verdict = screened.review(wish, view)
            assert str(verdict) == str(plain.review(wish, view))
            if not isinstance(verdict, Approved):
                continue
            order = view.open(wish)
            screened.on_opened(order)
            plain.on_opened(order)
            if data.draw(st.booleans()):
                view.fill(order.client_order_id, wish.qty, D(100))
    assert screened._pace.runaway == plain._pace.runaway


FIGURES = {
    "max_order_notional": "order",
    "max_position_notional": "position",
    "max_gross_notional": "gross",
    "max_net_notional": "net",
}
WIDE: dict[str, Any] = {
    "allowed_instruments": [A, B],
    **dict.fromkeys(FIGURES, 10**9),
    "max_order_qty": {"*": 10**6},
    "max_position_qty": {"*": 10**6},
    "collar_bps": 2_000,
}


@pytest.mark.fault("F2")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(views(), intents((A,)), st.sampled_from(sorted(FIGURES)))
def test_a_limit_binds_at_the_very_figure(view: FakeView, intent: OrderIntent, which: str) -> None:
    """The limit is set to the figure of ``risk.exposure``, then to the next smaller number: only the first passes."""
    gate = Gate(make_limits(**WIDE))
    assume(isinstance(gate.review(intent, view), Approved) and gate._last_exit is None)
    figures = worst_case(
        view,
        view.instrument(A),
        side=intent.side,
        qty=intent.qty,
        limit_px=intent.limit_px,
        mark_px=known_mark(view, view.instrument(A)),
        orders=view.open_orders(),
        market_factor=D("1.01"),
    )
    figure = getattr(figures, FIGURES[which])
    assume(figure > 0)
    assert isinstance(Gate(make_limits(**{**WIDE, which: figure})).review(intent, view), Approved)
    refused = Gate(make_limits(**{**WIDE, which: figure.next_minus()})).review(intent, view)
    assert isinstance(refused, Rejected)
    assert refused.check == which


def test_the_common_entry_needs_no_other_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the long way taken out, a plain order and one beside open orders of its side still pass: by the screen."""
    view = FakeView()
    gate = Gate(make_limits())
    monkeypatch.setattr(Gate, "_judge", None)
    for _ in range(3):
        assert isinstance(gate.review(order(), view), Approved)
        view.open(order())


def test_the_common_exit_needs_no_other_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for an order that closes, by its flag and by its effect."""
    monkeypatch.setattr(Gate, "_judge", None)
    gate = Gate(make_limits())
    for wish in (leave(), leave(reduce_only=False)):
        assert isinstance(gate.review(wish, held()), Approved)
        assert gate._last_exit is wish


def test_turning_a_position_around_counts_what_is_held() -> None:
    """Short 3 at 100, buy 4: long 1 at worst, but the 300 of now are gross exposure until it fills."""
    view = FakeView(make_instrument(A, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD"))
    view.hold(A, D(-3), strategy="s")
    wish = order(instrument=A, qty=D(4))
    assert isinstance(Gate(make_limits(allowed_instruments=[A], max_gross_notional=300)).review(wish, view), Approved)
    refused = Gate(make_limits(allowed_instruments=[A], max_gross_notional=299)).review(wish, view)
    assert isinstance(refused, Rejected)
    assert refused.check == "max_gross_notional"


def test_what_another_strategy_is_short_hides_behind_no_net_position() -> None:
    """The account is long 1, this strategy alone long 3: the other is short 2, so no more is bought."""
    view = FakeView(make_instrument(A, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD"))
    view.hold(A, D(1))
    view.strategy_qtys = {("s", A): D(3), ("t", A): D(-2)}
    refused = Gate(make_limits(allowed_instruments=[A])).review(order(instrument=A), view)
    assert isinstance(refused, Rejected)
    assert refused.check == "opposing_strategy"
