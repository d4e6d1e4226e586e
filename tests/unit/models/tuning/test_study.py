from __future__ import annotations

import sqlite3

import pytest

pytest.importorskip("optuna")

from engine.errors import DataError, KestrelError
from models.tuning import study as study_module
from models.tuning.settings import Pruner, load_tuning
from models.tuning.study import STORAGE, Board, Study
from models.tuning.trial import Outcome
from tests.support.training import tiny_settings
from tests.support.tuning import RATE, write_study


def tuning_of(tmp_path, **changes):
    return load_tuning(write_study(tmp_path, **changes))


def test_the_settings_as_they_are_come_first_and_draws_are_decided_by_the_seed(tmp_path):
    """Their own rate and dropout, then others; the same in another folder, not with another seed."""
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        with Study(tmp_path / name, tuning_of(tmp_path, seed=seed), resume=False) as study:
            values = []
            for _ in range(4):
                number, found = study.ask()
                study.tell(number, Outcome("complete", (found[RATE],)))
                values.append(found)
            assert study.own_value() == 1e-3
        drawn.append(values)
    assert drawn[0][0] == {RATE: 1e-3, "network.dropout": 0.2}
    assert drawn[0] == drawn[1]
    assert drawn[0][1:] != drawn[2][1:]


def test_settings_that_the_space_does_not_hold_are_no_trial(tmp_path):
    """A rate beyond the bounds: the first trial is drawn."""
    fit = tiny_settings()["fit"] | {"learning_rate": 0.5}
    train = tiny_settings(network={"name": "mlp"}, fit=fit)
    with Study(tmp_path / "a", tuning_of(tmp_path, training=train), resume=False) as study:
        number, values = study.ask()
        study.tell(number, Outcome("complete", (1.0,)))
        assert values[RATE] < 0.1
        assert study.own_value() is None


def test_a_trial_that_ran_when_the_study_was_killed_is_given_again(tmp_path):
    """It has failed on the record; its values come next, and count once; the third time nobody tries again."""
    tuning, folder = tuning_of(tmp_path), tmp_path / "a"
    with Study(folder, tuning, resume=False) as study:
        study.tell(study.ask()[0], Outcome("complete", (0.7,)))
        number, values = study.ask()
    for attempt in range(3):
        with Study(folder, tuning, resume=True) as study:
            lost = study.log.lines[-1]
            assert (lost.number, lost.state, lost.error) == (number, "failed", "killed: the study ended while it ran")
            assert lost.values == values
            assert study.begun == (2 if attempt == 2 else 1)
            again, theirs = study.ask()
            assert (theirs == values) == (attempt < 2)
            number = again
    with Study(folder, tuning, resume=True) as study:
        assert [line.again_of for line in study.log.lines] == [None, None, 1, 2, None]


def test_a_trial_that_was_told_but_is_not_on_the_record_gets_its_line(tmp_path):
    """The log loses its last line, as a kill between the two would have it."""
    tuning, folder = tuning_of(tmp_path), tmp_path / "a"
    with Study(folder, tuning, resume=False) as study:
        for outcome in (Outcome("complete", (0.7, 0.5), epochs=4), Outcome("pruned", epochs=1)):
            study.tell(study.ask()[0], outcome)
        lines = study.log.lines
    kept = study.log.path.read_bytes().splitlines(keepends=True)
    study.log.path.write_bytes(kept[0])
    with Study(folder, tuning, resume=True) as study:
        assert study.log.lines == lines
        assert study.log.lines[0].value == pytest.approx(0.6)
    assert study.log.path.read_bytes() == b"".join(kept)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": {RATE: {"low": 1e-3, "high": 1e-1}}}, "begun with another space;"),
        ({"metric": "macro_f1"}, "begun with another metric;"),
        ({"during_search": {"fit.epochs": 2}}, "begun with another training;"),
        ({"seed": 4, "folds": {"kind": "walk_forward", "count": 4}}, "another seed and another folds;"),
    ],
)
def test_a_study_goes_on_only_with_what_it_was_begun_with(tmp_path, changes, said):
    """How many trials there are to be, and in how many processes, may change."""
    folder = tmp_path / "a"
    Study(folder, tuning_of(tmp_path), resume=False).close()
    Study(folder, tuning_of(tmp_path, trials=60, processes=2, finalists={"top": 1}), resume=True).close()
    with pytest.raises(DataError, match=said):
        Study(folder, tuning_of(tmp_path, **changes), resume=True)


def test_no_study_one_that_is_there_and_one_that_runs(tmp_path):
    """One line each; nothing is overwritten."""
    tuning, folder = tuning_of(tmp_path), tmp_path / "a"
    with pytest.raises(DataError, match=r"no study at .*; leave out --resume"):
        Study(folder, tuning, resume=True)
    assert not folder.exists()
    with Study(folder, tuning, resume=False), pytest.raises(KestrelError, match="is locked: another process runs it"):
        Study(folder, tuning, resume=True)
    with pytest.raises(DataError, match=r"there is a study at .* already; go on with --resume"):
        Study(folder, tuning, resume=False)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"no study can be written to .*: Not a directory"):
        Study(tmp_path / "file" / "a", tuning, resume=False)


def test_a_storage_that_somebody_else_holds_is_one_line(tmp_path, monkeypatch):
    """Another connection has the database to itself."""
    monkeypatch.setattr(study_module, "_WAIT_FOR_LOCK_S", 0.05)
    with Study(tmp_path / "a", tuning_of(tmp_path), resume=False) as study:
        other = sqlite3.connect(tmp_path / "a" / STORAGE)
        other.execute("begin exclusive")
        with pytest.raises(DataError, match=r"study.sqlite: database is locked; see to .* --resume") as caught:
            study.ask()
        assert "\n" not in str(caught.value)
        other.close()


def fill(study):
    for _ in range(200):
        study.tell(study.ask()[0], Outcome("complete", (1.0,), error="x" * 500))


def test_a_storage_that_is_damaged_or_full_is_one_line(tmp_path):
    """Its first page overwritten; a database that may not grow."""
    tuning = tuning_of(tmp_path)
    with Study(tmp_path / "a", tuning, resume=False) as study:
        with study.optuna._storage._backend.engine.connect() as connection:
            connection.exec_driver_sql("pragma max_page_count = 1")
        with pytest.raises(DataError, match=r"study\.sqlite: database or disk is full"):
            fill(study)
    (tmp_path / "a" / STORAGE).write_bytes(b"no database " * 400)
    with pytest.raises(DataError, match=r"study\.sqlite: file is not a database"):
        Study(tmp_path / "a", tuning, resume=True)


def test_trials_report_to_the_storage_and_are_given_up_by_it(tmp_path):
    """Median of three finished ones at 1.0: 0.5 goes on, 2.0 does not after its warm-up, and no number never does."""
    tuning = tuning_of(tmp_path)
    with Study(tmp_path / "a", tuning, resume=False) as study:
        board = Board(str(tmp_path / "a"), "tiny-study", Pruner("median", 3, 1), 3)
        for _ in range(3):
            number, _ = study.ask()
            assert not any(board.report(number, epoch, 1.0) for epoch in (1, 2, 3))
            study.tell(number, Outcome("complete", (1.0,)))
        good, bad, none = (study.ask()[0] for _ in range(3))
        assert not board.report(good, 2, 0.5)
        assert not board.report(bad, 1, 2.0)
        assert board.report(bad, 2, 2.0)
        assert board.report(none, 1, float("nan"))
        study.tell(bad, Outcome("pruned"))
        assert study.log.lines[-1].state == "pruned"


def test_hyperband_gives_up_most_of_what_is_worse(tmp_path):
    """Eight trials, each worse than the one before, three epochs each: more than half see one of them."""
    with Study(tmp_path / "a", tuning_of(tmp_path), resume=False) as study:
        board = Board(str(tmp_path / "a"), "tiny-study", Pruner("hyperband"), 3)
        spent = []
        for rank in range(8):
            number, _ = study.ask()
            given_up = next((epoch for epoch in (1, 2, 3) if board.report(number, epoch, float(rank))), None)
            study.tell(number, Outcome("pruned") if given_up else Outcome("complete", (float(rank),)))
            spent.append(given_up)
        assert spent[0] is None
        assert spent[1:].count(1) > 3


def test_a_study_whose_first_trials_fail_alike_ends(tmp_path):
    """Two are chance, three are a mistake; different errors, or one success, are no reason."""
    with Study(tmp_path / "a", tuning_of(tmp_path), resume=False) as study:
        for _ in range(2):
            study.tell(study.ask()[0], Outcome("failed", error="no such file"))
            study.check_failures()
        study.tell_killed(study.ask()[0], "signal 9")
        study.check_failures()
        study.tell(study.ask()[0], Outcome("failed", error="no such file"))
        with pytest.raises(DataError, match="the first 3 trials failed alike: no such file"):
            study.check_failures()
        study.tell(study.ask()[0], Outcome("complete", (1.0,)))
        study.check_failures()


@pytest.mark.parametrize(("metric", "wanted"), [("log_loss", [2, 0]), ("macro_f1", [1, 0])])
def test_the_best_are_the_best_by_the_metric_each_values_once(tmp_path, metric, wanted):
    """Of three scores, one of which failed afterwards; the same values a second time are no other finalist."""
    with Study(tmp_path / "a", tuning_of(tmp_path, metric=metric), resume=False) as study:
        for score in (0.5, 0.9, 0.1):
            study.tell(study.ask()[0], Outcome("complete", (score,)))
        study.tell(study.ask()[0], Outcome("failed", error="x"))
        assert [line.number for line in study.best(2)] == wanted
        study.optuna.enqueue_trial(study.optuna.trials[2].params)
        study.tell(study.ask()[0], Outcome("complete", (0.1,)))
        assert [line.number for line in study.best(2)] == wanted


def test_a_trial_on_other_data_ends_the_study(tmp_path):
    """The files were replaced between two trials: nothing is told of the second, which is given again."""
    with Study(tmp_path / "a", tuning_of(tmp_path), resume=False) as study:
        for data in ("f1", "", "f1"):
            study.tell(study.ask()[0], Outcome("complete", (1.0,), data=data))
        with pytest.raises(DataError, match="trial 3 learned from data of fingerprint f2; expected f1, as trial 0"):
            study.tell(study.ask()[0], Outcome("complete", (0.1,), data="f2"))
        assert len(study.log.lines) == 3


def test_a_study_that_was_stopped_before_its_first_trial_begins_with_the_settings_as_they_were(tmp_path):
    """A full disk, or a kill, between the study's name and its storage: what goes on has the baseline all the same."""
    tuning = tuning_of(tmp_path)
    with Study(tmp_path / "a", tuning, resume=False) as study:
        first = study.ask()
    with Study(tmp_path / "b", tuning, resume=False):
        pass
    (tmp_path / "b" / "study.sqlite").unlink()
    for _ in range(2):  # once, however often it is opened
        with Study(tmp_path / "b", tuning, resume=True):
            pass
    with Study(tmp_path / "b", tuning, resume=True) as study:
        assert study.ask() == first
        assert study.ask()[1] != first[1]
