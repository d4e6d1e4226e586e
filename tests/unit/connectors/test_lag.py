"""The loop's own lag."""

from __future__ import annotations

import asyncio
import time

from connectors.lag import LoopLag


async def test_a_blocked_loop_shows_its_lag_before_any_timer_ran() -> None:
    """Block for 40 ms without yielding: the lag is at least the block less the interval; after a yield it is small."""
    lag = LoopLag(asyncio.get_running_loop(), interval_s=0.005)
    time.sleep(0.04)
    assert lag() >= 30_000_000
    before = lag()
    while lag() >= before:
        await asyncio.sleep(0.001)
    lag.stop()
    time.sleep(0.02)
    assert lag() == 0


async def test_the_worst_lag_is_kept_until_it_is_asked_for() -> None:
    """Block, let the loop catch up, then read twice: the block is told once, although the loop is on time again."""
    lag = LoopLag(asyncio.get_running_loop(), interval_s=0.005)
    time.sleep(0.05)
    while lag() >= 5_000_000:
        await asyncio.sleep(0.001)
    worst = lag.take_worst()
    assert worst >= 40_000_000
    assert lag.take_worst() < worst
    lag.stop()
