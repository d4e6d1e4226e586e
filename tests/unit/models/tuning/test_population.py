from __future__ import annotations

import json
import random
import shutil

import pytest

pytest.importorskip("optuna")
pytest.importorskip("torch")

from engine.errors import ConfigError, DataError
from models.tuning import population
from models.tuning.executor import InProcess, Unwatched
from models.tuning.log import TrialLog
from models.tuning.population import Member, explored, next_generation, searched
from models.tuning.settings import load_tuning
from models.tuning.study import Study
from models.tuning.trial import run_trial
from models.tuning.tune import tune
from tests.support.training import write_quotes
from tests.support.tuning import RATE, write_study

PLAN = {"members": 4, "generations": 3, "epochs": 1, "share": 0.25, "factor": 2.0}


def tuning_of(tmp_path, **changes):
    finalists = {"top": 1, "seeds": [1]}
    return write_study(tmp_path, method="population", **{"population": PLAN, "finalists": finalists} | changes)


def members(*scores):
    return [Member(number, {RATE: 0.001 * (number + 1)}, score) for number, score in enumerate(scores)]


def test_the_worst_takes_over_the_best_with_a_changed_rate(tmp_path):
    """Four members: one goes, to twice or half the best one's rate; the same by the seed, others by another."""
    tuning = load_tuning(tuning_of(tmp_path))
    space = searched(tuning.space)
    state = next_generation(tuning, space, 0, members(0.5, 0.1, 0.9, 0.4))
    assert state.copies == ((2, 1),)
    assert state.generation == 1
    taken = state.members[2]
    assert (taken.seed, taken.parent) == (1, 1)
    assert taken.values[RATE] in (0.004, 0.001)
    assert [state.members[n] for n in (0, 1, 3)] == [members(0.5, 0.1, 0.9, 0.4)[n] for n in (0, 1, 3)]
    assert next_generation(tuning, space, 0, members(0.5, 0.1, 0.9, 0.4)) == state
    drawn = {next_generation(tuning, space, g, members(0.5, 0.1, 0.9, 0.4)).members[2].values[RATE] for g in range(20)}
    assert drawn == {0.004, 0.001}


def test_what_failed_is_always_replaced_and_nothing_is_left_of_nothing(tmp_path):
    """Two of four without a score, with the metric that is better when greater; all four."""
    tuning = load_tuning(tuning_of(tmp_path, metric="macro_f1"))
    state = next_generation(tuning, searched(tuning.space), 0, members(None, 0.1, None, 0.4))
    assert sorted(state.copies) == [(0, 3), (2, 3)]
    with pytest.raises(DataError, match="no member was trained in generation 1"):
        next_generation(tuning, searched(tuning.space), 0, members(None, None))


def test_exploring_stays_within_the_bounds(tmp_path):
    """From both ends of the space."""
    space = searched(load_tuning(tuning_of(tmp_path)).space)
    for value in (1e-4, 0.1):
        found = {explored(space, {RATE: value}, 2.0, random.Random(n))[RATE] for n in range(20)}
        assert found == {value, value * 2 if value < 0.01 else value / 2}


def test_a_space_without_anything_that_a_run_may_be_told_anew(tmp_path):
    """Dropout is in the weights' surroundings: no population can change it."""
    path = tuning_of(tmp_path, search={"network.dropout": {"low": 0.0, "high": 0.5}})
    with pytest.raises(ConfigError, match=r"nothing that a population can change; expected one of fit\.learning_rate"):
        tune(path, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_population_learns_on_from_its_best_and_a_kill_changes_nothing(tmp_path):
    """Two studies with the real trainer, one of which loses its process in the second generation: the same trials.

    Whoever took over a member begins where that one was, also where that one has learned on before the kill: the epochs
    of a run's file go on without a hole.
    """
    write_quotes(tmp_path)
    path = tuning_of(tmp_path, seed=5, population=PLAN | {"members": 3, "generations": 2})
    found = tune(path, out=tmp_path / "a", data=tmp_path)
    lines = TrialLog(tmp_path / "a").lines
    assert found["trials"] == {"complete": 6}
    assert [line.generation for line in lines] == [0] * 3 + [1] * 3
    before, after = lines[:3], lines[3:]
    best, _, worst = sorted(range(3), key=lambda n: before[n].value)
    assert (best, worst) == (0, 2)  # the one that is taken over learns before the one that takes over
    assert [line.parent for line in after] == [best if n == worst else None for n in range(3)]
    rate = before[best].values[RATE]
    assert after[worst].values[RATE] in (min(rate * 2, 0.1), max(rate / 2, 1e-4))
    assert all(after[n].values == before[n].values for n in range(3) if n != worst)
    assert not (tmp_path / "a" / "population").exists()

    killed, seen = load_tuning(path), []

    class LostError(Exception):
        pass

    def until_the_fifth(task, report):
        if len(seen) == 4:
            raise LostError
        seen.append(task.number)
        return run_trial(task, report)

    with Study(tmp_path / "b", killed, resume=False) as study, pytest.raises(LostError):
        population.evolve(study, InProcess(Unwatched(), until_the_fifth), tmp_path, lambda _line: None)
    epochs = (tmp_path / "b" / "population" / "member-00" / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in epochs] == [0, 1]
    tune(path, out=tmp_path / "b", data=tmp_path, resume=True)
    plain = [(one.number, one.values, one.value, one.parent) for one in lines]
    assert [(one.number, one.values, one.value, one.parent) for one in TrialLog(tmp_path / "b").lines] == plain


def test_a_checkpoint_that_cannot_be_taken_over_is_one_line(tmp_path):
    """The donor's folder is not there."""
    (tmp_path / "population" / "member-00" / "run").mkdir(parents=True)
    with pytest.raises(DataError, match=r"member-00 cannot be written: .*--resume"):
        population._take_over(tmp_path, 0, 1)
    assert (tmp_path / "population" / "member-00" / "run").is_dir()
    shutil.copytree(tmp_path / "population" / "member-00", tmp_path / "population" / "member-01")
    population._take_over(tmp_path, 0, 1)
    assert sorted(each.name for each in (tmp_path / "population").iterdir()) == ["member-00", "member-01"]
