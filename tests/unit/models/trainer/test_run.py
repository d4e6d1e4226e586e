"""A run of every task, in one part and in several, and what is judged of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from engine.errors import ConfigError, DataError
from models.assets import AssetIds
from models.evaluation.evaluate import evaluate
from models.evaluation.ledger import Ledger
from models.evaluation.run_folder import RunFolder
from models.trainer.settings import load_settings, settings_of
from tests.support.training import candle_settings, write_candles

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.trainer import predict_test
from models.trainer.dataset import build, feature_spec
from models.trainer.opened import open_run
from models.trainer.run import estimate_run, run_folds, run_training
from tests.support.training_runs import EVERYTHING, StoppedError, same, trained


@pytest.mark.parametrize(
    ("task", "primary", "score"),
    [
        ("direction", "log_loss", "log_loss"),
        ("classes", "log_loss", "macro_f1"),
        ("signal", "pr_auc", "pr_auc"),
        ("return", "r2_oos", "mse"),
        ("variance", "qlike", "qlike"),
        ("regime", "log_loss", "mcc"),
    ],
)
def test_a_run_of_every_task_is_one_that_the_evaluation_takes(tmp_path, data, task, primary, score):
    """Reads the folder as the evaluation does: rows, predictions of exactly those rows, scores of each epoch."""
    result = trained(tmp_path / "run", data, task)
    assert result.runs == (tmp_path / "run",)
    assert np.isfinite(result.validation[score])
    run = RunFolder(tmp_path / "run")
    assert run.data.task.primary == primary
    for part in ("train", "validation"):
        assert run.predictions(part).values.shape[:2] == (1, len(run.rows(part)))
    run.check_test()
    assert not run.has_predictions("test")
    assert [line.epoch for line in run.epochs()] == [0, 1]
    assert result.epochs == 2
    beside = {"entry_share", "entry_move_bps", "entry_cost_bps"} if task == "direction" else set()
    assert result.validation.keys() - run.epochs()[-1].validation.keys() == beside
    assert run.environment.libraries["torch"]
    assert AssetIds.from_json((run.path / "assets.json").read_bytes()).instruments == run.data.instruments
    assert load_settings(run.path / "config.yaml")[0].task == task


@pytest.mark.parametrize(
    ("task", "names", "network"),
    [
        ("multi_task", ("regime", "return", "variance"), {"name": "mlp", "sizes": [8]}),
        ("multi_horizon", ("h1", "h3"), {"name": "mlp", "sizes": [8]}),
        (
            "multi_horizon",
            ("h1", "h3"),
            {"name": "temporal_lstm", "mode": "sequence", "target_len": 2, "hidden": 4, "layers": 1},
        ),
    ],
)
def test_several_forecasts_are_judged_one_by_one(tmp_path, data, task, names, network):
    """Each has a folder with its label, its predictions and its own scores of each epoch."""
    result = trained(tmp_path / "run", data, task, network=network)
    assert tuple(sorted(path.name for path in result.runs)) == tuple(f"run-{name}" for name in names)
    assert {"score"} | {name.partition(".")[0] for name in result.validation} == {"score", *names}
    labels = []
    for path in result.runs:
        run = RunFolder(path)
        assert run.predictions("validation").values.shape[1] == len(run.rows("validation"))
        loss = {"classes": "log_loss", "variance": "qlike", "return": "mse"}[run.data.task.kind]
        assert run.epochs()[0].validation[loss] == pytest.approx(
            json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])["validation"][
                f"{path.name.removeprefix('run-')}.{loss}"
            ]
        )
        labels.append(run.data.task.name)
    assert len(set(labels)) == len(labels)


def test_volatility_is_learned_where_it_clusters(tmp_path, data):
    """Eight epochs on volatility that comes in waves: a variance that is clearly better than its mean."""
    result = trained(
        tmp_path / "run", data, "variance", fit={"epochs": 8, "learning_rate": 0.01, "schedule": {"kind": "one_cycle"}}
    )
    run = RunFolder(tmp_path / "run")
    label, said = run.rows("validation").label, run.predictions("validation").values[0, :, 0]
    mean = run.rows("train").label.mean()
    naive = float((label / mean - np.log(label / mean) - 1).mean())
    assert result.validation["qlike"] < 0.95 * naive
    assert float((label / said).mean()) == pytest.approx(1.0, abs=0.02)  # the level is calibrated there


def test_a_walk_forward_is_a_run_for_each_origin(tmp_path, data):
    """Two origins: later ones learn from more, and no test is another's."""
    settings = settings_of(candle_settings("classes", split={"walk_forward": {"origins": 2}}, fit={"epochs": 1}))
    made = run_folds(settings, folder=tmp_path / "runs", data=data)
    first, second = (RunFolder(one.folder).data.parts for one in made)
    assert RunFolder(made[1].folder).data.test_of == "origin 2 of a walk-forward"
    assert first["train"].rows < second["train"].rows
    assert first["test"].last_ns < second["test"].first_ns
    with pytest.raises(ConfigError, match=r"split.origin 0 of a walk-forward with 2 origins"):
        run_training(settings, folder=tmp_path / "none", data=data)


def test_a_purged_fold_is_learned_around_and_is_no_result(tmp_path, data):
    """Of four folds every row before the test is held out once, none that touches it is learned from, and the test is
    the plain split's; what is trained that way is scored on its fold, and not evaluated."""
    plain = settings_of(candle_settings("classes"))
    whole = build(plain, feature_spec(plain.features), data)
    held, spans = [], whole.samples.spans
    for fold in (1, 2, 3, 4):
        one = settings_of(candle_settings("classes", split={"purged": {"folds": 4, "fold": fold}}))
        rows = build(one, feature_spec(one.features), data)
        assert rows.fingerprint != whole.fingerprint
        assert np.array_equal(rows.test.index, whole.test.index)
        assert spans[rows.train.index].apart_from(spans[rows.validation.index]).all()
        assert spans.end_ns[rows.train.index].max() < spans.begin_ns[rows.test.index].min()
        held.append(rows.validation.index)
    before = np.concatenate(held)
    assert len(set(before.tolist())) == len(before)
    assert set(whole.train.index.tolist()) | set(whole.validation.index.tolist()) < set(before.tolist())
    split = {"purged": {"folds": 4, "fold": 2}}
    made = trained(tmp_path / "run", data, split=split)
    assert made.validation["log_loss"] > 0
    run = RunFolder(made.runs[0])
    assert run.data.parts["train"].last_ns > run.data.parts["validation"].last_ns
    with pytest.raises(DataError, match=r"learned from rows after its validation part: .*; train without split.purged"):
        evaluate(made.runs[0], ledger=tmp_path / "ledger.jsonl", commit="c", now_ns=1)
    assert not (tmp_path / "ledger.jsonl").exists()
    with pytest.raises(DataError, match="a fold of a study's trial, whose scores and thresholds are no forecast's"):
        open_run(made.folder, data)  # as its bundle would, or a refresh
    for wrong, said in (
        ({"purged": {"folds": 4, "fold": 5}}, "split.purged.fold 5; expected 1 to 4"),
        ({"purged": {"folds": 4, "fold": 1}, "walk_forward": {}}, "split.purged with split.walk_forward"),
    ):
        with pytest.raises(ConfigError, match=said):
            settings_of(candle_settings("classes", split=wrong))


def test_a_walk_forward_that_was_stopped_goes_on_behind_what_is_done(tmp_path, data):
    """Stopped in the second origin: the first is not trained again, and both are those of a run left alone."""
    settings = settings_of(candle_settings("classes", split={"walk_forward": {"origins": 2}}))
    whole = run_folds(settings, folder=tmp_path / "whole", data=data)
    lines = []

    def stop(line):
        lines.append(line)
        if len(lines) == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_folds(settings, folder=tmp_path / "stopped", data=data, on_epoch=stop)
    lines.clear()
    again = run_folds(settings, folder=tmp_path / "stopped", data=data, resume=True, on_epoch=lines.append)
    assert [line.epoch for line in lines] == [1]
    for one, other in zip(whole, again, strict=True):
        same(one.folder, other.folder)


# --- the test part ----------------------------------------------------------------------------------------------


def test_what_is_judged_may_be_fewer_instruments_than_what_is_learned_from(tmp_path, data):
    """Validation and test have rows of the one alone, the training of both; it is other data."""
    every = trained(tmp_path / "every", data, "return", fit={"epochs": 1})
    one = RunFolder(every.folder).data.instruments[1]
    some = {"judged_instruments": [one]}
    made = RunFolder(trained(tmp_path / "some", data, "return", fit={"epochs": 1}, split=some).folder)
    assert set(made.rows("train").instrument) == {0, 1}
    assert set(made.rows("validation").instrument) == {1}
    assert made.data.parts["train"] == RunFolder(every.folder).data.parts["train"]
    assert made.data.parts["test"].rows * 2 == RunFolder(every.folder).data.parts["test"].rows
    assert made.data.fingerprint != RunFolder(every.folder).data.fingerprint
    with pytest.raises(ConfigError, match=f"judged_instruments names {one[1:]}.*did you mean {one}"):
        trained(tmp_path / "wrong", data, "return", split={"judged_instruments": [one[1:]]})
    assert not (tmp_path / "wrong").exists()


def test_the_test_is_predicted_against_an_opening_alone(tmp_path, data):
    """The networks that were kept say of the validation rows what the run has of them, and of the test what is
    asked."""
    trained(tmp_path / "run", data, "multi_task", assets={"width": 8})
    path = tmp_path / "run" / "run-regime"
    write = predict_test.prepare(path, data)
    run = RunFolder(path)
    opening = Ledger(tmp_path / "ledger.jsonl").open(
        run.test_set(), run="run", commit="", config_sha256="", data_fingerprint="", now_ns=1_760_000_000_000_000_000
    )
    write(run, opening)
    said = run.test_predictions(opening)
    assert said.values.shape == (1, run.data.parts["test"].rows, 4)


def test_a_run_that_is_not_done_or_learned_from_other_data_is_told_before_a_test_is_opened(tmp_path, data):
    """Without weights; and with candles that changed since."""
    own = write_candles(tmp_path)
    trained(tmp_path / "run", own)
    write_candles(tmp_path, still_from=800)
    with pytest.raises(DataError, match=r"learned from data of fingerprint .*train again"):
        predict_test.prepare(tmp_path / "run", own)
    for path in (tmp_path / "run" / "weights").iterdir():
        path.unlink()
    (tmp_path / "run" / "weights").rmdir()
    with pytest.raises(DataError, match="has no weights"):
        predict_test.prepare(tmp_path / "run", own)


# --- beside it --------------------------------------------------------------------------------------------------


def test_what_a_run_takes_is_measured_and_nothing_is_written(tmp_path, data):
    """Counts steps and parameters, of an ensemble too; its time grows with what it is asked for."""
    one = estimate_run(settings_of(candle_settings("classes")), data=data)
    assert one["steps_per_epoch"] == 512 // 64
    assert one["rows"]["train"] > one["rows"]["test"] > 100
    assert one["seconds"] >= 0
    assert one["step_ms"] > 0
    assert one["memory_mb"] > 50
    assert estimate_run(settings_of(candle_settings("classes", fit={"batch": "auto"})), data=data)["batch"] == 256
    members = {"name": "stacked_ensemble", "sizes": [4], "members": [{"name": "mlp"}, {"name": "mlp"}]}
    assert estimate_run(settings_of(candle_settings("regime", network=members)), data=data)["parameters"] > 1000
    assert not list(tmp_path.iterdir())


def test_tensorboard_gets_the_scores_of_each_epoch(tmp_path, data):
    """Reads them back with TensorBoard's own reader."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trained(tmp_path / "run", data, tracking={"tensorboard": True})
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard" / "seed-1"))
    events.Reload()
    told = [event.value for event in events.Scalars("validation/log_loss")]
    assert told == pytest.approx([line.validation["log_loss"] for line in RunFolder(tmp_path / "run").epochs()])


def test_settings_come_back_from_the_run_as_they_were(tmp_path, data):
    """All keys set to something of their own."""
    settings = settings_of(
        candle_settings("classes", **EVERYTHING, judged={"figures": [{"name": "x", "metric": "mcc", "value": 0.1}]})
    )
    path = tmp_path / "config.yaml"
    path.write_bytes(settings.to_yaml())
    assert load_settings(path)[0] == settings
    assert yaml.safe_load(path.read_text())["label"]["threshold"] == "0.004"
