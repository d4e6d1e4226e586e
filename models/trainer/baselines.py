"""What a network has to beat, measured on the same rows in the same run.

Owns the baselines: prior, persistence, logistic regression.  All are fitted on training rows only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError
from models.trainer.dataset import Dataset, Part

Float64 = npt.NDArray[np.float64]


def prior(data: Dataset, part: Part) -> Float64:
    """Always the share of rises among the training rows."""
    return np.full(len(part), float(data.train.up.mean()))


def persistence(data: Dataset, part: Part) -> Float64:
    """The share of rises among training rows whose last move had the same sign."""
    table = {}
    for sign in (-1, 0, 1):
        same = data.train.past_sign == sign
        # Two pseudo-rows, so that a sign never met before gives a half and not a division by zero.
        table[sign] = (float(data.train.up[same].sum()) + 1.0) / (float(same.sum()) + 2.0)
    return np.array([table[int(sign)] for sign in part.past_sign])


def logistic(
    train: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], test: npt.NDArray[np.float32], seed: int
) -> Float64:
    """Logistic regression on normalised columns: the last row and the window's mean.

    ``train`` is ``(summaries (N, 2F), up (N,))``, ``test`` summaries ``(M, 2F)``; see ``summarise``.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ConfigError(
            "scikit-learn is not installed", do="install the trainer: pip install -e '.[train]'"
        ) from error
    model = LogisticRegression(C=0.1, max_iter=300, random_state=seed)
    model.fit(train[0], train[1])
    probabilities: Float64 = model.predict_proba(test)[:, 1].astype(np.float64)
    return probabilities


def summarise(normalised: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``(N, W, F)`` to ``(N, 2F)``: the last row, then the mean over the window."""
    return np.concatenate([normalised[:, -1], normalised.mean(axis=1)], axis=1)
