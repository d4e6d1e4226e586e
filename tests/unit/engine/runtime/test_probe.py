"""The probe: each stage's time goes to its histogram, tick-to-order to ticks that opened an order only."""

from __future__ import annotations

import pytest

from engine.ports import STAGES
from engine.runtime import probe as module
from engine.runtime.clocks import SystemClock
from engine.runtime.probe import StageProbe

BOOK, ORDER, WRITE, JOURNAL = (STAGES.index(name) for name in ("book", "order", "write", "journal"))


class Ticker:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def ticker(monkeypatch: pytest.MonkeyPatch) -> Ticker:
    ticker = Ticker()
    monkeypatch.setattr(module, "_perf_counter_ns", ticker)
    return ticker


def test_stages_and_tick_to_order_of_one_tick(ticker: Ticker) -> None:
    """Moves a fake counter between the marks and reads the sums back."""
    clock = SystemClock()
    probe = StageProbe(clock)
    received = ticker.now + clock.offset_ns
    ticker.now += 100  # decoding
    probe.begin(received)
    for stage, took in ((JOURNAL, 10), (BOOK, 20), (ORDER, 30), (WRITE, 40)):
        ticker.now += took
        probe.mark(stage)
    probe.end()
    sums = {name: histogram.sum_ns for name, histogram in probe.stages.items() if histogram.count}
    assert sums == {"decode": 100, "journal": 10, "book": 20, "order": 30, "write": 40}
    assert probe.tick_to_order.sum_ns == 200
    assert probe.tick_to_order.count == 1


def test_events_that_are_no_ticks_or_open_nothing_leave_tick_to_order_alone(ticker: Ticker) -> None:
    """A timer that sends a cancel (no book), a tick that sends a cancel (no order), then a tick that opens one."""
    probe = StageProbe(SystemClock())
    for marks in ((JOURNAL, WRITE), (JOURNAL, ORDER, WRITE), (JOURNAL, BOOK, WRITE)):
        probe.begin(0)
        for stage in marks:
            ticker.now += 5
            probe.mark(stage)
        probe.end()
    assert probe.tick_to_order.count == 0
    probe.begin(0)
    for stage in (JOURNAL, BOOK, ORDER, WRITE):
        ticker.now += 5
        probe.mark(stage)
    probe.end()
    assert probe.tick_to_order.count == 1


def test_receive_stamps_of_another_time_count_from_the_bus(ticker: Ticker) -> None:
    """A recorded stamp years ago: decoding cannot be known, the rest is measured from ``begin``."""
    probe = StageProbe(SystemClock())
    probe.begin(1_600_000_000_000_000_000)
    for stage in (JOURNAL, BOOK, ORDER, WRITE):
        ticker.now += 5
        probe.mark(stage)
    probe.end()
    assert probe.stages["decode"].count == 0
    assert probe.tick_to_order.sum_ns == 20


def test_marks_beyond_the_bound_are_left_out(ticker: Ticker) -> None:
    """An event with a thousand marks: 256 are counted, nothing raises, the next event is timed in full."""
    probe = StageProbe(SystemClock())
    probe.begin(0)
    for _ in range(1000):
        probe.mark(ORDER)
    probe.end()
    assert probe.stages["order"].count == 256
    probe.begin(0)
    probe.mark(JOURNAL)
    probe.end()
    assert probe.stages["journal"].count == 1
