"""How a running daemon is operated and how it ends: commands, signals, the kill-switch file, a venue that dies.

Real daemons on the built-in exchange.  Nothing is timed: the journal says what happened, in order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import events as e
from engine.commands import NewOrder, RiskStateChanged
from engine.runtime.control import ask, running_sessions
from engine.runtime.journal_reader import JournalRecord, read_journal
from tests.support.bad_input import refused
from tests.support.daemon import (
    ROOT,
    Running,
    attempt,
    command,
    environment,
    halt_by_file,
    into,
    kestrel,
    last_json,
    replay_session,
)

RESTING = """
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side
from strategies.base import BaseStrategy


class Resting(BaseStrategy):
    '''Keeps one order 40 bps below the best bid of each instrument.'''

    def on_quote(self, instrument, view):
        top, rules = view.top(instrument), view.instrument(instrument)
        if view.open_orders(instrument):
            return ()
        return [
            OrderIntent(view.now_ns, self.name, instrument, Side.BUY, rules.quantity(500.0 / top.bid_px),
                        OrderType.LIMIT, rules.price(top.bid_px * 0.996, -1), TimeInForce.GTC, post_only=True)
        ]
"""
QUICK = ("--set", "sandbox.history_s=2", "--no-report")


def start(folder: Path, *arguments: str) -> Running:
    (folder / "resting.py").write_text(RESTING)
    (folder / "own.yaml").write_text("logs: {level: info}\n")
    mine = f"strategies=[{{name: mine, path: '{folder}/resting.py:Resting', model: none}}]"
    return Running(folder, *QUICK, "--config", str(folder / "own.yaml"), "--set", mine, *arguments)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Running]:
    """A daemon whose two orders rest on the exchange."""
    running = start(tmp_path, "--json")
    try:
        until(running, lambda status: status["open_orders"] == 2)
        yield running
    finally:
        running.close()


def status_of(running: Running) -> dict[str, Any]:
    """What the daemon says about itself; empty before it listens."""
    found = running_sessions(running.folder / "run")
    return ask(found[0], "status", timeout_s=120.0) if found else {}


def until(running: Running, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 90.0) -> dict[str, Any]:
    """Ask until the answer fits."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        assert running.process.poll() is None, running.said()[-2000:]
        status = status_of(running)
        if status and holds(status):
            return status
        time.sleep(0.05)
    raise AssertionError(f"still {status} after {timeout_s} s: {running.said()[-2000:]}")


def operate(running: Running, *arguments: str) -> str:
    done = attempt(*arguments, "--sessions", str(running.folder / "sessions"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def journal_of(running: Running) -> list[JournalRecord]:
    return list(read_journal(running.session / "journal"))


def places(records: list[JournalRecord], kind: type) -> list[int]:
    return [place for place, recorded in enumerate(records) if isinstance(recorded.record, kind)]


def replays(running: Running) -> None:
    status, result = replay_session(running.folder, running.session.name)
    assert (status, result["identical"]) == (0, True)


def sandbox_of(running: Running) -> int:
    """Process id of the exchange that this daemon started."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(fields[1]) == running.process.pid and b"sandbox" in words:
                return int(folder.name)
    raise AssertionError("no exchange is running")


def gone(pid: int, timeout_s: float = 30.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.fault("A11")
@pytest.mark.fault("F7")
@pytest.mark.fault("F11")
def test_commands_stop_and_resume_trading_and_an_interrupt_ends_it_in_order(daemon: Running) -> None:
    """reduce, resume, halt, resume, SIGUSR1, a file by hand, SIGINT: states in the journal, no order while stopped.
    Its files change meanwhile: no order would be allowed any more, and the strategy would fail; told, and no more."""
    run = daemon.folder / "run"
    assert status_of(daemon)["files_changed"] == []
    (daemon.folder / "own.yaml").write_text("logs: {level: error}\nrisk: {max_order_notional: 1}\n")
    (daemon.folder / "resting.py").write_text("raise ValueError\n")
    changed = [str(daemon.folder / name) for name in ("own.yaml", "resting.py")]
    assert status_of(daemon)["files_changed"] == changed
    assert "state         active" in operate(daemon, "status")
    assert "reducing" in operate(daemon, "reduce", "--reason", "lunch")
    assert "active" in operate(daemon, "resume")

    said = operate(daemon, "halt", "--reason", "storm")
    assert "HALT" in said
    assert "halted" in said
    until(daemon, lambda status: status["state"] == "halted" and status["open_orders"] == 0)
    second = kestrel("paper", "--set", f"session.directory={daemon.folder / 'sessions'}")
    assert second.returncode == 2
    assert "the kill switch is on" in second.stderr
    assert "active" in operate(daemon, "resume")
    assert not (run / "HALT").exists()
    until(daemon, lambda status: status["open_orders"] == 2)

    daemon.process.send_signal(signal.SIGUSR1)
    until(daemon, lambda status: status["state"] == "halted" and status["open_orders"] == 0)
    operate(daemon, "resume")
    until(daemon, lambda status: status["open_orders"] == 2)

    halt_by_file(run, "by hand")
    until(daemon, lambda status: status["state"] == "halted" and status["open_orders"] == 0)
    operate(daemon, "resume")
    until(daemon, lambda status: status["open_orders"] == 2)

    exchange = sandbox_of(daemon)
    assert daemon.stop(signal.SIGINT) == 0
    assert gone(exchange)
    assert not list(run.glob("*.sock"))
    summary = json.loads(daemon.out.read_text().splitlines()[-1])
    assert summary["stopped_by"] == "SIGINT"
    assert json.loads((daemon.session / "summary.json").read_text()) == summary
    check_journal(journal_of(daemon))
    (daemon.folder / "resting.py").write_text(RESTING)
    replays(daemon)


def check_journal(records: list[JournalRecord]) -> None:
    """States in the order they were asked for; nothing was opened under a halt or after the end; all was cancelled."""
    changes = [r.record for r in records if isinstance(r.record, RiskStateChanged)]
    assert [change.after.value for change in changes] == ["reducing", "active"] + ["halted", "active"] * 3
    reasons = {r.record.source: r.record.reason for r in records if isinstance(r.record, e.Halted)}
    assert reasons["signal"] == "SIGUSR1"
    assert reasons["operator"] == "storm"
    assert reasons["file"] == "by hand"
    allowed = True
    open_orders: set[str] = set()
    for recorded in records:
        record = recorded.record
        if isinstance(record, RiskStateChanged):
            allowed = record.after.value == "active"
        elif isinstance(record, e.ShutdownRequested):
            allowed = False
        elif isinstance(record, NewOrder):
            assert allowed, f"an order at seq {recorded.seq}"
            open_orders.add(record.client_order_id)
        elif isinstance(record, e.OrderCancelled):
            open_orders.discard(record.client_order_id)
    assert not open_orders
    assert len(places(records, e.OrderCancelled)) >= 8


@pytest.mark.fault("A10")
def test_a_second_daemon_cannot_take_a_running_session(daemon: Running) -> None:
    """The same ``--session`` while the first one runs: one line with the holder, and the first one is undisturbed."""
    sessions = str(daemon.folder / "sessions")
    second = kestrel("paper", "--json", "--session", daemon.session.name, "--set", f"session.directory={sessions}")
    assert second.returncode == 2
    assert f"held by process {daemon.process.pid}" in last_json(second)["error"]
    assert len(second.stderr.strip().splitlines()) == 1
    assert status_of(daemon)["open_orders"] == 2
    assert daemon.stop(signal.SIGTERM) == 0
    records = journal_of(daemon)
    (end,) = places(records, e.ShutdownRequested)
    assert records[end].record.reason == "SIGTERM"  # type: ignore[union-attr]
    assert places(records, e.OrderCancelled)[0] > end
    replays(daemon)


def test_a_session_that_runs_is_not_replayed_and_not_called_damaged(daemon: Running) -> None:
    """By name, as ``latest``, by folder, with ``--salvage``: one line with the process; replayed once it has ended."""
    sessions = ("--sessions", str(daemon.folder / "sessions"))
    name = daemon.session.name
    for wanted in ((name,), ("latest",), (str(daemon.session),), (name, "--salvage")):
        done = kestrel("replay", *wanted, *sessions, "--json")
        refused(done, f"session {name} is running (process {daemon.process.pid})", "wait for its end or stop it")
    assert daemon.stop(signal.SIGTERM) == 0
    replays(daemon)


@pytest.mark.fault("A11")
def test_a_second_interrupt_ends_the_process_at_once(daemon: Running) -> None:
    """The exchange is stopped dead, so that cancels are never confirmed: the second SIGINT does not wait for them."""
    exchange = sandbox_of(daemon)
    os.kill(exchange, signal.SIGSTOP)
    try:
        daemon.process.send_signal(signal.SIGINT)
        daemon_journal = daemon.session / "journal"
        end = time.monotonic() + 60
        while not any(isinstance(r.record, e.ShutdownRequested) for r in read_journal(daemon_journal)):
            assert time.monotonic() < end
            time.sleep(0.05)
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(60) == 130
    finally:
        os.kill(exchange, signal.SIGCONT)
    assert gone(exchange), "the exchange must end with the daemon, however that ends"
    replays(daemon)


def test_the_death_of_the_exchange_ends_the_session_in_one_line(daemon: Running) -> None:
    """kill -9 of the child: exit 2, the reason on the last line, no traceback, and the journal replays."""
    os.kill(sandbox_of(daemon), signal.SIGKILL)
    assert daemon.process.wait(60) == 2
    said = daemon.err.read_text().strip().splitlines()
    assert said[-1].startswith("kestrel: the built-in exchange ended")
    assert "Traceback" not in daemon.said()
    assert json.loads(daemon.out.read_text().splitlines()[-1])["error"] == said[-1].removeprefix("kestrel: ")
    replays(daemon)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    """Sent as soon as the daemon announces itself, before the exchange is up: one line, no exchange left behind."""
    # A market of many minutes: the exchange is not up before this process runs again, however busy the machine is.
    running = start(tmp_path, "--set", "sandbox.history_s=3600", "--set", "sandbox.rate_per_s=10000")
    try:
        running.wait_for("kill switch")
        assert running.stop(number) == 2
    finally:
        running.close()
    assert running.err.read_text().strip().splitlines() == [
        f"kestrel: stopped by {number.name} before the venue was ready"
    ]
    replays(running)


def test_a_reader_that_goes_away_does_not_end_the_session(tmp_path: Path) -> None:
    """``paper | head -1``: standard output is closed after one line; the daemon trades on until it is told to stop."""
    (tmp_path / "resting.py").write_text(RESTING)
    mine = f"strategies=[{{name: mine, path: '{tmp_path}/resting.py:Resting', model: none}}]"
    process = subprocess.Popen(
        command("paper", *QUICK, "--set", mine, *into(tmp_path)),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Kestrel session")
        process.stdout.close()
        end = time.monotonic() + 90
        orders = 0
        while not orders:
            assert process.poll() is None, process.communicate()[1][-2000:]
            assert time.monotonic() < end
            time.sleep(0.05)
            for path in running_sessions(tmp_path / "run"):
                orders = ask(path, "status", timeout_s=120.0)["open_orders"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr is not None
        # Of a session this short it is said that features were never warm; nothing else is.
        assert [line for line in process.stderr.read().splitlines() if " warning " not in line] == []
    finally:
        process.kill()
        process.wait()
    (session,) = (tmp_path / "sessions").iterdir()
    assert (session / "summary.json").exists()
    assert replay_session(tmp_path, session.name)[1]["identical"] is True
