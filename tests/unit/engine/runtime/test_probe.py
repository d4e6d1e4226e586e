"""The probe: each stage's time goes to its histogram, tick-to-order to ticks that opened an order only."""

from __future__ import annotations

import random
import threading

import pytest

from engine.ports import STAGES
from engine.runtime import probe as module
from engine.runtime.clocks import SystemClock
from engine.runtime.histogram import Histogram
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
    """An event with 10,000 marks: its first ones are counted, nothing raises, the next event is timed in full."""
    probe = StageProbe(SystemClock())
    probe.begin(0)
    for _ in range(10_000):
        probe.mark(ORDER)
    probe.end()
    assert 256 <= probe.stages["order"].count < 2_000
    probe.begin(0)
    probe.mark(JOURNAL)
    probe.end()
    assert probe.stages["journal"].count == 1


def one_by_one(histograms: dict[str, Histogram], recv_ns: int, begin_ns: int, marks: list[tuple[int, int]]) -> None:
    """What an event's marks mean, mark by mark: what the probe works out in bulk."""
    start_ns = recv_ns if 0 <= begin_ns - recv_ns < 10_000_000_000 else begin_ns
    last_ns = begin_ns
    tick = opened = False
    for stage, at_ns in marks:
        histograms[STAGES[stage]].record(at_ns - last_ns)
        last_ns = at_ns
        if stage == BOOK:
            tick = True
            if begin_ns > start_ns:
                histograms["decode"].record(begin_ns - start_ns)
        elif stage == ORDER:
            opened = True
        elif stage == WRITE and opened and tick:
            histograms["tick_to_order"].record(at_ns - start_ns)


def test_counting_in_bulk_is_counting_one_by_one(ticker: Ticker) -> None:
    """5,000 random events, some abandoned, some with strange stamps: every bucket, sum and maximum is the same."""
    rng = random.Random(7)
    clock = SystemClock()
    probe = StageProbe(clock)
    wanted = {name: Histogram() for name in (*STAGES, "tick_to_order")}
    for _ in range(5_000):
        recv_ns = ticker.now - rng.choice((0, 0, -5, 10**11))
        ticker.now += rng.randrange(30_000)
        begin_ns = ticker.now
        probe.begin(recv_ns + clock.offset_ns)
        stages = [JOURNAL, *([BOOK] * rng.randrange(2)), *rng.choices((3, 4, 5, 6, ORDER), k=rng.randrange(6))]
        marks = []
        for stage in [*stages, *([WRITE] * rng.randrange(2))]:
            ticker.now += rng.choice((0, 31, 32, 33, rng.randrange(100_000), rng.randrange(10**9)))
            probe.mark(stage)
            marks.append((stage, ticker.now))
        if rng.random() < 0.9:
            probe.end()
            one_by_one(wanted, recv_ns, begin_ns, marks)
    for name, histogram in (*probe.stages.items(), ("tick_to_order", probe.tick_to_order)):
        assert histogram.count, name
        assert list(histogram.buckets()) == list(wanted[name].buckets()), name
        assert (histogram.sum_ns, histogram.max_ns) == (wanted[name].sum_ns, wanted[name].max_ns), name


def test_another_thread_sees_marks_of_a_second_ago_without_counting_them_itself(ticker: Ticker) -> None:
    """Reads from a thread right after an event (nothing yet) and after the next event, two seconds later."""
    probe = StageProbe(SystemClock())
    seen: list[int] = []

    def read() -> None:
        thread = threading.Thread(target=lambda: seen.append(probe.stages["journal"].count))
        thread.start()
        thread.join()

    ticker.now = 2_000_000_000
    for _ in range(3):
        probe.begin(0)
        probe.mark(JOURNAL)
        probe.end()
        read()
        ticker.now += 600_000_000
    assert seen == [1, 1, 3]
    assert probe.stages["journal"].count == 3
