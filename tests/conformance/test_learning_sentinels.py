"""Sentinels of honest learning: where there is no skill none is found, and a leak scores higher than a clean split.

Numbers (i), (ii), (iv) and (vi) of the protocol; the others belong to the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import run as program
from models.evaluation.baselines.classifiers import fit_classifiers
from models.evaluation.comparison import verdict
from models.evaluation.description import Task
from models.evaluation.draws import DAY_NS, Draws
from models.evaluation.losses import confusion
from models.evaluation.metrics import mcc
from models.evaluation.rows import Rows
from models.evaluation.scoring import Scored, choose, score_all
from tests.support import made_up_runs as made_up

for library in ("arch", "lightgbm", "mapie", "shap", "skfolio"):
    pytest.importorskip(library)


def scored(made: made_up.MadeUp, folder: Path) -> dict[str, Scored]:
    """Baselines fitted on the training part, all forecasts scored on the test part."""
    run = made_up.write_run(folder / "run", made, shut=True)
    train, validation = run.rows("train"), run.rows("validation")
    choices = choose(run.data, train, validation, run.predictions("validation").values, 0)
    test = run.sealed_test().open(made_up.open_test(run, folder / "ledger.jsonl"))
    _, oracle = made.part("test")
    said = made_up.seeds_of(oracle, made.task.kind, 0.1, (1, 2))
    draws = Draws.cut(test.ts_ns, made.task.horizon_s)
    return {one.name: one for one in score_all(made.task, choices, test, said, draws)}


def test_shuffled_labels_have_no_skill(tmp_path: Path) -> None:
    """(i) Labels in a random order, in every part: no forecast is ahead of the prior, each MCC's interval holds 0."""
    made = made_up.three_classes(800)
    order = np.random.default_rng(7).permutation(len(made.rows))
    found = scored(replace(made, rows=replace(made.rows, label=made.rows.label[order])), tmp_path)
    prior = found["prior"]
    for name in ("network", "logistic regression", "LightGBM", "logistic regression and LightGBM"):
        skill = found[name].estimates["mcc"].metric
        assert skill.low <= 0.0 <= skill.high, name
        assert verdict("log_loss", found[name].estimates["log_loss"] - prior.estimates["log_loss"]) != "ahead", name


def test_a_garch_walk_has_volatility_and_no_direction(tmp_path: Path) -> None:
    """(ii) Direction of a true move is a coin for every forecast; HAR is ahead of a constant variance."""
    (tmp_path / "classes").mkdir()
    (tmp_path / "variance").mkdir()
    for name, one in scored(made_up.three_classes(800), tmp_path / "classes").items():
        direction = one.estimates["direction_accuracy"].metric
        assert direction.low <= 0.5 <= direction.high, name
    found = scored(made_up.variance(), tmp_path / "variance")
    assert verdict("qlike", found["HAR-log"].estimates["qlike"] - found["constant"].estimates["qlike"]) == "ahead"
    assert found["HAR-log"].estimates["r2_log"].metric.low > 0


def wandering(rows: int, seed: int) -> Rows:
    """One instrument whose columns wander slowly, and a label that lasts and has nothing to do with them."""
    random = np.random.default_rng(seed)
    features = np.cumsum(random.normal(size=(rows, 4)), axis=0).astype(np.float32)
    lasting = np.convolve(random.normal(size=rows + 39), np.ones(40), "valid")
    return Rows(np.zeros(rows, np.int64), np.arange(rows) * DAY_NS, (lasting > 0).astype(float), features)


def split(rows: Rows, *, at_random: bool) -> Iterator[Rows]:
    """Train, validation and test: by time with 40 rows purged at each cut, or rows drawn at random."""
    place = np.random.default_rng(1).permutation(len(rows)) if at_random else np.arange(len(rows))
    purge = 0 if at_random else 40
    first, second = int(0.6 * len(rows)), int(0.8 * len(rows))
    yield rows.where(place < first - purge)
    yield rows.where((place >= first) & (place < second - purge))
    yield rows.where(place >= second)


def test_a_random_split_scores_higher_than_a_purged_one() -> None:
    """(iv) LightGBM finds its neighbours in time where the split lets it, and nothing where labels are purged."""
    task = Task("lasting", "classes", 86_400.0, "mcc", classes=("NO", "YES"))
    found: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(3):
        for at_random in (True, False):
            train, validation, test = split(wandering(1500, seed), at_random=at_random)
            fitted = fit_classifiers(task, ("a", "b", "c", "d"), train, validation, 0)
            trees = next(one for one in fitted if one.name == "LightGBM")
            said = trees.say(test, trees.predict(test))
            found[at_random].append(float(mcc(confusion(test.classes, said, 2).sum(axis=0))))
    assert min(found[True]) > 0.5
    assert abs(np.mean(found[False])) < 0.3
    assert min(found[True]) > max(found[False]) + 0.3


def test_what_is_too_good_fails_the_command_until_it_is_explained(tmp_path: Path) -> None:
    """(vi) A label that leaked into the predictions: exit 1 with the reason, then 0 with an explanation."""
    made = made_up.three_classes(200)
    leaky = replace(made, oracle=0.2 / 3 + 0.8 * np.eye(3)[made.rows.classes])
    run = made_up.write_run(tmp_path / "run", leaky, seeds=(1,))
    words = ["evaluate", "--run", str(run.path), "--ledger", str(tmp_path / "ledger.jsonl")]
    done = CliRunner().invoke(program.app, words)
    assert done.exit_code == 1
    assert "too good to be true: the direction accuracy of network is 1, more than 0.6" in done.output
    assert 'evaluate again with --explain "..."' in done.output
    done = CliRunner().invoke(program.app, [*words, "--explain", "the label is in the predictions, on purpose"])
    assert done.exit_code == 0
    assert "test re-used: opened before by run (1x)" in done.output
