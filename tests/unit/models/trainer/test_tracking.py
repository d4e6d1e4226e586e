from __future__ import annotations

import json
import os
import subprocess
import tomllib

import pytest

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from engine.errors import ConfigError
from models.trainer.run import run_training
from models.trainer.settings import settings_of
from tests.clients import environment
from tests.support.training import candle_settings


def test_without_mlflow_it_says_what_to_install(tmp_path, monkeypatch):
    """One line, before rows are read or a folder is made."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "mlflow" else object())
    settings = settings_of(candle_settings("classes", tracking={"mlflow": "sqlite:///mlflow.db"}))
    with pytest.raises(ConfigError, match=r"tracking.mlflow needs mlflow, .*; install the extra: .*track-mlflow"):
        run_training(settings, folder=tmp_path / "run", data=tmp_path)
    assert not (tmp_path / "run").exists()


def test_the_mlflow_that_is_tried_is_the_one_that_the_extra_installs():
    """The list of the test's environment and pyproject.toml."""
    extras = tomllib.loads((environment.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = environment.MLFLOW.read_text().splitlines()
    assert [line for line in listed if not line.startswith("#")] == extras["track-mlflow"]


def test_mlflow_gets_the_scores_of_each_epoch_of_a_run_that_was_stopped(tmp_path):
    """Written to SQLite by the real client and read back: one run there, all scores of both epochs once; an address
    that MLflow refuses is one line, and no run is begun; a server that is gone is told once and ends nothing."""
    try:
        python = environment.python_before_ours(environment.MLFLOW)
    except environment.NoClientsError as error:
        pytest.skip(str(error))
    said = subprocess.run(
        [python, "-m", "tests.support.mlflow_run", str(tmp_path)],
        cwd=environment.ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(environment.ROOT),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    line = next((line for line in said.stdout.splitlines() if line.startswith("found: ")), None)
    assert line is not None, said.stderr[-2_000:]
    found = json.loads(line.removeprefix("found: "))
    assert [(one["name"], one["status"]) for one in found["runs"]] == [("run", "FINISHED")]
    assert found["runs"][0]["params"]["network"] == "mlp"
    assert len(found["runs"][0]["params"]["data_fingerprint"]) == 64
    assert [line["epoch"] for line in found["epochs"]] == [0, 1]
    for name, told in found["told"].items():
        own = name.removeprefix("seed-1/")
        assert told == [[line["epoch"], pytest.approx(line[own])] for line in found["epochs"] if own in line], name
    assert "validation/log_loss" in {name.removeprefix("seed-1/") for name in found["told"]}
    assert found["refused"].startswith(f"tracking.mlflow file:{tmp_path}/mlruns: The filesystem tracking backend")
    assert "expected a server (http://127.0.0.1:5000) or a database (sqlite:///mlflow.db)" in found["refused"]
    assert not found["made"]
    (gone,) = [line for line in found["said"] if line.startswith("MLflow at ")]
    assert gone.startswith(f"MLflow at {found['gone']}: ")
    assert gone.endswith("; the run goes on without it")
