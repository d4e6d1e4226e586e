"""Predictions held against the price as many rows later as their label looks ahead."""

from __future__ import annotations

from strategies.outcomes import Outcome, Outcomes, Told


def told(value: float) -> Told:
    return Told(value, 0.5)


def test_an_outcome_comes_as_many_rows_later_as_the_label_looks_ahead() -> None:
    """Said in the same call as the row, before it."""
    outcomes = Outcomes(2)
    found = []
    for number, px in enumerate((100.0, 101.0, 102.0, 103.0)):
        if number != 1:  # nothing was said of the second row
            outcomes.say(number, told(number / 10))
        found.append(outcomes.add(number, px))
    assert found == [None, None, Outcome(told(0.0), 100.0, 102.0), None]


def test_an_answer_that_comes_after_later_rows_counts_for_its_own() -> None:
    """Asked at row 1, answered when row 2 has been."""
    outcomes = Outcomes(3)
    for ts_ns in (1, 2):
        outcomes.add(ts_ns, 100.0 + ts_ns)
    outcomes.say(1, told(0.7))
    assert outcomes.add(3, 103.0) is None
    assert outcomes.add(4, 104.0) == Outcome(told(0.7), 101.0, 104.0)


def test_an_answer_about_a_row_that_nobody_knows_is_nobodys() -> None:
    """Of before the rows, or of one that never came."""
    outcomes = Outcomes(1)
    outcomes.add(10, 1.0)
    outcomes.say(5, told(0.9))
    assert outcomes.add(11, 2.0) is None
    assert outcomes.add(12, 3.0) is None


def test_a_hole_ends_what_was_under_way() -> None:
    """The row after it is not the next one."""
    outcomes = Outcomes(1)
    outcomes.say(1, told(0.7))
    outcomes.add(1, 100.0)
    outcomes.forget()
    assert outcomes.add(9, 109.0) is None
