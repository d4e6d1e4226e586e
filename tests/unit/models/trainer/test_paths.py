"""Combinatorial purged cross-validation of a run, with real training on two coins."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from engine.errors import ConfigError, DataError
from models.evaluation import commands
from models.evaluation.ranking import average_precision
from models.splits.combinatorial import paths
from models.trainer.settings import settings_of
from tests.support.training import candle_settings

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("skfolio")

from models.trainer import paths as paths_module  # noqa: E402
from models.trainer.opened import open_run  # noqa: E402
from models.trainer.paths import Course, run_paths  # noqa: E402
from models.trainer.run import run_training  # noqa: E402


def trained(task, folder, data, **changes):
    settings = candle_settings(task, fit={"epochs": 1, "seeds": [3]}, **changes)
    return run_training(settings_of(settings), folder=folder, data=data).folder


def test_a_signal_has_a_distribution_of_scores_and_of_net_returns(tmp_path, data, monkeypatch):
    """Four folds, two held out: six trainings on three paths.  What is held out is never learned from, the test part is
    not touched, each path has every row before it once, and a second call trains nothing."""
    run = trained("signal", tmp_path / "run", data)
    app = typer.Typer()
    commands.register(app, lambda: "c" * 40)
    app.command("other")(lambda: None)
    ledger = tmp_path / "ledger.jsonl"
    words = ["evaluate", "--run", str(run), "--data", str(data), "--ledger", str(ledger), "--cpcv", "4,2", "--json"]
    done = CliRunner().invoke(app, [*words, "--cost-bps", "20"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert (found["splits"], len(found["paths"]), found["primary"], found["loss"]) == (6, 3, "pr_auc", "log_loss")
    assert found["costs"] == {"cost_bps": 20.0, "gain_bps": 100.0, "loss_bps": 80.0}
    assert not ledger.exists()
    assert not (run / "predictions" / "test.npz").exists()

    rows = open_run(run, data).rows
    spans = rows.samples.spans
    stored = [dict(np.load(path)) for path in sorted((run / "paths" / "4-2").iterdir())]
    for one in stored:
        assert spans.end_ns[one["index"]].max() < spans.begin_ns[rows.test.index].min()
        assert len(set(one["fold"])) == 2
    for path, scores in zip(paths(4, 2), found["paths"], strict=True):
        kept = [(stored[split]["fold"] == fold, stored[split]) for fold, split in enumerate(path)]
        index = np.concatenate([one["index"][own] for own, one in kept])
        assert len(np.unique(index)) == len(index) == found["rows"]
        up, p = (np.concatenate([one[name][own] for own, one in kept]) for name in ("label_0", "said_0"))
        assert scores["scores"]["pr_auc"] == pytest.approx(average_precision(up, p[:, 1]), rel=1e-5)
        traded = scores["traded"]
        assert traded["equity"][-1] == pytest.approx(traded["net"], abs=1e-6)
        assert traded["sharpe"] is traded["psr"] is None  # two days tell none
    page = (run / "paths-4-2.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "the test, which stays shut" in page

    def never(*_words):
        raise AssertionError("a split that is done is trained again")

    monkeypatch.setattr(paths_module, "fit_seed", never)
    again = run_paths(run, Course(4, 2), data=data)
    assert [one.scores for one in again.paths] == [one["scores"] for one in found["paths"]]
    assert again.paths[0].traded is None
    (run / "paths" / "4-2" / "split-002.npz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"split-002.npz cannot be read: .*; take it away: it is made again"):
        run_paths(run, Course(4, 2), data=data)


def test_a_split_is_judged_by_a_network_that_saw_nothing_of_it(tmp_path, data, monkeypatch):
    """No moment of a held-out row is one of a row that learned or chose, from window to label."""
    run = trained("multi_task", tmp_path / "run", data)
    seen = []
    real = paths_module.fit_seed

    def watched(rows, *words):
        seen.append(rows)
        return real(rows, *words)

    monkeypatch.setattr(paths_module, "fit_seed", watched)
    place = run / "run-variance"
    found = run_paths(place, Course(3, 1, commit="c"), data=data)
    assert (found.splits, len(found.paths), found.loss) == (3, 1, "qlike")
    assert (place / "paths-3-1.json").is_file()
    for rows in seen:
        spans = rows.samples.spans
        learned, chose, judged = (spans[part.index] for part in (rows.train, rows.validation, rows.test))
        assert learned.apart_from(judged).all()
        assert chose.apart_from(judged).all()
        assert learned.apart_from(chose).all()
        assert learned.ts_ns.max() < chose.ts_ns.min()
    trainings = len(seen)
    other = run_paths(run / "run-regime", Course(3, 1), data=data)  # the forecasts of one run share their trainings
    assert other.loss == "log_loss"
    assert len(seen) == trainings
    with pytest.raises(ConfigError, match=r"--cost-bps of the task .*: its rows tell no prices"):
        run_paths(place, Course(3, 1, cost_bps=1.0), data=data)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cpcv", "10"], "--cpcv '10'; expected folds, and how many are held out at a time; such as 10,2"),
        (["--cpcv", "4,2", "--group", "a=b"], "--cpcv with --group; expected one of the two"),
        (["--cost-bps", "5"], "--cost-bps without --cpcv; expected both"),
    ],
)
def test_options_that_make_no_sense_are_one_line(tmp_path, words, told):
    app = typer.Typer()
    commands.register(app, lambda: "c" * 40)
    app.command("other")(lambda: None)
    done = CliRunner().invoke(app, ["evaluate", "--run", str(tmp_path), *words])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception) == told


def test_a_run_that_is_not_trained_and_folds_that_leave_nothing_to_learn_from_are_refused(tmp_path, data):
    with pytest.raises(DataError, match="has no weights; expected a run that is trained to its end; resume it"):
        run_paths(tmp_path / "none", Course(4, 2), data=data)
    several = tmp_path / "several"
    run_training(settings_of(candle_settings("multi_task")), folder=several, data=data)
    with pytest.raises(
        DataError, match=r"holds several runs; expected one of them: several-regime, .*; name .*regime$"
    ):
        run_paths(several, Course(4, 2), data=data)
    run = trained("return", tmp_path / "run", data)
    with pytest.raises(ConfigError, match="4 of 4 folds held out; expected at least 1, and not all"):
        run_paths(run, Course(4, 4), data=data)
    with pytest.raises((ConfigError, DataError), match=r"leaves nothing to learn from|train rows; expected"):
        run_paths(run, Course(200, 199), data=data)
