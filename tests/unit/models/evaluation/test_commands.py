"""``run.py evaluate``: what it prints, its JSON, and one line for each thing that a user can get wrong."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from engine.errors import DataError, KestrelError
from models.evaluation import commands
from tests.support import made_up_runs as made_up

for library in ("arch", "lightgbm", "mapie", "shap", "skfolio"):
    pytest.importorskip(library)
app = typer.Typer()
commands.register(app, lambda: "c0ffee")
app.command("other")(lambda: None)


def test_it_prints_the_table_the_verdict_and_where_the_report_is(tmp_path: Path) -> None:
    """And as the last line one JSON object with metrics, baselines, verdict."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    ledger = tmp_path / "ledger.jsonl"
    done = CliRunner().invoke(app, ["evaluate", "--run", str(run.path), "--ledger", str(ledger), "--json"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.strip().splitlines()
    assert lines[0].startswith("next-day return, oracle: r2_oos on ")
    assert any(line.startswith("network against zero: ") for line in lines)
    found = json.loads(lines[-1])
    assert {"task", "metrics", "baselines", "verdict", "reused", "report", "seconds"} <= found.keys()
    assert Path(found["report"]).read_text().startswith("<!doctype html>")
    assert "c0ffee" in ledger.read_text()


def test_a_run_that_is_none_is_one_line(tmp_path: Path) -> None:
    """Nothing is written, not even the ledger."""
    done = CliRunner().invoke(app, ["evaluate", "--run", str(tmp_path), "--ledger", str(tmp_path / "ledger.jsonl")])
    assert isinstance(done.exception, DataError)
    assert str(done.exception).startswith(f"no run at {tmp_path}; expected")
    assert not (tmp_path / "ledger.jsonl").exists()


def test_groups_of_columns_need_a_network_to_explain(tmp_path: Path) -> None:
    """Rows and predictions alone; told before the test is opened."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    ledger = tmp_path / "ledger.jsonl"
    words = ["evaluate", "--run", str(run.path), "--ledger", str(ledger), "--group", "a=b"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, DataError)
    assert str(done.exception).startswith("--group of a run without weights")
    assert not ledger.exists()


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM missing when the baselines are fitted."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.partition(".")[0] == "lightgbm":
            raise ModuleNotFoundError("No module named 'lightgbm'", name="lightgbm")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    done = CliRunner().invoke(app, ["evaluate", "--run", str(run.path), "--ledger", str(tmp_path / "ledger.jsonl")])
    assert isinstance(done.exception, KestrelError)
    assert "the evaluation needs lightgbm; expected the extra train" in str(done.exception)
