"""Whole studies, of trials that cost nothing; ``test_commands`` has one with the real trainer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from engine.errors import ConfigError, DataError
from models.trainer.settings import load_settings
from models.tuning.log import TrialLog
from models.tuning.trial import Outcome
from models.tuning.tune import tune
from tests.support.training import candle_settings
from tests.support.tuning import RATE, always_failing, bowl, bowl_that_dies_once, rate_of, tiny_training, write_study

ROOT = Path(__file__).resolve().parents[4]


def test_a_study_ends_with_settings_that_train_takes(tmp_path):
    """Twelve trials on the bowl: the chosen rate is near 0.01, better than the settings' own, and best.yaml has it."""
    said = []
    found = tune(write_study(tmp_path, trials=12), out=tmp_path / "a", show=said.append, run=bowl)
    lines = TrialLog(tmp_path / "a").lines
    assert found["trials"] == {"complete": 12}
    assert len(lines) == 12
    assert len(said) == 12 + 2
    scores = sorted(line.value for line in lines)
    assert found["baseline"] == lines[0].value == pytest.approx(1.01)
    assert found["finalists"][0]["scores"] == pytest.approx([scores[0], scores[0] + 0.01])
    assert found["importance"][RATE] > 0.6
    best, _ = load_settings(Path(found["config"]))
    assert best.fit.learning_rate == found["values"][RATE]
    assert (best.fit.seeds, best.name, best.fit.epochs) == ((1, 2), "tiny-study-best", 1)
    for name in ("history.png", "importance.png", "parallel.png"):
        assert (tmp_path / "a" / name).read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "a" / name).stat().st_size < 200_000
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["values"] == found["values"]


def test_more_trials_go_on_and_the_same_number_changes_nothing(tmp_path):
    """Four, then to six, then again six; what is kept is copied to a folder of its own."""
    path, folder = write_study(tmp_path, trials=4), tmp_path / "a"
    tune(path, out=folder, run=bowl)
    first = (folder / "trials.jsonl").read_bytes()
    found = tune(path, out=folder, resume=True, trials=6, write=tmp_path / "kept", run=bowl)
    assert found["trials"] == {"complete": 6}
    assert (folder / "trials.jsonl").read_bytes().startswith(first)
    again = tune(path, out=folder, resume=True, trials=6, run=bowl)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    kept = {each.name for each in (tmp_path / "kept").iterdir()}
    assert kept == {"summary.json", "trials.jsonl", "best.yaml", "history.png", "importance.png", "parallel.png"}


KILLED = """
from pathlib import Path
from models.tuning.tune import tune
from tests.support.tuning import bowl_that_stops
tune(Path("study.yaml"), out=Path("a"), run=bowl_that_stops)
"""


def test_a_study_that_was_killed_goes_on(tmp_path):
    """SIGKILL in the third of six trials: it is on the record as failed, given again, and six others end."""
    path = write_study(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert [line.number for line in TrialLog(tmp_path / "a").lines] == [0, 1]
    found = tune(path, out=tmp_path / "a", resume=True, run=bowl)
    lines = TrialLog(tmp_path / "a").lines
    assert found["trials"] == {"complete": 6, "failed": 1}
    assert [line.again_of for line in lines if line.again_of is not None] == [2]
    killed, again = (next(line for line in lines if line.number == number) for number in (2, 3))
    assert killed.error == "killed: the study ended while it ran"
    assert again.values == killed.values
    assert again.state == "complete"


def test_two_processes_share_one_storage_and_a_trial_whose_process_dies_is_given_again(tmp_path):
    """Median pruning through the storage in both; the third trial kills its process."""
    path = write_study(tmp_path, trials=8, pruner={"kind": "median", "startup_trials": 3, "warmup_epochs": 1})
    found = tune(path, out=tmp_path / "a", processes=2, run=bowl_that_dies_once)
    lines = TrialLog(tmp_path / "a").lines
    assert sorted(line.number for line in lines) == list(range(9))
    assert found["trials"]["failed"] == 1
    assert found["trials"].get("pruned", 0) + found["trials"]["complete"] == 8
    lost = next(line for line in lines if line.number == 2)
    assert "killed: its process ended (signal 9)" in lost.error
    assert [line.values for line in lines if line.again_of == 2] == [lost.values]
    assert not (tmp_path / "a" / "trials").exists()


def test_by_simulated_profit_another_one_is_chosen_and_all_trials_are_counted(tmp_path, monkeypatch):
    """Profit grows with the rate, beyond where the score is best; the chosen run gets every trial's returns."""
    from tests.support import made_up_runs

    def profitable(task, report):
        found = bowl(task, report)
        days = tuple(range(0, 40 * 86_400_000_000_000, 86_400_000_000_000))
        net = tuple(rate_of(task) * (1 if day % 3 else -1) for day in range(40))
        if task.keep:
            made_up_runs.write_run(Path(task.folders[0]), made_up_runs.returns(200), seeds=(1,))
        if task.number == 1:
            return type(found)("failed", error="by chance")
        return type(found)(found.state, found.scores, found.by_seed, 3, days_ns=days, net=net)

    finalists = {"top": 5, "seeds": [1], "by": "profit"}
    path = write_study(
        tmp_path,
        training=candle_settings("return"),
        metric="mse",
        trials=6,
        finalists=finalists,
        profit={"cost_bps": 2},
    )
    found = tune(path, out=tmp_path / "a", run=profitable)
    from models.evaluation.run_folder import RunFolder

    rates = [one["values"][RATE] for one in found["finalists"]]
    assert rates == sorted(rates, reverse=True)
    assert found["values"][RATE] == rates[0]
    trials = RunFolder(tmp_path / "a" / found["finalists"][0]["folder"]).trials()
    assert trials.returns.shape == (40, 6)
    assert trials.names[trials.chosen] == f"trial-{found['finalists'][0]['number']}"
    assert trials.returns[1, trials.chosen] == pytest.approx(rates[0])
    assert not trials.returns[:, 1].any()


def test_a_study_of_too_few_days_for_a_deflated_sharpe_has_a_run_that_can_be_evaluated(tmp_path):
    """31 days of returns: that is told, and the chosen run is judged without them."""
    from models.evaluation.findings import Beside
    from models.evaluation.run_folder import RunFolder
    from tests.support import made_up_runs

    def a_month(task, report):
        found = bowl(task, report)
        days = tuple(range(0, 31 * 86_400_000_000_000, 86_400_000_000_000))
        if task.keep:
            made_up_runs.write_run(Path(task.folders[0]), made_up_runs.returns(200), seeds=(1,))
        net = tuple(rate_of(task) * (1 if day % 3 else -1) for day in range(31))
        return type(found)(found.state, found.scores, found.by_seed, 3, days_ns=days, net=net)

    path = write_study(
        tmp_path,
        training=candle_settings("return"),
        metric="mse",
        trials=3,
        finalists={"top": 2, "seeds": [1], "by": "profit"},
        profit={"cost_bps": 2},
    )
    said = []
    found = tune(path, out=tmp_path / "a", show=said.append, run=a_month)
    run = RunFolder(tmp_path / "a" / found["finalists"][0]["folder"])
    assert Beside.of(run).selection is None
    assert said[-1] == "31 days of returns: fewer than the 32 of a deflated Sharpe ratio, which evaluate leaves out"


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        ({}, {"trials": 0}, "--trials 0; expected 1 or more"),
        ({}, {"processes": -1}, "--processes -1; expected 1 or more"),
        ({"folds": {"kind": "walk_forward"}}, {}, "folds of a split by shares; expected split.validation_from"),
        (
            {"training": {**tiny_training(), "split": {"purged": {"folds": 3, "fold": 1}}}},
            {},
            "split.purged; expected one cut",
        ),
        ({"metric": "mlogloss"}, {}, "metric 'mlogloss'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(tmp_path, changes, more, said):
    """One line each."""
    with pytest.raises(ConfigError, match=said):
        tune(write_study(tmp_path, **changes), out=tmp_path / "a", run=bowl, **more)
    assert not (tmp_path / "a").exists()


def test_a_study_without_a_trained_trial_ends_in_one_line(tmp_path):
    """All fail alike: after three, not after six, also where each names a file of its own folder."""
    with pytest.raises(DataError, match="the first 3 trials failed alike: no such thing"):
        tune(write_study(tmp_path), out=tmp_path / "a", run=always_failing)

    def unwritable(task, _report):
        return Outcome("failed", error=f"{task.folders[0]}/rows/train.npz cannot be written: File too large")

    with pytest.raises(DataError, match=r"the first 3 trials failed alike: .*/0002/run-1/rows/train.npz cannot be wr"):
        tune(write_study(tmp_path), out=tmp_path / "b", run=unwritable)
    assert len(TrialLog(tmp_path / "a").lines) == 3
    assert not (tmp_path / "a" / "best.yaml").exists()


def test_a_finalist_that_cannot_be_trained_is_on_the_record_and_another_one_is_chosen(tmp_path):
    """The best of the search fails on other seeds, as it would again: the study ends nevertheless; a resumed one asks
    it once more.  Where all of them fail, that is told."""
    best = []

    def failing(task, report):
        if task.keep and (not best or task.number in best):
            best.append(task.number)
            return Outcome("failed", error="the validation loss was in no epoch a number")
        return bowl(task, report)

    said = []
    path = write_study(tmp_path, trials=5)
    found = tune(path, out=tmp_path / "a", show=said.append, run=failing)
    (lost,) = best
    scores = {line.number: line.value for line in TrialLog(tmp_path / "a").lines}
    assert lost == min(scores, key=scores.get)
    assert [one["number"] for one in found["finalists"]] == [sorted(scores, key=scores.get)[1]]
    assert f"finalist {lost}: failed: the validation loss was in no epoch a number" in said
    told = [json.loads(line) for line in (tmp_path / "a" / "finalists.jsonl").read_text().splitlines() if line]
    assert [(one["number"], one.get("error", "")) for one in told] == [
        (lost, "the validation loss was in no epoch a number"),
        (found["finalists"][0]["number"], ""),
    ]
    again = tune(path, out=tmp_path / "a", resume=True, run=bowl)
    assert [one["number"] for one in again["finalists"]] == sorted(scores, key=scores.get)[:2]

    def all_failing(task, report):
        return Outcome("failed", error="no number") if task.keep else bowl(task, report)

    with pytest.raises(DataError, match=r"no finalist of .* was trained to its end: no number; "):
        tune(path, out=tmp_path / "b", run=all_failing)


def test_a_study_that_is_stopped_by_hand_says_how_to_go_on(tmp_path):
    """Ctrl-C in the second trial."""

    def stopped(task, report):
        if task.number == 1:
            raise KeyboardInterrupt
        return bowl(task, report)

    said = []
    path = write_study(tmp_path, trials=3)
    with pytest.raises(KeyboardInterrupt):
        tune(path, out=tmp_path / "a", show=said.append, run=stopped)
    assert said[1:] == ["the study is kept: the same command with --resume goes on"]
    assert tune(path, out=tmp_path / "a", resume=True, run=bowl)["trials"] == {"complete": 3, "failed": 1}
