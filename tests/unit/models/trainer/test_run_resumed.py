"""A run that was stopped, killed or changed is gone on with to the very same bits."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from engine.errors import ConfigError, DataError
from models.evaluation.run_folder import RunFolder
from models.trainer.settings import load_settings, settings_of
from tests.support.daemon import ROOT, environment
from tests.support.training import candle_settings

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
from models.trainer.opened import open_run
from models.trainer.run import run_training
from tests.support.training_runs import EVERYTHING, StoppedError, same


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
from models.trainer.opened import open_run
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
    with pytest.raises(ConfigError, match=r"made with other settings \(network.sizes\)"):
        run_training(other, folder=tmp_path / "run", data=data, resume=True)
    more = settings_of(begun | {"fit": {**begun["fit"], "learning_rate": 5e-4, "epochs": 9}})
    with pytest.raises(ConfigError, match="is done, with 4 epochs a seed"):
        run_training(more, folder=tmp_path / "run", data=data, resume=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 5e-4}, "learning_rate"),
        ({"weight_decay": 0.2, "patience": 7}, "weight_decay, patience"),
        ({"epochs": 1}, "epochs"),
    ],
)
def test_a_run_that_is_done_is_not_told_as_the_result_of_settings_that_it_never_had(tmp_path, data, changes, named):
    """What a stopped run may be told anew comes too late for a finished one: with its own settings it is told."""
    begun = candle_settings("classes")
    whole = run_training(settings_of(begun), folder=tmp_path / "run", data=data)
    other = settings_of(begun | {"fit": {**begun["fit"], **changes}})
    with pytest.raises(ConfigError, match=rf"run is done, and had other values of fit \({named}\); .*") as caught:
        run_training(other, folder=tmp_path / "run", data=data, resume=True)
    assert "\n" not in str(caught.value)
    threads = settings_of(begun | {"fit": {**begun["fit"], "threads": 2}})  # what another machine has
    for own in (settings_of(begun), threads):
        assert run_training(own, folder=tmp_path / "run", data=data, resume=True).validation == whole.validation


def test_a_run_that_was_done_with_new_rates_is_told_with_these(tmp_path, data):
    """The rates that it came to its end with are its own, and so are those in its folder; no others."""
    begun = candle_settings("classes")

    def stop(_line):
        raise StoppedError

    with pytest.raises(StoppedError):
        run_training(settings_of(begun), folder=tmp_path / "run", data=data, on_epoch=stop)
    changed = settings_of(begun | {"fit": {**begun["fit"], "learning_rate": 5e-4}})
    done = run_training(changed, folder=tmp_path / "run", data=data, resume=True)
    for own in (changed, settings_of(begun)):
        assert run_training(own, folder=tmp_path / "run", data=data, resume=True).validation == done.validation
    third = settings_of(begun | {"fit": {**begun["fit"], "learning_rate": 1e-4}})
    with pytest.raises(ConfigError, match=r"had other values of fit \(learning_rate\)"):
        run_training(third, folder=tmp_path / "run", data=data, resume=True)


@pytest.mark.parametrize("task", ["classes", "multi_task"])
@pytest.mark.parametrize("state", ["begun", "done"])
def test_a_config_that_was_edited_in_the_run_is_one_line(tmp_path, data, monkeypatch, state, task):
    """Before the first checkpoint and behind the end: nothing goes on, is told or evaluated with other settings."""
    from models.trainer import run as module

    settings = settings_of(candle_settings(task))
    if state == "done":
        run_training(settings, folder=tmp_path / "run", data=data)
    else:
        with monkeypatch.context() as patched:
            patched.setattr(module, "fit_seed", stopped)
            with pytest.raises(StoppedError):
                run_training(settings, folder=tmp_path / "run", data=data)
    config = tmp_path / "run" / "config.yaml"
    good = config.read_bytes()
    config.write_bytes(good.replace(b"weight_decay: 0.01", b"weight_decay: 0.3"))
    edited, _ = load_settings(config)
    said = r"config\.yaml is not the one that the run was begun with; expected .*; bring it back, or train it"
    for act in (
        lambda: run_training(edited, folder=tmp_path / "run", data=data, resume=True),
        lambda: open_run(tmp_path / "run", data),
    ):
        with pytest.raises(DataError, match=said) as caught:
            act()
        assert "\n" not in str(caught.value)
    config.write_bytes(good)
    assert run_training(settings, folder=tmp_path / "run", data=data, resume=True).epochs == 2


def stopped(*_args, **_options):
    raise StoppedError
