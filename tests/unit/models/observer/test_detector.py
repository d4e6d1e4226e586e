"""Bets on a mean: chance wins none in long runs, a mean beyond is seen, each label is one."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.detector import Detector


def test_fair_bets_raise_no_alarm_in_twenty_long_runs() -> None:
    """The mean is at its limit, where chance wins most."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        detector = Detector(1, together=1)
        for row, value in enumerate(rng.choice([-0.5, 0.5], 5_000)):
            detector.add(row, float(value), 0.0, 0.0)
            assert not detector.is_beyond


@pytest.mark.parametrize(("together", "values"), [(1, 25), (3, 27)])
def test_as_much_evidence_is_wanted_as_chance_has_once_in_a_million_values(together: int, values: int) -> None:
    """The greater stake wins 1.8 times its wealth with each value of one; two stakes, and detectors of one alarm, share
    what chance may have: the least ``n`` with ``1.8^n >= 1e6 * 2 * together``."""
    detector = Detector(1, together=together)
    seen = []
    for row in range(values):
        detector.add(row, 1.0, 0.0, 0.0)
        seen.append(detector.is_beyond)
    assert seen == [False] * (values - 1) + [True]
    assert 1.8 ** (values - 1) < 2e6 * together <= 1.8**values


def test_of_labels_that_share_a_row_one_counts() -> None:
    """A label of 50 rows that is told of each of them is one outcome."""
    dense, sparse = Detector(50, together=1), Detector(50, together=1)
    for row in range(10_000):
        dense.add(row, 0.6 if row // 50 % 2 else -0.1, 1.0, 2.0)
        if row % 50 == 0:
            sparse.add(row, 0.6 if row // 50 % 2 else -0.1, 1.0, 2.0)
        assert dense.since == sparse.since
    assert dense.since is not None


def test_it_tells_what_came_since_the_mean_is_beyond_and_forgets_what_was_before() -> None:
    detector = Detector(1, together=1)
    for row in range(500):
        detector.add(row, -0.3, 1.0, 0.7)
    assert detector.since is None
    for row in range(500, 600):
        detector.add(row, 0.5, 1.0, 3.0)
    assert detector.since == (100, 1.0, 3.0)


@pytest.mark.parametrize("is_cleared", [False, True])
def test_an_alarm_ends_when_its_evidence_is_gone_or_somebody_clears_it(is_cleared: bool) -> None:
    detector = Detector(1, together=1)
    for row in range(100):
        detector.add(row, 0.5, 1.0, 3.0)
    assert detector.is_beyond
    if is_cleared:
        detector.clear()
    else:
        for row in range(100, 400):
            detector.add(row, -0.3, 1.0, 0.7)
    assert not detector.is_beyond
    for row in range(400, 420):
        detector.add(row, 0.5, 1.0, 3.0)
    assert not detector.is_beyond, "as much evidence as the first time is wanted again"
