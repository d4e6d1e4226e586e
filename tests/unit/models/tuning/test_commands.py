"""``run.py tune`` with the real trainer: what it prints, its JSON, what it leaves."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("optuna")
pytest.importorskip("torch")

from engine.errors import KestrelError
from models.evaluation.run_folder import RunFolder
from models.trainer.settings import load_settings
from models.tuning import commands
from tests.support.training import write_quotes
from tests.support.tuning import RATE, tiny_training, write_study

app = typer.Typer()
commands.register(app)
app.command("other")(lambda: None)


def test_it_searches_trains_the_finalists_and_says_what_is_next(tmp_path):
    """Three trials of two epochs on generated quotes, two of them on two seeds again; the test stays shut."""
    write_quotes(tmp_path)
    path = write_study(tmp_path, training=tiny_training(epochs=2), trials=3)
    folder = tmp_path / "a"
    done = CliRunner().invoke(
        app, ["tune", "--config", str(path), "--out", str(folder), "--data", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.strip().splitlines()
    assert lines[0] == "tiny-study: 3 complete; log_loss of the finalists on validation rows, mean over seeds:"
    assert lines[-2] == f"next: python run.py train --config {folder / 'best.yaml'}"
    found = json.loads(lines[-1])
    assert {"study", "trials", "finalists", "values", "importance", "config", "seconds"} <= found.keys()
    assert found["epochs"] == 6
    chosen = found["finalists"][0]
    run = RunFolder(folder / chosen["folder"])
    assert run.data.seeds == (1, 2)
    assert run.predictions("validation").values.shape[0] == 2
    assert not run.has_predictions("test")
    best, _ = load_settings(Path(found["config"]))
    assert best.fit.learning_rate == chosen["values"][RATE]
    assert best.data.rows_folder == ""
    assert not list(tmp_path.rglob("test-ledger*"))
    assert len(list((folder / "rows").glob("[0-9a-f]*"))) == 1


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    """Optuna missing."""
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "models.tuning.tune":
            raise ModuleNotFoundError("No module named 'optuna'", name="optuna")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    done = CliRunner().invoke(app, ["tune", "--config", str(tmp_path / "none.yaml")])
    assert isinstance(done.exception, KestrelError)
    assert str(done.exception) == "tuning needs optuna; expected the extra train; pip install -e '.[cpu,train]'"
