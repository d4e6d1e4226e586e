"""Weights of a mixture learned on validation rows: the ones whose pooled forecast loses the least.

It is offline and reads finished runs.  The members were not trained on those rows, but their epochs chosen there;
what the weights are worth on other rows is for a test, or a shadow, to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
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
from models.mixture.mixture import difference
from models.mixture.quantities import Quantity, quantity_losses, quantity_weights
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
    """Of the bundles of finished runs of one forecast each, on the validation rows that all of them have.

    The loss is that of an evaluation: log-loss of classes, squared error of a return, QLIKE of a variance.  Raises
    ``DataError`` for runs of different tasks or several forecasts, one run twice, no common rows, ``BundleError`` for
    a run without a bundle.
    """
    bundles = [bundle_in(folder) for folder in folders]
    for folder, bundle in zip(folders, bundles, strict=True):
        _check(folder, bundle, folders[0], bundles[0])
    for (one, bundle), (other, again) in combinations(zip(folders, bundles, strict=True), 2):
        if bundle.version == again.version:
            raise DataError(
                f"{one.name} and {other.name} hold the same version, {again.version}",
                expected="each once",
                do="name other runs",
            )
    runs = [RunFolder(folder) for folder in folders]
    target, said = _common_rows(runs, bundles)
    versions = [bundle.version for bundle in bundles]
    if runs[0].data.task.kind == "classes":
        return _of_classes(versions, folders[0], runs[0].data.task.classes, target.astype(np.int64), said)
    return _of_quantity(versions, runs[0].data.task.kind, target, said[:, :, 0])


def _check(folder: Path, bundle: Bundle, first_folder: Path, first: Bundle) -> None:
    task = bundle.manifest.task
    if task is not None and len(task.forecasts) > 1:
        raise DataError(
            f"{folder.name} forecasts {', '.join(one.name for one in task.forecasts)}",
            expected="runs of one forecast: in a mixture a member has one weight for all that it says",
            do="declare weights in mixtures, or weighing: recent",
        )
    if differing := difference(first, bundle):
        raise DataError(
            f"{first_folder.name} and {folder.name} cannot be combined: {differing}",
            expected="the same",
            do="name runs of one task",
        )


def _of_classes(
    versions: Sequence[str], folder: Path, classes: tuple[str, ...], label: Int64, said: Float64
) -> LearnedWeights:
    """``said (M, N, K)``; ``folder``: whose settings say where entries are."""
    given = np.clip(said[:, np.arange(len(label)), label], P_MIN, 1.0)
    weights = pool_weights(given)
    pooled = np.tensordot(weights, said, 1)
    thresholds = None
    if classes == ("DOWN", "UP"):
        entries = load_settings(folder / CONFIG)[0].entries
        sell, buy = np.quantile(pooled[:, 1], [entries.sell_quantile, entries.buy_quantile])
        thresholds = (round(float(sell), 6), round(float(buy), 6))
    losses = {version: _loss(label, one) for version, one in zip(versions, said, strict=True)}
    return LearnedWeights(
        weights=_told(versions, weights),
        rows=len(label),
        log_loss=losses | {"equal": _loss(label, said.mean(axis=0)), "learned": _loss(label, pooled)},
        conformal=_quantiles(conformal.class_scores(label, pooled)),
        thresholds=thresholds,
    )


def _of_quantity(versions: Sequence[str], kind: Quantity, target: Float64, said: Float64) -> LearnedWeights:
    """``said (M, N)``.  A return scores its distance, a variance that of logarithms, as in a bundle of one."""
    weights = quantity_weights(kind, target, said)
    pooled = weights @ said

    def lost(one: Float64) -> float:
        return float(f"{quantity_losses(kind, target, one).mean():.6g}")

    each = {version: lost(one) for version, one in zip(versions, said, strict=True)}
    losses = each | {"equal": lost(said.mean(axis=0)), "learned": lost(pooled)}
    apart = target - pooled if kind == "return" else np.log(target) - np.log(pooled)
    return LearnedWeights(
        weights=_told(versions, weights),
        rows=len(target),
        conformal=_quantiles(np.abs(apart)),
        mse=losses if kind == "return" else {},
        qlike=losses if kind == "variance" else {},
    )


def _told(versions: Sequence[str], weights: Float64) -> dict[str, float]:
    return {version: round(float(weight), 6) for version, weight in zip(versions, weights, strict=True)}


def _quantiles(scores: Float64) -> dict[str, float]:
    found = conformal.score_quantiles(scores)
    return {f"{level:g}": float(f"{quantile:.6g}") for level, quantile in found.items()}


def _common_rows(runs: Sequence[RunFolder], bundles: Sequence[Bundle]) -> tuple[Float64, Float64]:
    """Labels ``(N,)`` and forecasts ``(M, N, K)`` of the rows that all runs have judged; K of a quantity is 1."""
    tables = [_by_row(run, bundle) for run, bundle in zip(runs, bundles, strict=True)]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    if not common:
        raise DataError("the runs have no validation row in common", do="name runs on the same data and split")
    labels = np.array([[table[row][0] for row in common] for table in tables])
    if (labels != labels[0]).any():
        raise DataError("the runs label the same rows otherwise", expected="one label", do="name runs of one task")
    return labels[0], np.array([[table[row][1] for row in common] for table in tables])


def _by_row(run: RunFolder, bundle: Bundle) -> dict[tuple[str, int], tuple[float, Any]]:
    """Label and served forecast by instrument and time."""
    rows, said = run.rows("validation"), run.predictions("validation")
    served = () if bundle.manifest.run is None else bundle.manifest.run.served_seeds
    chosen = [number for number, seed in enumerate(said.seeds) if seed in served] or list(range(len(said.values)))
    mean = said.values[chosen].mean(axis=0)  # (N, K)
    names = [run.data.instruments[number] for number in rows.instrument]
    return {
        (name, int(ts_ns)): (float(label), forecast)
        for name, ts_ns, label, forecast in zip(names, rows.ts_ns, rows.label, mean, strict=True)
    }


def _loss(label: Int64, p: Float64) -> float:
    return round(float(log_losses(label, p).mean()), 6)
