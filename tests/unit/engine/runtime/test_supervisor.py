"""What a supervisor does beside the events of a session: steps of the clock, states that are kept, HALT files."""

from __future__ import annotations

import gc
from decimal import Decimal
from pathlib import Path

import pytest

from engine import events as e
from engine.carried import decode_carried
from engine.commands import RiskState
from engine.core import KEEP
from engine.runtime.control import clear_halt, write_halt
from engine.runtime.supervisor import KEEP_RECORDS
from tests.support.core import BTC, fill
from tests.support.supervised import Session, began_ns, command, until


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


@pytest.mark.fault("C16")
async def test_a_process_that_stood_still_has_the_account_confirmed(tmp_path: Path) -> None:
    """The first event after it is an hour later: one question to the venue."""
    session = Session(tmp_path)

    async def script() -> None:
        now_ns = await began_ns(session)
        session.bus.publish(e.AccountSettled(now_ns, now_ns, "coinbase", ()))
        later_ns = session.core.view.now_ns + 3_600 * 10**9
        session.bus.publish(e.Timer(later_ns, later_ns, "tick"))
        await until(lambda: session.venue.confirmed == 1)
        timers = len(session.of(e.Timer))
        await until(lambda: len(session.of(e.Timer)) > timers + 3)

    await session.during(script)
    assert (session.venue.confirmed, session.core.counters.standstills) == (1, 1)


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
