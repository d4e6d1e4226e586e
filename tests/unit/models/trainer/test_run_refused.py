"""What makes no run, or ends one, is one line that says why: nothing is overwritten, what was done can be resumed."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from engine.errors import ConfigError, DataError
from models.trainer.settings import settings_of
from tests.support.training import candle_settings, write_candles

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.evaluation.evaluate import evaluate  # noqa: E402
from models.trainer.run import estimate_run, run_folds, run_training  # noqa: E402
from models.trainer.training_folder import resumed  # noqa: E402
from tests.support.training_runs import StoppedError, same, trained  # noqa: E402


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


def test_one_forecast_of_a_run_is_not_gone_on_with_and_bundled_by_itself(tmp_path, data):
    """The run is named, which has the weights; and of a walk-forward its origins are."""
    from models.trainer.run_bundle import bundle_run

    settings = settings_of(candle_settings("multi_task", split={"walk_forward": {"origins": 1}}))
    run_folds(settings, folder=tmp_path / "all", data=data)
    one = tmp_path / "all" / "origin-1" / "origin-1-regime"
    for act in (lambda: bundle_run(one, data=data), lambda: resumed(settings, one)):
        with pytest.raises(DataError, match=r"regime is one forecast of a run; expected .*; name .*origin-1$"):
            act()
    with pytest.raises(DataError, match=r"all holds several runs; expected one of them: origin-1; name .*origin-1$"):
        bundle_run(tmp_path / "all", data=data)


def test_a_run_of_several_forecasts_that_was_renamed_is_told(tmp_path, data):
    """Its forecasts are not found by the new name: nothing passes for a run without any."""
    from models.trainer.opened import open_run

    settings = settings_of(candle_settings("multi_task"))
    run_training(settings, folder=tmp_path / "first", data=data)
    (tmp_path / "first").rename(tmp_path / "second")
    for act in (lambda: open_run(tmp_path / "second", data), lambda: resumed(settings, tmp_path / "second")):
        with pytest.raises(
            DataError, match=r"second was renamed: its forecasts are called first-.*trained under, first; "
        ):
            act()
    (tmp_path / "second").rename(tmp_path / "first")
    assert len(open_run(tmp_path / "first", data).runs) == 3


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


@pytest.mark.parametrize(
    "changes",
    [{"network": {"name": "mlp", "sizes": [12]}}, {"fit": {"optimiser": "sgd"}}, {"loss": {"kind": "focal"}}],
    ids=["other shapes", "another optimiser", "same shapes"],
)
def test_a_checkpoint_of_another_config_is_one_line_and_changes_nothing(tmp_path, data, changes):
    """Copied into the folder of a run that was stopped: refused, and with its own one the run goes on."""

    def stop(_line):
        raise StoppedError

    mine, other = (settings_of(candle_settings("classes", **own)) for own in ({}, changes))
    for name, settings in (("mine", mine), ("other", other)):
        with pytest.raises(StoppedError):
            run_training(settings, folder=tmp_path / name, data=data, on_epoch=stop)
    path = tmp_path / "mine" / "checkpoint.pt"
    good = path.read_bytes()
    path.write_bytes((tmp_path / "other" / "checkpoint.pt").read_bytes())
    before = {one.name: one.read_bytes() for one in (tmp_path / "mine").iterdir() if one.is_file()}
    with pytest.raises(DataError, match=r"checkpoint.pt is of a run with other settings; .*bring it back") as caught:
        run_training(mine, folder=tmp_path / "mine", data=data, resume=True)
    assert "\n" not in str(caught.value)
    assert {one.name: one.read_bytes() for one in (tmp_path / "mine").iterdir() if one.is_file()} == before
    path.write_bytes(good)
    assert run_training(mine, folder=tmp_path / "mine", data=data, resume=True).epochs == 2


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
        ("classes", {"fit": {"device": "cuda"}}, "torch sees no GPU; .*device: auto"),
        ("classes", {"features": {"columns": ["ret_1"], "window": 0}}, r"features\.window"),
        ("classes", {"fit": yaml.safe_load("learning_rate: 1e-3")}, r"fit.learning_rate`; .*write 1\.0e-3 or 0\.001"),
        ("classes", {"split": yaml.safe_load("validation_from: 2023-11-14")}, r"validation_from`; .*in quotes"),
        (
            "classes",
            {"data": yaml.safe_load("{files: [candles.parquet], end: 2023-11-14T23:00:00Z}")},
            r"data.end`; .*in quotes",
        ),
        ("classes", {"split": {"validation_from": "2023-11-14", "test_from": "2023-11-15"}}, "0 train rows"),
        ("classes", {"data": {"files": ["candles.parquet"], "end": "2023-11-14T23:00:00Z"}}, "labelled rows"),
        (
            "classes",
            {"data": {"files": ["candles.parquet"], "start": "2023-11-15", "end": "2023-11-14T23:00:00Z"}},
            "data.start 2023-11-15 and data.end 2023-11-14T23:00:00Z; expected the first before the second",
        ),
    ],
)
def test_what_makes_no_run_is_one_line_and_leaves_no_folder(tmp_path, data, task, changes, said):
    """Each mistake by itself."""
    if "mlflow" in said and find_spec("mlflow") is not None:
        pytest.skip("mlflow is installed here")
    if "GPU" in said and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
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


def test_a_score_that_validation_rows_cannot_have_is_told_before_the_training(tmp_path, capsys):
    """A market that stands still from the middle on gives no signal: no epoch could be chosen by the area under its
    curve.  By the log-loss it can be trained; that it cannot be evaluated is told before."""
    folder = write_candles(tmp_path, still_from=500)
    plain = candle_settings("signal", split={"train": 0.62, "validation": 0.18}, fit={"epochs": 1})
    by_area = settings_of({**plain, "fit": {**plain["fit"], "monitor": "pr_auc"}})
    said = r"no validation row is BUY, and fit.monitor is pr_auc; expected rows of each class.*; move the cuts, or"
    for asked in (
        lambda: run_training(by_area, folder=tmp_path / "run", data=folder),
        lambda: estimate_run(by_area, data=folder),
    ):
        with pytest.raises(DataError, match=said):
            asked()
    assert not (tmp_path / "run").exists()
    capsys.readouterr()
    assert run_training(settings_of(plain), folder=tmp_path / "run", data=folder).epochs == 1
    estimate_run(settings_of(plain), data=folder)
    said = "no validation row is BUY: this run can be trained and bundled, and not evaluated; move the cuts"
    assert capsys.readouterr().err.splitlines() == [said, said]
    with pytest.raises(DataError, match="no row of the validation part is BUY"):
        evaluate(tmp_path / "run", ledger=tmp_path / "ledger.jsonl", commit="", now_ns=1, predict_test=lambda *_: None)
