"""Members of a live mixture are weighed by what they lost lately."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.maturing import Matured
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


def rose(row: int) -> Matured:
    return Matured(row, row, 0.5, 1.0, 1)


def feed(weighing: Weighing, rows: range, a: float, b: float, *, share: float = 0.5) -> None:
    """The price rises after every row."""
    for row in rows:
        weighing.said(row, (0.5, 0.1, a, b, 1.0 - share, share))
        weighing.matured(rose(row))


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


def test_weights_that_it_begins_with_are_kept_and_count_ever_less() -> None:
    """Members that lose alike: a mixture that a member has joined goes on with what the others had earned, and who has
    come earns its share."""
    weighing = Weighing.of((*FACTS, ("recent_weights", 1.0), ("weight.a@1", 0.9), ("weight.b@1", 0.1)), 0)
    assert weighing is not None
    feed(weighing, range(EVERY), 0.6, 0.6)
    assert weighing.due()[0] == pytest.approx(0.84, abs=0.01)
    feed(weighing, range(EVERY, 6 * EVERY), 0.6, 0.6)
    later = weighing.due()[0]
    assert 0.6 < later < 0.75
    feed(weighing, range(6 * EVERY, 60 * EVERY), 0.6, 0.6)
    assert weighing.due()[0] == pytest.approx(0.5, abs=0.01)


def test_who_begins_with_no_weight_can_earn_one() -> None:
    weighing = Weighing.of((*FACTS, ("recent_weights", 1.0), ("weight.a@1", 1.0), ("weight.b@1", 0.0)), 0)
    assert weighing is not None
    feed(weighing, range(10 * EVERY), 0.4, 0.7)
    assert weighing.due()[1] > 0.9


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
    weighing.matured(rose(1))
    weighing.matured(rose(77_777))
    assert weighing.due() == ()


def test_only_mixtures_that_ask_for_it_are_weighed() -> None:
    """Fixed weights, a single bundle, and a mixture of something else than a direction."""
    assert Weighing.of(FACTS, 0) is None
    assert Weighing.of((("output.p_up", 0.0),), 0) is None
    assert Weighing.of((*FACTS, ("recent_weights", 1.0)), None) is None


RETURNS = (
    ("output.h5", 0.0),
    ("bps.h5", 1e4),
    ("spread.h5", 1.0),
    ("member.a@1", 2.0),
    ("share.a@1", 4.0),
    ("member.b@1", 3.0),
    ("share.b@1", 5.0),
    ("recent_weights", 1.0),
)


def weighed_returns(members: tuple[float, float], scale: float = 1e-4, rows: int = 5 * EVERY) -> tuple[float, ...]:
    """What each says of moves of a scale each way: so many times what of them can be known, a third."""
    weighing = Weighing.of(RETURNS, 0)
    assert weighing is not None
    rng = np.random.default_rng(7)
    for row in range(rows):
        known, rest = rng.normal(size=2).tolist()
        said = [1e-4 * known * one for one in members]
        weighing.said(row, (0.0, 0.0, *said, 0.5, 0.5))
        weighing.matured(Matured(row, row, 0.0, 1e-4 * (0.3 * known + rest), 1, scale))
    return weighing.due()


@pytest.mark.parametrize("members", [(0.3, 0.0), (0.3, -0.3), (0.3, 1.0)])
def test_members_of_returns_are_weighed_by_their_squared_errors(members: tuple[float, float]) -> None:
    """Against who knows nothing, the wrong side, and too much; whichever of the two stands first."""
    weights = weighed_returns(members)
    assert weights[0] > 0.55
    assert weights[1] >= 0.025
    assert weighed_returns(members[::-1])[1] == pytest.approx(weights[0])


def test_returns_are_weighed_from_when_on_their_scale_is_known() -> None:
    assert weighed_returns((0.3, 0.0), scale=float("nan")) == ()
    assert weighed_returns((0.3, 0.0), rows=EVERY - 1) == ()


def test_its_memory_is_bounded() -> None:
    """Outcomes that never come."""
    weighing = made()
    for row in range(10_000):
        weighing.said(row, (0.5, 0.1, 0.5, 0.5, 0.5, 0.5))
    assert len(weighing._said) == 4_096
    assert np.isfinite(weighing._losses.all()).all()
