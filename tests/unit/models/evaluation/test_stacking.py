"""A network together with baselines: weights by hand, and what a run that asks for it is scored with."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from models.evaluation.draws import Draws
from models.evaluation.losses import log_losses
from models.evaluation.rows import Rows
from models.evaluation.scoring import choose, score_all
from models.evaluation.stacking import MEAN, STACKED, equal, fit_pool
from tests.support import made_up_runs as made_up

for library in ("lightgbm", "sklearn", "arch"):
    pytest.importorskip(library)

ROWS = 4_000


def rows_of(label: np.ndarray) -> Rows:
    at = np.arange(len(label))
    return Rows(np.zeros(len(label), np.int64), at, label.astype(np.float64), np.zeros((len(label), 1), np.float32))


def test_weights_of_independent_errors_are_those_of_their_precision() -> None:
    """Two unbiased forecasts of a return with errors of deviation 1 and 2: 4/5 and 1/5 is the least square."""
    random = np.random.default_rng(3)
    label = random.normal(size=ROWS)
    members = np.stack([label + random.normal(size=ROWS), label + 2 * random.normal(size=ROWS)])[:, :, None]
    pool = fit_pool("return", rows_of(label * 1e-4), members * 1e-4)
    assert pool.weights == pytest.approx((0.8, 0.2), abs=0.02)
    assert sum(pool.weights) == pytest.approx(1.0)


def test_what_knows_nothing_gets_next_to_nothing() -> None:
    """Of classes and of a variance: the one that knows, and one that says another row's forecast."""
    random = np.random.default_rng(4)
    p = np.clip(random.beta(2, 2, ROWS), 0.02, 0.98)
    label = (random.random(ROWS) < p).astype(np.float64)
    knows = np.stack([1 - p, p], axis=1)
    pool = fit_pool("classes", rows_of(label), np.stack([knows, random.permutation(knows)]))
    assert pool.weights[0] > 0.9
    variance = np.exp(random.normal(size=ROWS))
    target = variance * random.chisquare(10, ROWS) / 10
    both = np.stack([variance, random.permutation(variance)])[:, :, None]
    pool = fit_pool("variance", rows_of(target), both)
    assert pool.weights[0] > 0.9
    assert equal(2, log=True).of(both)[:, 0] == pytest.approx(np.sqrt(both[0, :, 0] * both[1, :, 0]))


@pytest.mark.parametrize("kind", ["signal", "variance", "returns"])
def test_a_run_that_asks_for_it_is_judged_together_with_baselines(tmp_path, kind) -> None:
    """Two lines more, nothing else changes; on the rows that chose the weights none of its members is better."""
    made = getattr(made_up, kind)(300)
    task = msgspec.structs.replace(made.task, stacked=True)
    run = made_up.write_run(tmp_path / "run", replace(made, task=task), shut=True)
    train, validation = run.rows("train"), run.rows("validation")
    said = {
        part: np.stack(made_up.seeds_of(oracle, task.kind, 0.3, (1, 2)))
        for part in ("validation", "test")
        for _, oracle in [made.part(part)]
    }
    test = made.part("test")[0]
    draws = Draws.cut(test.ts_ns, task.horizon_s)
    choices = choose(run.data, train, validation, said["validation"], 0)
    found = {one.name: one for one in score_all(task, choices, test, said["test"], draws)}
    assert [one.name for one in choices.pools] == [STACKED, MEAN]
    assert {found[STACKED].role, found[MEAN].role} == {"stacked"}
    plain = msgspec.structs.replace(run.data, task=made.task)
    before = choose(plain, train, validation, said["validation"], 0)
    others = {one.name: one for one in score_all(made.task, before, test, said["test"], draws)}
    assert set(found) - set(others) == {STACKED, MEAN}
    for name, one in others.items():
        assert np.array_equal(one.forecast, found[name].forecast), name
    own = {
        one.name: one for one in score_all(task, choices, validation, said["validation"], draws_of(validation, task))
    }
    best = own[STACKED].loss.mean()
    if task.kind == "classes":
        p = own[STACKED].forecast
        assert best == pytest.approx(log_losses(validation.classes, p).mean())
    partners = {
        "logistic regression",
        "LightGBM",
        "ridge HAR-X",
        "ridge regression",
        "zero",
        "network, seeds averaged",
        MEAN,
    }
    assert all(best <= one.loss.mean() * (1 + 1e-3) for name, one in own.items() if name in partners)


def draws_of(rows: Rows, task) -> Draws:
    return Draws.cut(rows.ts_ns, task.horizon_s)
