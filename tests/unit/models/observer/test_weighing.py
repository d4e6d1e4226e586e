"""Members of a live mixture are weighed by what they lost lately."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.weighing import EVERY, Weighing

FACTS = (
    ("output.p_up", 0.0),
    ("spread.p_up", 1.0),
    ("member.a@1", 2.0),
    ("share.a@1", 4.0),
    ("member.b@1", 3.0),
    ("share.b@1", 5.0),
)


def made() -> Weighing:
    weighing = Weighing.of((*FACTS, ("recent_weights", 1.0)), 0)
    assert weighing is not None
    return weighing


def feed(weighing: Weighing, rows: range, a: float, b: float, *, share: float = 0.5) -> None:
    """The price rises after every row."""
    for row in rows:
        weighing.said(row, (0.5, 0.1, a, b, 1.0 - share, share))
        weighing.matured(row, True)


def test_who_lost_less_weighs_more_and_who_comes_back_is_heard_again() -> None:
    """The order of the members; b was better, then a."""
    weighing = made()
    feed(weighing, range(EVERY - 1), 0.4, 0.7)
    assert weighing.due() == ()
    feed(weighing, range(EVERY - 1, EVERY), 0.4, 0.7)
    first = weighing.due()
    assert sum(first) == pytest.approx(1.0)
    assert first[1] > 0.6 > first[0] > 0.0
    feed(weighing, range(EVERY, 20 * EVERY), 0.8, 0.3)
    assert weighing.due()[0] > 0.9


def test_weights_that_hardly_move_are_not_told_again() -> None:
    """Both alike: told once."""
    weighing = made()
    feed(weighing, range(EVERY), 0.6, 0.6)
    assert weighing.due() == pytest.approx((0.5, 0.5))
    feed(weighing, range(EVERY, 3 * EVERY), 0.6, 0.6)
    assert weighing.due() == ()


def test_rows_that_a_member_did_not_answer_count_for_nobody() -> None:
    """Its zeros are no forecast; rows that nobody asked about and failed predictions neither."""
    weighing = made()
    feed(weighing, range(3 * EVERY), 0.6, 0.0, share=0.0)
    weighing.said(1, ())
    weighing.matured(1, True)
    weighing.matured(77_777, True)
    assert weighing.due() == ()


def test_only_mixtures_that_ask_for_it_are_weighed() -> None:
    """Fixed weights, a single bundle, and a mixture of something else than a direction."""
    assert Weighing.of(FACTS, 0) is None
    assert Weighing.of((("output.p_up", 0.0),), 0) is None
    assert Weighing.of((*FACTS, ("recent_weights", 1.0)), None) is None


def test_its_memory_is_bounded() -> None:
    """Outcomes that never come."""
    weighing = made()
    for row in range(10_000):
        weighing.said(row, (0.5, 0.1, 0.5, 0.5, 0.5, 0.5))
    assert len(weighing._said) == 4_096
    assert np.isfinite(weighing._losses.all()).all()
