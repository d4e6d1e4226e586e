"""Weights, orders and bans of the Binance sandbox."""

from __future__ import annotations

import pytest

from connectors.binance.sandbox.errors import ApiError
from connectors.binance.sandbox.limits import Limits
from connectors.binance.sandbox.settings import RateLimits

START_MS = 1_790_000_040_000


def refused(limits: Limits, weight: int, at_ms: int, address: str = "a") -> ApiError:
    with pytest.raises(ApiError) as caught:
        limits.take(address, weight, at_ms)
    return caught.value


def test_weight_is_refused_until_the_minute_is_over_and_then_banned() -> None:
    """429 with Retry-After, after some of them 418; another address is not concerned, and the ban ends."""
    limits = Limits(RateLimits(weight_per_min=10, ban_after=2, ban_s=90))
    start_ms = START_MS // 60_000 * 60_000
    limits.take("a", 10, start_ms)
    first = refused(limits, 1, start_ms + 15_000)
    assert (first.status, first.code, first.headers["Retry-After"]) == (429, -1003, "46")
    assert refused(limits, 1, start_ms + 16_000).status == 429
    ban = refused(limits, 1, start_ms + 17_000)
    assert (ban.status, ban.headers["Retry-After"]) == (418, "91")
    assert refused(limits, 1, start_ms + 60_000).status == 418
    limits.take("b", 10, start_ms + 17_000)
    limits.take("a", 1, start_ms + 17_000 + 90_000)
    assert limits.used("a", start_ms + 17_000 + 90_000) == (1, 0)


def test_orders_are_counted_by_ten_seconds() -> None:
    """A third one is refused, and taken later."""
    limits = Limits(RateLimits(orders_per_10s=2))
    start_ms = START_MS // 10_000 * 10_000
    for _ in range(2):
        limits.take_order("a", start_ms)
    with pytest.raises(ApiError) as caught:
        limits.take_order("a", start_ms + 1)
    assert (caught.value.status, caught.value.code) == (429, -1015)
    limits.take_order("a", start_ms + 10_000)


def test_without_limits_everything_is_counted_and_nothing_refused() -> None:
    """The headers still tell."""
    limits = Limits(None)
    for _ in range(100):
        limits.take("a", 1_000, START_MS)
        limits.take_order("a", START_MS)
    assert limits.used("a", START_MS) == (100_000, 100)


def test_connections_are_counted_by_five_minutes() -> None:
    """One too many is refused, and opened later."""
    limits = Limits(RateLimits(ws_dials_per_5min=1))
    start_ms = START_MS // 300_000 * 300_000
    limits.take_dial("a", start_ms)
    with pytest.raises(ApiError) as caught:
        limits.take_dial("a", start_ms + 299_000)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "2")
    limits.take_dial("b", start_ms)
    limits.take_dial("a", start_ms + 300_000)
