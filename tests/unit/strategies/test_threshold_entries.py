"""What makes the threshold strategy enter, and how large: signals, costs, size, retries, reasons to stay out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.commands import OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Prediction, PredictionStatus, Side
from strategies.threshold import ThresholdParams, ThresholdStrategy
from tests.support.fake_view import FakeFeatures, FakeView
from tests.support.gate import PERP, short_view
from tests.support.limits import NAME
from tests.support.threshold import FREE, MS, SECOND, enter, make, one, predict, tick

D = Decimal


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


def notional_of(view: FakeView, value: float, **params: Any) -> float:
    """Worth of the order that a prediction makes, at its limit price; 0 for none."""
    intents = make(**{"max_notional": 2_000.0, **params}).on_prediction(predict(value), 7, view)
    return float(one(intents).qty * (one(intents).limit_px or 0)) if intents else 0.0


def test_kelly_sizes_by_the_odds_of_the_prediction() -> None:
    """P(up) 0.6, 40 bps to win and 20 to lose: best 0.6 - 0.4 / 2 = 0.4 of 10,000, a quarter of it 1,000; capped."""
    bet = {"sizing": "kelly", "stop_bps": 20.0, "take_profit_bps": 40.0, "kelly_cap": 0.5}
    assert notional_of(FakeView(), 0.6, **bet) == pytest.approx(1_000, rel=1e-3)
    assert notional_of(FakeView(), 0.6, **bet | {"kelly_cap": 0.05}) == pytest.approx(500, rel=1e-3)
    assert notional_of(FakeView(), 0.6, **bet | {"take_profit_bps": 10.0}) == 0.0
    euro = FakeView()
    euro.rates["USD"] = D("0.5")
    assert notional_of(euro, 0.6, **bet | {"kelly_fraction": 0.125}) == pytest.approx(1_000, rel=1e-3)
    for piece in ("equity_now", "rates"):
        blind = FakeView()
        setattr(blind, piece, None if piece == "equity_now" else {})
        assert notional_of(blind, 0.6, **bet) == 0.0


def test_kelly_of_a_return_sizes_by_mean_and_variance() -> None:
    """2 bps expected, a deviation of 100 bps: 0.0002 / 0.0001 = 2, a twentieth of it a tenth of 10,000."""
    view = FakeView()
    view.feature_views[NAME] = FakeFeatures({"rv_20": 0.01})
    bet = {"mode": "return_bps", "buy": 1.0, "sell": -1.0, "sizing": "kelly", "kelly_fraction": 0.05}
    assert notional_of(view, 2.0, **bet) == pytest.approx(1_000, rel=1e-3)
    assert notional_of(FakeView(), 2.0, **bet) == 0.0


def test_risk_parity_shares_the_notional_out() -> None:
    """Two instruments, this one three times as volatile: a quarter of 1,000; without the other's volatility nothing."""
    view = FakeView()
    view.feature_views = {NAME: FakeFeatures({"rv_20": 0.03}), "x": FakeFeatures({"rv_20": 0.01})}
    strategy = ThresholdStrategy("s", [NAME, "x"], ThresholdParams(**FREE | {"sizing": "risk_parity"}))
    strategy.on_model(NAME, {})
    wish = one(strategy.on_prediction(predict(0.9), 7, view))
    assert float(wish.qty * (wish.limit_px or 0)) == pytest.approx(250, rel=1e-3)
    del view.feature_views["x"]
    strategy = ThresholdStrategy("s", [NAME, "x"], ThresholdParams(**FREE | {"sizing": "risk_parity"}))
    strategy.on_model(NAME, {})
    assert strategy.on_prediction(predict(0.9), 7, view) == ()


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"sizing": "kelly", "stop_bps": 0.0}, "stop_bps and take_profit_bps"),
        ({"sizing": "kelly", "kelly_fraction": 1.5}, "kelly_fraction"),
        ({"sizing": "risk_parity", "vol_column": "nope"}, "vol_column"),
        ({"kelly_cap": 0.0}, "kelly_cap"),
    ],
)
def test_sizing_that_cannot_work_is_refused(params: dict[str, Any], said: str) -> None:
    """At the start, by name."""
    with pytest.raises(ValueError, match=said):
        ThresholdParams(**params)
