"""The watchdog beside real daemons on a real exchange: what it does when they stop, die or do not obey, and when not.

Every daemon is a process of its own, and so is its watchdog.  What counts is what the exchange and the disk show.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from engine.runtime import order_commands as by_hand
from engine.runtime.control import read_halt
from engine.runtime.secrecy import CORE_BYTES
from engine.runtime.summary import read_summary
from tests.support import durable
from tests.support.daemon import Running, halt_by_file, kestrel, replay_session
from tests.support.durable import Exchange, noted, resting, until, watchdog_log


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    running = Exchange(tmp_path_factory.mktemp("exchange"))
    yield running
    running.close()


def watchdog_of(running: Running) -> int:
    return int(noted(running, "started")[-1]["pid"])


def is_gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.fault("A13")
@pytest.mark.fault("F7")
def test_a_daemon_that_stops_is_halted_from_outside(exchange: Exchange, tmp_path: Path) -> None:
    """SIGSTOP: the order goes at the exchange and HALT is on disk while the daemon cannot do anything.  Woken up, it
    halts before it trades again; ``resume`` brings it back; and it all replays."""
    running = durable.start(exchange, tmp_path / "d")
    try:
        resting(running)
        watchdog = watchdog_of(running)
        os.kill(running.process.pid, signal.SIGSTOP)
        until(lambda: not exchange.open_orders(), "the order to be cancelled from outside")
        halt = read_halt(running.folder / "run")
        assert halt is not None
        assert halt["source"] == "watchdog"
        until(lambda: bool(noted(running, "none_open")), "the venue to confirm")
        events = [line["event"] for line in watchdog_log(running)]
        assert events.index("alert") < events.index("latched") < events.index("halt_written")
        assert events.index("halt_written") < events.index("cancels_sent") < events.index("none_open")
        os.kill(running.process.pid, signal.SIGCONT)
        until(lambda: durable.status_of(running).get("state") == "halted", "the daemon to halt")
        until(lambda: bool(noted(running, "daemon_well")), "the watchdog to see it")
        assert exchange.open_orders() == []
        done = kestrel("resume", "--sessions", str(running.folder / "sessions"), "--reason", "looked into it")
        assert done.returncode == 0, done.stderr
        resting(running)
        assert running.stop(signal.SIGTERM) == 0
        until(lambda: is_gone(watchdog), "the watchdog to end with the session")
        assert watchdog_log(running)[-1]["event"] == "session_ended"
        assert replay_session(running.folder, running.session.name)[1]["identical"] is True
    finally:
        running.close()


@pytest.mark.parametrize("policy", ["cancel", "halt"])
@pytest.mark.fault("A2")
@pytest.mark.fault("A12")
def test_orders_of_a_daemon_that_was_killed_go_as_the_policy_says(
    policy: str, exchange: Exchange, tmp_path: Path
) -> None:
    """kill -9, as when memory runs out: cancelled; or cancelled, and no start until resume."""
    running = durable.start(exchange, tmp_path / "d", watchdog__on_death=policy)
    try:
        resting(running)
        watchdog = watchdog_of(running)
        running.process.kill()
        running.process.wait()
        until(lambda: is_gone(watchdog), "the watchdog to be done")
        assert exchange.open_orders() == []
        assert (read_halt(running.folder / "run") is not None) is (policy == "halt")
        assert watchdog_log(running)[-1]["event"] == "finished"
    finally:
        running.close()


@pytest.mark.fault("F7")
def test_a_halt_file_is_carried_out_while_the_loop_is_stuck(exchange: Exchange, tmp_path: Path) -> None:
    """The daemon is stopped and nobody would miss its heart for an hour; ``halt`` by an operator is done all the same.
    Killed afterwards, its watchdog stays until the venue shows nothing open."""
    running = durable.start(exchange, tmp_path / "d", watchdog__stuck_s=3600, watchdog__halt_s=0.5)
    try:
        resting(running)
        watchdog = watchdog_of(running)
        os.kill(running.process.pid, signal.SIGSTOP)
        halt_by_file(running.folder / "run", "by hand")
        until(lambda: not exchange.open_orders(), "the halt to be carried out")
        assert "not obeyed" in noted(running, "alert")[0]["reason"]
        running.process.kill()
        running.process.wait()
        until(lambda: is_gone(watchdog), "the watchdog to be done")
        assert watchdog_log(running)[-1]["event"] == "finished"
    finally:
        running.close()


@pytest.mark.fault("A13")
def test_the_watchdog_of_a_healthy_daemon_does_nothing_and_is_replaced_when_it_dies(
    exchange: Exchange, tmp_path: Path
) -> None:
    """Killed, stopped by a signal, asked to end: the daemon goes on, another one watches, no order is touched."""
    running = durable.start(exchange, tmp_path / "d")
    try:
        resting(running)
        (order_id,) = exchange.open_orders()
        first = watchdog_of(running)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(first, number)
        until(lambda: len(noted(running, "signal_ignored")) == 3, "the signals to be noted")
        os.kill(first, signal.SIGKILL)
        until(lambda: watchdog_of(running) != first, "another watchdog")
        second = watchdog_of(running)
        assert exchange.open_orders() == [order_id]
        assert durable.status_of(running)["watchdog"] == f"process {second}"
        assert noted(running, "alert") == []
        assert running.stop(signal.SIGTERM) == 0
        until(lambda: is_gone(second), "the watchdog to end with the session")
        assert watchdog_log(running)[-1]["event"] == "session_ended"
        assert "the watchdog is gone; another one is started" in running.said() + "".join(
            path.read_text() for path in (running.session / "log").iterdir()
        )
    finally:
        running.close()


def elsewhere(exchange: Exchange, folder: Path, *, machine: str) -> subprocess.CompletedProcess[str]:
    """A start on the same account with other folders.  On another ``machine`` there are other locks as well, as here
    under another name of the exchange's address."""
    folder.mkdir()
    known_as = {"this": "127.0.0.1", "another": "localhost"}[machine]
    at = [text.replace("127.0.0.1", known_as) for text in exchange.settings()]
    other = ["--set", "session.directory=" + str(folder / "sessions"), "--set", "metrics.port=0", "--no-report"]
    return kestrel("paper", *at, *other, "--for", "30", KESTREL_RUN_DIR=str(folder / "run"))


def sold(sessions: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """By hand; the first time it is told that the strategy's own order is in the way, and is cancelled first."""
    try:
        by_hand.order("sell", "BTC/USD", "0.001", reduce_only=True, reason="test", sessions=sessions)
    except typer.Exit:
        assert capsys.readouterr().out.startswith("refused: in_the_way: ")
        return False
    return True


def secret_parts(key_file: Path) -> list[bytes]:
    """Every line of the private key."""
    lines = json.loads(key_file.read_text())["privateKey"].splitlines()
    return [line.encode() for line in lines if not line.startswith("-----")]


def of_process(pid: int, name: str) -> bytes:
    return (Path("/proc") / str(pid) / name).read_bytes()


@pytest.mark.fault("A10")
@pytest.mark.fault("F8")
@pytest.mark.fault("F15")
@pytest.mark.fault("A11")
@pytest.mark.fault("F2")
def test_an_operator_trades_by_hand_and_everything_is_flat_at_the_end(
    exchange: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """order, cancel, close and flatten; SIGTERM with ``shutdown.positions: flatten``; a replay makes every one of these
    orders again.  A daemon on another machine is refused meanwhile; the key is nowhere but in its file, and neither
    the daemon nor its watchdog would leave a core."""
    running = durable.start(exchange, tmp_path / "d", shutdown__positions="flatten")
    sessions = running.folder / "sessions"
    key = secret_parts(exchange.key_file)
    try:
        resting(running)
        beside = elsewhere(exchange, tmp_path / "beside", machine="this")
        assert (beside.returncode, beside.stderr.count("\n")) == (2, 1), beside.stderr
        assert f"is traded by process {running.process.pid} of " in beside.stderr
        assert list(tmp_path.glob("beside/sessions/*")) == []
        second = elsewhere(exchange, tmp_path / "elsewhere", machine="another")
        assert (second.returncode, second.stderr.count("\n")) == (2, 1), second.stderr
        assert f"open orders of another Kestrel daemon: session {running.session.name}" in second.stderr
        assert '"session_ended"' in next(tmp_path.glob("elsewhere/sessions/*/watchdog.log")).read_text()
        for pid in (running.process.pid, watchdog_of(running)):
            assert not any(part in of_process(pid, name) for part in key for name in ("cmdline", "environ"))
            (core,) = [line for line in of_process(pid, "limits").decode().splitlines() if "core file" in line]
            assert core.split()[4:6] == [str(CORE_BYTES)] * 2
        with pytest.raises(typer.Exit):
            by_hand.order("buy", "BTC/USD", "0.01", limit="100", sessions=sessions)
        assert "refused: collar" in capsys.readouterr().out
        until(lambda: sold(sessions, capsys), "the way out to be free")
        assert capsys.readouterr().out.startswith("sent: ")
        until(lambda: len(exchange.open_orders()) == 1, "the strategy's next order")
        (order_id,) = exchange.open_orders()
        by_hand.cancel(order_id, sessions=sessions)
        assert capsys.readouterr().out.startswith("asked to be cancelled: ")
        with pytest.raises(typer.Exit):
            by_hand.cancel("nothing", sessions=sessions)
        by_hand.flatten("test", sessions=sessions)
        assert "BTC/USD@coinbase: closed" in capsys.readouterr().out
        status = durable.status_of(running)
        assert (status["state"], status["open_orders"], exchange.open_orders()) == ("reducing", 0, [])
        assert float(status["positions"]["BTC/USD@coinbase"]) == 0
        done = kestrel("resume", "--sessions", str(sessions))
        assert done.returncode == 0, done.stderr
        resting(running)
        assert running.stop(signal.SIGTERM) == 0
        assert exchange.open_orders() == []
        assert float(read_summary(running.session).positions["BTC/USD@coinbase"].qty) == 0
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert any("journal" in path.parts for path in written)
        assert [path for path in written if any(part in path.read_bytes() for part in key)] == []
        assert replay_session(running.folder, running.session.name)[1]["identical"] is True
    finally:
        running.close()
