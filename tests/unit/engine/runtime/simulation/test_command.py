"""``run.py simulate``: what it prints, and that a failing seed runs again by the command that it names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import run
from tests.support.planted import PLANTED


def simulate(*words: str) -> Result:
    return CliRunner().invoke(run.app, ["simulate", *words])


def test_a_failing_seed_is_printed_with_the_command_that_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product is made wrong; the printed command is parsed and run, and finds the same violation first."""
    PLANTED["book_a_fill_twice"](monkeypatch)
    first = simulate("--seeds", "2", "--first-seed", "3", "--hours", "0.02", "--workers", "0", "--json")
    assert first.exit_code == 1
    totals = json.loads(first.stdout.splitlines()[-1])
    assert totals["violations"] > 0
    assert totals["first_failing_seed"] == 3
    (again,) = (line for line in first.stderr.splitlines() if line.startswith("again: "))
    words = shlex.split(again.removeprefix("again: python run.py simulate "))
    second = simulate(*words)
    assert second.exit_code == 1
    told = [line for line in second.stderr.splitlines() if line.startswith("seed 3, ")]
    assert told
    assert told == [line for line in first.stderr.splitlines() if line.startswith("seed 3, ")]


def test_a_sweep_goes_on_where_its_ledger_ends_and_writes_its_page(tmp_path: Path) -> None:
    """One seed, then hours for one more: seed 1 is not run again; the page and the JSON are of both."""
    ledger, written = tmp_path / "ledger.jsonl", tmp_path / "simulation.md"
    common = ["--hours", "0.01", "--workers", "0", "--ledger", str(ledger), "--write", str(written), "--json"]
    assert simulate("--seeds", "1", *common).exit_code == 0
    hours = json.loads(ledger.read_text())["ran"]["outcome"]["seconds"] / 3600.0
    done = simulate("--until-hours", f"{hours * 1.5}", *common)
    assert done.exit_code == 0
    seeds = [json.loads(line)["ran"]["outcome"]["seed"] for line in ledger.read_text().splitlines()]
    assert seeds == [1, 2]
    totals = json.loads(done.stdout.splitlines()[-1])
    assert totals["seeds"] == 2
    ran = [json.loads(line)["ran"]["outcome"]["seconds"] for line in ledger.read_text().splitlines()]
    assert len(ran) == 2
    assert totals["simulated_hours"] == pytest.approx(sum(ran) / 3600.0, abs=0.001)
    assert {"violations", "events", "orders", "faults", "first_failing_seed"} <= totals.keys()
    assert "2 seeds" in written.read_text()


def test_a_sweep_goes_on_after_a_record_whose_ledger_is_gone(tmp_path: Path) -> None:
    """Seed 1 is known by the record alone: seed 2 is next, and page and JSON tell of both."""
    record, written = tmp_path / "simulation.json", tmp_path / "simulation.md"
    common = ["--seeds", "1", "--hours", "0.01", "--workers", "0", "--record", str(record), "--write", str(written)]
    assert simulate(*common, "--ledger", str(tmp_path / "first.jsonl")).exit_code == 0
    done = simulate(*common, "--ledger", str(tmp_path / "second.jsonl"), "--json")
    assert done.exit_code == 0
    (line,) = (tmp_path / "second.jsonl").read_text().splitlines()
    assert json.loads(line)["ran"]["outcome"]["seed"] == 2
    assert json.loads(done.stdout.splitlines()[-1])["seeds"] == 2
    assert json.loads(record.read_text())[0]["seeds"] == [[1, 2]]
    assert "2 seeds" in written.read_text()


def test_what_is_about_a_ledger_needs_one() -> None:
    refused = simulate("--until-hours", "3")
    assert "name a ledger" in str(refused.exception)
