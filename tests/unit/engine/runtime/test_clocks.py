"""Clocks: monotonic time anchored to UTC, and the watch over the wall clock."""

from __future__ import annotations

import time

import pytest

from engine.runtime import clocks
from engine.runtime.clocks import ClockWatch, ManualClock, SystemClock


def test_system_time_is_utc_and_never_steps_back() -> None:
    """Compares with time.time_ns before and after, and ten thousand readings with each other."""
    before = time.time_ns()
    clock = SystemClock()
    readings = [clock.now_ns() for _ in range(10_000)]
    after = time.time_ns()
    assert readings == sorted(readings)
    assert before - 50_000_000 <= readings[0] <= readings[-1] <= after + 50_000_000
    assert before <= clock.wall_ns() <= time.time_ns()


@pytest.mark.fault("C16")
def test_system_time_ignores_steps_of_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves the wall clock back by an hour under a running clock."""
    clock = SystemClock()
    first = clock.now_ns()
    real = time.time_ns
    monkeypatch.setattr(clocks, "_time_ns", lambda: real() - 3_600_000_000_000)
    assert clock.wall_ns() < first
    assert clock.now_ns() > first


@pytest.mark.fault("C16")
def test_a_step_is_reported_once_with_its_sign_and_size() -> None:
    """Steps a manual wall clock forward and back; the watch re-bases after each report."""
    clock = ManualClock()
    watch = ClockWatch(clock, limit_ns=1_000)
    clock.advance(5_000_000_000)
    assert watch.check() == 0
    clock.step_wall(2_500)
    assert watch.check() == 2_500
    assert watch.check() == 0
    clock.step_wall(-4_000)
    assert watch.check() == -4_000
    assert watch.check() == 0


def test_drift_within_the_limit_is_silent_until_it_adds_up() -> None:
    """Three steps of 400 ns against a limit of 1,000."""
    clock = ManualClock()
    watch = ClockWatch(clock, limit_ns=1_000)
    seen = []
    for _ in range(3):
        clock.step_wall(400)
        seen.append(watch.check())
    assert seen == [0, 0, 1_200]


def test_manual_time_cannot_go_back() -> None:
    """A negative step is a mistake of the test that makes it."""
    clock = ManualClock(10)
    clock.advance(5)
    assert clock.now_ns() == clock.wall_ns() == 15
    with pytest.raises(ValueError, match="cannot go back by 1 ns"):
        clock.advance(-1)
