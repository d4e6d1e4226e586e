"""How a session ends: asked to, by a signal, by what died under it; what is open goes first, in bounded time."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelOrder, NewOrder
from engine.errors import JournalError, KestrelError, VenueError
from tests.support.core import intent
from tests.support.exchange import Exchange
from tests.support.supervised import Session, until


@pytest.mark.fault("A11")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_the_end_cancels_what_is_open_and_waits_for_the_venue(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One resting order: shutdown on record, then its cancel, then the venue's word.  A terminal that closes ends a
    session as well."""
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)  # whatever these tests were started under
    session = Session(tmp_path)
    session.open_order()

    async def script() -> None:
        os.kill(os.getpid(), number)
        await until(lambda: session.supervisor._stop.is_set())

    assert await session.during(script) == number.name
    assert session.core.orders.open_count == 0
    kinds = [type(written.record) for written in session.journal.written]
    assert kinds.index(e.ShutdownRequested) < kinds.index(CancelOrder) < kinds.index(e.OrderCancelled)


@pytest.mark.fault("A11")
async def test_an_end_does_not_wait_for_an_order_that_nobody_here_can_cancel(tmp_path: Path) -> None:
    """Of a venue that is not in this session: its cancel is refused at once, and no end of it will be told."""
    session = Session(tmp_path, cancel_timeout_s=600.0)
    session.core.orders.adopt(NewOrder(1, "l-1", "gone", intent(instrument="BTC/USD@gone")))
    async with asyncio.timeout(30):
        await session.during(lambda: asyncio.sleep(0))
    assert [cancel.venue for cancel in session.of(CancelOrder)] == ["gone"]
    assert session.core.orders.open_count == 1


@pytest.mark.fault("A11")
async def test_an_end_that_the_venue_does_not_confirm_is_bounded_and_timers_go_on(tmp_path: Path) -> None:
    """A venue that never answers: the order is still known at the end.  One that answers when it was asked to settle
    twice and has seen three timers, with all the time that it needs: it gets them."""
    session = Session(tmp_path / "a", cancel_timeout_s=0.1)
    session.open_order()
    session.venue.on_cancel = lambda number: "silence"

    async def nothing() -> None: ...

    await session.during(nothing)
    assert session.core.orders.open_count == 1
    late = Session(tmp_path / "b")
    late.open_order()
    late.venue.on_cancel = lambda number: "silence"
    telling = asyncio.ensure_future(cancelled_once_served(late))
    await late.during(nothing)
    await telling
    assert late.core.orders.open_count == 0
    records = [written.record for written in late.journal.written]
    (end,) = [place for place, record in enumerate(records) if isinstance(record, e.ShutdownRequested)]
    assert sum(isinstance(record, e.Timer) for record in records[end:]) >= 3


async def cancelled_once_served(session: Session) -> None:
    """The venue tells the end of the only order after three timers of the wind-down and two times of settling."""
    (order,) = session.core.orders.open_orders()

    def timers() -> int:
        kinds = [type(written.record) for written in session.journal.written]
        return kinds[kinds.index(e.ShutdownRequested) :].count(e.Timer) if e.ShutdownRequested in kinds else 0

    await until(lambda: timers() >= 3 and session.venue.settled >= 2)
    at = session.core.view.now_ns
    session.bus.publish(e.OrderCancelled(at, at, "coinbase", order.client_order_id, ""))


async def test_a_recording_that_is_over_gets_timers_of_its_own_time_while_orders_are_open(tmp_path: Path) -> None:
    """Data time: each timer of the wind-down is later than the one before, and none came before it."""
    session = Session(tmp_path, data_time=True)
    session.open_order()
    session.venue.on_cancel = lambda number: "silence"
    session.venue.over.set()

    async def script() -> None:
        await cancelled_once_served(session)

    assert await session.during(script) == "the recording ended"
    times = [timer.ts_recv_ns for timer in session.of(e.Timer)]
    assert len(times) >= 3
    assert times[0] == 10 + 10_000_000
    assert times == sorted(times)
    assert len(set(times)) >= len(times) - 1


async def test_a_dead_journal_ends_the_session_with_its_reason(tmp_path: Path) -> None:
    """The journal refuses a timer: the run stops by itself and raises."""
    session = Session(tmp_path)

    async def script() -> None:
        session.journal.full_for = (e.Timer,)
        await until(lambda: session.supervisor._stop.is_set())

    with pytest.raises(JournalError, match=r"the journal failed: .*disk full.*; free the disk"):
        await session.during(script)
    assert session.venue.stopped


@pytest.mark.fault("A8")
async def test_a_session_that_a_dead_journal_ends_has_its_cancels_leave_first(tmp_path: Path) -> None:
    """What the core asked for in its last event waits for a connection when the venue would be stopped."""
    session = Session(tmp_path)
    depths = {"cancels": 1}
    left: list[int] = []

    class Waits(Exchange):
        def queue_depths(self) -> dict[str, int]:
            return depths

        async def stop(self) -> None:
            left.append(depths["cancels"])

    session.venue = session.supervisor._venue = Waits()
    session.venue.publish = session.bus.publish

    async def script() -> None:
        session.journal.full_for = (e.Timer,)
        await until(lambda: session.supervisor._stop.is_set())
        asyncio.get_running_loop().call_later(0.1, depths.update, {"cancels": 0})

    with pytest.raises(JournalError):
        await session.during(script)
    assert left == [0]


async def test_a_venue_that_does_not_start_or_dies_ends_the_session(tmp_path: Path) -> None:
    """An error of the start, and one in mid-session: both come out as they are, everything is closed."""
    session = Session(tmp_path / "a")

    def refuse() -> None:
        raise VenueError("no route")

    session.venue.on_start = refuse
    with pytest.raises(VenueError, match="no route"):
        await session.supervisor.run(None, lambda: None)
    assert session.venue.stopped
    session = Session(tmp_path / "b")

    async def script() -> None:
        session.venue.failure = VenueError("gone")
        session.venue.over.set()
        await until(lambda: session.venue.stopped)

    with pytest.raises(VenueError, match="gone"):
        await session.during(script)


async def test_a_signal_while_the_venue_starts_ends_the_start(tmp_path: Path) -> None:
    """The venue would need for ever."""
    session = Session(tmp_path)

    def hang() -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return asyncio.Event().wait()

    session.venue.on_start = hang
    with pytest.raises(KestrelError, match="stopped by SIGINT before the venue was ready"):
        await session.supervisor.run(None, lambda: None)
    assert session.venue.stopped


async def test_a_session_ends_after_its_seconds_and_usr1_halts(tmp_path: Path) -> None:
    """SIGUSR1 first, then the time runs out; the line of the second was asked for."""
    session = Session(tmp_path)
    reason = await session.supervisor.run(0.3, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    assert reason == "0.3 s are over"
    assert session.seconds >= 1
    assert [(halted.source, halted.reason) for halted in session.of(e.Halted)] == [("signal", "SIGUSR1")]


@pytest.mark.fault("B18")
@pytest.mark.parametrize("data_time", [False, True])
async def test_a_cancel_that_the_venue_refuses_is_asked_again_until_it_is_done(tmp_path: Path, data_time: bool) -> None:
    """Refused twice, then done: on timers of the wall clock, and on those of a recording that is over."""
    session = Session(tmp_path, data_time=data_time)
    session.open_order()
    session.venue.on_cancel = lambda number: "cancelled" if number > 2 else "refused"
    if data_time:
        session.venue.over.set()

    async def script() -> None:
        if data_time:
            await until(lambda: bool(session.of(e.ShutdownRequested)))

    await session.during(script)
    assert len(session.venue.cancels) == 3
    assert session.core.orders.open_count == 0
