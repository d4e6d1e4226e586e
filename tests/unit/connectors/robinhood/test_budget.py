"""Who goes first when requests are short."""

from __future__ import annotations

import pytest

from connectors.robinhood.budget import Budget

S = 1_000_000_000


@pytest.mark.fault("C7")
def test_polls_stop_before_orders_and_orders_before_cancels() -> None:
    """100 at once: polls take 80, orders 10 more, cancels the rest."""
    budget = Budget(60.0, 100, now_ns=0)
    assert sum(budget.try_poll(0) for _ in range(200)) == 81
    assert sum(budget.try_ask(0) for _ in range(200)) == 9
    assert sum(budget.bucket.try_take(0, priority=True) for _ in range(200)) == 10


def test_the_wait_that_is_told_helps() -> None:
    """Bounded, never nothing, and about what is missing."""
    budget = Budget(60.0, 100, now_ns=0)
    assert budget.wait_s(0, poll=True) == 0.01
    while budget.try_poll(0):
        pass
    assert budget.wait_s(0, poll=True) == pytest.approx(1.0)
    assert budget.try_poll(int(1.01 * S))
    while budget.try_ask(2 * S):
        pass
    assert budget.wait_s(2 * S, poll=True) == 5.0
    assert budget.wait_s(2 * S, poll=False) == pytest.approx(1.0, abs=0.1)
