"""The daemon's side of the watchdog: real processes of it, whose venue nobody asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.commands import CancelOrder, Command, NewOrder, RiskState
from engine.errors import KestrelError
from engine.events import InputEvent, OrderRejected
from engine.runtime.heartbeat import Phase
from engine.runtime.watchdog import Rules
from engine.runtime.watchdog_keeper import STARTS_MAX, Interlock, WatchdogKeeper, WatchdogPlan
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
    assert process.poll() == 0
    events = [json.loads(line)["event"] for line in (tmp_path / "watchdog.log").read_text().splitlines()]
    assert (events[0], events[-1]) == ("started", "session_ended")


async def test_a_watchdog_that_cannot_start_keeps_the_session_from_starting(tmp_path: Path) -> None:
    """Its venue is no cancel-only module: one line that names its record, which says why."""
    keeper = keeper_of(tmp_path, Log(), venue="connectors.coinbase.orders")
    with pytest.raises(KestrelError, match=r"did not start; .*watchdog\.log"):
        await keeper.start()
    assert "expected connectors.VENUE.cancel_only" in (tmp_path / "watchdog.log").read_text()


async def test_one_that_dies_is_replaced_and_in_the_end_risk_is_reduced(kept: tuple[WatchdogKeeper, Log]) -> None:
    """Killed again and again: others are started, then the reason for taking no new risk is told each second."""
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
    assert sent == [order, cancel]
    (refused,) = told
    assert isinstance(refused, OrderRejected)
    assert (refused.client_order_id, refused.reason) == ("k-1", "watchdog")
