"""Few predictions that say much and are wrong: seen, although the calibration error hardly knows them."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.calibration import Calibration
from models.observer.sure_hits import SureHits


def outcomes(rng: np.random.Generator, rows: int, sure_p: float, right: float) -> list[tuple[float, bool]]:
    """One prediction in twenty says ``sure_p`` of its side and is ``right`` so often; the others are as they say."""
    made = []
    for number in range(rows):
        if number % 20:
            p = float(rng.uniform(0.45, 0.55))
            made.append((p, bool(rng.random() < p)))
        else:
            up, hit = bool(rng.random() < 0.5), bool(rng.random() < right)
            made.append((sure_p if up else 1.0 - sure_p, up == hit))
    return made


@pytest.mark.parametrize(("sure_p", "right"), [(0.95, 0.95), (0.95, 0.87), (0.7, 0.7), (0.65, 0.99)])
def test_who_is_right_as_often_as_said_or_a_little_less_raises_nothing(sure_p: float, right: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        hits = SureHits(0.1, 1)
        for row, (p, rose) in enumerate(outcomes(rng, 20_000, sure_p, right)):
            hits.add(row, p, rose)
            assert hits.short == []


@pytest.mark.fault("E10")
@pytest.mark.parametrize(("sure_p", "edge", "labels"), [(0.95, 0.6, 150), (0.75, 0.4, 900)])
def test_sure_predictions_that_are_no_better_than_a_coin_are_seen_and_calibration_does_not_see_them(
    sure_p: float, edge: float, labels: int
) -> None:
    """Within so many of them; what is said of the others is right."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        hits, calibration = SureHits(0.1, 1), Calibration(0.1, 1)
        found: list[int] = []
        for row, (p, rose) in enumerate(outcomes(rng, 20 * labels, sure_p, 0.5)):
            hits.add(row, p, rose)
            calibration.add(row, p, rose)
            found += [row] if hits.short else []
        assert found
        assert found[-1] - found[0] == len(found) - 1, "it does not come and go"
        assert not calibration.is_beyond
        (short,) = hits.short
        assert short.edge == edge
        assert short.said == pytest.approx(sure_p)
        assert short.hit_rate < sure_p - 0.1


@pytest.mark.fault("E10")
def test_the_least_sure_of_them_that_are_no_better_than_a_coin_are_seen_too() -> None:
    """What says 69 % of its side: a mean beyond its limit by 0.09."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        hits = SureHits(0.1, 1)
        for row in range(4_000):
            hits.add(row, 0.69 if rng.random() < 0.5 else 0.31, bool(rng.random() < 0.5))
        (short,) = hits.short
        assert (short.edge, short.said) == (0.2, pytest.approx(0.69))


def test_the_confidences_share_what_chance_may_have() -> None:
    """Three of them: each wants three times the wealth that one alone would, which is three errors more in a row."""
    hits, wrong = SureHits(0.1, 1), 0
    while not hits.short:
        hits.add(wrong, 0.95, False)
        wrong += 1
    assert wrong == np.ceil(np.log(6e6) / np.log1p(0.8 * 0.85))


def test_an_alarm_ends_when_somebody_clears_it() -> None:
    hits = SureHits(0.1, 1)
    for row in range(100):
        hits.add(row, 0.95, False)
    assert hits.short
    hits.clear()
    assert hits.short == []
