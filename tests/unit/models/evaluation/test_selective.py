from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.selective import risk_coverage


def test_the_area_by_hand() -> None:
    """Right, wrong, right, wrong from the surest on: errors 0, 1/2, 1/3, 1/2."""
    found = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert found.risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found.coverage == [0.25, 0.5, 0.75, 1.0]
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.random == 0.5
    assert found.best == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidence_knows_nothing_whatever_the_order() -> None:
    """All equally sure: the area is the error itself."""
    loss = np.array([0.0, 0.0, 1.0, 1.0])
    assert risk_coverage(np.ones(4), loss).area == 0.5
    assert risk_coverage(np.ones(4), loss[::-1]).area == 0.5


def test_confidence_that_knows_lowers_the_area() -> None:
    """5,000 rows right as often as said: between the best order and none."""
    random = np.random.default_rng(1)
    confidence = random.uniform(0.4, 1.0, 5000)
    found = risk_coverage(confidence, (random.random(5000) > confidence).astype(float))
    assert found.best < found.area < found.random
    assert len(found.risk) == 100
