"""Weights of a mixture learned on validation rows: the ones whose pooled forecast has the least log-loss.

It is offline and reads finished runs.  The members were not trained on those rows, but their epochs chosen there;
what the weights are worth on other rows is for a test, or a shadow, to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.bundle import Bundle
from models.evaluation import conformal
from models.evaluation.losses import P_MIN, log_losses
from models.evaluation.run_folder import CONFIG, RunFolder
from models.mixture.learned import LearnedWeights
from models.trainer.judged import bundle_in
from models.trainer.settings import load_settings

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_STEPS_MAX = 2_000
_STILL = 1e-9


def pool_weights(given: Float64) -> Float64:
    """(M,) weights, 0 or more and of sum 1, with the least mean ``-ln sum(w_m given[m])``.

    ``given (M, N)``: the probability that each member gave to what came.  By expectation maximisation, which never
    raises the loss; it is convex (Genest and Zidek 1986 on linear pools; Dempster et al. 1977).
    """
    weights = np.full(len(given), 1.0 / len(given))
    for _ in range(_STEPS_MAX):
        parts = weights[:, None] * given
        moved = (parts / parts.sum(axis=0)).mean(axis=1)
        if np.abs(moved - weights).max() < _STILL:
            break
        weights = moved
    whole: Float64 = weights / weights.sum()
    return whole


def learn_weights(folders: Sequence[Path]) -> LearnedWeights:
    """Of the bundles of finished runs of one task of classes, on the validation rows that all of them have.

    Raises ``DataError`` where runs are of different tasks or have no rows in common, ``BundleError`` for a run without
    a bundle.
    """
    bundles = [bundle_in(folder) for folder in folders]
    runs = [RunFolder(folder) for folder in folders]
    task = runs[0].data.task
    for run in runs:
        if run.data.task.kind != "classes" or run.data.task.classes != task.classes:
            raise DataError(
                f"{run.path.name} forecasts {', '.join(run.data.task.classes) or 'a quantity'}",
                expected=f"the classes of {runs[0].path.name}: {', '.join(task.classes) or 'none'}",
                do="name runs of one task",
            )
    label, said = _common_rows(runs, bundles)
    given = np.clip(said[:, np.arange(len(label)), label], P_MIN, 1.0)
    weights = pool_weights(given)
    pooled = np.tensordot(weights, said, 1)
    thresholds = None
    if task.classes == ("DOWN", "UP"):
        entries = load_settings(folders[0] / CONFIG)[0].entries
        sell, buy = np.quantile(pooled[:, 1], [entries.sell_quantile, entries.buy_quantile])
        thresholds = (round(float(sell), 6), round(float(buy), 6))
    quantiles = conformal.score_quantiles(conformal.class_scores(label, pooled))
    losses = {bundle.version: _loss(label, one) for bundle, one in zip(bundles, said, strict=True)}
    return LearnedWeights(
        weights={bundle.version: round(float(one), 6) for bundle, one in zip(bundles, weights, strict=True)},
        rows=len(label),
        log_loss=losses | {"equal": _loss(label, said.mean(axis=0)), "learned": _loss(label, pooled)},
        conformal={f"{level:g}": float(f"{quantile:.6g}") for level, quantile in quantiles.items()},
        thresholds=thresholds,
    )


def _common_rows(runs: Sequence[RunFolder], bundles: Sequence[Bundle]) -> tuple[Int64, Float64]:
    """Labels ``(N,)`` and probabilities ``(M, N, K)`` of the rows that all runs have judged."""
    tables = [_by_row(run, bundle) for run, bundle in zip(runs, bundles, strict=True)]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    if not common:
        raise DataError("the runs have no validation row in common", do="name runs on the same data and split")
    labels = np.array([[table[row][0] for row in common] for table in tables])
    if (labels != labels[0]).any():
        raise DataError("the runs label the same rows otherwise", expected="one label", do="name runs of one task")
    return labels[0], np.array([[table[row][1] for row in common] for table in tables])


def _by_row(run: RunFolder, bundle: Bundle) -> dict[tuple[str, int], tuple[int, Any]]:
    """Label and served forecast by instrument and time."""
    rows, said = run.rows("validation"), run.predictions("validation")
    served = () if bundle.manifest.run is None else bundle.manifest.run.served_seeds
    chosen = [number for number, seed in enumerate(said.seeds) if seed in served] or list(range(len(said.values)))
    mean = said.values[chosen].mean(axis=0)  # (N, K)
    names = [run.data.instruments[number] for number in rows.instrument]
    return {
        (name, int(ts_ns)): (int(label), forecast)
        for name, ts_ns, label, forecast in zip(names, rows.ts_ns, rows.label, mean, strict=True)
    }


def _loss(label: Int64, p: Float64) -> float:
    return round(float(log_losses(label, p).mean()), 6)
