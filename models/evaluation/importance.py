"""Which columns a forecast lives on, from validation rows only: permutation, SHAP for trees, Captum for networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import DataError

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
_REPEATS = 3
_STEPS = 16


class Importance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``values``: by column, what ``unit`` says; only validation rows are ever explained."""

    method: Literal["permutation", "shap", "integrated gradients"]
    of: str
    unit: str
    rows: int
    values: dict[str, float]
    part: Literal["validation"] = "validation"


def permutation(
    of: str,
    x: Float32,
    columns: Sequence[str],
    loss: Callable[[Float32], float],
    unit: str,
    *,
    seed: int = 0,
) -> Importance:
    """By how much the loss grows when one column is shuffled among rows (Breiman 2001), mean of three shuffles.

    ``x``: ``(N, F)`` or windows ``(N, W, F)``, whose whole column moves together; ``loss`` is called with its like.
    Columns that say the same share their worth: none of them looks important alone.
    """
    _check_columns(x, columns)
    random = np.random.default_rng(seed)
    base, shuffled, values = loss(x), x.copy(), {}
    for number, name in enumerate(columns):
        grown = []
        for _ in range(_REPEATS):
            shuffled[..., number] = x[random.permutation(len(x)), ..., number]
            grown.append(loss(shuffled) - base)
        shuffled[..., number] = x[..., number]
        values[name] = float(np.mean(grown))
    return Importance("permutation", of, unit, len(x), values)


def of_trees(of: str, model: Any, x: Float32, columns: Sequence[str], unit: str) -> Importance:
    """Mean absolute SHAP value by column (Lundberg et al. 2020), summed over classes; ``unit`` is what the trees add
    up: log-odds of classes, else that of what they were fitted to."""
    import shap

    _check_columns(x, columns)
    with warnings.catch_warnings():
        # Of two classes it warns that it no longer returns one array a class; both shapes are taken.
        warnings.simplefilter("ignore", UserWarning)
        values = np.abs(np.asarray(shap.TreeExplainer(model).shap_values(x)))
    # Of two classes or a quantity (N, F); of more (N, F, K).
    values = values.sum(axis=2) if values.ndim == 3 else values
    means = values.mean(axis=0)
    return Importance("shap", of, unit, len(x), {n: float(v) for n, v in zip(columns, means, strict=True)})


def of_network(of: str, module: Any, windows: Float32, columns: Sequence[str], *, target: int | None) -> Importance:
    """Mean absolute integrated gradients by column (Sundararajan et al. 2017), summed over the window's rows.

    ``module``: a torch module in evaluation mode that takes ``(N, W, F)``; ``target``: the output's class, None for a
    single output.  The baseline is the mean window: an all-zero one is no market.
    """
    import torch
    from captum.attr import IntegratedGradients

    _check_columns(windows, columns)
    x = torch.from_numpy(np.ascontiguousarray(windows, np.float32))
    mean = x.mean(dim=0, keepdim=True).expand_as(x).contiguous()
    parts = IntegratedGradients(module).attribute(x, mean, target=target, n_steps=_STEPS, internal_batch_size=256)
    means = parts.detach().abs().sum(dim=1).mean(dim=0).numpy()
    return Importance(
        "integrated gradients",
        of,
        "of the output",
        len(windows),
        {n: float(v) for n, v in zip(columns, means, strict=True)},
    )


def _check_columns(x: Float32, columns: Sequence[str]) -> None:
    if x.shape[-1] != len(columns):
        raise DataError(f"{x.shape[-1]} columns to explain", expected=f"{len(columns)}, as they are named")
