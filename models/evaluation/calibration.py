"""Whether a probability means what it says: reliability and expected calibration error (``models.reliability``), and
the temperature that mends it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.evaluation.losses import P_MIN, log_losses
from models.reliability import BINS, expected_calibration_error, reliability

__all__ = ["BINS", "expected_calibration_error", "reliability", "temperature_of", "tempered"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
_TEMPERATURES = (0.05, 50.0)


def tempered(p: Float64, temperature: float) -> Float64:
    """Probabilities ``(N, K)`` of logits divided by ``temperature``: ``p ** (1/T)``, to a sum of 1."""
    logs = np.log(np.clip(p, P_MIN, 1.0)) / temperature
    scaled = np.exp(logs - logs.max(axis=1, keepdims=True))
    whole: Float64 = scaled / scaled.sum(axis=1, keepdims=True)
    return whole


def temperature_of(label: Int64, p: Float64) -> float:
    """The temperature with the least log-loss (Guo et al. 2017).  Only for validation rows."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(log_losses(label, tempered(p, float(np.exp(log_temperature)))).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(_TEMPERATURES)), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))
