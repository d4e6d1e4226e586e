"""The gate's memory: bounded, sliding, and full means no."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Side
from risk import pace
from risk.pace import Pace
from tests.support.gate import SECOND_NS, order
from tests.support.limits import make_limits

D = Decimal


def test_times_leave_with_their_second() -> None:
    """A generous limit and a million-a-second clock: what is remembered is one second's worth."""
    lane = pace.Lane(1_000_000, 1_000_000)
    for i in range(5_000):
        lane.count("a", i * SECOND_NS // 100)
    assert len(lane.in_all) == 100
    assert len(lane.by_instrument["a"]) == 100


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


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0, 1, 20, 50, 99, 100, 101, 250])), max_size=30))
def test_a_wish_is_a_duplicate_while_one_granted_is_younger_than_the_window(steps: list[tuple[int, int]]) -> None:
    """Any wishes at any times beside a list that remembers everything for ever."""
    window_ns = 100
    memory = Pace(make_limits(duplicate_window_ns=window_ns, max_orders_per_s=1_000, max_orders_per_s_instrument=1_000))
    granted: list[tuple[Decimal, int]] = []
    now_ns = 0
    for qty, later_ns in steps:
        now_ns += later_ns
        wish = order(qty=D(qty))
        seen = [at_ns for same_qty, at_ns in granted if same_qty == qty and now_ns - at_ns < window_ns]
        assert (memory.check_entry(wish, now_ns) is not None) == bool(seen)
        if not seen:
            memory.count_entry(wish, now_ns)
            granted.append((wish.qty, now_ns))


def test_equal_amounts_are_one_wish_however_they_are_written() -> None:
    """1 and 1.000 are the same quantity; the other side, price or trigger is another wish."""
    memory = Pace(make_limits(duplicate_window_ns=100))
    memory.count_entry(order(qty=D(1)), 0)
    assert memory.check_entry(order(qty=D("1.000")), 1) is not None
    for other in (order(side=Side.SELL), order(limit_px=D(99)), order(limit_px=None), order(trigger_px=D(99))):
        assert memory.check_entry(other, 1) is None


def test_a_limit_of_zero_leaves_exits_one_a_second() -> None:
    """Entries are denied by the gate anyway; exits must not be trapped."""
    memory = Pace(make_limits(max_orders_per_s=0, max_orders_per_s_instrument=0))
    assert memory.check_exit(order(), 0) is None
    memory.count_exit(order(), 0)
    assert memory.check_exit(order(), SECOND_NS - 1) is not None
    assert memory.check_exit(order(), SECOND_NS) is None
