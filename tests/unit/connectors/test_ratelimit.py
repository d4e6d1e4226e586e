"""The token bucket and its priority lane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ratelimit import FIRST_PAUSE_NS, LONGEST_PAUSE_NS, LONGEST_WISH_NS, TokenBucket

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


@pytest.mark.fault("C16")
def test_a_clock_that_steps_back_grants_nothing() -> None:
    """Empty the bucket, go back an hour, come back: no tokens appeared."""
    bucket = TokenBucket(1.0, 1, now_ns=3600 * S)
    assert bucket.try_take(3600 * S)
    assert not bucket.try_take(0)
    assert not bucket.try_take(3600 * S)


def shut_until(bucket: TokenBucket, now_ns: int, *, priority: bool = False) -> int:
    """When this lane takes requests again; the wait that is told must be the one that is enforced."""
    at_ns = now_ns + bucket.wait_ns(now_ns, priority=priority)
    if at_ns > now_ns:
        assert not bucket.try_take(at_ns - 1, priority=priority)
    assert bucket.try_take(at_ns, priority=priority)
    return at_ns


def quick() -> TokenBucket:
    """Tokens are never what is short: refusals are pauses."""
    return TokenBucket(1e9, 1000, reserve=2)


@pytest.mark.fault("C7")
def test_each_429_after_a_pause_doubles_the_next_one_up_to_a_cap() -> None:
    """An order is sent the moment it may be, and refused again, ten times."""
    bucket, now_ns, pauses = quick(), 0, []
    for _ in range(10):
        bucket.answered(now_ns, 429)
        begun_ns, now_ns = now_ns, shut_until(bucket, now_ns)
        pauses.append(now_ns - begun_ns)
    assert pauses[:3] == [FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS, 4 * FIRST_PAUSE_NS]
    assert pauses[-2:] == [LONGEST_PAUSE_NS] * 2


def test_a_success_after_the_pause_makes_the_next_one_short_again_and_one_during_it_does_not() -> None:
    """The late answer to a request from before the pause proves nothing about the limit."""
    bucket = quick()
    bucket.answered(0, 429)
    bucket.succeeded(1)
    now_ns = shut_until(bucket, 1)
    assert now_ns == FIRST_PAUSE_NS
    bucket.answered(now_ns, 429)
    assert shut_until(bucket, now_ns) - now_ns == 2 * FIRST_PAUSE_NS
    now_ns += 2 * FIRST_PAUSE_NS
    bucket.succeeded(now_ns)
    bucket.answered(now_ns, 429)
    assert shut_until(bucket, now_ns) - now_ns == FIRST_PAUSE_NS


def test_a_cancel_that_is_served_says_nothing_of_the_limit_on_orders() -> None:
    """Orders are refused five times with a cancel served between: their pauses double all the same."""
    bucket, now_ns, pauses = quick(), 0, []
    for _ in range(5):
        bucket.answered(now_ns, 429)
        begun_ns, now_ns = now_ns, shut_until(bucket, now_ns)
        bucket.succeeded(now_ns, priority=True)
        pauses.append((now_ns - begun_ns) // FIRST_PAUSE_NS)
    assert pauses == [1, 2, 4, 8, 8]


def test_requests_that_left_together_and_were_all_refused_are_one_refusal() -> None:
    """Four answers a millisecond apart: one pause of the first length; other failures are none."""
    bucket = quick()
    for at_ms in range(4):
        bucket.answered(at_ms * 1_000_000, 429)
    bucket.answered(5_000_000, 503)
    assert shut_until(bucket, 5_000_000) == FIRST_PAUSE_NS


def test_the_venues_own_wish_is_heeded_within_reason() -> None:
    """Retry-After longer than ours, shorter than ours, and of a day."""
    for wish_s, expected_ns in ((20, 20 * S), (0, FIRST_PAUSE_NS), (86_400, LONGEST_WISH_NS)):
        bucket = quick()
        bucket.answered(0, 429, wish_s)
        assert shut_until(bucket, 0) == expected_ns


@pytest.mark.fault("C7")
def test_a_429_to_a_cancel_shuts_both_lanes_and_cancels_are_first_to_leave_again() -> None:
    """Told as every answer is and as a cancel's: cancels wait one pause, orders longer; each time doubled."""
    bucket, now_ns, pauses = quick(), 0, []
    for _ in range(3):
        bucket.answered(now_ns, 429)
        bucket.priority_refused(now_ns)
        assert not bucket.try_take(now_ns)
        begun_ns, now_ns = now_ns, shut_until(bucket, now_ns, priority=True)
        pauses.append(now_ns - begun_ns)
        assert not bucket.try_take(now_ns)
    assert pauses == [FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS, 4 * FIRST_PAUSE_NS]
    bucket.succeeded(now_ns, priority=True)
    assert shut_until(bucket, now_ns) == now_ns + FIRST_PAUSE_NS
    now_ns += FIRST_PAUSE_NS
    bucket.answered(now_ns, 429)
    bucket.priority_refused(now_ns)
    assert shut_until(bucket, now_ns, priority=True) - now_ns == FIRST_PAUSE_NS


def test_cancels_that_are_refused_heed_the_venues_wish_too() -> None:
    """It came with the same answer, or with an order's shortly before."""
    bucket = quick()
    bucket.answered(0, 429, 20)
    assert bucket.try_take(1, priority=True)
    bucket.answered(2, 429)
    bucket.priority_refused(2)
    assert shut_until(bucket, 2, priority=True) == 20 * S


def test_what_is_left_counts_the_reserve_and_what_came_back() -> None:
    """Three of ten taken leave seven, half a second brings five, no more than ten fit, and asking takes nothing."""
    bucket = TokenBucket(10.0, 10, reserve=4)
    for _ in range(3):
        assert bucket.try_take(0)
    assert [bucket.left(at_ns) for at_ns in (0, 0, S // 10, S // 2, 0)] == [7.0, 7.0, 8.0, 10.0, 7.0]
