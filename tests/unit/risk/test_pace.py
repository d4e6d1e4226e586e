"""The gate's memory: bounded, sliding, and full means no."""

from __future__ import annotations

from decimal import Decimal

import pytest

from risk import pace
from risk.pace import Pace
from tests.support.gate import SECOND, order
from tests.support.limits import make_limits

D = Decimal


def test_times_leave_with_their_second() -> None:
    """A generous limit and a million-a-second clock: what is remembered is one second's worth."""
    lane = pace.Lane(1_000_000, 1_000_000)
    for i in range(5_000):
        lane.count("a", i * SECOND // 100)
    assert len(lane._in_all) == 100
    assert len(lane._by_instrument["a"]) == 100


def test_wishes_leave_with_their_window() -> None:
    """A thousand different wishes, 1 ms apart, window 10 ms."""
    memory = Pace(make_limits(duplicate_window_ns=10_000_000))
    for i in range(1, 1001):
        memory.count_entry(order(qty=D(i)), i * 1_000_000)
    assert len(memory._wishes) == 10


@pytest.mark.fault("F3")
def test_a_full_memory_of_wishes_refuses_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for three; the fourth is refused until the oldest left the window."""
    monkeypatch.setattr(pace, "DUPLICATES_MAX", 3)
    memory = Pace(make_limits(duplicate_window_ns=100))
    for i in range(3):
        assert memory.check_entry(order(qty=D(i + 1)), i) is None
        memory.count_entry(order(qty=D(i + 1)), i)
    found = memory.check_entry(order(qty=D(9)), 50)
    assert found is not None
    assert found[0] == "duplicate"
    assert memory.check_entry(order(qty=D(9)), 100) is None


def test_a_limit_of_zero_leaves_exits_one_a_second() -> None:
    """Entries are denied by the gate anyway; exits must not be trapped."""
    memory = Pace(make_limits(max_orders_per_s=0, max_orders_per_s_instrument=0))
    assert memory.check_exit(order(), 0) is None
    memory.count_exit(order(), 0)
    assert memory.check_exit(order(), SECOND - 1) is not None
    assert memory.check_exit(order(), SECOND) is None
