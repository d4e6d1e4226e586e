"""Who spoke when: a model that is stopped, broken or cold says nothing that others are held against."""

from __future__ import annotations

from models.observer.windows import Spoken


def test_it_speaks_from_its_first_answer_until_it_is_not_asked_any_more() -> None:
    spoken = Spoken()
    assert not spoken.holds(5, 0), "it has said nothing yet"
    spoken.add(10, 0)
    spoken.add(20, 0)
    assert [spoken.holds(at, 0) for at in (9, 10, 25)] == [False, True, True]
    spoken.allow(False, 30)
    spoken.allow(False, 35)
    assert [spoken.holds(at, 0) for at in (29, 30, 40)] == [True, False, False]
    spoken.add(50, 0)
    assert not spoken.holds(50, 0), "a trial while it is broken"
    spoken.allow(True, 60)
    assert not spoken.holds(61, 0), "it has not answered since"
    spoken.add(70, 0)
    assert [spoken.holds(at, 0) for at in (20, 69, 70)] == [False, False, True]


def test_after_a_break_of_the_feed_it_is_cold_until_it_answers() -> None:
    spoken = Spoken()
    spoken.add(10, 0)
    assert not spoken.holds(15, 4)
    spoken.add(20, 4)
    assert [spoken.holds(at, 4) for at in (15, 20)] == [False, True]
