"""The daemon's side of the watchdog: real processes of it, whose venue nobody asks."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.commands import CancelOrder, Command, NewOrder, ReplaceOrder, RiskState
from engine.errors import KestrelError
from engine.events import InputEvent, OrderRejected, ReplaceRejected
from engine.runtime.heartbeat import Phase
from engine.runtime.watchdog_keeper import STARTS_MAX, Interlock, WatchdogKeeper
from engine.session_options import Rules, WatchdogPlan
from tests.support.core import BTC, intent
from tests.support.daemon import ROOT
from tests.support.durable import key_pair_file


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def error(self, text: str, **_what: Any) -> None:
        self.said.append(text)

    warning = error


def keeper_of(folder: Path, log: Log, venue: str = "connectors.coinbase.cancel_only", **rules: Any) -> WatchdogKeeper:
    key_file = key_pair_file(folder)
    settings = {"rest_url": "http://127.0.0.1:9", "key_file": str(key_file), "timeout_s": 0.5}
    return WatchdogKeeper(
        WatchdogPlan(venue, settings, Rules(**rules)),
        session="s",
        folder=folder,
        run_dirs=[folder / "mine", folder / "run"],
        account_lock=folder / "lock",
        code_root=ROOT,
        log=log,
    )


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[tuple[WatchdogKeeper, Log]]:
    log = Log()
    keeper = keeper_of(tmp_path, log)
    await keeper.start()
    yield keeper, log
    keeper.end(0)


async def until_gone(keeper: WatchdogKeeper) -> None:
    process = keeper._process
    assert process is not None
    process.kill()
    while process.poll() is None:
        await asyncio.sleep(0.01)


async def test_it_starts_watched_and_ends_with_the_session(tmp_path: Path) -> None:
    """``start`` returns when somebody looks; an end with nothing open is waited for."""
    keeper = keeper_of(tmp_path, Log())
    await keeper.start()
    process = keeper._process
    assert process is not None
    keeper.beat(RiskState.ACTIVE, 0)
    keeper.enter(Phase.TRADING)
    assert keeper.look() == ""
    assert keeper.status() == f"process {process.pid}"
    keeper.end(0)
    keeper.end(0)
    assert process.wait(60) == 0
    events = [json.loads(line)["event"] for line in (tmp_path / "watchdog.log").read_text().splitlines()]
    assert (events[0], events[-1]) == ("started", "session_ended")


async def test_a_watchdog_that_cannot_start_keeps_the_session_from_starting(tmp_path: Path) -> None:
    """Its venue is no cancel-only module: one line that names its record, which says why."""
    keeper = keeper_of(tmp_path, Log(), venue="connectors.coinbase.orders")
    with pytest.raises(KestrelError, match=r"did not start; .*watchdog\.log"):
        await keeper.start()
    assert "expected connectors.VENUE.cancel_only" in (tmp_path / "watchdog.log").read_text()


@pytest.mark.fault("A13")
@pytest.mark.fault("F8")
async def test_one_that_dies_is_replaced_and_in_the_end_risk_is_reduced(
    kept: tuple[WatchdogKeeper, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed again and again: others are started, then risk is reduced.  Who resumes is watched by another one, or told
    in the next second that there is none."""
    keeper, log = kept
    for _ in range(STARTS_MAX - 1):
        before = keeper.pid
        await until_gone(keeper)
        assert keeper.look() == ""
        assert keeper.pid not in (None, before)
    await until_gone(keeper)
    assert keeper.look() == f"the watchdog is gone, {STARTS_MAX} times in this session"
    assert keeper.status() == "gone"
    assert log.said == ["the watchdog is gone; another one is started"] * (STARTS_MAX - 1) + ["the watchdog is gone"]
    assert keeper.look() == ""
    keeper.release()
    assert keeper.pid is not None
    assert keeper.look() == ""
    await until_gone(keeper)
    assert keeper.look() == ""
    await until_gone(keeper)
    assert keeper.look() == ""
    await until_gone(keeper)
    assert keeper.look() == f"the watchdog is gone, {2 * STARTS_MAX} times in this session"

    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("engine.runtime.watchdog_keeper.subprocess.Popen", refuse)
    keeper.release()
    assert keeper.look() == "the watchdog is gone and cannot be started: Resource temporarily unavailable"
    assert keeper.look() == ""


@pytest.mark.fault("A13")
@pytest.mark.fault("F8")
async def test_one_that_is_stopped_reduces_risk_and_gives_way_to_another_at_resume(
    kept: tuple[WatchdogKeeper, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP: told once each time that it stops looking; woken up it is well again; stopped again, ``resume`` ends it
    and starts another one."""
    keeper, log = kept

    async def told() -> list[str]:
        """What risk is told until it is known to be stopped, and in a few looks after that."""
        found: list[str] = []
        after = 0
        with monkeypatch.context() as hasty:
            hasty.setattr("engine.runtime.watchdog_keeper.UNSEEN_S", 0.4)
            while after < 5:
                found.append(keeper.look())
                after += "has not looked" in keeper.status()
                await asyncio.sleep(0.05)
        return [why for why in found if why]

    stopped = keeper._process
    assert stopped is not None
    assert keeper.look() == ""
    stopped.send_signal(signal.SIGSTOP)
    (why,) = await told()
    assert why.startswith(f"the watchdog, process {stopped.pid}, has not looked for ")
    stopped.send_signal(signal.SIGCONT)
    while "has not looked" in keeper.status():
        assert keeper.look() == ""
        await asyncio.sleep(0.05)
    stopped.send_signal(signal.SIGSTOP)
    assert len(await told()) == 1
    keeper.release()
    assert keeper.pid not in (None, stopped.pid)
    assert stopped.wait(5.0) == -signal.SIGKILL
    heart = keeper._heart
    assert heart is not None
    while not heart.watched_ns:
        assert keeper.look() == ""
        await asyncio.sleep(0.05)
    assert keeper.look() == ""
    said = ["the watchdog has not looked for some time", "the watchdog looks again"]
    assert log.said == [*said, said[0], "the watchdog that does not look is ended"]


@pytest.mark.fault("A13")
def test_no_order_leaves_a_daemon_that_was_halted_from_outside() -> None:
    """What a loop decides in the very call that it was stuck in: refused before a byte left; cancels go through."""
    sent: list[Command] = []
    told: list[InputEvent] = []
    latched = [False]

    class Through:
        def send(self, command: Command) -> None:
            sent.append(command)

    lock = Interlock(Through(), told.append, lambda: latched[0])
    order = NewOrder(7, "k-1", "coinbase", intent())
    cancel = CancelOrder(7, "k-1", "coinbase", "v-1", BTC)
    lock.send(order)
    latched[0] = True
    lock.send(order)
    lock.send(cancel)
    lock.send(ReplaceOrder(7, "k-1", "coinbase", "v-1", BTC, *[Decimal(1)] * 4))
    assert sent == [order, cancel]
    assert [type(one) for one in told] == [OrderRejected, ReplaceRejected]
    assert {(one.client_order_id, one.reason) for one in told} == {("k-1", "watchdog")}  # type: ignore[union-attr]
