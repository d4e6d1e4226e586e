"""All looks together: their order, what is not asked after a failure, and how they are shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from config import doctor
from config.doctor import Around, examine, examine_configured, show, subject_of
from config.doctor_checks import Subject
from config.doctor_venue import PARTS
from config.load import load
from connectors.coinbase.sandbox.keys import make_key_file
from engine.findings import Finding, Outcome
from engine.runtime.clocks import SystemClock
from tests.support.live import write_live

DISK = Finding("disk", Outcome.OK, "12 GiB free")


def around(*machine: Finding) -> Around:
    return Around(lambda _: list(machine), lambda _: lambda _identity: None, SystemClock, lambda text: text)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Subject]:
    """The subjects of which the venue was asked."""
    told: list[Subject] = []

    def ask(subject: Subject, *_: object) -> list[Finding]:
        told.append(subject)
        return [Finding("connection", Outcome.OK, "coinbase answers")]

    monkeypatch.setattr(doctor, "venue_findings", ask)
    return told


def test_the_venue_isasked_last_and_not_with_a_key_that_is_in_doubt(tmp_path: Path, asked: list[Subject]) -> None:
    """Settings, machine, venue; a key that others can read is not used, whatever else is well."""
    make_key_file(tmp_path / "key.json")
    subject = subject_of(load([write_live(tmp_path)], env={}), live=True)
    names = [one.check for one in examine(subject, around(DISK))]
    assert (names[0], names[-2:]) == ("configuration", ["disk", "connection"])
    assert asked == [subject]
    (tmp_path / "key.json").chmod(0o640)
    findings = examine(subject, around(DISK))
    assert [one.check for one in findings[-9:]] == ["connection", *PARTS]
    assert {one.seen for one in findings[-9:]} == {"not asked: key file failed"}
    assert len(asked) == 1


def test_what_may_be_traded_live_is_written_down(tmp_path: Path) -> None:
    """``all`` stays ``all`` for the limits to refuse; on paper it becomes the session's instruments."""
    path = write_live(tmp_path, risk={"allowed_instruments": "all"})
    assert subject_of(load([path], env={}), live=True).settings.risk.allowed_instruments == "all"
    assert subject_of(load([path], env={}), live=False).settings.risk.allowed_instruments == ["BTC/USD@coinbase"]


def test_the_object_names_the_account_and_settings_that_cannot_be_read_are_a_finding(
    tmp_path: Path, asked: list[Subject], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the profile it is known what is asked; a mistyped key is a line like any other."""
    make_key_file(tmp_path / "key.json")
    made = examine_configured([write_live(tmp_path)], {}, around(DISK))
    assert (made["ok"], made["live"]) == (True, True)
    assert made["account"].startswith("coinbase-")
    last = {"check": "connection", "outcome": "ok", "seen": "coinbase answers", "expected": "", "do": ""}
    assert made["checks"][-1] == last
    assert "ready" in capsys.readouterr().out
    wrong = examine_configured([], {"risk.max_ordr_notional": 1}, around(DISK))
    assert (wrong["ok"], wrong["live"], wrong["account"], len(wrong["checks"])) == (False, False, "", 1)
    assert "max_order_notional" in str(wrong["checks"])
    assert "not ready" in capsys.readouterr().out


def test_secrets_are_cleaned_out_of_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    """Venues quote what they were sent."""
    told = Finding("connection", Outcome.FAILED, "refused S3CRET", "not S3CRET", "change S3CRET")
    clean = Around(
        lambda _: [told], lambda _: lambda _identity: None, SystemClock, lambda text: text.replace("S3", "*")
    )
    found = examine_configured([], {}, clean)
    assert "S3CRET" not in str(found) + capsys.readouterr().out
    assert found["checks"][-10]["seen"] == "refused *CRET"


def test_a_line_has_what_was_seen_and_what_to_do_where_that_is_something() -> None:
    """One line when all is well, two more when it is not, and the sum."""
    out = io.StringIO()
    late = Finding("clock", Outcome.FAILED, "[off] by 4 s", "at most 1 s", "synchronise it")
    show([DISK, late], console=Console(file=out, width=200, color_system=None))
    assert out.getvalue().splitlines() == [
        "ok      disk           12 GiB free",
        "failed  clock          [off] by 4 s",
        "                       expected: at most 1 s",
        "                       do: synchronise it",
        "1 failed, 1 ok: not ready",
    ]
