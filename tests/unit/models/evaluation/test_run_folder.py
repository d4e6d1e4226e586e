"""A run folder gives back what was written, refuses what is not whole, and keeps its test shut."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.description import Trials
from models.evaluation.importance import Importance
from models.evaluation.rows import Predictions
from models.evaluation.run_folder import RunFolder
from tests.support import made_up_runs as made_up

pytest.importorskip("scipy")


def read_all(path: Path) -> None:
    again = RunFolder(path)
    _ = again.environment, again.rows("train")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return made_up.write_run(tmp_path / "run", made_up.variance(60), shut=True)


def test_what_was_written_comes_back(run: RunFolder, tmp_path: Path) -> None:
    """Every array of a part, its series too; epochs, environment, the hash of the configuration."""
    rows, _ = made_up.variance(60).part("train")
    found = RunFolder(run.path).rows("train")
    for name in ("instrument", "ts_ns", "label", "features", "past_label"):
        assert (getattr(found, name) == getattr(rows, name)).all(), name
    assert (found.series.log_return == rows.series.log_return).all()
    said = run.predictions("validation")
    assert said.seeds == (1, 2)
    assert [(one.seed, one.epoch) for one in run.epochs()] == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert run.environment == made_up.ENVIRONMENT
    assert len(run.config_sha256) == 64


def test_the_test_part_is_given_and_taken_only_against_an_opening(run: RunFolder, tmp_path: Path) -> None:
    """Rows and predictions with the opening of this test; with another's, neither."""
    other = made_up.write_run(tmp_path / "other", made_up.variance(80), shut=True)
    wrong = made_up.open_test(other, tmp_path / "ledger.jsonl")
    right = made_up.open_test(run, tmp_path / "ledger.jsonl")
    with pytest.raises(DataError, match="open the test of this run"):
        run.sealed_test().open(wrong)
    rows = run.sealed_test().open(right)
    said = Predictions(rows.instrument, rows.ts_ns, np.ones((2, len(rows), 1)), (1, 2))
    with pytest.raises(DataError, match="open the test of this run"):
        run.write_test_predictions(said, wrong)
    assert not run.has_predictions("test")
    run.write_test_predictions(said, right)
    assert run.test_predictions(right).values.shape == (2, len(rows), 1)
    with pytest.raises(DataError, match="open the test of this run"):
        run.test_predictions(wrong)


def test_a_shut_test_can_be_seen_to_be_whole_and_nothing_more(run: RunFolder) -> None:
    """Nothing is given back; a missing file is told."""
    assert run.check_test() is None
    (run.path / "rows" / "test.npz").unlink()
    with pytest.raises(DataError, match=r"has no rows/test\.npz"):
        run.check_test()


def test_a_byte_that_changed_is_told_in_one_line(run: RunFolder) -> None:
    """One byte turned round at sixty places of the rows, of the shut test and of training; a few lie where nobody
    reads, such as the date of an entry."""
    label = run.rows("train").label
    for part, read in (("test", run.check_test), ("train", lambda: run.rows("train"))):
        path = run.path / "rows" / f"{part}.npz"
        good = path.read_bytes()
        told: list[str] = []
        for place in range(0, len(good), len(good) // 60):
            path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
            try:
                read()
            except DataError as error:
                told.append(str(error))
        assert len(told) > 50
        assert not any("\n" in text for text in told)
        path.write_bytes(good)
    assert (run.rows("train").label == label).all()


def test_rows_that_changed_since_are_refused(run: RunFolder) -> None:
    """One row less than data.json tells of."""
    rows = run.rows("train")
    with pytest.raises(DataError, match="fingerprint"):
        run.write_rows("train", rows.where(np.arange(len(rows)) > 0))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.json", b"{", "data.json"),
        ("data.json", b'{"task": 1}', "data.json"),
        ("rows/train.npz", b"PK damaged", "cannot be read"),
        ("rows/train.npz", b"", "cannot be read"),
        ("rows/train.npz", None, "has no rows/train.npz"),
        ("environment.json", b"[]", "environment.json"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(run: RunFolder, name: str, content: bytes | None, said: str) -> None:
    """Each file with other content, or missing."""
    if content is None:
        (run.path / name).unlink()
    else:
        (run.path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_all(run.path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_where_there_is_no_run_it_is_said(tmp_path: Path) -> None:
    """An empty folder, and one of several runs, as a walk-forward or several forecasts are: these are named."""
    with pytest.raises(DataError, match=r"no run at .*; expected a folder with data.json"):
        RunFolder(tmp_path)
    for name in ("origin-1", "origin-2", ".left"):
        made_up.write_run(tmp_path / "all" / name, made_up.returns(60), shut=True)
    several = r"holds several runs; expected one of them: "
    with pytest.raises(DataError, match=several + r"origin-1, origin-2; name .*all/origin-1$"):
        RunFolder(tmp_path / "all")
    with pytest.raises(DataError, match=several + r"all/origin-1, all/origin-2; name .*/all/origin-1$"):
        RunFolder(tmp_path)


def test_an_epoch_that_a_kill_cut_off_is_no_epoch(run: RunFolder) -> None:
    """Half a line at the end; a whole line that says something else is an error."""
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"seed": 2, "ep')
    assert len(run.epochs()) == 6
    path.write_bytes(b'{"seed": "x"}\n')
    with pytest.raises(DataError, match=r"line 1 of .*metrics\.jsonl"):
        run.epochs()


def test_trials_and_importance_come_back_or_are_none(run: RunFolder) -> None:
    """Absent at first; then as written; a return that is not finite is refused."""
    assert run.trials() is None
    assert run.importance() == []
    trials = Trials(("a", "b"), 1, 252.0, np.random.default_rng(1).normal(size=(40, 2)))
    run.write_trials(trials)
    found = run.trials()
    assert (found.names, found.chosen) == (("a", "b"), 1)
    assert (found.returns == trials.returns).all()
    explained = [Importance("integrated gradients", "oracle", "of the output", 10, {"log_day": 1.0})]
    run.write_importance(explained)
    assert run.importance() == explained
    for wrong, said in (
        (Trials(("a",), 0, 252.0, np.array([[np.nan]])), "finite returns"),
        (Trials(("a",), 0, 252.0, np.zeros((40, 2))), "finite returns"),
        (Trials(("a",), 1, 252.0, np.zeros((40, 1))), "number 1 is shown"),
        (Trials(("a",), -1, 252.0, np.zeros((40, 1))), "number -1 is shown"),
        (Trials(("a",), 0, 0.0, np.zeros((40, 1))), "0 periods a year"),
        (
            Trials(("a",), 0, 252.0, np.zeros(40)),
            "returns in trials.npz .* is float64 of 1 axes; expected numbers of 2",
        ),
    ):
        run.write_trials(wrong)
        with pytest.raises(DataError, match=said):
            run.trials()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": np.zeros(3)}, "features in rows/train.npz .* is float64 of 1 axes; expected numbers of 2 axes"),
        ({"label": np.array(["a", "b"])}, "label in rows/train.npz .* of 1 axes; expected numbers"),
        ({"ts_ns": np.zeros(3)}, "ts_ns in rows/train.npz .* is float64 of 1 axes; expected whole numbers"),
        ({"instrument": np.int64(0)}, "instrument in rows/train.npz .* of 0 axes"),
        ({"past_label": np.zeros((2, 2))}, "past_label in rows/train.npz .* of 2 axes"),
        ({"series_instrument": None}, "has no 'series_instrument'"),
        ({"label": None}, "has no 'label'"),
    ],
)
def test_arrays_of_another_form_are_told_in_one_line(run: RunFolder, changes: dict[str, object], said: str) -> None:
    """As another program could have written them."""
    path = run.path / "rows" / "train.npz"
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=said) as error:
        run.rows("train")
    assert "\n" not in str(error.value)


def test_what_is_no_file_of_arrays_is_told(run: RunFolder) -> None:
    """A single array under the name of several, and a file of no arrays at all."""
    path = run.path / "rows" / "train.npz"
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="cannot be read"):
        run.rows("train")
    with zipfile.ZipFile(path, "w") as stored:
        for name in ("instrument", "ts_ns", "label", "features"):
            stored.writestr(name, "text")
    with pytest.raises(DataError, match=r"instrument in rows/train\.npz .* is no array"):
        run.rows("train")


def test_a_write_that_fails_leaves_what_was_there(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: one line, and the old file is whole."""
    import os

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    rows = run.rows("train")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError, match="No space left"):
        run.write_rows("train", replace(rows, label=rows.label + 1))
    monkeypatch.undo()
    assert (run.rows("train").label == rows.label).all()
