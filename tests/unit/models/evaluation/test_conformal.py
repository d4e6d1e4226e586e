"""Sets and intervals hold the truth as often as promised on exchangeable rows, and it shows where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.conformal import (
    LEVELS,
    class_coverage,
    class_scores,
    class_sets,
    interval_coverage,
    intervals,
    score_quantiles,
)

pytest.importorskip("mapie")


def drawn(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return (random.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=p.shape[1] - 1)


@pytest.mark.parametrize("classes", [2, 3])
def test_sets_cover_as_promised_and_single_ones_are_right_more_often(classes: int) -> None:
    """4,000 rows each for the quantile and the test, probabilities stored as float32."""
    random = np.random.default_rng(classes)
    p = random.dirichlet(np.full(classes, 0.6), 8000).astype(np.float32).astype(float)
    label = drawn(p, random)
    sets = class_sets((label[:4000], p[:4000]), p[4000:])
    groups = np.where(np.arange(4000) < 2000, "first", "second")
    found = class_coverage(label[4000:], sets, groups)
    for one, level in zip(found, LEVELS, strict=True):
        assert one.level == level
        assert one.coverage == pytest.approx(level, abs=0.025)
        assert set(one.by_group) == {"first", "second"}
        assert 0 < one.singletons < 1
    assert found[0].size < found[1].size
    assert found[1].singleton_accuracy > (p[4000:].argmax(axis=1) == label[4000:]).mean()


def test_intervals_cover_as_promised_and_a_market_that_changed_shows() -> None:
    """Errors as in validation, then twice as large in the second half."""
    random = np.random.default_rng(3)
    forecast = random.normal(size=6000)
    target = forecast + random.normal(size=6000) * np.where(np.arange(6000) < 4500, 1.0, 2.0)
    ends = intervals((target[:3000], forecast[:3000]), forecast[3000:])
    groups = np.where(np.arange(3000) < 1500, "calm", "wild")
    for one in interval_coverage(target[3000:], ends, groups):
        assert one.by_group["calm"] == pytest.approx(one.level, abs=0.03)
        assert one.by_group["wild"] < one.level - 0.15
        assert one.singletons is None


def test_a_forecast_that_ran_away_has_intervals_too() -> None:
    """Validation forecasts of 1e30 for targets of 1: as wide as they were wrong."""
    random = np.random.default_rng(4)
    target, far = random.normal(size=200), np.full(200, 1e30)
    ends = intervals((target, far), random.normal(size=50))
    assert ends[:, 1] - ends[:, 0] == pytest.approx(np.full((50, 2), 2e30))


def test_a_set_may_be_empty_of_the_truth() -> None:
    """By hand: one row of three covered, sizes 1, 2 and 0."""
    sets = np.zeros((3, 2, 2), bool)
    sets[0, 0], sets[1] = True, True
    (one, _) = class_coverage(np.array([0, 0, 1]), sets)
    assert one.coverage == pytest.approx(2 / 3)
    assert one.size == 1.0
    assert one.singleton_accuracy == 1.0
    assert one.by_group == {}


def test_served_quantiles_are_those_of_the_library() -> None:
    """A class is in MAPIE's set exactly where one minus its probability is at most the quantile; intervals likewise."""
    random = np.random.default_rng(8)
    p = random.dirichlet(np.ones(2), 1200)
    label = drawn(p, random)
    sets = class_sets((label[:700], p[:700]), p[700:])
    found = score_quantiles(class_scores(label[:700], p[:700]))
    for number, level in enumerate(LEVELS):
        assert (sets[:, :, number] == (1.0 - p[700:] <= found[level] + 1e-12)).all()
    target, said = random.normal(size=(2, 700))
    ends = intervals((target, said), said)
    wide = score_quantiles(np.abs(target - said))
    for number, level in enumerate(LEVELS):
        assert ends[:, 1, number] - said == pytest.approx(wide[level])


def test_levels_that_few_rows_cannot_promise_are_left_out() -> None:
    """Of nine scores the largest is what 90 % of ten stand for; 95 % would need nineteen."""
    assert score_quantiles(np.arange(1.0, 10.0), (0.5, 0.9, 0.95)) == {0.5: 5.0, 0.9: 9.0}
