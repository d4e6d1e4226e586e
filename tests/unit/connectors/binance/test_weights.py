"""Request weight within a minute: ours, the venue's count, and refusals."""

from __future__ import annotations

import pytest

from connectors.binance.weights import NS_PER_S, WeightBudget

MINUTE = 60 * NS_PER_S
START = 1_000_000 * MINUTE


def test_a_minutes_share_is_used_up_and_comes_back_with_the_next_minute() -> None:
    budget = WeightBudget(100, share=0.5)
    assert [budget.take(20, START + 5 * NS_PER_S) for _ in range(3)] == [True, True, False]
    assert budget.wait_ns(20, START + 5 * NS_PER_S) == 55 * NS_PER_S
    assert budget.wait_ns(10, START + 5 * NS_PER_S) == 0
    assert budget.take(20, START + MINUTE)
    assert budget.used == 20


def test_the_venues_count_is_believed_where_it_is_higher() -> None:
    """Text that is no count changes nothing."""
    budget = WeightBudget(100)
    budget.take(30, START)
    for told, used in (("10", 30), ("49", 49), ("x", 49), ("-1", 49), ("", 49), ("9" * 30, 49)):
        budget.told(told, START)
        assert budget.used == used
    assert not budget.take(2, START)


@pytest.mark.parametrize(("status", "said_s", "shut_s"), [(429, 7, 7), (429, 0, 30), (418, 0, 120), (418, 900, 900)])
def test_a_refusal_shuts_it_for_as_long_as_the_venue_says(status: int, said_s: int, shut_s: int) -> None:
    budget = WeightBudget(100)
    budget.refused(status, said_s, START)
    assert budget.wait_ns(1, START) == shut_s * NS_PER_S
    assert not budget.take(1, START + shut_s * NS_PER_S - 1)
    assert budget.take(1, START + shut_s * NS_PER_S)


def test_a_request_that_is_heavier_than_the_budget_has_a_minute_of_its_own() -> None:
    budget = WeightBudget(100)
    assert budget.take(80, START)
    assert not budget.take(80, START + 1)
    assert budget.take(80, START + MINUTE)


def test_a_clock_that_steps_back_stays_in_its_minute() -> None:
    budget = WeightBudget(100)
    assert budget.take(50, START)
    assert not budget.take(1, START - MINUTE)


@pytest.mark.parametrize(("limit", "share"), [(0, 0.5), (100, 0.0), (100, 1.1)])
def test_settings_that_make_no_sense_are_refused(limit: int, share: float) -> None:
    with pytest.raises(ValueError, match="weight budget needs"):
        WeightBudget(limit, share)
