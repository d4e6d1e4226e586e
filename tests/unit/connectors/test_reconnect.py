"""Back-off arithmetic."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.reconnect import Backoff


@pytest.mark.fault("C3")
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_delays_grow_to_the_cap_and_never_come_near_zero(seed: int, attempts: int) -> None:
    """Any seed: the n-th delay lies in [x/2, x] with x = min(cap, base * 2**n)."""
    backoff = Backoff(random.Random(seed), base_s=1.0, cap_s=30.0, budget_per_minute=10_000)
    now_s = 0.0
    for attempt in range(attempts):
        delay_s = backoff.next_delay_s(now_s)
        ceiling_s = min(30.0, 2.0**attempt)
        assert ceiling_s / 2 <= delay_s <= ceiling_s
        now_s += delay_s


@pytest.mark.fault("C3")
@given(st.integers(0, 2**32), st.lists(st.booleans(), min_size=20, max_size=60))
def test_no_minute_ever_holds_more_attempts_than_the_budget(seed: int, healthy: list[bool]) -> None:
    """Connections that open and die at once, successes reported or not: attempts per 60 s stay within 5."""
    backoff = Backoff(random.Random(seed), base_s=0.1, cap_s=1.0, budget_per_minute=5)
    now_s, attempts_s = 0.0, []
    for success in healthy:
        now_s += backoff.next_delay_s(now_s)
        attempts_s.append(now_s)
        if success:
            backoff.succeeded()
    for first, sixth in zip(attempts_s, attempts_s[5:], strict=False):
        assert sixth - first >= 60.0 - 1e-6


def test_a_success_starts_from_the_base_again() -> None:
    """After many failures and one success the next delay is a first delay."""
    backoff = Backoff(random.Random(1), base_s=1.0, cap_s=64.0, budget_per_minute=1000)
    for _ in range(6):
        backoff.next_delay_s(0.0)
    assert backoff.failures == 6
    backoff.succeeded()
    assert backoff.next_delay_s(0.0) <= 1.0


def test_nonsense_is_refused() -> None:
    """A cap below the base."""
    with pytest.raises(ValueError, match="back-off"):
        Backoff(random.Random(1), base_s=2.0, cap_s=1.0)
