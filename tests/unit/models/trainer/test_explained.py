from __future__ import annotations

import pytest

from models.evaluation.run_folder import RunFolder
from models.trainer.settings import settings_of
from tests.support.training import candle_settings, write_candles

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("captum")

from models.trainer.predict_test import prepare  # noqa: E402
from models.trainer.run import run_training  # noqa: E402


def test_a_trained_network_says_which_columns_it_lives_on_before_its_test_is_opened(tmp_path):
    """A variance that clusters is told by the variance that was, more than by the last returns; the test has
    no predictions yet."""
    data = write_candles(tmp_path)
    fit = {"epochs": 6, "learning_rate": 0.01, "rows_per_epoch": 1024}
    run_training(settings_of(candle_settings("variance", fit=fit)), folder=tmp_path / "run", data=data)
    run = RunFolder(tmp_path / "run")
    assert run.importance() == []
    prepare(run.path, data)
    (found,) = run.importance()
    assert (found.of, found.method, found.part) == ("network", "integrated gradients", "validation")
    assert found.values["rv_5"] > found.values["ret_1"]
    assert not run.has_predictions("test")


def test_each_class_and_each_forecast_is_explained_by_itself(tmp_path):
    """Of a recurrent network with an embedding, and of several forecasts."""
    data = write_candles(tmp_path)
    network = {"name": "gru", "hidden": 4, "layers": 1, "dense": 4}
    settings = candle_settings("multi_task", network=network, assets={"width": 8}, fit={"epochs": 1})
    made = run_training(settings_of(settings), folder=tmp_path / "run", data=data)
    told = {}
    for place in made.runs:
        prepare(place, data)
        told[place.name] = [one.of for one in RunFolder(place).importance()]
    assert told == {
        "run-regime": [f"network, {name}" for name in ("bear", "sideways", "bull", "volatile")],
        "run-return": ["network"],
        "run-variance": ["network"],
    }
