"""What the settings say before a session: each look that fails says what to do, all of them are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.doctor import subject_of
from config.doctor_checks import Subject, settings_findings
from config.load import load
from connectors.coinbase.sandbox.keys import make_key_file
from engine.findings import Finding, Outcome
from tests.support.daemon import NO_CHAMPIONS
from tests.support.live import LIMITS, live_config, write_live


def subject(folder: Path, *, live: bool = True, **changes: Any) -> Subject:
    if not (folder / "key.json").exists():
        make_key_file(folder / "key.json")
    return subject_of(load([write_live(folder, **changes)], env=NO_CHAMPIONS), live=live)


def found(made: Subject) -> dict[str, Finding]:
    return {one.check: one for one in settings_findings(made)}


def test_a_sound_live_configuration_passes_every_look(tmp_path: Path) -> None:
    """And the lines say what will trade where."""
    made = found(subject(tmp_path))
    assert {name: one for name, one in made.items() if one.outcome is not Outcome.OK} == {}
    assert made["venue"].seen == "coinbase at https://127.0.0.1:1: play money: a server of our own"
    assert made["configuration"].seen.startswith("profile production; ")
    assert f"{tmp_path}/live.json" in made["configuration"].seen
    assert made["limits"].seen == "version 1, explicit; entries in BTC/USD@coinbase"
    assert made["account"].seen.startswith("coinbase-")
    assert made["strategies"].seen == f"mine ({tmp_path}/resting.py:Resting)"
    assert made["watchdog"].seen == "on; when the daemon dies: cancel"


def test_paper_as_it_ships_needs_no_account_and_passes(tmp_path: Path) -> None:
    """What is about keys is skipped; the demo model is opened and computes what it should."""
    made = found(subject_of(load(env=NO_CHAMPIONS), live=False))
    assert {one.outcome for one in made.values()} == {Outcome.OK, Outcome.SKIPPED}
    assert [name for name, one in made.items() if one.outcome is Outcome.SKIPPED] == ["key file", "account", "watchdog"]
    assert "demo-crypto" in made["models"].seen
    assert made["venue"].seen == "coinbase: a built-in exchange starts with the session, play money"
    running = found(subject(tmp_path, live=False, profile="paper", venue={"rest_url": "http://127.0.0.1:1"}))
    assert running["venue"].seen == "coinbase at http://127.0.0.1:1, play money"
    assert running["account"].outcome is Outcome.OK


@pytest.mark.parametrize(
    ("changes", "check", "outcome", "said"),
    [
        ({"profile": "paper"}, "configuration", Outcome.FAILED, "profile is paper"),
        ({"engine": {"cpu": 4096}}, "configuration", Outcome.FAILED, "engine.cpu is 4096, which is no processor"),
        ({"venue": {"rest_url": "http://127.0.0.1:1"}}, "venue", Outcome.FAILED, "expected https"),
        ({"venue": {"key_file": None}}, "key file", Outcome.FAILED, "venue.key_file is empty"),
        ({"venue": {"key_file": None}}, "account", Outcome.FAILED, "address or key of the account is missing"),
        ({"risk": LIMITS | {"max_daily_loss": None}}, "limits", Outcome.FAILED, "'max_daily_loss' is missing"),
        ({"risk": LIMITS | {"allowed_instruments": "all"}}, "limits", Outcome.FAILED, "allowed_instruments is 'all'"),
        ({"risk": LIMITS | {"max_order_notional": 0}}, "limits", Outcome.FAILED, "max_order_notional is 0"),
        ({"risk": LIMITS | {"restricted_instruments": ["DOGE/USD"]}}, "limits", Outcome.WARNING, "binds nothing"),
        ({"portfolio": {"currency": "EUR"}}, "currencies", Outcome.FAILED, "BTC/USD@coinbase is paid in USD"),
        ({"strategies": []}, "strategies", Outcome.FAILED, "strategies is empty"),
        ({"strategies": [{"name": "m", "path": "gone.py:Gone"}]}, "strategies", Outcome.FAILED, "gone.py"),
        ({"strategies": [{"name": "m", "kind": "threshold", "model": "no"}]}, "models", Outcome.FAILED, "'no'"),
        ({"watchdog": {"enabled": False}}, "watchdog", Outcome.WARNING, "watchdog.enabled is false"),
        ({"watchdog": {"on_death": "keep"}}, "watchdog", Outcome.WARNING, "nobody to look after them"),
    ],
)
def test_what_is_wrong_is_said_and_the_other_looks_are_made(
    tmp_path: Path, changes: dict[str, Any], check: str, outcome: Outcome, said: str
) -> None:
    """One setting is spoiled; its line names it, and each of the nine looks has its line."""
    made = found(subject(tmp_path, **changes))
    assert len(made) == 9
    assert made[check].outcome is outcome
    assert said in "; ".join(("", made[check].seen, f"expected {made[check].expected}", made[check].do))


def test_limits_of_a_shipped_profile_do_not_count(tmp_path: Path) -> None:
    """Left out of the file, they are missing; left undecided, a control is."""
    config = live_config(tmp_path)
    make_key_file(tmp_path / "key.json")
    for name, said in (("max_order_notional", "is missing"), ("max_leverage", "risk.max_leverage is not decided")):
        less = config | {"risk": {key: value for key, value in config["risk"].items() if key != name}}
        write_live(tmp_path)
        (tmp_path / "live.json").write_text(json.dumps(less))
        made = found(subject_of(load([tmp_path / "live.json"], env=NO_CHAMPIONS), live=True))["limits"]
        assert made.outcome is Outcome.FAILED
        assert said in made.seen


@pytest.mark.parametrize(("mode", "said"), [(0o644, "mode 644"), (0o400, ""), (0o600, "")])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int, said: str) -> None:
    """Its owner alone; the text never shows what is in it."""
    make_key_file(tmp_path / "key.json")
    (tmp_path / "key.json").chmod(mode)
    made = found(subject(tmp_path))["key file"]
    assert (made.outcome is Outcome.FAILED) is bool(said)
    assert said in made.seen
    assert "PRIVATE" not in made.seen + made.expected + made.do
    assert made.do == (f"run chmod 600 {tmp_path / 'key.json'}" if said else "")
