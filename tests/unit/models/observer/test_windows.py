"""Who spoke when: a model that is stopped, broken or cold says nothing that others are held against.
Shares of what came last forget what was before."""

from __future__ import annotations

from models.observer.rules import WatchRules, alarms
from models.observer.windows import Recent, Spoken


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


def test_a_late_or_skewed_prediction_is_forgotten_in_time_and_a_new_fault_is_seen_after_days() -> None:
    """Shares are of a window: a million good ones before do not hide what is wrong now."""
    recent = Recent(1_000)
    for number in range(1_000_000):
        recent.add(number < 900_000 and number % 3 == 0)
    assert (recent.yes, recent.count) == (0, 1_000)
    for _ in range(60):
        recent.add(True)
    figures = {"late_recent": recent.yes, "late_of": recent.count, "late": 300_060, "predictions": 1_000_060}
    assert [alarm.source for alarm in alarms(figures, WatchRules())] == ["latency"]
    for _ in range(1_000):
        recent.add(False)
    assert recent.yes == 0
