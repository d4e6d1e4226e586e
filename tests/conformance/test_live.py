"""``live`` as its owner types it, against a server of ours over TLS: approved, looked at, checked, traded, replayed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import run
from connectors.certificates import AUTHORITY
from engine.runtime.control import user_run_folder
from engine.runtime.summary import read_summary
from tests.support.daemon import Running, kestrel, last_json
from tests.support.durable import Exchange, noted, resting, until
from tests.support.live import write_live


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    """Its key lies where the configuration looks for it."""
    running = Exchange(tmp_path, tls=tmp_path / "tls")
    yield running
    running.close()


class Live(Running):
    """A live daemon in the background; its session has a name, since a check has been there before."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(folder, "--session", "traded", *arguments, command_name="live")

    @property
    def session(self) -> Path:
        return self.folder / "sessions" / "traded"


def typed(*arguments: str) -> Result:
    """A command in this process, where nothing has to be loaded again."""
    return CliRunner().invoke(run.app, arguments)


@pytest.mark.fault("F16")
def test_a_live_session_from_its_approval_to_its_replay(exchange: Exchange, tmp_path: Path) -> None:
    """Nothing leaves in the check although the strategy would buy at once; then it trades, is asked to end, leaves
    nothing open, and both sessions replay.  What was not approved, or comes second, does not start."""
    trusted = {"ca_file": str(tmp_path / "tls" / AUTHORITY)}
    config = ["--config", str(write_live(tmp_path, exchange.rest_url, venue=trusted))]
    approved = typed("config", "approve", *config, "--reason", "rehearsed")
    assert approved.exit_code == 0, approved.output
    looked = typed("doctor", *config, "--json")
    assert looked.exit_code == 0, looked.output
    found = json.loads(looked.stdout.splitlines()[-1])
    assert (found["ok"], found["live"]) == (True, True)
    confirmed = [*config, "--confirm", found["account"]]

    checked = kestrel("live", *confirmed, "--check", "--session", "checked", "--json")
    assert checked.returncode == 0, checked.stderr
    assert (last_json(checked)["fills"], last_json(checked)["stopped_by"]) == (0, "nothing but a check was asked for")
    assert exchange.open_orders() == []

    running = Live(tmp_path, *confirmed)
    try:
        resting(running)
        header = json.loads((running.session / "session.json").read_text())
        assert header["mode"] == "live"
        assert header["approved"].endswith(": rehearsed")
        assert "speaks Coinbase Advanced Trade" in running.said()
        second = typed("live", *confirmed)
        assert "checks failed (lock): account " in str(second.exception)
        assert running.stop(signal.SIGTERM) == 0, running.said()
        until(lambda: bool(noted(running, "session_ended")), "the watchdog to end with the session")
        assert noted(running, "venue_reached")
    finally:
        running.close()
    assert exchange.open_orders() == []
    summary = read_summary(running.session)
    assert summary.fills >= 1
    assert summary.open_order_count == 0
    for session in ("checked", "traded"):
        replayed = typed("replay", session, "--sessions", str(tmp_path / "sessions"))
        assert replayed.exit_code == 0, replayed.output
    (pointer,) = (user_run_folder() / "accounts").glob("*.json")
    kept = json.loads(pointer.read_text())
    pointer.write_text(json.dumps(kept | {"identity": "f" * 16}))
    other = typed("doctor", *config)
    assert other.exit_code == 1
    assert "is another one than its sessions so far" in other.output
    assert json.loads(pointer.read_text())["identity"] == "f" * 16
    changed = typed("live", *confirmed, "--set", "risk.max_open_orders=4")
    assert "configuration (in: risk)" in str(changed.exception)
