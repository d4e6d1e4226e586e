"""The unit of errors: how far the price goes of late, by its rows alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from models.observer.scale import HALF_LIFE, LEAST, Scale


class Closes:
    """Rows of a walk, as far as they were looked at."""

    def __init__(self, px: np.ndarray) -> None:
        self._px = px
        self.begun = self.count = 0

    def px(self, row: int) -> float:
        return float(self._px[row])


def walk(steps: np.ndarray) -> Any:
    return Closes(100.0 * np.exp(np.cumsum(steps)))


def followed(rows: Any, horizon: int, to: int) -> Scale:
    scale = Scale(rows, horizon)
    for count in range(1, to + 1):
        rows.count = count
        scale.follow()
    return scale


def test_it_is_the_mean_square_of_the_moves_the_newer_ones_more() -> None:
    steps = np.random.default_rng(1).normal(0.0, 1e-4, 3_000)
    rows, horizon = walk(steps), 5
    moves = np.log(rows._px[horizon:] / rows._px[:-horizon])
    weights = 0.5 ** (np.arange(len(moves))[::-1] / HALF_LIFE)
    wanted = math.sqrt((weights * moves**2).sum() / weights.sum())
    assert followed(rows, horizon, 3_000).rms == pytest.approx(wanted)
    late = Scale(rows, horizon)
    late.follow()
    assert late.rms == pytest.approx(wanted), "who comes later takes in the rows that are there"


def test_of_moves_that_overlap_far_twenty_labels_are_a_half_life() -> None:
    """Of 400 rows each: over fewer, what it is would be two or three moves."""
    rows, horizon = walk(np.random.default_rng(1).normal(0.0, 1e-4, 5_000)), 400
    moves = np.log(rows._px[horizon:] / rows._px[:-horizon])
    weights = 0.5 ** (np.arange(len(moves))[::-1] / 8_000)
    wanted = math.sqrt((weights * moves**2).sum() / weights.sum())
    assert followed(rows, horizon, 5_000).rms == pytest.approx(wanted)


@pytest.mark.parametrize(("horizon", "returns"), [(5, LEAST), (200, 400)])
def test_it_is_told_from_when_on_there_are_enough_moves(horizon: int, returns: int) -> None:
    rows = walk(np.full(1_000, 1e-4))
    assert math.isnan(followed(rows, horizon, horizon + returns - 1).rms)
    assert followed(rows, horizon, horizon + returns).rms == pytest.approx(horizon * 1e-4)


def test_a_price_that_stands_still_has_none() -> None:
    assert math.isnan(followed(walk(np.zeros(500)), 5, 500).rms)


def test_no_move_reaches_across_a_break_of_the_feed_or_a_price_that_is_none() -> None:
    steps = np.full(1_000, 1e-4)
    steps[400] = 0.5
    rows = walk(steps)
    rows._px[700] = math.nan
    scale = followed(rows, 5, 400)
    rows.begun = 400
    for count in range(401, 1_001):
        rows.count = count
        scale.follow()
    assert scale.rms == pytest.approx(5e-4)


def test_it_follows_a_market_that_has_become_wilder() -> None:
    """Half of the way in the mean square after a half-life."""
    steps = np.random.default_rng(2).normal(0.0, 1e-4, 5 * HALF_LIFE)
    steps[4 * HALF_LIFE :] *= 3.0
    assert followed(walk(steps), 1, 5 * HALF_LIFE).rms == pytest.approx(1e-4 * math.sqrt(5.0), rel=0.06)
