"""What is looked up once for each strategy and instrument says for good what the memories themselves would say."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

import pytest

from engine.commands import Approved, NewOrder, OrderIntent
from engine.events import Resumed, Side
from engine.instruments import AssetClass
from engine.ports import Tally
from engine.stakes import GUARDIAN
from risk.gate import Gate
from risk.limits import Limits
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import check_of, order
from tests.support.limits import EVERY_CONTROL, GENEROUS, NAME, make_limits

D = Decimal
MS = 1_000_000
OTHER = "ETH/USD@coinbase"


def every_control(**changes: object) -> Limits:
    return make_limits(**{**EVERY_CONTROL, "allowed_instruments": [NAME, OTHER], **changes})


def two_coins() -> FakeView:
    changes: dict[str, object] = {"asset_class": AssetClass.PERPETUAL, "can_short": True, "margin_rate": D("0.1")}
    return FakeView(make_instrument(**changes), make_instrument(OTHER, **changes))


def count(gates: tuple[Gate, Gate], intent: OrderIntent, now_ns: int) -> None:
    for gate in gates:
        gate.on_opened(NewOrder(now_ns, "o", "coinbase", intent))


@pytest.mark.fault("F4")
def test_a_long_session_gets_the_same_verdicts_by_the_short_way() -> None:
    """Three thousand orders of three strategies before two gates, one without the screen: rates, repetitions, ratios,
    losses, cool-downs, resumes and new equity, each verdict the same to the letter, and each kind of refusal met."""
    draw = random.Random(7)
    limits = every_control(
        strategy_limits={
            "*": {"max_orders_per_s": 6, "max_daily_loss": 100},
            "t": {"max_order_notional": 900, "max_orders_per_s": 4},
        },
        max_orders_per_fill="1.5",
        max_orders_per_s=12,
        max_orders_per_s_instrument=8,
        max_repeats=3,
        repeat_window_ns=400 * MS,
        duplicate_window_ns=200 * MS,
        max_consecutive_losses=2,
        loss_cooldown_ns=500 * MS,
        max_leverage="0.045",
        references={NAME: OTHER},
        allowed_strategies=["s", "t", "u", GUARDIAN],
        restricted_strategies=[],
        max_rejections_per_s=60,
        guardian={"stop_bps": 100, "cooldown_s": "0.5"},
    )
    gates = screened, plain = Gate(limits), Gate(limits)
    plain._screen = None
    view, found = two_coins(), Counter[str]()
    tallies = view.tally_of = {name: Tally() for name in ("s", "t")}
    for number in range(3_000):
        are_filled = number // 500 % 2 == 0  # then nothing is, until ratios refuse
        view.now_ns += draw.choice([0, 1, 30, 80, 150, 400]) * MS // 4
        for name in (NAME, OTHER):
            view.quote(name, 99.99, 100.01)
        happens = draw.random()
        if happens < 0.0015:
            for gate in gates:
                gate.apply(Resumed(view.now_ns, view.now_ns, "test", "again"))
        elif happens < 0.05:
            view.equity_now = D(draw.choice([*[10_000] * 9, 9_900, 9_000]))
            assert str(screened.breach(view)) == str(plain.breach(view))
        elif happens < 0.15:
            tally = tallies[draw.choice("st")]
            tally.losses, tally.lost_ns = draw.choice([0, 0, 1, 2]), view.now_ns
            tally.day = D(draw.choice([*[0] * 60, -99, -100]))
        elif 0.15 < happens < 0.154:
            view.hold(NAME, D(1), strategy=GUARDIAN)
            leave = order(strategy=GUARDIAN, side=Side.SELL, limit_px=D("99.98"), reduce_only=True)
            assert str(screened.review(leave, view)) == str(plain.review(leave, view))
            count(gates, leave, view.now_ns)
            view.hold(NAME, D(0), strategy=GUARDIAN)
        side = draw.choice([Side.BUY, Side.SELL])
        wish = order(
            strategy=draw.choice("sssttu"),
            instrument=draw.choice([NAME, NAME, OTHER]),
            side=side,
            qty=D(draw.choice([1, 1, 2, 3, 4, 5])),
            limit_px=D("100.00") + D(draw.randrange(4)) / 100 * side,
        )
        verdict = screened.review(wish, view)
        assert str(verdict) == str(plain.review(wish, view))
        found[check_of(verdict)] += 1
        if isinstance(verdict, Approved):
            count(gates, wish, view.now_ns)
            if wish.strategy in tallies and are_filled:
                tallies[wish.strategy].fills += 1
    assert found[""] > 150
    assert set(found) >= {
        "order_rate_instrument",
        "strategy_order_rate",
        "repeated_execution",
        "duplicate",
        "orders_per_fill",
        "strategy_daily_loss",
        "loss_cooldown",
        "guardian_cooldown",
        "daily_loss",
        "max_leverage",
    }


@pytest.mark.fault("F4")
@pytest.mark.parametrize("check", ["orders_per_fill", "strategy_orders_per_fill"])
def test_a_ratio_binds_at_the_very_order(check: str) -> None:
    """Forty orders are executed, then none: 2.5 orders for each allow the hundredth and refuse the 101st, by the
    short way as by the long one, of one strategy and of two together."""
    ratio = {"max_orders_per_fill": D("2.5")}
    is_own = check == "strategy_orders_per_fill"
    limits = make_limits(**({"strategy_limits": {"*": ratio}} if is_own else ratio))
    gates = screened, plain = Gate(limits), Gate(limits)
    plain._screen = None
    view = FakeView()
    view.tally_of = {"s": Tally(), "t": Tally()}
    opened = 0
    while opened < 1_000:
        view.now_ns += 100 * MS
        view.quote(NAME, 99.99, 100.01)
        wish = order(strategy="s" if is_own or opened % 2 else "t")
        verdict = screened.review(wish, view)
        assert str(verdict) == str(plain.review(wish, view))
        if not isinstance(verdict, Approved):
            break
        count(gates, wish, view.now_ns)
        opened += 1
        if opened <= 40:
            view.tally_of[wish.strategy].fills += 1
    assert opened == 100
    assert check_of(verdict) == check


def test_the_common_entry_of_a_long_session_needs_no_other_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every control in use and a hundred orders before: with the long way taken out, plain orders pass still."""
    gate, view = Gate(every_control()), two_coins()
    view.tally_of = {"s": Tally()}
    for number in range(100):
        if number:
            monkeypatch.setattr(Gate, "_judge", None)
        view.now_ns += 100 * MS
        view.quote(NAME, 99.99, 100.01)
        wish = order(limit_px=D("100.00") + D(number % 5) / 100)
        assert isinstance(gate.review(wish, view), Approved)
        gate.on_opened(NewOrder(view.now_ns, "o", "coinbase", wish))
        view.tally_of["s"].fills += 1


def test_ratios_that_cannot_be_used_are_named() -> None:
    """NaN, infinite, enormous and negative ones are refused by name, or hold as what they are."""
    for ratio, named in ((D("NaN"), True), (D("Infinity"), True), (D(-1), True), (D("1E+999999"), False)):
        gate = Gate(make_limits(**GENEROUS, max_orders_per_fill=ratio))
        assert check_of(gate.review(order(), FakeView())) == ("limit_unusable" if named else "")
