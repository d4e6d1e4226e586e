"""Paired sums: what is drawn are spans, memory is bounded, and the interval is as sure as it says."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.paired import SPANS_MAX, Paired, interval


def test_gaps_are_the_means_of_what_was_added() -> None:
    paired = Paired(span_ns=10)
    for number in range(200):
        paired.lost(number, challenger=0.5, champion=0.7, label_ns=5)
        paired.won(number, 2.0, challenger=True)
        if number % 2:
            paired.won(number, 1.0, challenger=False)
    loss, profit, own = paired.loss_gap(0.05), paired.profit_gap_bps(0.05), paired.profit_bps(0.05)
    assert loss is not None
    assert profit is not None
    assert own is not None
    assert loss.value == pytest.approx(-0.2)
    assert loss.high == pytest.approx(-0.2), "spans that are all alike have no spread"
    assert profit.value == pytest.approx(10 * 2.0 - 5 * 1.0)
    assert own.value == pytest.approx(2.0)
    assert (paired.rows, paired.signals, paired.champion_signals, loss.spans) == (200, 200, 100, 20)
    paired.clear()
    assert paired.loss_gap(0.05) is None


def test_memory_is_bounded_and_nothing_is_lost_by_it() -> None:
    paired = Paired(span_ns=1)
    for number in range(3 * SPANS_MAX):
        paired.lost(number, 1.0, 0.0, 0)
    assert len(paired._sums) <= SPANS_MAX
    assert paired.rows == 3 * SPANS_MAX
    assert paired.span_ns == 4


def test_spans_grow_to_twice_the_label() -> None:
    """Drawn from shorter spans, losses that overlap would look like many."""
    paired = Paired(span_ns=10)
    for number in range(0, 4_000, 10):
        paired.lost(number, 0.0, 1.0, label_ns=70)
    found = paired.loss_gap(0.05)
    assert found is not None
    assert paired.span_ns == 160
    assert found.spans == 25


def test_few_spans_tell_nothing() -> None:
    found = interval(np.full(9, -1.0), np.ones(9), 0.05)
    assert found is not None
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_a_test_without_skill_is_passed_about_as_often_as_declared() -> None:
    """400 pairs of equal skill, 60 spans each, at 5 %: passed by chance in 2 to 9 %."""
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(400):
        found = interval(rng.normal(size=60), np.ones(60), 0.05)
        assert found is not None
        passed += found.high < 0
    assert 0.02 <= passed / 400 <= 0.09
