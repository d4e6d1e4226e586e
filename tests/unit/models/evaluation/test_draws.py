from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.draws import DAY_NS, Draws, Estimate, mean_estimate, mean_of, stationary_counts


def test_blocks_widen_the_interval_of_rows_that_repeat_each_other() -> None:
    """The same 40 values, once alone and once each repeated 100 times: repeating adds rows and no information."""
    values = np.random.default_rng(3).normal(size=40)
    alone = mean_estimate(values, Draws.cut(np.arange(40) * 10**9, 0.5)).metric
    repeated = mean_estimate(np.repeat(values, 100), Draws.cut(np.arange(4000) * 10**7, 0.5)).metric
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.3)


def test_a_hole_in_time_makes_no_empty_span() -> None:
    """Two short bursts with a weekend between them: every span that is drawn has rows."""
    ts_ns = np.concatenate([np.arange(500), np.arange(500) + 10**6]) * 10**9
    draws = Draws.cut(ts_ns, 1.0, draws=50)
    assert set(draws.of_row) == set(range(draws.periods))
    assert (draws.counts.sum(axis=1) == draws.periods).all()


def test_rows_of_a_date_are_drawn_together_in_blocks_as_long_as_the_label() -> None:
    """40 dates of 7 instruments, a label of five days: as many dates in each draw, blocks of 5 on average."""
    pytest.importorskip("arch")
    ts_ns = np.repeat(np.arange(40) * DAY_NS, 7)
    draws = Draws.cut(ts_ns, 5 * 86_400.0, draws=200)
    assert (draws.by, draws.block, draws.periods) == ("date", 5, 40)
    assert (draws.counts.sum(axis=1) == 40).all()
    assert (np.bincount(draws.of_row) == 7).all()


def test_the_block_is_at_least_the_cube_root_of_the_dates() -> None:
    """A day's label over 125 dates."""
    pytest.importorskip("arch")
    assert Draws.by_date(np.arange(125) * DAY_NS, 86_400.0, draws=2).block == 5


def test_longer_blocks_keep_what_lasts() -> None:
    """A value that lasts ten days: its mean is much less certain than single days would say."""
    pytest.importorskip("arch")
    values = np.repeat(np.random.default_rng(1).normal(size=60), 10)
    single, blocks = (values[:, None] * stationary_counts(600, n, 400, 0).T for n in (1, 10))
    assert blocks.mean(axis=0).std() > 2 * single.mean(axis=0).std()


def test_the_same_seed_draws_the_same() -> None:
    """And another one others."""
    pytest.importorskip("arch")
    ts_ns = np.arange(30) * DAY_NS
    first, again, other = (Draws.by_date(ts_ns, 1.0, seed=seed, draws=20).counts for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_sums_over_draws_are_those_of_repeated_rows() -> None:
    """Values of two columns, by hand with np.repeat."""
    random = np.random.default_rng(2)
    values = random.normal(size=(50, 2))
    draws = Draws.by_span(np.arange(50) * 10**9, 1.0, draws=4)
    drawn, means = draws.drawn(values), draws.means(values[:, 0])
    for number, counts in enumerate(draws.counts):
        rows = np.repeat(np.arange(50), counts[draws.of_row].astype(int))
        assert drawn[number] == pytest.approx(values[rows].sum(axis=0))
        assert means[number] == pytest.approx(values[rows, 0].mean())


def test_paired_differences_are_narrower_than_either() -> None:
    """Two losses that share most of their noise."""
    random = np.random.default_rng(5)
    common = random.normal(size=1000)
    draws = Draws.by_span(np.arange(1000) * 10**9, 1.0, draws=400)
    one, other = (mean_estimate(common + random.normal(0, 0.05, 1000), draws) for _ in range(2))
    width = lambda estimate: estimate.metric.high - estimate.metric.low  # noqa: E731
    assert width(one - other) < width(one) / 4


def test_draws_without_a_row_are_left_out_of_an_interval() -> None:
    """A row in one period alone: half of the draws have none."""
    draws = Draws(np.array([0, 1]), np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    found = mean_estimate(np.array([4.0]), draws.where(np.array([True, False])))
    assert np.isnan(found.drawn).tolist() == [False, True, False]
    assert (found.metric.low, found.metric.high) == (4.0, 4.0)
    assert mean_estimate(np.empty(0), draws.where(np.zeros(2, bool))).metric.low is None


def test_an_interval_is_the_central_95_percent_of_what_was_drawn() -> None:
    """0 to 1,000 in any order, and a draw in which the score is not defined."""
    drawn = np.random.default_rng(1).permutation(1001).astype(float)
    metric = Estimate(500.0, np.r_[drawn, np.nan]).metric
    assert (metric.value, metric.low, metric.high) == (500.0, 25.0, 975.0)


def test_seeds_are_averaged_in_each_draw() -> None:
    """Values and draws; without an interval where one of them has none."""
    whole = mean_of([Estimate(1.0, np.array([1.0, 2.0])), Estimate(3.0, np.array([3.0, 6.0]))])
    assert whole.value == 2.0
    assert whole.drawn.tolist() == [2.0, 4.0]
    assert mean_of([Estimate(1.0), Estimate(2.0, np.ones(2))]).drawn is None
