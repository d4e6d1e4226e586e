"""The crossing of averages on a fake view."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from engine.commands import Intent, OrderIntent
from engine.events import Side, Timer
from strategies.ema_cross import EmaCrossParams, EmaCrossStrategy
from tests.support.fake_view import FakeFeatures, FakeView
from tests.support.gate import PERP, short_view
from tests.support.limits import NAME

D = Decimal
SECOND = 1_000_000_000


def make(name: str = NAME, **params: Any) -> EmaCrossStrategy:
    return EmaCrossStrategy("e", [name], EmaCrossParams(**{"fast": 2, "slow": 4, "notional": 500.0, **params}))


def feed(
    strategy: EmaCrossStrategy, view: FakeView, prices: Sequence[float], *, fill: bool = True
) -> list[tuple[int, OrderIntent]]:
    """One row a second; each intent is opened and filled at once unless told otherwise."""
    name = strategy.instruments[0]
    found: list[tuple[int, OrderIntent]] = []
    for i, px in enumerate(prices):
        view.now_ns += SECOND
        view.quote(name, px - 0.01, px + 0.01)
        view.feature_views[name] = FakeFeatures({"close": px})
        for intent in strategy.on_row(name, view):
            assert isinstance(intent, OrderIntent)
            found.append((i, intent))
            if fill:
                opened = view.open(intent)
                strategy.on_fill(view.fill(opened.client_order_id, intent.qty, D(str(px))), view)
    return found


DOWN_UP_DOWN = [100.0, 99.0, 98.0, 97.0, 96.0, 99.0, 102.0, 104.0, 100.0, 96.0, 92.0]


def oracle(prices: Sequence[float], fast: int, slow: int) -> list[int]:
    """Rows at which the sign of fast - slow turns, by the closed form of the weights."""

    def ema(n: int, span: int) -> float:
        keep = 1.0 - 2.0 / (span + 1)
        weights = [keep**n if k == 0 else (1 - keep) * keep ** (n - k) for k in range(n + 1)]
        return sum(w * p for w, p in zip(weights, prices, strict=False))

    signs = [ema(n, fast) > ema(n, slow) for n in range(len(prices))]
    return [n for n in range(slow, len(prices)) if signs[n] != signs[n - 1]]


def test_long_on_a_cross_up_and_out_on_a_cross_down() -> None:
    """Crossings against the closed form; spot is not sold short."""
    found = feed(make(), FakeView(), DOWN_UP_DOWN)
    assert [i for i, _ in found] == oracle(DOWN_UP_DOWN, 2, 4)
    enter, leave = (intent for _, intent in found)
    assert (enter.side, enter.reduce_only) == (Side.BUY, False)
    assert (leave.side, leave.reduce_only, leave.qty) == (Side.SELL, True, enter.qty)


def test_a_perpetual_is_sold_short_on_a_cross_down() -> None:
    """Up, then down."""
    view = short_view()
    (_, intent), *_ = feed(make(PERP), view, [100.0, 101.0, 102.0, 103.0, 104.0, 100.0, 96.0])
    assert (intent.side, intent.reduce_only) == (Side.SELL, False)


def test_no_entry_before_the_slow_span_or_without_a_crossing() -> None:
    """Straight up from the start: the averages never cross."""
    assert feed(make(), FakeView(), [100.0 + i for i in range(20)]) == []


@pytest.mark.fault("E8")
def test_no_entry_on_features_that_are_not_warm() -> None:
    """The crossing row itself is not warm (E8); averages go on, the next crossing counts."""
    view, strategy = FakeView(), make()
    crossing = oracle(DOWN_UP_DOWN, 2, 4)[0]
    feed(strategy, view, DOWN_UP_DOWN[:crossing])
    view.feature_views[NAME] = FakeFeatures({"close": DOWN_UP_DOWN[crossing]}, warm=False)
    assert strategy.on_row(NAME, view) == ()


def test_an_exit_that_did_not_fill_is_sent_again() -> None:
    """Quotes and timers bring it back after the retry time."""
    view, strategy = FakeView(), make()
    feed(strategy, view, DOWN_UP_DOWN[:8])
    assert view.strategy_qty("e", NAME) > 0
    assert feed(strategy, view, [100.0, 96.0, 92.0], fill=False)
    view.now_ns += SECOND
    again: Sequence[Intent] = strategy.on_quote(NAME, view)
    assert [i.reduce_only for i in again if isinstance(i, OrderIntent)] == [True]
    assert strategy.on_quote(NAME, view) == ()
    view.now_ns += SECOND
    assert len(strategy.on_timer(Timer(1, 1, "beat"), view)) == 1


def test_rows_without_a_number_change_nothing() -> None:
    """NaN, no features, another instrument."""
    view, strategy = FakeView(), make()
    before = strategy.state()
    assert strategy.on_row(NAME, view) == ()
    view.feature_views[NAME] = FakeFeatures({"close": float("nan")})
    assert strategy.on_row(NAME, view) == ()
    assert strategy.on_row("ETH/USD@coinbase", view) == ()
    assert strategy.state() == before


def test_state_round_trips_through_json() -> None:
    """Stopped before the crossing, the restored one crosses at the same row with the same order."""
    whole = feed(make(), FakeView(), DOWN_UP_DOWN)
    view, first = FakeView(), make()
    feed(first, view, DOWN_UP_DOWN[:5])
    second = make()
    second.restore(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    assert feed(second, view, DOWN_UP_DOWN[5:]) == [(i - 5, intent) for i, intent in whole]


@pytest.mark.parametrize(
    "params",
    [
        {"fast": 4},
        {"fast": 0},
        {"notional": 0.0},
        {"max_notional": float("nan")},
        {"exit_retry_ns": 0},
        {"slip_ticks": -1},
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]) -> None:
    """One each."""
    with pytest.raises(ValueError):
        make(**params)
