"""``live``: in which order it refuses, and that nothing is started before all of it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from config import doctor
from config.doctor import Around
from config.doctor_checks import Subject
from config.exchange import account_of
from config.live_command import register
from config.load import load
from config.session_plan import SessionPlan
from connectors.coinbase.sandbox.keys import make_key_file
from engine.errors import KestrelError
from engine.findings import Finding, Outcome
from engine.runtime.clocks import SystemClock
from tests.support.daemon import NO_CHAMPIONS
from tests.support.live import write_live

WELL = Finding("disk", Outcome.OK, "12 GiB free")
FULL = Finding("disk", Outcome.FAILED, "full", "room", "sessions prune")
NARROW = Finding("disk", Outcome.WARNING, "1 GiB free", "2 GiB", "sessions prune")


class Command:
    """The command around one finding of the machine, and a venue that is ready."""

    def __init__(self, patch: pytest.MonkeyPatch, machine: Finding = WELL) -> None:
        self.started: list[tuple[Subject, SessionPlan]] = []
        self.asked = 0
        self.app = typer.Typer()
        around = Around(lambda _: [machine], lambda _: lambda _identity: None, SystemClock, lambda text: text)
        register(self.app, lambda: around, lambda subject, plan: self.started.append((subject, plan)))
        self.app.command("other")(lambda: None)
        patch.setattr(doctor, "venue_findings", self._venue)

    def _venue(self, *_: Any) -> list[Finding]:
        self.asked += 1
        return [Finding("connection", Outcome.OK, "coinbase answers")]

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(self.app, ["live", *arguments])

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert isinstance(done.exception, KestrelError), done.exception
        assert self.started == []
        assert "\n" not in str(done.exception)
        return str(done.exception)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.delenv("CONFIG_FILE", raising=False)
    return Command(monkeypatch)


def named(path: Path) -> list[str]:
    return ["--config", str(path), "--confirm", account_of(load([path], env=NO_CHAMPIONS), live=True)]


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"profile": "paper"}, [], "profile is paper"),
        ({"venue": {"rest_url": "http://127.0.0.1:1"}}, [], "expected https"),
        ({}, ["--confirm", "coinbase-000000000000"], "--confirm coinbase-000000000000, but"),
        ({}, ["--confirm", ""], "nobody has confirmed the account"),
        ({}, ["--for", "0"], "--for 0"),
        ({"risk": {"max_daily_loss": None}}, [], "1 of 11 checks failed (limits): "),
        ({"risk": {"allowed_instruments": "all"}}, [], "risk.allowed_instruments is 'all'; expected a list of ids"),
        ({"strategies": []}, [], "checks failed (strategies): strategies is empty"),
    ],
)
def test_each_reason_against_it_is_one_line_and_nothing_starts(
    tmp_path: Path, command: Command, changes: dict[str, Any], arguments: list[str], said: str
) -> None:
    """One thing is wrong, all others are right."""
    make_key_file(tmp_path / "key.json")
    path = write_live(tmp_path, **changes)
    assert said in command.refused(*named(path), *arguments)


def test_the_key_is_not_used_before_it_is_private(tmp_path: Path, command: Command) -> None:
    """Refused before the venue is asked."""
    make_key_file(tmp_path / "key.json")
    path = write_live(tmp_path)
    given = named(path)
    (tmp_path / "key.json").chmod(0o644)
    assert "has mode 644; expected mode 600" in command.refused(*given)
    assert command.asked == 0


def test_without_a_file_of_ones_own_nothing_is_live(command: Command) -> None:
    """The defaults are for paper, and no address is one of them."""
    assert command.refused().startswith("profile is paper; expected production")
    assert "are empty; expected all of venue.rest_url" in command.refused("--set", "profile=production")


def test_a_failure_refuses_and_a_warning_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are shown; the words of the first failure are those of the refusal."""
    monkeypatch.delenv("CONFIG_FILE", raising=False)
    make_key_file(tmp_path / "key.json")
    path = write_live(tmp_path)
    said = Command(monkeypatch, FULL).refused(*named(path))
    assert said == "1 of 11 checks failed (disk): full; expected room; sessions prune"
    narrow = Command(monkeypatch, NARROW)
    done = narrow.run(*named(path), "--check", "--for", "3", "--session", "mine", "--no-report", "--venue-truth")
    assert done.exception is None
    assert "1 GiB free" in done.stderr
    ((subject, plan),) = narrow.started
    assert subject.live
    assert subject.venue_truth  # or the looks would refuse what it is there to go on without
    assert plan == SessionPlan(
        "live", "max", 3.0, "mine", report=False, venue_truth=True, only_check=True, as_json=False
    )
