"""Whole evaluations of made-up runs: what is true of the market comes out, and the test stays shut until it may."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.description import Trials
from models.evaluation.evaluate import evaluate
from models.evaluation.ledger import Ledger, Opening
from models.evaluation.outcome import Outcome
from models.evaluation.rows import Predictions, Rows
from models.evaluation.run_folder import RunFolder
from tests.support import made_up_runs as made_up

for library in ("arch", "lightgbm", "mapie", "shap", "skfolio"):
    pytest.importorskip(library)


def evaluated(run: RunFolder, **options: object) -> Outcome:
    ledger = options.pop("ledger", run.path.parent / "ledger.jsonl")
    return evaluate(run.path, ledger=ledger, commit="c0ffee", now_ns=made_up.NOW_NS, **options)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Outcome]:
    """A network that knows the volatility well, on three classes."""
    run = made_up.write_run(tmp_path_factory.mktemp("classes") / "run", made_up.three_classes(), noise=0.05)
    return run, evaluated(run)


@pytest.fixture(scope="module")
def variance(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A network that is almost the oracle of a GARCH market."""
    run = made_up.write_run(tmp_path_factory.mktemp("variance") / "run", made_up.variance(), noise=0.02)
    run.write_trials(Trials(("a", "b"), 0, 252.0, np.random.default_rng(1).normal(0, 0.01, (200, 2))))
    return evaluated(run)


def test_volatility_is_skill_and_direction_is_none(classes: tuple[RunFolder, Outcome]) -> None:
    """Sentinel of a GARCH-t walk: ahead of the prior by its interval, and a coin for the direction of a true move."""
    _, outcome = classes
    against = {(one.theirs, one.ours): one for one in outcome.comparisons if one.metric == "log_loss"}
    assert against["prior", "network"].verdict == "ahead"
    assert against["prior", "network"].difference.high < 0
    direction = outcome.scores[0].metrics["direction_accuracy"]
    assert direction.low < 0.5 < direction.high
    assert outcome.suspicions == []


def test_the_outcome_on_disk_is_what_was_returned(classes: tuple[RunFolder, Outcome]) -> None:
    """evaluation.json read through the same type; the report beside it is one page without a network."""
    run, outcome = classes
    assert msgspec.json.decode((run.path / "evaluation.json").read_bytes(), type=Outcome) == outcome
    page = (run.path / "report.html").read_text()
    assert page.count("<!doctype html>") == 1
    assert "src=" not in page.partition("<body>")[2].partition("<script")[0]


def test_the_figure_to_beat_is_the_best_baseline_of_the_run(classes: tuple[RunFolder, Outcome]) -> None:
    """By the primary metric; the headline is the network against it; the published figure has a verdict too."""
    _, outcome = classes
    losses = {one.name: one.metrics["log_loss"].value for one in outcome.scores if one.role == "baseline"}
    assert outcome.best_baseline == min(losses, key=losses.__getitem__)
    assert outcome.headline.theirs == outcome.best_baseline
    assert [(one.figure, one.verdict) for one in outcome.figures] == [(1.3, "ahead")]


def test_a_figure_to_beat_is_not_held_against_other_rows_than_its_own(tmp_path: Path) -> None:
    """An origin of a walk-forward: the figure stands on the page, with why there is no verdict."""
    run = made_up.write_run(tmp_path / "run", made_up.three_classes(200), seeds=(1,))
    made_up.rewrite(run, test_of="origin 2 of a walk-forward")
    outcome = evaluated(RunFolder(run.path))
    assert [(one.name, one.figure, one.verdict) for one in outcome.figures] == [("published", 1.3, "not compared")]
    page = (run.path / "report.html").read_text()
    assert "not compared: they are of a fixed test, and this one is that of origin 2 of a walk-forward." in page
    assert outcome.headline.verdict != "not compared"


def test_seeds_are_means_and_the_average_is_one_forecast(classes: tuple[RunFolder, Outcome]) -> None:
    """Two seeds: their mean with spread, then the forecast that averages them; each with its own temperature."""
    _, outcome = classes
    network, averaged = outcome.scores[:2]
    assert (network.role, averaged.role) == ("network", "averaged")
    assert network.metrics["log_loss"].value == pytest.approx(network.seeds["log_loss"].mean, rel=1e-5)
    assert network.seeds["log_loss"].worst >= network.seeds["log_loss"].mean
    assert len(network.temperatures) == 2
    assert len(averaged.temperatures) == 1


def test_every_table_is_filled(classes: tuple[RunFolder, Outcome]) -> None:
    """Groups, coverage, curves, confusion and importance are of the test's (or validation's) own rows."""
    run, outcome = classes
    rows = run.data.parts["test"].rows
    assert {kind: sum(one.rows for one in found) for kind, found in outcome.groups.items()} == {
        "symbol": rows,
        "month": rows,
        "regime": rows,
    }
    assert [one.name for one in outcome.groups["symbol"]] == sorted(made_up.NAMES)
    assert sum(map(sum, outcome.confusion)) == rows
    assert [one.level for one in outcome.coverage] == [0.8, 0.9]
    assert {(one.of, one.method) for one in outcome.importance} == {("LightGBM", "shap"), ("LightGBM", "permutation")}
    permuted = next(one for one in outcome.importance if one.method == "permutation")
    assert max(permuted.values, key=permuted.values.__getitem__) == "volatility"
    assert permuted.intervals["volatility"][0] > 0
    assert "Whiskers: 95 % over dates" in (run.path / "report.html").read_text()
    assert outcome.skipped == ["profit, deflated Sharpe and PBO: pending, the run has no back-test of a strategy"]


def test_har_has_skill_on_a_garch_market_and_the_oracle_more(variance: Outcome) -> None:
    """QLIKE: every comparison with its Diebold-Mariano p; the constant leaves the confidence set, the network stays."""
    metrics = {one.name: one.metrics["qlike"].value for one in variance.scores}
    assert metrics["network"] < metrics["HAR-log"] < metrics["constant"]
    constant = next(one for one in variance.comparisons if (one.ours, one.theirs) == ("network", "constant"))
    assert constant.verdict == "ahead"
    assert constant.dm_p < 0.05
    in_set = {one.name: one.set_p for one in variance.scores}
    assert in_set["constant"] < 0.05 < max(in_set["network"], in_set["network, seeds averaged"])


def test_a_strategy_is_judged_by_all_of_its_trials(variance: Outcome) -> None:
    """Two trials of noise do not pass."""
    assert variance.selection.trials == 2
    assert not variance.selection.passed
    assert variance.skipped == []


def test_a_signal_is_thresholded_by_validation(tmp_path: Path) -> None:
    """PR-AUC against the rule; every forecast has a threshold, one a seed, and is scored at it."""
    outcome = evaluated(made_up.write_run(tmp_path / "run", made_up.signal(), noise=0.05))
    assert outcome.primary == "pr_auc"
    assert {"rule range24", "logistic regression balanced"} <= {one.name for one in outcome.scores}
    assert len(outcome.scores[0].thresholds) == 2
    prior = next(one for one in outcome.comparisons if (one.theirs, one.metric) == ("prior", "pr_auc"))
    assert prior.verdict == "ahead"
    assert outcome.scores[0].metrics["f1"].value > 0.25
    network = next(one for one in outcome.signals if one.name == "network, seeds averaged")
    assert network.verdict == "ahead"
    assert 0 < network.episodes <= network.rows
    assert all(len(one.pr_auc) == 2 for one in outcome.groups["symbol"])
    assert "Signals by episode" in (tmp_path / "run" / "report.html").read_text()


def test_a_return_that_cannot_be_known_is_level_with_nothing(tmp_path: Path) -> None:
    """R² out of sample around 0: never ahead of zero."""
    outcome = evaluated(made_up.write_run(tmp_path / "run", made_up.returns(300)))
    zero = next(one for one in outcome.comparisons if (one.ours, one.theirs) == ("network", "zero"))
    assert zero.verdict in ("level within noise", "behind")
    assert outcome.suspicions == []


def test_the_ledger_has_the_line_and_a_second_opening_is_told(tmp_path: Path) -> None:
    """Commit, hash of the configuration, data, test; the second time the page says re-used."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    first, second = evaluated(run), evaluated(run)
    lines = Ledger(tmp_path / "ledger.jsonl").lines()
    assert [(one.commit, one.config_sha256, one.data_fingerprint) for one in lines] == [
        ("c0ffee", run.config_sha256, "f" * 64)
    ] * 2
    assert (first.reused, second.reused) == (False, True)
    assert second.told_of_reuse == "opened before by run (1x)"
    assert "Test re-used" in (run.path / "report.html").read_text()


def test_an_opening_on_another_ledger_is_one(tmp_path: Path) -> None:
    """Evaluated with a ledger of its own first: the run knows, where the project's ledger cannot."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    assert not evaluated(run, ledger=tmp_path / "own.jsonl").reused
    assert evaluated(run).told_of_reuse == "opened before by run (1x)"
    assert evaluated(run).told_of_reuse == "opened before by run (1x)"  # on record there now, and counted once


def test_a_test_that_is_shut_is_predicted_only_after_the_line(tmp_path: Path) -> None:
    """The trainer's hook is called with the opening, when the ledger holds it, and what it writes is scored."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,), shut=True)
    ledger, seen = tmp_path / "ledger.jsonl", []

    def predict(folder: RunFolder, opening: Opening) -> None:
        seen.append(len(Ledger(ledger).lines()))
        rows = folder.sealed_test().open(opening)
        said = Predictions(rows.instrument, rows.ts_ns, np.zeros((1, len(rows), 1)), (1,))
        folder.write_test_predictions(said, opening)

    outcome = evaluated(run, predict_test=predict)
    assert seen == [1]
    assert outcome.scores[0].metrics["r2_oos"].value == 0.0


def absent(part: str, rows: Rows) -> Rows:
    return rows.where(rows.classes != 2) if part == "train" else rows


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run.path / "predictions" / "test.npz").unlink(), "has no predictions/test.npz"),
        (lambda run: (run.path / "predictions" / "validation.npz").unlink(), "has no predictions/validation.npz"),
        (lambda run: swap(run), "not the rows"),
        (lambda run: spoil_test(run, 1, (1,)), "rows that are not the rows of the baselines"),
        (lambda run: spoil_test(run, 0, (1, 2)), "of the seeds 1, 2; expected 1"),
        (lambda run: (run.path / "rows" / "test.npz").write_bytes(b"PK"), "cannot be read"),
        (lambda run: made_up.rewrite(run, task=msgspec.structs.replace(run.data.task, primary="profit")), "profit"),
        (lambda run: tell_of_test(run, first_ns=1), "begins before the validation part ends"),
        (lambda run: tell_of_test(run, last_ns=2**60), "tells of"),
        (lambda run: tell_of_test(run, fingerprint="0" * 64), "expected 000000000000, as data.json"),
        (lambda run: spoil_label(run), "label in the test part: 1 values are not finite"),
        (lambda run: drop(run, "test", "past_label"), "past_label is in the rows of the train or the test part"),
        (lambda run: run.write_trials(Trials(("a",), 0, 252.0, np.zeros((31, 1)))), "31 periods of strategy returns"),
        (lambda run: (run.path / "importance.json").write_bytes(b"{"), "importance.json"),
        (lambda run: (run.path / "metrics.jsonl").write_bytes(b'{"seed": "x"}\n'), "line 1 of"),
        (lambda run: (run.path / "config.yaml").unlink(), "config.yaml cannot be read"),
        (lambda run: (run.path / "config.yaml").write_text("name: edited"), "is not the one that the run was begun"),
    ],
    ids=[
        "no test predictions",
        "no validation predictions",
        "other rows",
        "test of other rows",
        "test of other seeds",
        "damaged test",
        "unknown metric",
        "parts that overlap",
        "another span",
        "another fingerprint",
        "a test without a label",
        "a test without past labels",
        "too few periods",
        "damaged importance",
        "damaged epochs",
        "no configuration",
        "another configuration",
    ],
)
def test_what_can_be_seen_before_is_seen_before_the_test_is_opened(
    tmp_path: Path, spoil: Callable[[RunFolder], None], said: str
) -> None:
    """One line of error, and no line in the ledger: the test is not spent on it."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    spoil(run)
    with pytest.raises(DataError) as error:
        evaluated(run)
    assert said in str(error.value)
    assert Ledger(tmp_path / "ledger.jsonl").lines() == []


def tell_of_test(run: RunFolder, **changes: object) -> None:
    """``data.json`` tells something else of the test part, and so would the ledger."""
    parts = run.data.parts
    made_up.rewrite(run, parts={**parts, "test": msgspec.structs.replace(parts["test"], **changes)})


def spoil_label(run: RunFolder) -> None:
    """One label of the shut test is no number."""
    path = run.path / "rows" / "test.npz"
    with np.load(path) as stored:
        arrays = {**stored}
    arrays["label"][3] = np.nan
    np.savez(path, **arrays)


def drop(run: RunFolder, part: str, name: str) -> None:
    """Every part has past labels but this one."""
    for each in ("train", "validation", "test"):
        path = run.path / "rows" / f"{each}.npz"
        with np.load(path) as stored:
            arrays = {**stored, name: stored["label"]}
        if each == part:
            del arrays[name]
        np.savez(path, **arrays)


def spoil_test(run: RunFolder, later_ns: int, seeds: tuple[int, ...]) -> None:
    """Predictions of the test part as another program could have left them."""
    with np.load(run.path / "predictions" / "test.npz") as stored:
        arrays = dict(stored)
    values = np.repeat(arrays["values"], len(seeds), axis=0)
    changed = {"ts_ns": arrays["ts_ns"] + later_ns, "values": values, "seeds": np.array(seeds)}
    np.savez(run.path / "predictions" / "test.npz", **(arrays | changed))


def swap(run: RunFolder) -> None:
    rows = run.rows("validation")
    run.write_predictions("validation", Predictions(rows.instrument, rows.ts_ns + 1, np.zeros((1, len(rows), 1)), (1,)))


def test_a_ledger_that_cannot_be_read_is_told_before_the_long_work(tmp_path: Path) -> None:
    """A line that somebody edited: nothing was fitted."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    (tmp_path / "ledger.jsonl").write_text('{"at": 1}\n')
    steps: list[str] = []
    with pytest.raises(DataError, match="line 1 of the ledger"):
        evaluated(run, progress=steps.append)
    assert steps == []


def test_a_configuration_that_was_edited_is_told_before_the_long_work(tmp_path: Path) -> None:
    """Its hash would stand in the ledger for what it did not train."""
    run = made_up.write_run(tmp_path / "run", made_up.returns(200), seeds=(1,))
    (run.path / "config.yaml").write_text("name: edited")
    steps: list[str] = []
    with pytest.raises(DataError, match=r"expected sha256 .*bring it back, or train it as a run of its own"):
        evaluated(run, progress=steps.append)
    assert steps == []


def test_a_class_absent_in_training_is_told_before_the_test(tmp_path: Path) -> None:
    """By its name."""
    run = made_up.write_run(tmp_path / "run", made_up.three_classes(200), change=absent)
    with pytest.raises(DataError, match="no row of the train part is UP"):
        evaluated(run)
    assert Ledger(tmp_path / "ledger.jsonl").lines() == []


def test_direction_that_is_too_good_is_suspected_until_explained(tmp_path: Path) -> None:
    """A label that leaks into the predictions: told with its value, and the explanation stands beside it."""
    made = made_up.three_classes(300)
    leaky = replace(made, oracle=0.2 / 3 + 0.8 * np.eye(3)[made.rows.classes])
    run = made_up.write_run(tmp_path / "run", leaky)
    outcome = evaluated(run)
    assert outcome.suspicious
    assert "the direction accuracy of network is 1, more than 0.6" in outcome.suspicions[0]
    assert "Too good to be true" in (run.path / "report.html").read_text()
    explained = evaluated(run, explained="made up")
    assert not explained.suspicious
    assert json.loads((run.path / "evaluation.json").read_bytes())["explained"] == "made up"
