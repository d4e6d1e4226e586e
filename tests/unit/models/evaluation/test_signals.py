from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.draws import Draws
from models.evaluation.rows import Rows
from models.evaluation.signals import first_of_episodes, judge_signals
from models.labels.uniqueness import episodes

HOUR_NS = 3_600_000_000_000
EIGHT_HOURS_S = 8 * 3600.0


def hourly(hours: list[int], instrument: list[int], label: list[float]) -> Rows:
    count = len(hours)
    return Rows(np.array(instrument), np.array(hours) * HOUR_NS, np.array(label), np.zeros((count, 1), np.float32))


def test_signals_that_overlap_are_one_episode_of_their_instrument() -> None:
    """Hours 0, 1, 8 (runs into the one before), 16 (where that one ends) of one coin, and 1 of another; hour 3 says
    nothing."""
    rows = hourly([0, 1, 1, 3, 8, 16], [0, 0, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0])
    said = np.array([1, 1, 1, 0, 1, 1])
    assert first_of_episodes(rows, said == 1, EIGHT_HOURS_S).tolist() == [True, False, True, False, False, True]
    found = judge_signals(rows, said, EIGHT_HOURS_S, Draws(np.arange(6), np.ones((1, 6))))
    assert (found.rows, found.episodes) == (5, 3)
    assert found.precision.value == pytest.approx(1 / 3)


def test_a_forecast_that_never_says_so_is_not_judged() -> None:
    """No row of the second class."""
    rows = hourly([0, 1], [0, 0], [1, 0])
    assert judge_signals(rows, np.zeros(2, int), EIGHT_HOURS_S, Draws(np.arange(2), np.ones((1, 2)))) is None


def test_as_many_episodes_as_the_labels_count() -> None:
    """300 hours of one coin with signals at random, against the count of ``models.labels``: a label of hour t reads the
    bars t + 1 to t + 8."""
    random = np.random.default_rng(1)
    hours = np.arange(300)
    said = random.random(300) < 0.1
    rows = hourly(list(hours), [0] * 300, [0.0] * 300)
    assert first_of_episodes(rows, said, EIGHT_HOURS_S).sum() == episodes(hours + 1, hours + 8, said)
