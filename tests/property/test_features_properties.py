"""Properties of the feature buffer under any stream of events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import Bar, MarketEvent, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling
from tests.support.features import BUILT_IN, NAME, START_NS, instrument

SECOND = 1_000_000_000
anything = st.one_of(
    st.floats(), st.sampled_from([0.0, -1.0, 1e-12, 100.0, 100.5, 1e17, 1e300, float("nan"), float("inf")])
)
price = st.one_of(st.floats(90.0, 110.0), anything)
times = st.integers(START_NS, START_NS + 30 * SECOND)


def quotes() -> st.SearchStrategy[MarketEvent]:
    return st.builds(lambda t, *v: Quote(t, t, NAME, *v), times, price, anything, price, anything)


def trades() -> st.SearchStrategy[MarketEvent]:
    return st.builds(lambda t, p, q, a: Trade(t, t, NAME, p, q, a, ""), times, price, anything, st.integers(-2, 2))


def candles() -> st.SearchStrategy[MarketEvent]:
    return st.builds(
        lambda t, *v: Bar(t - t % SECOND, t, NAME, SECOND, *v), times, price, price, price, price, anything
    )


steps = st.lists(
    st.one_of(quotes(), trades(), candles(), st.just("gap"), st.builds(lambda t: ("timer", t), times)), max_size=120
)
samplings = st.sampled_from([Sampling.tick(), Sampling.tick_bar(3), Sampling.time_bar(SECOND, SECOND // 10)])


@pytest.mark.fault("D6")
@pytest.mark.fault("E8")
@settings(max_examples=60, deadline=None)
@given(steps, samplings, st.booleans())
def test_nothing_raises_and_a_warm_window_never_holds_nan(steps: list[Any], sampling: Sampling, negative: bool) -> None:
    """Arbitrary prices, sizes, times, gaps, timers and candles, in any order, through all columns."""
    spec = FeatureSpec(name="all", columns=BUILT_IN, window=8, sampling=sampling, gap=GapPolicy(flat_rows_max=3))
    buffer = FeatureBuffer(spec, instrument(allows_negative_px=negative))
    for step in steps:
        rows = buffer.rows
        if step == "gap":
            buffer.mark_gap("test")
            assert not buffer.warm
        elif isinstance(step, tuple):
            assert buffer.on_timer(step[1]) == (buffer.rows > rows)
        else:
            assert buffer.update(step) == (buffer.rows > rows)
        assert buffer.warm == bool(np.isfinite(buffer.window()).all())
        assert (buffer.reason == "") == buffer.warm


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 9), st.integers(1, 9)), min_size=60, max_size=120))
def test_prices_and_sizes_scale_as_their_units_say(moves: list[tuple[int, int, int]]) -> None:
    """All prices times 4, all sizes times 2 (exact in binary): prices x4, quantities x2, all else unchanged."""
    spec = FeatureSpec(name="all", columns=BUILT_IN, window=8)
    plain, scaled = FeatureBuffer(spec, instrument()), FeatureBuffer(spec, instrument())
    tick = 4000
    for i, (move, bid_qty, ask_qty) in enumerate(moves):
        tick += move
        t = START_NS + i * SECOND
        bid, ask = tick / 8, (tick + 1) / 8
        plain.update(Quote(t, t, NAME, bid, bid_qty, ask, ask_qty))
        scaled.update(Quote(t, t, NAME, 4 * bid, 2 * bid_qty, 4 * ask, 2 * ask_qty))
        if move:
            plain.update(Trade(t, t, NAME, bid, bid_qty, 1 if move > 0 else -1, ""))
            scaled.update(Trade(t, t, NAME, 4 * bid, 2 * bid_qty, 1 if move > 0 else -1, ""))
    for column in spec.plan:
        factor = {"price": 4.0, "qty": 2.0, "bps_per_qty": 0.5}.get(column.unit, 1.0)
        one, other = plain.latest(column.name), scaled.latest(column.name)
        assert (np.isnan(one) and np.isnan(other)) or other == factor * one, column.name
