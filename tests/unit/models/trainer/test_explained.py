from __future__ import annotations

import pytest

from engine.errors import DataError
from models.evaluation.run_folder import RunFolder
from models.trainer.settings import settings_of
from tests.support.training import candle_settings, write_candles

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("captum")

from models.trainer.explained import permuted  # noqa: E402
from models.trainer.opened import open_run  # noqa: E402
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
    found, shuffled = run.importance()
    assert (found.of, found.method, found.part) == ("network", "integrated gradients", "validation")
    assert found.values["rv_5"] > found.values["ret_1"]
    assert (shuffled.of, shuffled.method, shuffled.unit) == ("network", "permutation", "growth of qlike")
    assert shuffled.rows == shuffled.of_rows == run.data.parts["validation"].rows
    assert shuffled.values["rv_5"] > max(shuffled.values["ret_1"], 0)
    assert shuffled.intervals["rv_5"][0] > 0
    assert not run.has_predictions("test")
    prepare(run.path, data, ["moves=r*_*,ret_*"])
    grouped = run.importance()
    assert grouped[0] == found
    assert grouped[1].groups == {"moves": ("ret_1", "rv_5", "range_ratio")}
    assert set(grouped[1].values) == {"moves"}
    prepare(run.path, data)
    assert run.importance() == grouped
    with pytest.raises(DataError, match="--group x: no column is called 'rsi'"):
        prepare(run.path, data, ["x=rsi"])


def test_a_signal_is_explained_by_the_score_that_it_is_judged_by(tmp_path):
    """By PR-AUC, which is to be great; of a large network a sample of the rows is enough."""
    data = write_candles(tmp_path)
    made = run_training(settings_of(candle_settings("signal", fit={"epochs": 1})), folder=tmp_path / "run", data=data)
    opened = open_run(made.folder, data)
    first, task = opened.network(1, opened.normaliser()), opened.runs[0].data.task
    whole = permuted(opened.rows, first, 0, task)
    assert whole.unit == f"drop of {task.primary}" == "drop of pr_auc"
    assert set(whole.intervals) == set(whole.values) == {"ret_1", "rv_5", "range_ratio"}
    assert permuted(opened.rows, first, 0, task) == whole


def test_each_class_and_each_forecast_is_explained_by_itself(tmp_path):
    """Of a recurrent network with an embedding, and of several forecasts."""
    data = write_candles(tmp_path)
    network = {"name": "gru", "hidden": 4, "layers": 1, "dense": 4}
    settings = candle_settings("multi_task", network=network, assets={"width": 8}, fit={"epochs": 1})
    made = run_training(settings_of(settings), folder=tmp_path / "run", data=data)
    told = {}
    for place in made.runs:
        prepare(place, data)
        *gradients, shuffled = RunFolder(place).importance()
        told[place.name] = [one.of for one in gradients], shuffled.unit.split()[-1]
    assert told == {
        "run-regime": ([f"network, {name}" for name in ("bear", "sideways", "bull", "volatile")], "log_loss"),
        "run-return": (["network"], "r2_oos"),
        "run-variance": (["network"], "qlike"),
    }
