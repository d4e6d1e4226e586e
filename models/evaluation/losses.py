"""What one row costs a forecast of classes: the terms that scores are means of.

``label (N,)`` holds class numbers 0 to K-1, ``p (N, K)`` probabilities.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
P_MIN = 1e-6


def two_classes(p: Float64) -> Float64:
    """``(N,)`` probabilities of the second class as ``(N, 2)``."""
    return np.stack([1.0 - p, p], axis=1)


def log_losses(label: Int64, p: Float64) -> Float64:
    """Per row, nats: ``-ln`` of the probability given to what happened; a certain error costs 13.8, not infinity."""
    given = p[np.arange(len(label)), label]
    losses: Float64 = -np.log(np.clip(given, P_MIN, 1.0))
    return losses


def briers(label: Int64, p: Float64) -> Float64:
    """Per row: ``(p - y)²`` of the second of two classes, summed over all classes of more (Brier 1950)."""
    hit = np.eye(p.shape[1])[label]
    squares: Float64 = ((p - hit) ** 2).sum(axis=1)
    return squares / 2 if p.shape[1] == 2 else squares


def confusion(label: Int64, said: Int64, classes: int) -> Float64:
    """Per row, one-hot ``(N, K, K)``; its sum over rows is the table."""
    table = np.zeros((len(label), classes, classes))
    table[np.arange(len(label)), label, said] = 1.0
    return table


def direction_hits(label: Int64, p: Float64, down: int, up: int) -> tuple[npt.NDArray[np.bool_], Float64]:
    """Which rows truly moved ``(N,)``, and on those whether the likelier of up and down was right ``(M,)``.

    A forecast that knows only how much the market moves has 0.5 here, however well it tells flat from the rest.  Equal
    probabilities are half a hit.
    """
    moved = (label == up) | (label == down)
    lean = p[moved, up] - p[moved, down]
    side = np.where(label[moved] == up, 1.0, -1.0)
    return moved, 0.5 + 0.5 * np.sign(lean) * side
