from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from engine.errors import ConfigError, DataError
from models.evaluation.description import EpochLine
from models.trainer.run import run_training
from models.trainer.settings import settings_of
from models.trainer.tracking import tracked
from tests.clients import environment
from tests.support.training import candle_settings


def test_without_mlflow_it_says_what_to_install(tmp_path, monkeypatch):
    """One line, before rows are read or a folder is made."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "mlflow" else object())
    settings = settings_of(candle_settings("classes", tracking={"mlflow": "sqlite:///mlflow.db"}))
    with pytest.raises(ConfigError, match=r"tracking.mlflow needs mlflow, .*; install the extra: .*track-mlflow"):
        run_training(settings, folder=tmp_path / "run", data=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("tracking", "where"),
    [
        ({"mlflow": "sqlite:///mlflow.db"}, "MLflow at sqlite:///mlflow.db: "),
        ({"tensorboard": True}, "TensorBoard in "),
    ],
)
def test_a_run_goes_on_where_what_it_told_is_not_installed(tmp_path, capsys, monkeypatch, tracking, where):
    """Begun where it was: told in one line for all epochs."""
    for name in ("mlflow", "mlflow.entities", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with tracked(settings_of(candle_settings("classes", tracking=tracking)), tmp_path) as note:
        for epoch in range(2):
            note(line_of(epoch))
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(where)
    assert said.endswith("; the run goes on without it")


def test_a_disk_that_does_not_take_tensorboard_ends_no_run(tmp_path, capsys):
    """A file lies where its folder is to be."""
    (tmp_path / "tensorboard").write_text("")
    with tracked(settings_of(candle_settings("classes", tracking={"tensorboard": True})), tmp_path) as note:
        for epoch in range(2):
            note(line_of(epoch))
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"TensorBoard in {tmp_path / 'tensorboard'}: ")


def test_a_resumed_run_needs_no_mlflow(tmp_path, monkeypatch):
    """It may not be told to leave the key out: a run that goes on has the settings that it began with.  This one gets
    as far as its rows, which are not there."""
    told = settings_of(candle_settings("classes", tracking={"mlflow": "sqlite:///mlflow.db"}))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_bytes(told.to_yaml())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "mlflow" else object())
    with pytest.raises(DataError, match=r"\.csv|\.parquet"):
        run_training(told, folder=tmp_path / "run", data=tmp_path, resume=True)


def line_of(epoch: int) -> EpochLine:
    return EpochLine(1, epoch, {"loss": 1.0}, {"loss": 1.0})


@pytest.mark.parametrize(
    "address",
    [
        "http://me:SECRET@127.0.0.1:5000",
        "http://me:SEC/RET@127.0.0.1:5000",
        "postgresql://SECRET@host/runs",
        "mysql://host/runs?user=me&PassWord=SECRET",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_told(address):
    """It would stand in the run's config.yaml and in each error of MLflow."""
    with pytest.raises(
        ConfigError, match=r"a user name or a password in its address; .*MLFLOW_TRACKING_PASSWORD"
    ) as said:
        settings_of(candle_settings("classes", tracking={"mlflow": address}), "mine.yaml")
    assert str(said.value).startswith("mine.yaml: tracking.mlflow ")
    assert "SEC" not in str(said.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "sqlite:////home/me@work/mlflow.db"])
def test_an_address_without_one_is_taken(address):
    assert settings_of(candle_settings("classes", tracking={"mlflow": address})).tracking.mlflow == address


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
