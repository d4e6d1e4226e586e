"""Scores of probability forecasts of a binary outcome, with intervals.

Owns the formulas and the block bootstrap.  Plain NumPy, so that a score can be checked by hand.

Neighbouring rows share most of their window and of their label: as if independent, they would give intervals several
times too narrow.  Whole blocks of time, all instruments in them together, are therefore drawn with replacement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.manifest import Metric

Float64 = npt.NDArray[np.float64]
_P_MIN = 1e-6
DRAWS = 1000


@dataclass(frozen=True)
class Blocks:
    """A block number per row, and how often each block occurs in each draw: ``draws (D, B)``."""

    of_row: npt.NDArray[np.int64]
    draws: Float64

    @classmethod
    def cut(cls, ts_ns: npt.NDArray[np.int64], span_s: float, *, seed: int = 0, draws: int = DRAWS) -> Blocks:
        """Equal spans of time, each at least twice ``span_s`` (the label's) where that leaves 10 blocks; 60 at most."""
        first, last = int(ts_ns.min()), int(ts_ns.max())
        count = int(np.clip((last - first) / 1e9 / max(2 * span_s, 1e-9), 10, 60))
        edges = np.linspace(first, last + 1, count + 1)
        raw = np.clip(np.searchsorted(edges, ts_ns, side="right") - 1, 0, count - 1)
        _, of_row = np.unique(raw, return_inverse=True)  # a block without rows (a weekend) is no block
        blocks = int(of_row.max()) + 1
        picks = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=draws)
        return cls(of_row.astype(np.int64), picks.astype(np.float64))


def log_losses(up: Float64, p: Float64) -> Float64:
    """Per row: ``-ln`` of the probability given to what happened."""
    p = np.clip(p, _P_MIN, 1 - _P_MIN)
    return -(up * np.log(p) + (1 - up) * np.log1p(-p))


def accuracy(counts: Float64) -> Float64:
    """``counts (..., 4)``: true up, false up, false down, true down.  Share of rows whose direction was right."""
    return (counts[..., 0] + counts[..., 3]) / np.maximum(counts.sum(axis=-1), 1)


def mcc(counts: Float64) -> Float64:
    """Matthews correlation coefficient; 0 where one side was never predicted or never happened."""
    tp, fp, fn, tn = (counts[..., i] for i in range(4))
    scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return np.where(scale > 0, (tp * tn - fp * fn) / np.where(scale > 0, scale, 1), 0.0)


def roc_auc(up: Float64, p: Float64, weight: Float64 | None = None) -> float:
    """Probability that an up row has a greater ``p`` than a down row, ties half; 0.5 when one of them is absent."""
    weight = np.ones(len(up)) if weight is None else weight
    order = np.argsort(p, kind="stable")
    return _auc_sorted(*_tie_groups(p[order]), (weight * up)[order], (weight * (1 - up))[order])


def _tie_groups(sorted_p: Float64) -> tuple[npt.NDArray[np.intp]]:
    return (np.flatnonzero(np.r_[True, np.diff(sorted_p) > 0]),)


def _auc_sorted(starts: npt.NDArray[np.intp], up_weight: Float64, down_weight: Float64) -> float:
    ups, downs = np.add.reduceat(up_weight, starts), np.add.reduceat(down_weight, starts)
    below = np.cumsum(downs) - downs
    pairs = ups.sum() * downs.sum()
    return float((ups * (below + 0.5 * downs)).sum() / pairs) if pairs > 0 else 0.5


def score(up: Float64, p: Float64, blocks: Blocks) -> dict[str, Metric]:
    """``log_loss``, ``accuracy``, ``mcc`` and ``roc_auc``, each with a 95 % interval.  p >= 0.5 says up."""
    up, p = up.astype(np.float64), p.astype(np.float64)
    said = p >= 0.5
    table = np.stack([up * said, (1 - up) * said, up * ~said, (1 - up) * ~said], axis=1)
    number = blocks.draws.shape[1]
    counts = np.stack([np.bincount(blocks.of_row, weights=column, minlength=number) for column in table.T], axis=1)
    drawn = blocks.draws @ counts  # (D, 4)
    order = np.argsort(p, kind="stable")
    (starts,) = _tie_groups(p[order])
    up_sorted, block_sorted = up[order], blocks.of_row[order]
    aucs = np.array(
        [
            _auc_sorted(starts, draw[block_sorted] * up_sorted, draw[block_sorted] * (1 - up_sorted))
            for draw in blocks.draws
        ]
    )
    whole = counts.sum(axis=0)
    return {
        "log_loss": mean_metric(log_losses(up, p), blocks),
        "accuracy": _metric(float(accuracy(whole)), accuracy(drawn)),
        "mcc": _metric(float(mcc(whole)), mcc(drawn)),
        "roc_auc": _metric(roc_auc(up, p), aucs),
    }


def mean_metric(values: Float64, blocks: Blocks) -> Metric:
    """Mean of a per-row value with its interval; of a difference of losses, this is the paired comparison."""
    number = blocks.draws.shape[1]
    sums = np.bincount(blocks.of_row, weights=values, minlength=number)
    rows = np.bincount(blocks.of_row, minlength=number).astype(np.float64)
    return _metric(float(values.mean()), (blocks.draws @ sums) / np.maximum(blocks.draws @ rows, 1))


def _metric(value: float, drawn: Float64) -> Metric:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Metric(value=_round(value), low=_round(float(low)), high=_round(float(high)))


def _round(value: float) -> float:
    """Six digits: more would only say how long the run was."""
    return float(f"{value:.6g}")
