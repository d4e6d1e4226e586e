"""The threshold strategy on a fake view: signals, costs, size, exits, retries, state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.commands import Intent, OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Prediction, PredictionStatus, Side, Timer
from strategies.threshold import ThresholdParams, ThresholdStrategy
from tests.support.fake_view import FakeFeatures, FakeView, make_instrument
from tests.support.gate import PERP, short_view
from tests.support.limits import NAME

D = Decimal
MS = 1_000_000
SECOND = 1_000_000_000
FREE: dict[str, Any] = {
    "buy": 0.55,
    "sell": 0.45,
    "return_scale_bps": 10.0,
    "cost_multiple": 0.0,
    "sizing": "fixed",
    "notional": 500.0,
    "slip_ticks": 2,
}


def make(name: str = NAME, **params: Any) -> ThresholdStrategy:
    """Thresholds 0.55 and 0.45, no costs asked, fixed size 500, unless changed; a model serves the instrument."""
    strategy = ThresholdStrategy("s", [name], ThresholdParams(**{**FREE, **params}))
    strategy.on_model(name, {"buy": 0.99, "sell": 0.01, "return_scale_bps": 1.0})
    return strategy


def predict(
    value: float,
    name: str = NAME,
    status: PredictionStatus = PredictionStatus.OK,
    values: tuple[float, ...] | None = None,
) -> Prediction:
    return Prediction(1, 1, name, "cnn@1", status, (value,) if values is None else values)


def one(intents: Sequence[Intent]) -> OrderIntent:
    assert len(intents) == 1
    assert isinstance(intents[0], OrderIntent)
    return intents[0]


def tick(view: FakeView, ns: int, bid: float = 99.99, ask: float = 100.01, name: str = NAME) -> None:
    view.now_ns += ns
    view.quote(name, bid, ask)


def enter(strategy: ThresholdStrategy, view: FakeView, value: float = 0.9, px: str = "100.00") -> None:
    """Signal, open, fill wholly."""
    name = strategy.instruments[0]
    intent = one(strategy.on_prediction(predict(value, name), 7, view))
    opened = view.open(intent)
    strategy.on_fill(view.fill(opened.client_order_id, intent.qty, D(px)), view)


# --- entries --------------------------------------------------------------------------------------------------------


def test_a_sure_prediction_buys_at_the_far_touch_plus_slip() -> None:
    """Ask 100.01, two ticks of 0.01, 500 USD at 100.03 on a lot of 0.001."""
    view = FakeView()
    intent = one(make().on_prediction(predict(0.9), 7, view))
    assert intent == OrderIntent(
        ts_ns=view.now_ns,
        strategy="s",
        instrument=NAME,
        side=Side.BUY,
        qty=D("4.998"),
        order_type=OrderType.LIMIT,
        limit_px=D("100.03"),
        time_in_force=TimeInForce.IOC,
        reason="long 0.9000",
        model="cnn@1",
        prediction_seq=7,
    )


def test_market_orders_when_asked_for() -> None:
    """order_type market: no price."""
    intent = one(make(order_type="market").on_prediction(predict(0.9), 7, FakeView()))
    assert (intent.order_type, intent.limit_px) == (OrderType.MARKET, None)


@pytest.mark.parametrize(("value", "enters"), [(0.55, True), (0.5499, False), (0.45, False), (0.0, False)])
def test_the_buy_threshold_is_inclusive_and_spot_is_never_shorted(value: float, enters: bool) -> None:
    """Spot cannot be sold short: low values do nothing while flat."""
    assert bool(make().on_prediction(predict(value), 1, FakeView())) is enters


@pytest.mark.parametrize(("value", "side"), [(0.45, Side.SELL), (0.4501, None), (0.55, Side.BUY)])
def test_a_perpetual_is_sold_short(value: float, side: Side | None) -> None:
    """The near side is the bid: 99.99 less two ticks."""
    intents = make(PERP).on_prediction(predict(value, PERP), 1, short_view())
    assert [i.side for i in intents if isinstance(i, OrderIntent)] == ([side] if side else [])
    if side is Side.SELL:
        assert one(intents).limit_px == D("99.97")


def test_thresholds_that_are_not_set_come_from_the_model() -> None:
    """The bundle suggests 0.7, 0.3 and 28 bps; another instrument's model does not count; none at all is no signal."""
    params = ThresholdParams(sizing="fixed", notional=500.0)
    for facts, value, enters in (
        ({"buy": 0.7, "sell": 0.3, "return_scale_bps": 100.0}, 0.7, True),
        ({"buy": 0.7, "sell": 0.3, "return_scale_bps": 100.0}, 0.69, False),
        ({"buy": 0.7, "sell": 0.3, "return_scale_bps": 28.0}, 0.9, True),
        ({"buy": 0.7, "sell": 0.3, "return_scale_bps": 27.0}, 0.9, False),
        ({}, 1.0, False),
    ):
        strategy = ThresholdStrategy("s", [NAME], params)
        strategy.on_model(NAME, facts)
        assert bool(strategy.on_prediction(predict(value), 1, FakeView())) is enters
    strategy = ThresholdStrategy("s", [NAME], params)
    strategy.on_model(PERP, {"buy": 0.7, "sell": 0.3, "return_scale_bps": 100.0})
    assert strategy.on_prediction(predict(0.9), 1, FakeView()) == ()


@pytest.mark.fault("E1")
@pytest.mark.fault("E4")
@pytest.mark.parametrize(
    "prediction",
    [
        predict(0.9, status=PredictionStatus.LATE),
        predict(0.9, status=PredictionStatus.FAILED),
        predict(0.9, status=PredictionStatus.SKIPPED),
        predict(0.9, values=()),
        predict(float("nan")),
        predict(float("inf")),
        predict(1.01),
        predict(-0.01),
        predict(0.9, name="ETH/USD@coinbase"),
    ],
)
def test_a_prediction_that_is_not_sound_is_no_signal(prediction: Prediction) -> None:
    """Late, failed, empty, not finite, no probability, not our instrument; while flat and while holding."""
    view, strategy = FakeView(), make()
    assert strategy.on_prediction(prediction, 1, view) == ()
    enter(strategy, view)
    assert strategy.on_prediction(prediction, 1, view) == ()


@pytest.mark.parametrize(("scale", "enters"), [(27.0, False), (28.0, True)])
def test_the_expected_return_must_exceed_the_costs(scale: float, enters: bool) -> None:
    """P = 0.9 expects 0.8 x scale; spread 2 bps + 2 x 10 bps fee = 22 bps: 21.6 is too little, 22.4 enough."""
    strategy = make(cost_multiple=1.0, return_scale_bps=scale)
    assert bool(strategy.on_prediction(predict(0.9), 1, FakeView())) is enters


def test_costs_count_for_short_entries_too() -> None:
    """P = 0.1 expects -0.8 x scale."""
    for scale, enters in ((27.0, False), (28.0, True)):
        strategy = make(PERP, cost_multiple=1.0, return_scale_bps=scale)
        assert bool(strategy.on_prediction(predict(0.1, PERP), 1, short_view())) is enters


def test_the_regression_mode_reads_a_return_in_bps() -> None:
    """23 bps against 22 bps of costs, 21 not; thresholds in bps."""
    strategy = make(PERP, mode="return_bps", buy=5.0, sell=-5.0, cost_multiple=1.0)
    assert one(strategy.on_prediction(predict(23.0, PERP), 1, short_view())).side is Side.BUY
    strategy = make(PERP, mode="return_bps", buy=5.0, sell=-5.0, cost_multiple=1.0)
    assert strategy.on_prediction(predict(21.0, PERP), 1, short_view()) == ()
    assert one(strategy.on_prediction(predict(-23.0, PERP), 1, short_view())).side is Side.SELL


@pytest.mark.parametrize(("vol", "qty"), [(0.0005, "9.997"), (0.001, "4.998"), (0.0001, "19.994"), (0.0, "19.994")])
def test_size_follows_volatility_up_to_the_cap(vol: float, qty: str) -> None:
    """Target 5 bps: at 5 bps 1,000 USD, at 10 bps half, quiet markets the cap of 2,000."""
    view = FakeView()
    view.feature_views[NAME] = FakeFeatures({"rv_20": vol})
    strategy = make(sizing="volatility", notional=1000.0, max_notional=2000.0)
    assert one(strategy.on_prediction(predict(0.9), 1, view)).qty == D(qty)


@pytest.mark.parametrize("vol", [float("nan"), float("inf"), -1.0, None])
def test_without_a_volatility_there_is_no_entry(vol: float | None) -> None:
    """Not a number, or no features at all."""
    view = FakeView()
    if vol is not None:
        view.feature_views[NAME] = FakeFeatures({"rv_20": vol})
    assert make(sizing="volatility").on_prediction(predict(0.9), 1, view) == ()


def test_no_second_entry_while_one_is_open_unknown_or_held() -> None:
    """Open: nothing.  Part filled: nothing.  Whole: nothing.  However long it takes."""
    view, strategy = FakeView(), make()
    intent = one(strategy.on_prediction(predict(0.9), 1, view))
    opened = view.open(intent)
    for _ in range(3):
        tick(view, SECOND)
        assert strategy.on_prediction(predict(0.9), 1, view) == ()
    strategy.on_fill(view.fill(opened.client_order_id, D(1), D(100)), view)
    tick(view, SECOND)
    assert strategy.on_prediction(predict(0.9), 1, view) == ()
    strategy.on_fill(view.fill(opened.client_order_id, intent.qty - 1, D(100)), view)
    tick(view, SECOND)
    assert strategy.on_prediction(predict(0.9), 1, view) == ()


def test_an_entry_that_did_not_fill_is_tried_again_after_the_retry_time() -> None:
    """IOC without a fill (or refused by risk): 250 ms of silence, then again."""
    view, strategy = FakeView(), make()
    assert strategy.on_prediction(predict(0.9), 1, view)
    tick(view, 249 * MS)
    assert strategy.on_prediction(predict(0.9), 1, view) == ()
    tick(view, 1 * MS)
    assert strategy.on_prediction(predict(0.9), 1, view)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda view: setattr(view, "risk_state", RiskState.REDUCING),
        lambda view: view.closed.update({NAME: "user stream down"}),
        lambda view: view.quote(NAME, 99.99, 100.01, suspect=True),
        lambda view: view.quote(NAME, 99.99, 100.01, crossed=True),
        lambda view: view.quote(NAME, float("nan"), 100.01),
        lambda view: view.tops.clear(),
    ],
)
def test_no_entry_when_risk_would_refuse_anyway(spoil: Any) -> None:
    """Each leaves the strategy silent instead of asking on every tick."""
    view = FakeView()
    spoil(view)
    assert make().on_prediction(predict(0.9), 1, view) == ()


def test_a_size_the_venue_does_not_take_is_no_entry() -> None:
    """Ten cents of bitcoin."""
    assert make(notional=0.1).on_prediction(predict(0.9), 1, FakeView()) == ()


# --- exits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bid", "ask", "reason"),
    [(99.80, 99.82, "stop"), (99.81, 99.83, ""), (100.20, 100.22, "take_profit"), (100.19, 100.21, "")],
)
def test_long_exits_are_judged_at_the_bid(bid: float, ask: float, reason: str) -> None:
    """Bought at 100, stop and take-profit 20 bps."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, bid, ask)
    intents = strategy.on_quote(NAME, view)
    assert [i.reason for i in intents] == ([reason] if reason else [])
    if reason:
        intent = one(intents)
        assert (intent.side, intent.qty, intent.reduce_only) == (Side.SELL, D("4.998"), True)
        assert intent.limit_px == view.instrument(NAME).price(bid) - D("0.02")


@pytest.mark.parametrize(("bid", "ask", "reason"), [(100.18, 100.20, "stop"), (99.78, 99.80, "take_profit")])
def test_short_exits_are_judged_at_the_ask(bid: float, ask: float, reason: str) -> None:
    """Sold at 100."""
    view, strategy = short_view(), make(PERP)
    enter(strategy, view, 0.1)
    tick(view, MS, bid, ask, PERP)
    intent = one(strategy.on_quote(PERP, view))
    assert (intent.reason, intent.side, intent.reduce_only) == (reason, Side.BUY, True)


def test_the_horizon_ends_a_position_on_quotes_and_on_timers() -> None:
    """10 s after the entry, not a nanosecond before."""
    for on_timer in (False, True):
        view, strategy = FakeView(), make()
        enter(strategy, view)
        tick(view, 10 * SECOND - 1)
        assert not _ask(strategy, view, on_timer)
        tick(view, 1)
        assert one(_ask(strategy, view, on_timer)).reason == "horizon"


def _ask(strategy: ThresholdStrategy, view: FakeView, on_timer: bool) -> Sequence[Intent]:
    if on_timer:
        return strategy.on_timer(Timer(view.now_ns, view.now_ns, "beat"), view)
    return strategy.on_quote(NAME, view)


def test_switched_off_exits_do_not_fire() -> None:
    """All three at 0, a crash and an hour later."""
    view, strategy = FakeView(), make(stop_bps=0.0, take_profit_bps=0.0, horizon_ns=0)
    enter(strategy, view)
    tick(view, 3600 * SECOND, 50.0, 50.01)
    assert strategy.on_quote(NAME, view) == ()


def test_the_opposite_signal_leaves() -> None:
    """Also for spot, where it cannot enter the other way; not when switched off."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS)
    assert one(strategy.on_prediction(predict(0.1), 9, view)).reason == "opposite"
    view, strategy = FakeView(), make(exit_on_opposite=False)
    enter(strategy, view)
    assert strategy.on_prediction(predict(0.1), 9, view) == ()


@pytest.mark.fault("B19")
def test_an_exit_that_does_not_fill_is_sent_again_and_then_by_market() -> None:
    """Three limit attempts 200 ms apart, then market, backing off to 16 times that; the reason stays latched."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, 99.70, 99.72)
    sent: list[tuple[int, OrderType]] = []
    start = view.now_ns
    for _ in range(600):
        for intent in strategy.on_quote(NAME, view):
            assert isinstance(intent, OrderIntent)
            assert intent.reason == "stop"
            sent.append(((view.now_ns - start) // MS, intent.order_type))
        tick(view, 20 * MS)  # the price is back: a stop that fired does not un-fire
    limit, at_market = OrderType.LIMIT, OrderType.MARKET
    assert sent[:8] == [
        (0, limit),
        (200, limit),
        (400, limit),
        (600, at_market),
        (1000, at_market),
        (1800, at_market),
        (3400, at_market),
        (6600, at_market),
    ]
    assert sent[8][0] - sent[7][0] == 3200


def test_an_exit_in_flight_is_not_doubled() -> None:
    """While its outcome is unknown nothing more is sent; what it leaves over later is."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, 99.70, 99.72)
    opened = view.open(one(strategy.on_quote(NAME, view)))
    for _ in range(5):
        tick(view, 10 * SECOND, 99.70, 99.72)
        assert strategy.on_quote(NAME, view) == ()
    strategy.on_fill(view.fill(opened.client_order_id, D(2), D("99.70")), view)
    tick(view, SECOND, 99.70, 99.72)
    assert strategy.on_quote(NAME, view) == ()
    view.close(opened.client_order_id)
    tick(view, SECOND, 99.70, 99.72)
    assert one(strategy.on_quote(NAME, view)).qty == D("2.998")


def test_a_position_from_a_partial_entry_is_closed_in_full_and_no_more() -> None:
    """1 of 4.998 filled, the rest gone."""
    view, strategy = FakeView(), make()
    opened = view.open(one(strategy.on_prediction(predict(0.9), 1, view)))
    strategy.on_fill(view.fill(opened.client_order_id, D(1), D(100)), view)
    view.close(opened.client_order_id)
    tick(view, 10 * SECOND)
    assert one(strategy.on_quote(NAME, view)).qty == D(1)


def test_never_closes_more_than_the_account_holds() -> None:
    """Someone sold half by hand."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    view.positions[NAME] = D(2)
    tick(view, 10 * SECOND)
    assert one(strategy.on_quote(NAME, view)).qty == D(2)
    view.positions[NAME] = D(0)
    tick(view, 10 * SECOND)
    assert strategy.on_quote(NAME, view) == ()


def test_without_a_usable_book_the_exit_goes_by_market() -> None:
    """Horizon over, book suspect: no limit could be priced."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    view.now_ns += 10 * SECOND
    view.quote(NAME, 99.99, 100.01, suspect=True)
    assert one(strategy.on_quote(NAME, view)).order_type is OrderType.MARKET


def test_a_cool_down_follows_an_exit() -> None:
    """One second from the last fill."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, 10 * SECOND)
    opened = view.open(one(strategy.on_quote(NAME, view)))
    strategy.on_fill(view.fill(opened.client_order_id, opened.intent.qty, D(100)), view)
    tick(view, SECOND - 1)
    assert strategy.on_prediction(predict(0.9), 1, view) == ()
    tick(view, 1)
    assert strategy.on_prediction(predict(0.9), 1, view)


def test_dust_counts_as_flat() -> None:
    """What is left is below the venue's smallest order: no endless exits, and the next entry starts its own horizon."""
    view, strategy = FakeView(make_instrument(min_qty=D("0.01"))), make()
    enter(strategy, view)
    tick(view, 10 * SECOND)
    opened = view.open(one(strategy.on_quote(NAME, view)))
    strategy.on_fill(view.fill(opened.client_order_id, opened.intent.qty - D("0.005"), D(100)), view)
    view.close(opened.client_order_id)
    tick(view, 5 * SECOND)
    assert strategy.on_quote(NAME, view) == ()
    enter(strategy, view)
    tick(view, 10 * SECOND - 1)
    assert strategy.on_quote(NAME, view) == ()
    tick(view, 1)
    assert one(strategy.on_quote(NAME, view)).reason == "horizon"


# --- state, parameters ----------------------------------------------------------------------------------------------


def test_state_round_trips_through_json_and_goes_on_as_if_never_stopped() -> None:
    """Stops in the middle of an exit; the restored one sends the same next intents, at the same times."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, 99.70, 99.72)
    one(strategy.on_quote(NAME, view))
    restored = make()
    restored.restore(json.loads(json.dumps(strategy.state())))
    assert restored.state() == strategy.state()
    for _ in range(40):
        tick(view, 50 * MS, 99.70, 99.72)
        assert restored.on_quote(NAME, view) == strategy.on_quote(NAME, view)


def test_a_position_without_state_is_adopted() -> None:
    """Restarted with nothing: the account's average price, the horizon from now."""
    view, strategy = FakeView(), make()
    view.hold(NAME, D(2), D(100), strategy="s")
    assert strategy.on_quote(NAME, view) == ()
    tick(view, 10 * SECOND)
    assert one(strategy.on_quote(NAME, view)).reason == "horizon"


def test_state_that_is_none_of_ours_is_refused() -> None:
    """A holding whose quantity is no number."""
    with pytest.raises(msgspec.ValidationError):
        make().restore({"holdings": {NAME: {"qty": "much"}}})


def test_same_calls_give_the_same_intents() -> None:
    """Two instances, one history."""
    runs = []
    for _ in range(2):
        view, strategy = FakeView(), make()
        found: list[Intent] = list(strategy.on_prediction(predict(0.7), 3, view))
        tick(view, 300 * MS)
        found += strategy.on_prediction(predict(0.8), 4, view)
        runs.append(found)
    assert runs[0] == runs[1]
    assert len(runs[0]) == 2


@pytest.mark.parametrize(
    "params",
    [
        {"buy": 0.4, "sell": 0.5},
        {"buy": 1.5},
        {"sell": -0.1},
        {"mode": "return_bps", "buy": 0.55, "sell": 0.45},
        {"buy": 0.6, "sell": None},
        {"buy": float("nan")},
        {"stop_bps": -1.0},
        {"horizon_ns": -1},
        {"notional": 0.0},
        {"exit_retry_ns": 0},
        {"vol_floor_bps": 0.0},
        {"sizing": "volatility", "vol_column": "rv_21"},
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]) -> None:
    """One each."""
    with pytest.raises(ValueError):
        ThresholdParams(**{**FREE, **params})
