"""Probabilities that are right raise no alarm however few outcomes there are; what is wrong is seen, and its end."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.calibration import Calibration

REACH = 50


def outcomes(rng: np.random.Generator, blocks: int, shift: float = 0.0) -> list[tuple[float, bool]]:
    """Rows whose labels overlap wholly: one outcome for each ``REACH`` of them, of probability p + shift."""
    made: list[tuple[float, bool]] = []
    for _ in range(blocks):
        p = float(rng.uniform(0.2, 0.8))
        rose = bool(rng.random() < min(max(p + shift, 0.0), 1.0))
        made += [(p, rose)] * REACH
    return made


def fed(calibration: Calibration, made: list[tuple[float, bool]], start: int = 0) -> int:
    """The block in which an alarm began; -1 where none did."""
    for number, (p, rose) in enumerate(made):
        calibration.add(start + number, p, rose)
        if calibration.is_beyond:
            return number // REACH
    return -1


def test_a_calibrated_model_raises_no_alarm_although_its_error_by_chance_is_beyond_the_limit() -> None:
    """Of ten outcomes in 500 rows the mean error is 0.2 and more: it was an alarm each time."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert fed(Calibration(0.1, REACH), outcomes(rng, 400)) == -1


@pytest.mark.fault("E10")
@pytest.mark.parametrize(("shift", "blocks_max"), [(0.45, 250), (-0.45, 250), (0.3, 900)])
def test_an_error_beyond_the_limit_is_seen_also_after_long_health(shift: float, blocks_max: int) -> None:
    rng = np.random.default_rng(2)
    calibration = Calibration(0.1, REACH)
    healthy = outcomes(rng, 2_000)
    assert fed(calibration, healthy) == -1
    assert 0 < fed(calibration, outcomes(rng, 2_000, shift), len(healthy)) < blocks_max


def test_an_alarm_ends_when_the_probabilities_are_right_again_or_somebody_clears_it() -> None:
    rng = np.random.default_rng(3)
    calibration = Calibration(0.1, REACH)
    wrong = outcomes(rng, 500, 0.45)
    assert fed(calibration, wrong) >= 0
    for number, (p, rose) in enumerate(outcomes(rng, 1_000)):
        calibration.add(len(wrong) + number, p, rose)
    assert not calibration.is_beyond
    again = Calibration(0.1, REACH)
    assert fed(again, wrong) >= 0
    again.clear()
    assert not again.is_beyond
