"""The token bucket and its priority lane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ratelimit import TokenBucket

S = 1_000_000_000


@given(st.lists(st.tuples(st.integers(0, S), st.booleans()), max_size=200))
def test_no_window_holds_more_than_burst_plus_rate(requests: list[tuple[int, bool]]) -> None:
    """Any sequence of requests at any spacing: grants up to time t never exceed burst + rate * t."""
    bucket = TokenBucket(10.0, 5, reserve=2)
    now_ns = granted = 0
    for wait_ns, priority in requests:
        now_ns += wait_ns
        granted += bucket.try_take(now_ns, priority=priority)
        assert granted <= 5 + 10.0 * now_ns / S + 1e-6


@pytest.mark.fault("C7")
def test_cancels_still_pass_when_orders_have_used_their_share() -> None:
    """Burst 4, reserve 2: two orders pass, the third is refused, two cancels pass, the third is refused."""
    bucket = TokenBucket(1.0, 4, reserve=2)
    assert [bucket.try_take(0) for _ in range(3)] == [True, True, False]
    assert [bucket.try_take(0, priority=True) for _ in range(3)] == [True, True, False]


def test_the_wait_told_is_long_enough_and_not_longer() -> None:
    """After the told wait a request passes, a nanosecond-scale step before it does not."""
    bucket = TokenBucket(10.0, 1)
    assert bucket.try_take(0)
    wait_ns = bucket.wait_ns(0)
    assert not bucket.try_take(wait_ns - 10)
    assert bucket.try_take(wait_ns)
    assert bucket.wait_ns(wait_ns) > 0


@pytest.mark.fault("C7")
def test_a_pause_stops_orders_and_not_cancels() -> None:
    """The venue said 429: orders wait for the second to end, a cancel passes at once."""
    bucket = TokenBucket(100.0, 10, reserve=2)
    bucket.pause(S)
    assert not bucket.try_take(S // 2)
    assert bucket.wait_ns(S // 2) >= S // 2
    assert bucket.try_take(S // 2, priority=True)
    assert bucket.try_take(2 * S)


def test_a_token_given_back_can_be_taken_again_and_never_exceeds_the_burst() -> None:
    """Burst 1: take, give back, take; giving back to a full bucket adds nothing."""
    bucket = TokenBucket(1.0, 1)
    assert bucket.try_take(0)
    bucket.give_back()
    bucket.give_back()
    assert [bucket.try_take(0), bucket.try_take(0)] == [True, False]


def test_a_clock_that_steps_back_grants_nothing() -> None:
    """Empty the bucket, go back an hour, come back: no tokens appeared."""
    bucket = TokenBucket(1.0, 1, now_ns=3600 * S)
    assert bucket.try_take(3600 * S)
    assert not bucket.try_take(0)
    assert not bucket.try_take(3600 * S)
