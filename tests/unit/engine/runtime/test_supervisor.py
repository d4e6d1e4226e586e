"""The life of a session on a real loop: a real bus, core, control socket and HALT file around a scripted venue."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine import events as e
from engine.bus import EventBus
from engine.carried import decode_carried
from engine.commands import CancelOrder, NewOrder, RiskState, RiskStateChanged
from engine.core import KEEP, NullProbe, TradingCore
from engine.errors import JournalError, KestrelError, VenueError
from engine.ports import Model
from engine.router import OrderRouter
from engine.runtime.clocks import ClockWatch, ManualClock, SystemClock
from engine.runtime.control import ask, clear_halt, socket_path, write_halt
from engine.runtime.supervisor import KEEP_RECORDS, Supervisor
from tests.support.core import BTC, MemoryJournal, OpenGate, Scripted, build_core, fill, intent, open_market, quote
from tests.support.exchange import Exchange
from tests.support.serving import Answers


class Session:
    """Everything around one supervisor."""

    def __init__(
        self,
        folder: Path,
        *,
        data_time: bool = False,
        cancel_timeout_s: float = 20.0,
        keep_s: float | None = None,
        model: Model | None = None,
    ) -> None:
        self.user_dir, self.run_dir = folder / "mine", folder / "run"
        self.journal = MemoryJournal()
        self.clock = ManualClock() if data_time else SystemClock()
        self.watched = ManualClock()
        self.venue = Exchange()
        self.errors: list[str] = []
        self.seconds = 0
        self.bus = EventBus(self.journal, NullProbe(), lambda text, error: self.errors.append(text))
        self.core: TradingCore = build_core(
            self.bus, Scripted(on_quote=lambda *_: [intent()]), gate=OpenGate(), features=lambda: None, model=model
        )
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: self.venue.gateways))
        self.venue.publish = self.bus.publish
        self.supervisor = Supervisor(
            bus=self.bus,
            publish=self.bus.publish,
            core=self.core,
            venue=self.venue,
            clock=self.clock,
            clock_watch=ClockWatch(self.watched, limit_ns=50_000_000),
            session="s",
            run_dirs=[self.user_dir, self.run_dir],
            timer_ms=10,
            cancel_timeout_s=cancel_timeout_s,
            data_time=data_time,
            status=lambda: {"open_orders": self.core.orders.open_count},
            on_second=self.on_second,
            keep_s=keep_s,
        )

    def on_second(self) -> None:
        self.seconds += 1

    def open_order(self) -> None:
        """One resting order."""
        open_market(self.core)
        self.bus.publish(quote(10))
        assert self.core.orders.open_count == 1

    async def during(self, script: Callable[[], Any]) -> str:
        """Run until the script is over, then stop; why it stopped."""
        started = asyncio.Event()
        running = asyncio.ensure_future(self.supervisor.run(None, started.set))
        await asyncio.wait({running, asyncio.ensure_future(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await script()
            self.supervisor.stop("the script ended")
        return await running

    def states(self) -> list[RiskState]:
        return [w.record.after for w in self.journal.written if isinstance(w.record, RiskStateChanged)]

    def of(self, kind: type) -> list[Any]:
        return [written.record for written in self.journal.written if isinstance(written.record, kind)]


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something is so; the test's own time limit ends it otherwise."""
    while not holds():
        await asyncio.sleep(0.002)


@pytest.mark.fault("C16")
async def test_a_step_of_the_clock_is_recorded_and_has_the_account_confirmed(tmp_path: Path) -> None:
    """The wall clock jumps by an hour: one event, one question to the venue."""
    session = Session(tmp_path)

    async def script() -> None:
        session.watched.step_wall(3_600 * 10**9)
        await until(lambda: session.venue.confirmed == 1)
        timers = len(session.of(e.Timer))
        await until(lambda: len(session.of(e.Timer)) > timers + 3)

    await session.during(script)
    assert [event.delta_ns for event in session.of(e.ClockStepped)] == [3_600 * 10**9]
    assert session.venue.confirmed == 1


async def test_what_is_there_at_the_start_is_collected_once_and_left_alone_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models and caches that were warmed up live as long as the session: no full collection walks them on the path."""
    done: list[str] = []
    monkeypatch.setattr(gc, "isenabled", lambda: True)
    monkeypatch.setattr(gc, "collect", lambda: done.append("collected"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("frozen"))
    session = Session(tmp_path)

    async def script() -> None:
        await until(lambda: session.seconds > 0)

    await session.during(script)
    assert done == ["collected", "frozen"]


@pytest.mark.fault("B2")
async def test_an_execution_that_is_told_otherwise_has_the_account_confirmed(tmp_path: Path) -> None:
    """The same trade at another price, then a correction of one that nobody knows: one question to the venue for each,
    which knows what became of the money."""
    session = Session(tmp_path)
    session.open_order()
    order = session.core.orders.open_orders()[0].new

    async def script() -> None:
        for px in ("100", "90"):
            session.bus.publish(fill(order, "0.5", px, "t-1"))
        await until(lambda: session.venue.confirmed == 1)
        one = Decimal(1)
        session.bus.publish(
            e.FillCorrected(
                9, 9, "coinbase", "k-gone", "v-gone", "t-gone", BTC, e.Side.BUY, one, 100 * one, one, "USD",
                one, 90 * one, one,
            )
        )  # fmt: skip
        await until(lambda: session.venue.confirmed == 2)
        timers = len(session.of(e.Timer))
        await until(lambda: len(session.of(e.Timer)) > timers + 3)

    await session.during(script)
    counters = session.core.counters
    assert (session.venue.confirmed, counters.conflicting_fills, counters.unknown_corrections) == (2, 1, 1)


@pytest.mark.parametrize("keep_s", [None, 0.02])
async def test_state_is_kept_from_time_to_time_and_at_the_end_where_somebody_will_go_on(
    tmp_path: Path, keep_s: float | None
) -> None:
    """At once, again after each change, and after the last event of the session; never where it would be in vain."""
    session = Session(tmp_path, keep_s=keep_s)

    async def script() -> None:
        if keep_s is not None:
            await until(lambda: len(session.of(e.StateKept)) == 1)
        session.open_order()
        if keep_s is not None:
            await until(lambda: len(session.of(e.StateKept)) >= 2)

    await session.during(script)
    kept = [n for n, written in enumerate(session.journal.written) if isinstance(written.record, e.StateKept)]
    assert bool(kept) is (keep_s is not None)
    if kept:
        assert kept[-1] == len(session.journal.written) - 1
        assert not decode_carried(session.of(e.StateKept)[-1].state).open_count


async def test_state_is_kept_as_well_when_a_million_records_have_come_since(tmp_path: Path) -> None:
    """Kept by the hour: the core is asked at once and not again, until the numbers have moved on by a million."""
    session = Session(tmp_path, keep_s=3_600.0)

    def asked() -> int:
        return sum(timer.name == KEEP for timer in session.of(e.Timer))

    async def some_timers() -> None:
        seen = len(session.of(e.Timer))
        await until(lambda: len(session.of(e.Timer)) > seen + 3)

    async def script() -> None:
        session.bus.seq += KEEP_RECORDS - 1_000
        await some_timers()
        assert asked() == 1
        session.bus.seq += 1_000
        await some_timers()
        assert asked() == 2

    await session.during(script)


async def command(session: Session, name: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ask, socket_path(session.run_dir, "s", os.getpid()), name, arguments)


@pytest.mark.fault("F7")
async def test_a_halt_file_written_right_after_resume_halts_again(tmp_path: Path) -> None:
    """Resume and a new file between two looks of the daemon: no look ever finds the file absent."""
    session = Session(tmp_path)

    async def script() -> None:
        gate = session.core.gate
        for number in range(3):
            write_halt(session.run_dir, "file", f"halt {number}", 1)
            await until(lambda: gate.state is RiskState.HALTED)
            # The answer to resume and the next file come within one callback: no timer runs in between.
            session.supervisor._answer("resume", {})
            assert gate.state is RiskState.ACTIVE
        write_halt(session.run_dir, "file", "the last", 1)
        session.supervisor._answer("resume", {})
        write_halt(session.run_dir, "file", "rewritten", 1)
        await until(lambda: gate.state is RiskState.HALTED)

    await session.during(script)
    assert [halted.reason for halted in session.of(e.Halted)] == ["halt 0", "halt 1", "halt 2", "rewritten"]
    assert session.states()[-1] is RiskState.HALTED


async def test_a_halt_file_is_recorded_once_and_holds_as_long_as_it_lies_there(tmp_path: Path) -> None:
    """Many looks at one file make one record; a state that left HALTED by another way is sent back."""
    session = Session(tmp_path)

    async def script() -> None:
        write_halt(session.run_dir, "file", "stop", 1)
        await until(lambda: len(session.of(e.Halted)) == 1)
        timers = len(session.of(e.Timer))
        await until(lambda: len(session.of(e.Timer)) > timers + 5)
        assert len(session.of(e.Halted)) == 1
        session.bus.publish(e.Resumed(20, 20, "test", ""))
        await until(lambda: len(session.of(e.Halted)) == 2)
        clear_halt(session.run_dir)
        session.bus.publish(e.Resumed(30, 30, "test", ""))
        timers = len(session.of(e.Timer))
        await until(lambda: len(session.of(e.Timer)) > timers + 5)

    await session.during(script)
    assert session.states()[-1] is RiskState.ACTIVE


@pytest.mark.fault("F7")
async def test_the_file_in_either_folder_halts_and_resume_removes_both(tmp_path: Path) -> None:
    """The user's folder, the one beside the sessions, then both: halted by each, active again only without any."""
    session = Session(tmp_path)

    async def script() -> None:
        gate = session.core.gate
        for run_dirs in ([session.user_dir], [session.run_dir], [session.user_dir, session.run_dir]):
            for run_dir in run_dirs:
                write_halt(run_dir, "file", "stop", 1)
            await until(lambda: gate.state is RiskState.HALTED)
            assert (await command(session, "resume"))["state"] == "active"
            assert not (session.user_dir / "HALT").exists()
            assert not (session.run_dir / "HALT").exists()

    await session.during(script)
    assert session.states() == [RiskState.HALTED, RiskState.ACTIVE] * 3


async def test_commands_reach_the_core_and_an_unknown_one_is_answered(tmp_path: Path) -> None:
    """Over the real socket: status, reduce, halt, resume, nonsense, stop."""
    session = Session(tmp_path)

    async def script() -> None:
        assert (await command(session, "status"))["open_orders"] == 0
        assert (await command(session, "reduce", reason="lunch"))["state"] == "reducing"
        assert (await command(session, "halt", reason="x" * 500))["state"] == "halted"
        assert (await command(session, "reduce", reason="half a pair \ud800"))["state"] == "reducing"
        assert (await command(session, "resume"))["state"] == "active"
        with pytest.raises(KestrelError, match="unknown command 'dance'"):
            await command(session, "dance")
        assert (await command(session, "stop"))["ok"] is True

    assert await session.during(script) == "operator"
    assert [len(halted.reason) for halted in session.of(e.Halted)] == [200]
    assert [reduced.reason for reduced in session.of(e.Reduced)] == ["lunch", "half a pair \\ud800"]
    assert not socket_path(session.run_dir, "s", os.getpid()).exists()
    assert session.venue.stopped


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


@pytest.mark.fault("E10")
async def test_an_alarm_about_a_model_comes_by_the_control_socket_and_is_on_record(tmp_path: Path) -> None:
    """As the process that watches models asks, from a thread of its own; a figure is kept and no event."""
    session = Session(tmp_path, model=Answers("m@1"))
    open_market(session.core)
    path = socket_path(session.user_dir, "s", os.getpid())
    alarm = {"instrument": BTC, "model": "m@1", "source": "psi", "action": "size_down", "factor": 0.5, "text": "drift"}

    async def script() -> None:
        answer = await asyncio.to_thread(ask, path, "model_alarm", alarm)
        assert answer["standing"] == [f"{BTC}: m@1 serving, sizes times 0.5: sized down by psi: drift"]
        report = {"instrument": BTC, "model": "m@1", "role": "champion", "figures": {"ece": 0.1}}
        await asyncio.to_thread(ask, path, "model_report", report)
        with pytest.raises(KestrelError, match="not in this session"):
            await asyncio.to_thread(ask, path, "model_alarm", {**alarm, "instrument": "X/Y@z"})

    await session.during(script)
    (told,) = session.of(e.ModelAlarmed)
    assert (told.instrument, told.model, told.source, told.action, told.factor) == (BTC, "m@1", "psi", "size_down", 0.5)
