from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

from engine.errors import ConfigError, DataError
from models.assets import AssetIds
from models.evaluation.evaluate import evaluate
from models.evaluation.ledger import Ledger
from models.evaluation.run_folder import RunFolder
from models.trainer.settings import load_settings, settings_of
from tests.support.daemon import ROOT, environment
from tests.support.training import candle_settings, write_candles

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.trainer import predict_test  # noqa: E402
from models.trainer.dataset import build, feature_spec  # noqa: E402
from models.trainer.run import estimate_run, run_folds, run_training  # noqa: E402

EVERYTHING = {
    "assets": {"width": 8, "id_dropout": 0.2},
    "augmentation": {"jitter": 0.05, "shift_rows_max": 2},
    "network": {"name": "cnn_lstm", "filters": [6], "hidden": 5, "layers": 1, "dense": 6, "dropout": 0.3},
    "weights": {"uniqueness": True, "classes": True, "as": "draws"},
    "loss": {"kind": "focal"},
    "curriculum": {"label": {"kind": "class", "threshold": 0.002}, "epochs": 1},
}
"""All that draws random numbers or keeps something over a step."""


class StoppedError(Exception):
    """What a user's callback ends a run with."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("candles"))


def trained(folder: Path, files: Path, task: str = "classes", /, **changes):
    return run_training(settings_of(candle_settings(task, **changes)), folder=folder, data=files)


def same(one: Path, other: Path) -> None:
    """Weights, predictions and scores of two runs are equal bit for bit."""
    for path in sorted((one / "weights").iterdir()):
        left, right = (torch.load(run / "weights" / path.name, weights_only=True) for run in (one, other))
        assert left["served"].keys() == right["served"].keys()
        for key, value in left["served"].items():
            assert torch.equal(value, right["served"][key]), key
        assert {key: left[key] for key in left if key != "served"} == {
            key: right[key] for key in right if key != "served"
        }
    for part in ("train", "validation"):
        a, b = (RunFolder(run).predictions(part).values for run in (one, other))
        assert a.tobytes() == b.tobytes()
    lines = [[msgspec.structs.replace(line, seconds=0.0) for line in RunFolder(run).epochs()] for run in (one, other)]
    assert lines[0] == lines[1]


# --- every task -------------------------------------------------------------------------------------------------


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


# --- going on ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "stop_at"),
    [
        ({"fit": {"seeds": [1, 2], "epochs": 3, "ema": 0.9, "patience": 9}, **EVERYTHING}, [(1, 0), (2, 1)]),
        (
            {
                "network": {
                    "name": "stacked_ensemble",
                    "sizes": [4],
                    "members": [{"name": "mlp", "sizes": [4]}, {"name": "cnn_lstm", "filters": [4], "hidden": 4}],
                },
                "fit": {"schedule": {"kind": "plateau", "patience": 0}, "epochs": 3, "patience": 9},
            },
            [(1, 1)],
        ),
        (
            {"fit": {"schedule": {"kind": "warm_restarts", "cycle_epochs": 2}, "epochs": 4, "optimiser": "nadam"}},
            [(1, 2)],
        ),
        ({"fit": {"schedule": {"kind": "one_cycle"}, "epochs": 3, "optimiser": "sgd"}, "oversampling": True}, [(1, 0)]),
    ],
    ids=["everything", "ensemble", "warm_restarts", "one_cycle"],
)
def test_a_run_that_was_stopped_comes_to_the_very_same_result(tmp_path, data, changes, stop_at):
    """Ends it behind given epochs and goes on: weights, predictions and scores are those of a run left alone."""
    settings = settings_of(candle_settings("classes", **changes))
    whole = run_training(settings, folder=tmp_path / "whole", data=data)
    resume = False
    for at in stop_at:

        def stop(line, at=at):
            if (line.seed, line.epoch) == at:
                raise StoppedError

        with pytest.raises(StoppedError):
            run_training(settings, folder=tmp_path / "stopped", data=data, on_epoch=stop, resume=resume)
        resume = True
    stopped = run_training(settings, folder=tmp_path / "stopped", data=data, resume=True)
    assert stopped.validation == whole.validation
    assert stopped.epochs == whole.epochs
    same(tmp_path / "whole", tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "checkpoint.pt").exists()
    again = run_training(settings, folder=tmp_path / "stopped", data=data, resume=True)  # done: told, not trained
    assert again.validation == whole.validation


KILLED = """
import os, signal, sys
from pathlib import Path
from models.trainer.run import run_training
from models.trainer.settings import load_settings

def kill(line):
    if line.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)

config, folder, data = (Path(word) for word in sys.argv[1:])
run_training(load_settings(config)[0], folder=folder, data=data, on_epoch=kill)
"""


def test_a_process_that_was_killed_is_gone_on_with_by_another(tmp_path, data):
    """SIGKILL behind the second epoch: nothing is closed or told, and the result is that of a run left alone."""
    settings = settings_of(candle_settings("classes", fit={"epochs": 4, "ema": 0.9}, **EVERYTHING))
    run_training(settings, folder=tmp_path / "whole", data=data)
    (tmp_path / "tiny.yaml").write_bytes(settings.to_yaml())
    words = [sys.executable, "-c", KILLED, str(tmp_path / "tiny.yaml"), str(tmp_path / "killed"), str(data)]
    done = subprocess.run(words, cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)), check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(RunFolder(tmp_path / "killed").epochs()) == 2
    run_training(settings, folder=tmp_path / "killed", data=data, resume=True)
    same(tmp_path / "whole", tmp_path / "killed")


def test_a_member_of_an_ensemble_that_was_killed_goes_on(tmp_path, data, monkeypatch):
    """Kills it while a member learns, which tells nobody: by the checkpoint that it writes then."""
    from models.trainer import run as module

    members = [{"name": "mlp", "sizes": [4]}, {"name": "mlp", "sizes": [6]}]
    settings = settings_of(
        candle_settings("classes", network={"name": "stacked_ensemble", "sizes": [4], "members": members})
    )
    run_training(settings, folder=tmp_path / "whole", data=data)
    real, seen = module.checkpoint.save, []

    def killed(path, state):
        real(path, state)
        seen.append(state)
        if len(seen) == 3:  # the second member's first epoch
            raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(module.checkpoint, "save", killed)
        with pytest.raises(StoppedError):
            run_training(settings, folder=tmp_path / "killed", data=data)
    assert seen[-1]["stage"] == 1
    run_training(settings, folder=tmp_path / "killed", data=data, resume=True)
    same(tmp_path / "whole", tmp_path / "killed")


def test_scores_that_no_checkpoint_knows_are_made_again(tmp_path, data):
    """A kill between the line of an epoch and its checkpoint leaves a line too many; another one, half a line."""
    settings = settings_of(candle_settings("classes", fit={"epochs": 3}))
    run_training(settings, folder=tmp_path / "whole", data=data)

    def stop(line):
        if line.epoch == 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_training(settings, folder=tmp_path / "killed", data=data, on_epoch=stop)
    lines = tmp_path / "killed" / "metrics.jsonl"
    lines.write_bytes(lines.read_bytes() * 2 + lines.read_bytes()[:40])
    run_training(settings, folder=tmp_path / "killed", data=data, resume=True)
    same(tmp_path / "whole", tmp_path / "killed")


def test_a_run_that_goes_on_may_have_other_rates_and_more_epochs(tmp_path, data):
    """The rates of the groups are those that were asked for; anything else is refused."""
    begun = candle_settings("classes", fit={"schedule": {"kind": "constant"}, "epochs": 2})

    def stop(line):
        if line.epoch == 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_training(settings_of(begun), folder=tmp_path / "run", data=data, on_epoch=stop)
    changed = settings_of(begun | {"fit": {**begun["fit"], "learning_rate": 5e-4, "epochs": 4}})
    run_training(changed, folder=tmp_path / "run", data=data, resume=True)
    assert [line.learning_rate for line in RunFolder(tmp_path / "run").epochs()] == [1e-3, 1e-3, 5e-4, 5e-4]
    other = settings_of(begun | {"network": {"name": "mlp", "sizes": [9]}})
    with pytest.raises(ConfigError, match=r"made with other settings \(network\)"):
        run_training(other, folder=tmp_path / "run", data=data, resume=True)
    more = settings_of(begun | {"fit": {**begun["fit"], "learning_rate": 5e-4, "epochs": 9}})
    with pytest.raises(ConfigError, match="is done, with 4 epochs a seed"):
        run_training(more, folder=tmp_path / "run", data=data, resume=True)


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path, data):
    """A folder that is there, of a run or of something else; and none where one is to be resumed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        trained(tmp_path / "mine", data)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(DataError, match="no run to resume at"):
        run_training(settings_of(candle_settings("classes")), folder=tmp_path / "none", data=data, resume=True)
    assert not (tmp_path / "none").exists()


def test_damaged_and_foreign_checkpoints_are_one_line(tmp_path, data):
    """Bytes that are none, and one that holds more than data."""
    settings = settings_of(candle_settings("classes"))

    def stop(_line):
        raise StoppedError

    with pytest.raises(StoppedError):
        run_training(settings, folder=tmp_path / "run", data=data, on_epoch=stop)
    path = tmp_path / "run" / "checkpoint.pt"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match=r"checkpoint.pt cannot be read") as caught:
        run_training(settings, folder=tmp_path / "run", data=data, resume=True)
    assert "\n" not in str(caught.value)
    torch.save({"lines": Path("code")}, path)
    with pytest.raises(DataError, match=r"checkpoint.pt cannot be read"):
        run_training(settings, folder=tmp_path / "run", data=data, resume=True)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 6 kB: what a full disk does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_leaves_no_run(tmp_path, data, small_files):
    """The rows do not fit: told in one line, and nothing is there under the run's name."""
    with pytest.raises(DataError, match=r"cannot be written: File too large") as caught:
        trained(tmp_path / "runs" / "run", data)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_disk_that_fills_later_leaves_what_can_be_resumed(tmp_path, data):
    """The checkpoint after the first epoch does not fit; with room the run goes on and comes to the same result."""
    settings = settings_of(candle_settings("classes", network={"name": "mlp", "sizes": [32, 32]}))
    run_training(settings, folder=tmp_path / "whole", data=data)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(line):
        resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, before[1]))

    try:
        with pytest.raises(DataError, match=r"the checkpoint .* cannot be written: File too large.*resume"):
            run_training(settings, folder=tmp_path / "full", data=data, on_epoch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run_training(settings, folder=tmp_path / "full", data=data, resume=True)
    same(tmp_path / "whole", tmp_path / "full")


@pytest.mark.parametrize(
    ("task", "changes", "said"),
    [
        (
            "classes",
            {"label": {"kind": "class", "threshold": 0.5}},
            "no training row is DOWN, UP; expected rows of each",
        ),
        ("classes", {"features": {"columns": ["no_such"], "window": 6}}, "no_such"),
        ("classes", {"loss": {"kind": "mse"}}, "loss mse of the forecast classes"),
        ("classes", {"loss": {"kind": "weighted", "class_weights": [1, 2]}}, "2 class weights .* expected 3"),
        ("return", {"fit": {"monitor": "log_loss"}}, "fit.monitor 'log_loss'.*expected one of mse, r2_oos"),
        ("multi_task", {"fit": {"monitor": "qlike"}}, "3 forecasts"),
        ("classes", {"judged": {"rules": ["rv_6"]}}, "judged names the column rv_6"),
        ("classes", {"judged": {"primary": "qlike"}}, "judged.primary 'qlike'"),
        ("multi_task", {"judged": {"primary": "qlike"}}, "judged.primary 'qlike' of a task with 3 forecasts"),
        ("return", {"judged": {"figures": [{"name": "x", "metric": "mcc", "value": 1}]}}, "judged.figures of mcc"),
        ("multi_horizon", {"network": {"name": "temporal_lstm", "mode": "sequence"}}, r"gives \(-1, 5, 1\)"),
        ("classes", {"fit": {"batch": 5000, "rows_per_epoch": 9000}}, "batches of 5000 of"),
        ("classes", {"fit": {"learning_rates": {"haed": 1e-3}}}, "names haed"),
        ("classes", {"augmentation": {"shift_rows_max": 6}}, "a shift of up to 6 rows of windows of 6"),
        ("classes", {"tracking": {"mlflow": "var/mlflow"}}, "tracking.mlflow needs mlflow"),
        ("classes", {"split": {"validation_from": "2023-11-14", "test_from": "2023-11-15"}}, "0 train rows"),
        ("classes", {"data": {"files": ["candles.parquet"], "end": "2023-11-14T23:00:00Z"}}, "labelled rows"),
    ],
)
def test_what_makes_no_run_is_one_line_and_leaves_no_folder(tmp_path, data, task, changes, said):
    """Each mistake by itself."""
    if "mlflow" in said and find_spec("mlflow") is not None:
        pytest.skip("mlflow is installed here")
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        trained(tmp_path / "run", data, task, **changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_two_processes_do_not_train_one_run(tmp_path, data):
    """The second is told while the first is in its first epoch."""
    settings = settings_of(candle_settings("classes"))
    told = []

    def second(_line):
        with pytest.raises(ConfigError, match="another process trains") as caught:
            run_training(settings, folder=tmp_path / "run", data=data, resume=True)
        told.append(str(caught.value))

    run_training(settings, folder=tmp_path / "run", data=data, on_epoch=second)
    assert len(told) == 2


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
