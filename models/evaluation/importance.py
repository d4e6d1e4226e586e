"""Which columns a forecast lives on, from validation rows only: permutation, SHAP for trees, Captum for networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.evaluation.draws import Estimate, mean_of

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
_REPEATS = 3
_STEPS = 16


class Importance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``values``: by column, what ``unit`` says; only validation rows are ever explained.

    ``rows``: how many of the ``of_rows`` (0: not told).  ``intervals``: 95 % of each value, where it has one.
    ``groups``: columns that moved together, by the name that they have among the values.
    """

    method: Literal["permutation", "shap", "integrated gradients"]
    of: str
    unit: str
    rows: int
    values: dict[str, float]
    part: Literal["validation"] = "validation"
    of_rows: int = 0
    intervals: dict[str, tuple[float, float]] = {}
    groups: dict[str, tuple[str, ...]] = {}


def permutation(
    of: str,
    x: Float32,
    columns: Sequence[str],
    score: Callable[[Float32], Estimate],
    unit: str,
    *,
    less_is_better: bool = True,
    groups: Mapping[str, Sequence[str]] | None = None,
    of_rows: int = 0,
    seed: int = 0,
) -> Importance:
    """What the score loses when one column is shuffled among rows (Breiman 2001), mean of three shuffles; the interval
    is that of the paired difference over dates.

    ``x``: ``(N, F)`` or windows ``(N, W, F)``, whose whole column moves together; ``score`` is called with its like.
    Columns that say the same share their worth, and none of them looks important alone: columns of one of ``groups``
    (``groups_of``) are shuffled by one and the same permutation.
    """
    _check_columns(x, columns)
    grouped = {name: tuple(members) for name, members in (groups or {}).items()}
    within = {column for members in grouped.values() for column in members}
    together = {name: (name,) for name in columns if name not in within} | grouped
    random, number = np.random.default_rng(seed), {name: place for place, name in enumerate(columns)}
    base, shuffled = score(x), x.copy()
    values, intervals = {}, {}
    for name, members in together.items():
        places = [number[member] for member in members]
        lost = []
        for _ in range(_REPEATS):
            shuffled[..., places] = x[..., places][random.permutation(len(x))]
            now = score(shuffled)
            lost.append(now - base if less_is_better else base - now)
        shuffled[..., places] = x[..., places]
        found = mean_of(lost).metric
        values[name] = found.value
        if found.low is not None and found.high is not None:
            intervals[name] = found.low, found.high
    return Importance("permutation", of, unit, len(x), values, of_rows=of_rows, intervals=intervals, groups=grouped)


def groups_of(asked: Sequence[str], columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Columns by the name of their group, of ``NAME=COLUMN,COLUMN`` with patterns such as ``rsi_*``.

    Raises ``DataError`` for what is no group, matches no column, or takes a column or a name twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for text in asked:
        name, _, listed = text.partition("=")
        patterns = [word.strip() for word in listed.split(",") if word.strip()]
        name = name.strip()
        if not name or not patterns:
            raise DataError(f"--group {text!r}", expected="NAME=COLUMN,COLUMN", do="such as momentum=rsi_*,macd_*")
        for pattern in patterns:
            if not any(fnmatchcase(column, pattern) for column in columns):
                raise DataError(f"--group {name}: no column is called {pattern!r}", expected=f"of {', '.join(columns)}")
        own = tuple(column for column in columns if any(fnmatchcase(column, pattern) for pattern in patterns))
        if name in found or (name in columns and name not in own):
            raise DataError(f"--group {name}: the name is taken", expected="another")
        if twice := sorted(taken & set(own)):
            raise DataError(f"--group {name}: {twice[0]} is in another group", expected="a column in one group")
        taken |= set(own)
        found[name] = own
    return found


def some_rows(count: int, rows_max: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Numbers of at most ``rows_max`` of ``count`` rows, ascending, drawn at random: every so manieth row would be that
    of the same few instruments, which follow each other in the same order at each time."""
    if count <= rows_max:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, rows_max, replace=False))


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
