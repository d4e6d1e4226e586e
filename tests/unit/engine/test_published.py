"""What a session remembers of published series, and what counts at its start."""

from __future__ import annotations

import pytest

from engine.events import Observation
from engine.published import KEPT, Published, known_before

DAY = 86_400_000_000_000


def seen(day: int, period: int, value: float = 0.0, series: str = "CPI") -> Observation:
    """Published on that day, of a period that ended on another."""
    return Observation(day * DAY, day * DAY, series, value, period * DAY)


def test_given_back_by_series_in_order() -> None:
    """Three observations of two series; a series nobody saw gives nothing."""
    known = Published()
    events = [seen(1, 0), seen(2, 0, series="GDP"), seen(3, 1)]
    for event in events:
        known.take(event)
    assert known.of(["CPI"]) == [events[0], events[2]]
    assert known.of(["GDP", "other", "CPI"]) == [events[1], events[0], events[2]]


def test_the_oldest_of_a_series_goes() -> None:
    """Memory is bounded for each series."""
    known = Published()
    for i in range(KEPT + 5):
        known.take(seen(i, i))
    assert len(known.of(["CPI"])) == KEPT
    assert known.of(["CPI"])[0] == seen(5, 5)


@pytest.mark.parametrize("history_days", [0, 3, 1000])
def test_what_counts_at_a_start_is_the_last_word_on_two_periods_and_all_of_the_history(history_days: int) -> None:
    """Four periods, one of them revised twice; nothing of the start's own moment or later."""
    events = [seen(1, 0), seen(5, 4), seen(6, 0, 9.0), seen(9, 8), seen(10, 4, 7.0), seen(11, 8, 8.0), seen(12, 11)]
    found = known_before(events, 12 * DAY, history_days * DAY)
    expected = {0: [4, 5], 3: [1, 2, 3, 4, 5], 1000: [0, 1, 2, 3, 4, 5]}[history_days]
    assert found == [events[i] for i in expected]
    assert known_before(events, 12 * DAY + 1, 0)[-1] == events[-1]


@pytest.mark.parametrize("history_days", [0, 1000])
def test_a_value_that_is_none_hides_no_earlier_one(history_days: int) -> None:
    """Withdrawn before the start, which no buffer takes note of: without history the value is known all the same."""
    events = [seen(1, 0, 3.0), seen(2, 0, float("nan"))]
    finite = [one for one in known_before(events, 9 * DAY, history_days * DAY) if one.value == one.value]
    assert finite == events[:1]
