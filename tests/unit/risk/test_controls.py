"""Controls that a configuration adds: each refuses at its limit, passes below it, and never holds an exit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.commands import OrderIntent
from engine.events import Side
from engine.instruments import AssetClass
from engine.venues import Restriction
from risk.controls import Controls
from risk.gate import Gate
from tests.support.fake_view import FakeFeatures, FakeView, make_instrument
from tests.support.gate import (
    EURO,
    OTHER,
    PERP,
    TWO,
    check_of,
    held,
    leave,
    leave_at_market,
    market,
    order,
    review,
    send,
    two_coins,
)
from tests.support.limits import EVERY_CONTROL, NAME, make_limits

D = Decimal
ELSEWHERE = "BTC/USD@kraken"
REFERENCE = "BTC/USD@consolidated"
REFERRED: dict[str, Any] = {"references": {NAME: REFERENCE}}
APART: dict[str, Any] = {"instruments": [EURO], "max_net_notional": 1}
CROWD = {"restricted_instruments": ["ETH/USD"], "allowed_strategies": ["s"]}


def on_margin(rate: str | None = "0.1") -> FakeView:
    margin_rate = None if rate is None else D(rate)
    return FakeView(
        make_instrument(
            PERP, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD", margin_rate=margin_rate
        )
    )


def holding(qty: str, name: str = OTHER, strategy: str = "s") -> FakeView:
    view = two_coins()
    view.hold(name, D(qty), strategy=strategy)
    return view


def referred(mid: float, **flags: bool) -> FakeView:
    view = FakeView(make_instrument(), make_instrument(REFERENCE))
    view.quote(REFERENCE, mid - 0.01, mid + 0.01, **flags)
    return view


def resting(*wishes: OrderIntent) -> FakeView:
    view = two_coins()
    for wish in wishes:
        view.open(wish)
    return view


def aged() -> FakeView:
    """2 of another instrument are held, of which nobody has told a price for 3 s."""
    view = holding("2")
    view.now_ns += 3_000_000_000
    view.quote(NAME, 99.99, 100.01)
    return view


# (check, what the view is, limits under which it is refused, limits under which it passes)
CASES: list[tuple[str, Callable[[], FakeView], dict[str, Any], dict[str, Any]]] = [
    ("restricted", FakeView, {"restricted_instruments": [NAME]}, {"restricted_instruments": [OTHER]}),
    ("restricted", FakeView, {"restricted_instruments": ["BTC/USD"]}, {"restricted_instruments": ["BTC"]}),
    ("strategy_allow_list", FakeView, {"allowed_strategies": ["t"]}, {"allowed_strategies": ["s"]}),
    ("strategy_allow_list", FakeView, {"restricted_strategies": ["s"]}, {"restricted_strategies": ["t"]}),
    (
        "strategy_limits",
        FakeView,
        {"strategy_limits": {"t": {"max_daily_loss": 1}}},
        {"strategy_limits": {"t": {"max_daily_loss": 1}, "*": {"max_daily_loss": 1}}},
    ),
    (
        "strategy_order_notional",
        FakeView,
        {"strategy_limits": {"s": {"max_order_notional": "100.01"}, "*": {"max_order_notional": 900}}},
        {"strategy_limits": {"s": {"max_order_notional": "100.02"}}},
    ),
    (
        "strategy_position_notional",
        lambda: held("2"),
        {"strategy_limits": {"*": {"max_position_notional": "300.05"}}},
        {"strategy_limits": {"*": {"max_position_notional": "300.06"}}},
    ),
    (
        "strategy_gross_notional",
        lambda: holding("2"),
        {"strategy_limits": {"*": {"max_gross_notional": "300.01"}}},
        {"strategy_limits": {"*": {"max_gross_notional": "300.02"}}},
    ),
    (
        "strategy_open_orders",
        lambda: resting(order(limit_px=D(98)), order(limit_px=D(98), strategy="t")),
        {"strategy_limits": {"*": {"max_open_orders": 1}}},
        {"strategy_limits": {"*": {"max_open_orders": 2}}},
    ),
    (
        "group_gross",
        lambda: holding("2"),
        {"group_limits": {"g": {"instruments": ["BTC/USD", OTHER], "max_gross_notional": "300.01"}}},
        {"group_limits": {"g": {"instruments": ["BTC/USD", OTHER], "max_gross_notional": "300.02"}}},
    ),
    (
        "group_net",
        lambda: holding("2"),
        {"group_limits": {"g": {"instruments": TWO, "max_net_notional": "300.01"}}},
        {"group_limits": {"g": {"instruments": TWO, "max_net_notional": "300.02"}, "h": APART}},
    ),
    (
        "max_credit",
        lambda: resting(order(instrument=OTHER, limit_px=D(90))),
        {"max_credit": "200.01"},
        {"max_credit": "200.02"},
    ),
    ("max_leverage", FakeView, {"max_leverage": "0.010001"}, {"max_leverage": "0.010002"}),
    ("stale_mark", aged, {"stale_mark_ns": 2_999_999_999}, {"stale_mark_ns": 3_000_000_000}),
    ("max_spread", FakeView, {"max_spread_bps": "1.99"}, {"max_spread_bps": "2.01"}),
    ("min_volume", FakeView, {"min_volume": 1}, {}),
    ("reference_unknown", FakeView, {"reference_collar_bps": 50, **REFERRED}, {"reference_collar_bps": 50}),
    (
        "reference_collar",
        lambda: referred(99.0),
        {"reference_collar_bps": 50, "references": {NAME: REFERENCE}},
        {"reference_collar_bps": 150, "references": {NAME: REFERENCE}},
    ),
]  # fmt: skip


@pytest.mark.fault("F2")
@pytest.mark.parametrize(("check", "make_view", "tight", "loose"), CASES)
def test_a_control_refuses_by_its_name_and_passes_at_its_limit(
    check: str, make_view: Callable[[], FakeView], tight: dict[str, Any], loose: dict[str, Any]
) -> None:
    """Buys 1 at 100.02 under limits just too small, and just large enough; without the control it passes too."""
    account = {"allowed_instruments": TWO}
    assert review(order(), make_view(), make_limits(**account, **tight)) == check
    assert review(order(), make_view(), make_limits(**account, **loose)) == ""
    assert review(order(), make_view(), make_limits(**account)) == ""


@pytest.mark.parametrize(("check", "make_view", "tight", "loose"), CASES)
@pytest.mark.parametrize("wish", [leave(), leave_at_market(), leave(reduce_only=False)])
def test_no_control_holds_an_exit(
    check: str, make_view: Callable[[], FakeView], tight: dict[str, Any], loose: dict[str, Any], wish: OrderIntent
) -> None:
    """The same views with a position to close, under the limits that refuse an entry."""
    view = make_view()
    view.hold(NAME, D(1), strategy="s")
    assert check
    assert loose is not None
    assert review(wish, view, make_limits(allowed_instruments=TWO, **tight)) == ""


def test_old_marks_keep_no_exit_that_another_strategy_hides() -> None:
    """Long 1 beside one that is short 1: its sale is judged as an entry, and leaves."""
    view = FakeView(
        make_instrument(PERP, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD"), aged().defined[OTHER]
    )
    view.hold(OTHER, D(2))
    view.strategy_qtys |= {("s", PERP): D(1), ("t", PERP): D(-1)}
    view.now_ns += 3_000_000_000
    view.quote(PERP, 99.99, 100.01)
    limits = make_limits(allowed_instruments=[PERP], stale_mark_ns=1)
    for qty, check in (("1", ""), ("2", "stale_mark")):
        wish = market(instrument=PERP, side=Side.SELL, qty=D(qty), strategy="s")
        assert review(wish, view, limits) == check


def test_a_market_that_says_a_rate_is_as_young_as_what_is_held() -> None:
    """Equity counts money at its price: where that is old, a loss is seen by no breaker.  Nothing is held, and the
    short way through the gate asks for it as well."""
    view = two_coins()
    view.now_ns += 3_000_000_000
    view.quote(NAME, 99.99, 100.01)
    for limit_ns, says, check in (
        (1, [], ""),
        (1, [OTHER], "stale_mark"),
        (3_000_000_000, [OTHER], ""),
        (1, [NAME], ""),
    ):
        view.rates_by = says
        assert review(order(), view, make_limits(allowed_instruments=TWO, stale_mark_ns=limit_ns)) == check
    assert review(order(), view, make_limits(allowed_instruments=TWO)) == ""


@pytest.mark.parametrize(
    ("closed", "check"),
    [
        ("OTHER is halted", ""),
        ("OTHER is closed until Monday", ""),
        (Restriction("market stream is down", exits_only=True, is_blind=True), "stale_mark"),
    ],
)
def test_what_does_not_trade_has_no_newer_price(closed: str, check: str) -> None:
    """One whose market is only not seen has."""
    view = aged()
    view.closed[OTHER] = closed
    assert review(order(), view, make_limits(allowed_instruments=TWO, stale_mark_ns=1)) == check


@pytest.mark.fault("F2")
@pytest.mark.parametrize(
    ("rate", "limit_bps", "check"),
    [("0.1", 10, "max_margin"), ("0.1", 11, ""), (None, 5_000, "margin_unknown"), ("0", 5_000, "margin_unknown")],
)
def test_margin_is_counted_for_what_is_not_fully_paid(rate: str | None, limit_bps: int, check: str) -> None:
    """1 at 100.02 with a tenth of it as margin, of an equity of 10,000: 10.002 bps.  An unknown rate is no rate."""
    limits = make_limits(allowed_instruments=[PERP, NAME], max_margin_bps=limit_bps)
    assert review(order(instrument=PERP), on_margin(rate), limits) == check
    assert review(order(), FakeView(), limits) == ""


@pytest.mark.fault("F6")
@pytest.mark.parametrize("name", ["max_leverage", "max_margin_bps"])
@pytest.mark.parametrize("equity", [None, D(0), D(-5)])
def test_no_equity_carries_nothing(name: str, equity: Decimal | None) -> None:
    """Asked past the loss limits, which refuse it as well."""
    view = on_margin()
    view.equity_now = equity
    gate = Gate(make_limits(allowed_instruments=[PERP], **{name: 1_000}))
    gate._check_losses = lambda view: None  # type: ignore[method-assign]
    expected = "equity_unknown" if equity is None else name.removesuffix("_bps")
    assert check_of(gate.review(order(instrument=PERP), view)) == expected


@pytest.mark.fault("D4")
@pytest.mark.parametrize("flags", [{"suspect": True}, {"crossed": True}])
def test_a_reference_in_doubt_is_none(flags: dict[str, bool]) -> None:
    """At the very price of the order, and not to be believed; then of a time long gone; then without a price."""
    limits = make_limits(reference_collar_bps=50, references={NAME: REFERENCE})
    assert review(order(), referred(100.0), limits) == ""
    assert review(order(), referred(100.0, **flags), limits) == "reference_unknown"
    stale = referred(100.0)
    stale.now_ns += 1_000_000_001
    stale.quote(NAME, 99.99, 100.01)
    assert review(order(), stale, limits) == "reference_unknown"
    assert review(order(), referred(float("nan")), limits) == "reference_unknown"


@pytest.mark.fault("D3")
def test_a_jump_of_one_venue_is_held_by_the_price_of_the_others() -> None:
    """Our venue's book jumps by 3 % and stays plausible in itself; the reference does not move."""
    view = referred(100.0)
    view.quote(NAME, 102.99, 103.01)
    wish = order(limit_px=D("103.02"))
    assert review(wish, view, make_limits()) == ""
    assert review(wish, view, make_limits(reference_collar_bps=100, references={NAME: REFERENCE})) == "reference_collar"
    assert (
        review(market(), view, make_limits(reference_collar_bps=100, references={NAME: REFERENCE}))
        == "reference_collar"
    )


@pytest.mark.parametrize(
    ("features", "check"),
    [
        (None, "min_volume"),
        ({"volume_sma_20": float("nan")}, "min_volume"),
        ({"volume_sma_20": 4.9}, "min_volume"),
        ({"volume_sma_20": 5.0}, ""),
        ({"volume": 9.0}, "min_volume"),
    ],
)
def test_volume_that_is_not_known_is_none(features: dict[str, float] | None, check: str) -> None:
    """No features, not warm, too little, enough, another column."""
    view = FakeView()
    if features is not None:
        view.feature_views[NAME] = FakeFeatures(features)
    assert review(order(), view, make_limits(min_volume=5)) == check


def test_every_control_in_use_still_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the long way taken out the common entry passes under all of them."""
    monkeypatch.setattr(Gate, "_judge", None)
    view = FakeView()
    view.feature_views[NAME] = FakeFeatures({"volume_sma_20": 9.0})
    gate = Gate(make_limits(**EVERY_CONTROL, min_volume=5))
    for _ in range(3):
        assert send(gate, view, order()) == ""
        view.now_ns += 2


def test_a_ceiling_is_the_smallest_of_what_binds() -> None:
    """A strategy's own, a group's, the account's; and none for what may not be entered."""
    controls = Controls(
        make_limits(
            max_credit=1_500,
            strategy_limits={"s": {"max_order_notional": 7, "max_open_orders": 3}, "t": {"max_gross_notional": 8}},
            group_limits={"g": {"instruments": ["ETH/USD"], "max_gross_notional": 9}},
            restricted_instruments=[ELSEWHERE],
        )
    )
    first = controls.ceiling("s", NAME)
    assert first is not None
    assert (first.order, first.total, first.open_orders) == (7, 1_500, 3)
    second = controls.ceiling("t", OTHER)
    assert second is not None
    assert (second.order, second.total, second.open_orders) == (1_000, 8, 50)
    assert controls.ceiling("u", NAME) is None
    assert controls.ceiling("s", ELSEWHERE) is None


@pytest.mark.fault("F2")
@pytest.mark.parametrize(
    ("check", "limits"),
    [
        ("strategy_order_notional", {"strategy_limits": {"*": {"max_order_notional": "100.01"}}}),
        ("strategy_position_notional", {"strategy_limits": {"*": {"max_position_notional": "100.01"}}}),
        ("strategy_gross_notional", {"strategy_limits": {"*": {"max_gross_notional": "100.01"}}}),
        ("group_gross", {"group_limits": {"g": {"instruments": ["BTC/USD"], "max_gross_notional": "100.01"}}}),
        ("group_net", {"group_limits": {"g": {"instruments": [NAME], "max_net_notional": "100.01"}}}),
        ("max_credit", {"max_credit": "100.01"}),
    ],
)
def test_amounts_bind_in_a_flat_account_too(check: str, limits: dict[str, Any]) -> None:
    """1 at 100.02 where nothing else is held or open, which is where the short way decides."""
    assert review(order(), FakeView(), make_limits(**limits)) == check


def test_margin_is_the_sum_over_instruments() -> None:
    """Two positions on margin of 300 each and a new order of 100: 70 of margin at a tenth."""
    names = ("BTC/USD@perps", "ETH/USD@perps")
    view = FakeView(
        *[
            make_instrument(name, asset_class=AssetClass.PERPETUAL, can_short=True, margin_rate=D("0.1"))
            for name in names
        ]
    )
    for name in names:
        view.hold(name, D(3), strategy="s")
    wish = order(instrument=names[0], limit_px=D(100))
    for limit_bps, check in ((69, "max_margin"), (70, "")):
        assert review(wish, view, make_limits(allowed_instruments=names, max_margin_bps=limit_bps)) == check
