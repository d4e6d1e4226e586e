"""Adaptive conformal sets keep their promise in the long run, whatever the market does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.conformal import Coverage, quantile_at, sides_of_probability

GRID = ((0.02, 0.8), (0.1, 0.65), (0.3, 0.5), (0.5, 0.4))


def run(stream: list[tuple[float, bool]], *, error_rate: float, step: float, delay: int) -> Coverage:
    """``stream``: probabilities of rising and whether it rose; each outcome is known ``delay`` sets later."""
    coverage = Coverage(alpha=error_rate)
    waiting: list[tuple[tuple[bool, bool], bool]] = []
    for p_up, rose in stream:
        waiting.append((sides_of_probability(p_up, quantile_at(GRID, coverage.alpha, most=1.0)), rose))
        if len(waiting) > delay:
            sides, truth = waiting.pop(0)
            is_single = sides[0] is not sides[1]
            coverage.settle(is_covered=sides[truth], is_single=is_single, error_rate=error_rate, step=step)
    return coverage


@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=50, max_size=300),
    st.floats(0.02, 0.5),
    st.floats(0.01, 0.3),
    st.integers(0, 20),
)
def test_the_share_of_errors_is_within_its_bound_on_any_stream(stream, error_rate, step, delay) -> None:
    """The bound of the module's docstring, which needs nothing of the market."""
    coverage = run(stream, error_rate=error_rate, step=step, delay=delay)
    off = abs((1.0 - coverage.share) - error_rate)
    assert off <= (1.0 + step * (1 + delay)) / (step * coverage.matured) + 1e-9


@given(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_a_smaller_error_rate_never_makes_a_smaller_set(one, other) -> None:
    """The quantile falls as the rate rises, beyond the rates that are known as well."""
    low, high = sorted((one, other))
    assert quantile_at(GRID, low, most=1.0) >= quantile_at(GRID, high, most=1.0)
    assert quantile_at(GRID, low, most=float("inf")) >= quantile_at(GRID, high, most=float("inf"))


def test_coverage_holds_under_drift_where_the_quantile_as_it_was_does_not() -> None:
    """Probabilities that were right on average and become the wrong way round half way: 0.9 is kept, where a fixed
    quantile covers less than three quarters."""
    random = np.random.default_rng(3)
    said = random.uniform(0.05, 0.95, 8_000)
    rose = random.uniform(size=8_000) < said
    rose[4_000:] = random.uniform(size=4_000) < 1.0 - said[4_000:]
    scores = np.sort(np.where(rose[:4_000], 1.0 - said[:4_000], said[:4_000]))
    grid = [(rate, float(scores[int((1.0 - rate) * 4_000)])) for rate in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)]
    shares = {}
    for step in (0.0, 0.01):
        coverage = Coverage(alpha=0.1)
        for p_up, truth in zip(said, rose, strict=True):
            sides = sides_of_probability(float(p_up), quantile_at(grid, coverage.alpha, most=1.0))
            coverage.settle(is_covered=sides[int(truth)], is_single=False, error_rate=0.1, step=step)
        shares[step] = coverage.share
    assert shares[0.01] == pytest.approx(0.9, abs=0.01)
    assert shares[0.0] < 0.8
