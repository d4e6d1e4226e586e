"""Published series of a live session: known ones at the start, later ones when their time has come."""

from __future__ import annotations

import pytest

from connectors.fakes import EventLog
from connectors.published import PublishedFeed
from engine.errors import DataError
from engine.events import Observation
from engine.runtime.clocks import ManualClock
from tests.support.waiting import until

SECOND = 1_000_000_000
DAY = 86_400 * SECOND


class Store:
    """A catalogue whose content the test changes."""

    def __init__(self, clock: ManualClock) -> None:
        self.start_ns = clock.now_ns()
        self.rows: list[Observation] = []
        self.error: DataError | None = None
        self.reads = 0

    def add(self, at_ns: int, period: int, value: float) -> Observation:
        told = Observation(self.start_ns + at_ns, self.start_ns + at_ns, "CPI", value, self.start_ns + period * DAY)
        self.rows.append(told)
        return told

    def read(self) -> list[Observation]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return sorted(self.rows, key=lambda one: one.ts_event_ns)


def feed_of(store: Store, clock: ManualClock, log: EventLog, renew_s: float = 60.0, lines: list[str] | None = None):
    report = [] if lines is None else lines
    return PublishedFeed(store.read, log, clock, history_ns=DAY, renew_s=renew_s, report=report.append)


async def test_what_is_known_comes_at_the_start_stamped_with_it() -> None:
    """The last word on two old periods and all of the last day; the publication stays the event's time."""
    clock, log = ManualClock(), EventLog()
    store = Store(clock)
    for days, period in ((-90, -100), (-60, -70), (-30, -40)):
        store.add(days * DAY, period, 1.0)
    store.add(-DAY // 2, -3, 2.0)
    store.add(5 * SECOND, -1, 3.0)
    feed = feed_of(store, clock, log)
    await feed.start()
    await feed.stop()
    told = log.of(Observation)
    assert [one.period_end_ns for one in told] == [store.rows[i].period_end_ns for i in (1, 2, 3)]
    assert {one.ts_recv_ns for one in told} == {clock.now_ns()}
    assert [one.ts_event_ns for one in told] == [store.rows[i].ts_event_ns for i in (1, 2, 3)]


async def test_a_later_one_comes_when_its_time_has_come() -> None:
    """Two in the future, the clock moved past one of them, then past the other."""
    clock, log = ManualClock(), EventLog()
    store = Store(clock)
    store.add(5 * SECOND, -1, 1.0)
    store.add(9 * SECOND, -1, 2.0)
    feed = feed_of(store, clock, log)
    await feed.start()
    feed.advance()
    assert not log.of(Observation)
    clock.advance(5 * SECOND)
    feed.advance()
    assert [(one.value, one.ts_recv_ns) for one in log.of(Observation)] == [(1.0, clock.now_ns())]
    clock.advance(60 * SECOND)
    await until(lambda: len(log.of(Observation)) == 2)  # by itself
    await feed.stop()
    await feed.stop()


async def test_what_is_stored_while_it_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was published a while ago and one of the future, imported after the start; nothing comes twice."""
    monkeypatch.setattr("connectors.published.LONGEST_WAIT_S", 0.01)
    clock, log = ManualClock(), EventLog()
    store = Store(clock)
    store.add(-SECOND, -2, 1.0)
    feed = feed_of(store, clock, log, renew_s=0.02)
    await feed.start()
    store.add(-SECOND // 2, -1, 2.0)
    store.add(3 * SECOND, 0, 3.0)
    await until(lambda: len(log.of(Observation)) == 2)
    clock.advance(3 * SECOND)
    await until(lambda: len(log.of(Observation)) == 3)
    reads = store.reads
    await until(lambda: store.reads > reads + 1)
    await feed.stop()
    assert [one.value for one in log.of(Observation)] == [1.0, 2.0, 3.0]


async def test_a_catalogue_that_cannot_be_read_ends_the_start_but_not_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start the error is the user's; later it is one line, and what is known still comes."""
    monkeypatch.setattr("connectors.published.LONGEST_WAIT_S", 0.01)
    clock, log, lines = ManualClock(), EventLog(), []
    store = Store(clock)
    store.error = DataError("x is damaged")
    with pytest.raises(DataError, match="damaged"):
        await feed_of(store, clock, log).start()
    store.error = None
    store.add(SECOND, -1, 1.0)
    feed = feed_of(store, clock, log, renew_s=0.01, lines=lines)
    await feed.start()
    store.error = DataError("x is damaged")
    reads = store.reads
    await until(lambda: store.reads > reads + 2)
    clock.advance(SECOND)
    await until(lambda: log.of(Observation))
    await feed.stop()
    assert len(lines) == 1
    assert "x is damaged" in lines[0]
