"""What may be asked of an exchange, and when."""

from __future__ import annotations

import pytest

from connectors.ccxt_venue.budget import Budget


def test_questions_wait_and_orders_do_not() -> None:
    """A burst of questions uses the budget up; an order still leaves, and the next question waits for it too."""
    budget = Budget(0.5, burst=4, reserve=4)
    for _ in range(5):
        assert budget.question_wait_s(0.0) == 0.0
        budget.spend(0.0, 1.0)
    assert budget.question_wait_s(0.0) == pytest.approx(0.5)
    assert budget.may_order(0.0)
    budget.spend(0.0, 2.0)
    assert budget.question_wait_s(0.0) == pytest.approx(1.5)
    budget.spend(0.0, 1.0)
    assert not budget.may_order(0.0)
    assert budget.may_order(1.0)
    assert budget.question_wait_s(10.0) == 0.0


def test_too_many_shuts_it_for_longer_each_time_until_one_is_served() -> None:
    """Pauses of 2, 4, 8 s; those of one burst count once."""
    budget = Budget(0.1)
    waits = []
    now_s = 0.0
    for _ in range(3):
        budget.refused(now_s)
        budget.refused(now_s)
        assert not budget.may_order(now_s)
        waits.append(budget.question_wait_s(now_s))
        now_s += waits[-1]
    assert waits == pytest.approx([2.0, 4.0, 8.0])
    budget.succeeded(now_s)
    budget.refused(now_s)
    assert budget.question_wait_s(now_s) == pytest.approx(2.0)


def test_a_server_of_ones_own_has_no_limit_and_nonsense_is_refused() -> None:
    """``unit_s`` 0: nothing is counted."""
    budget = Budget(0.0)
    for _ in range(1000):
        budget.spend(0.0, 50.0)
    assert budget.question_wait_s(0.0) == 0.0
    assert budget.may_order(0.0)
    with pytest.raises(ValueError, match="burst"):
        Budget(1.0, burst=0)
