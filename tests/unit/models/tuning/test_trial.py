"""A trial with the real trainer, on generated quotes."""

from __future__ import annotations

import errno
import json

import pytest

pytest.importorskip("torch")

from engine.errors import DataError
from models.tuning import trial as trial_module
from models.tuning.trial import Task, run_trial
from tests.support.training import write_quotes
from tests.support.tuning import tiny_training

NEVER = lambda _epoch, _value: False  # noqa: E731


@pytest.fixture(scope="module")
def quotes(tmp_path_factory):
    return write_quotes(tmp_path_factory.mktemp("quotes"))


def settings_of(quotes, **fit):
    own = tiny_training(**{"epochs": 3, "patience": 9} | fit)
    own["data"] |= {"rows_folder": str(quotes / "rows")}
    return own


def task_of(quotes, folder, *, runs=None, metric="log_loss", **more):
    runs = runs or (settings_of(quotes),)
    folders = tuple(str(folder / f"run-{number}") for number in range(len(runs)))
    return Task(0, runs, folders, metric, 3, str(quotes), **more)


def test_a_trial_tells_the_score_of_its_best_epoch_by_seed_and_leaves_nothing(quotes, tmp_path):
    """Two seeds of three epochs: the reports, counted over the seeds, and the mean of both; no folder stays."""
    told = []
    found = run_trial(
        task_of(quotes, tmp_path, runs=(settings_of(quotes, seeds=[1, 2]),)),
        lambda epoch, value: bool(told.append((epoch, value))),
    )
    assert (found.state, found.error, found.epochs) == ("complete", "", 6)
    assert [epoch for epoch, _ in told] == [1, 2, 3, 4, 5, 6]
    values = [value for _, value in told]
    assert found.by_seed == pytest.approx((min(values[:3]), min(values[3:])), rel=1e-4)
    assert found.scores == (pytest.approx(sum(found.by_seed) / 2),)
    assert list(tmp_path.iterdir()) == []


def test_a_trial_is_given_up_and_the_epochs_of_a_second_run_count_on(quotes, tmp_path):
    """The answer at the second epoch of the second run ends it; until then the mean over both runs is told."""
    told = []

    def report(epoch, value):
        told.append((epoch, value))
        return epoch == 5

    runs = (settings_of(quotes), settings_of(quotes, learning_rate=0.01))
    found = run_trial(task_of(quotes, tmp_path, runs=runs), report)
    assert (found.state, found.scores, found.epochs) == ("pruned", (), 5)
    first = min(value for epoch, value in told[:3])
    alone = run_trial(task_of(quotes, tmp_path, runs=runs[1:]), NEVER)
    assert [epoch for epoch, _ in told] == [1, 2, 3, 4, 5]
    assert min(told[3][1], told[4][1]) >= (first + alone.scores[0]) / 2 - 1e-4


def test_a_trial_that_cannot_be_trained_fails_in_one_line_and_a_wrong_metric_stops(quotes, tmp_path):
    """A rate that breaks the weights; no such data; a score that the task does not have."""
    wild = run_trial(task_of(quotes, tmp_path, runs=(settings_of(quotes, learning_rate=1e30),)), NEVER)
    assert (wild.state, wild.stop) == ("failed", False)
    assert wild.error
    assert "\n" not in wild.error
    lost = run_trial(
        task_of(quotes, tmp_path, runs=(settings_of(quotes) | {"data": {"files": ["none.parquet"]}},)), NEVER
    )
    assert (lost.state, lost.stop) == ("failed", False)
    assert "none.parquet" in lost.error
    other = run_trial(task_of(quotes, tmp_path, metric="qlike"), NEVER)
    assert (other.state, other.stop) == ("failed", True)
    assert other.error.startswith("the task direction has no validation score qlike; expected one of accuracy,")


def test_a_full_disk_stops_the_study_and_a_librarys_error_does_not(quotes, tmp_path, monkeypatch):
    """As the trainer words the one, and as a library raises the other."""

    def full(*_args, **_more):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise DataError("the checkpoint cannot be written", do="make room") from error

    def broken(*_args, **_more):
        raise RuntimeError("shapes do not fit\nat line 3")

    for raising, stop, said in ((full, True, "make room"), (broken, False, "RuntimeError: shapes do not fit")):
        monkeypatch.setattr("models.trainer.run.run_training", raising)
        found = trial_module.run_trial(task_of(quotes, tmp_path), NEVER)
        assert (found.state, found.stop) == ("failed", stop)
        assert said in found.error


def test_a_run_pauses_and_goes_on_to_where_it_would_have_come(quotes, tmp_path):
    """After epoch 1 and after epoch 2, against the epochs of a run without a pause; asked twice it learns once."""
    whole = []
    run_trial(task_of(quotes, tmp_path / "a"), lambda epoch, value: bool(whole.append(value)))
    paused = [
        run_trial(task_of(quotes, tmp_path / "b", keep=True, resume=True, until=until), NEVER) for until in (1, 2, 2)
    ]
    assert [one.scores[0] for one in paused] == [whole[0], whole[1], whole[1]]
    assert [one.epochs for one in paused] == [1, 1, 0]
    lines = (tmp_path / "b" / "run-0" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
