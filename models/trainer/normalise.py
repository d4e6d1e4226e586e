"""Fits the normaliser that a run's settings name, on training rows and nothing else.

Owns the choice of rows and the statistics.  The modules that become part of the graph are in ``models.networks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError, DataError
from engine.features.column import lookup
from engine.features.spec import FeatureSpec
from models.manifest import FittedOn, Normalisation
from models.trainer.dataset import Dataset, Int64
from models.trainer.settings import NormaliserSettings, ScopeSettings

if TYPE_CHECKING:
    from models.networks.normalisers import Affine, PerWindow, Unscaled
    from models.networks.served import Normaliser

FITTED: Final = ("min_max", "z_score", "robust")
"""Kinds that are two statistics a column."""
AS_THEY_ARE: Final = (*FITTED, "none")
"""Kinds that take a price as a price: what they learn at 60,000 says nothing at 2,500."""
_OF_ONE_INSTRUMENT: Final = frozenset({"price", "qty", "bps_per_qty"})
"""Units whose size is that of the instrument."""
_LIMITS: Final = {"min_max": (0.0, 1.0), "z_score": (-8.0, 8.0), "robust": (-8.0, 8.0)}
_SCALE_MIN = 1e-30
"""A smaller spread has no inverse that float32 could multiply by: such a column counts as constant."""
_CUMULATIVE: Final = frozenset({"obv", "ad_line"})
_WINDOWS_MAX = 8_192
"""Training windows that ``scale_free`` is fitted on, evenly spread; the others take every row."""


@dataclass(frozen=True)
class Fitted:
    """The module, and what the manifest says about it."""

    module: Normaliser | Affine | PerWindow | Unscaled
    description: Normalisation


def check_scope(settings: NormaliserSettings, scope: ScopeSettings, spec: FeatureSpec) -> None:
    """Raises ``ConfigError`` when prices or quantities are scaled as they are and any instrument may be traded, or when
    they are to be scaled by the close, which is no column."""
    if settings.kind == "scale_free" and "close" not in spec.columns:
        raise ConfigError(
            "normaliser scale_free scales by the column close, which features.columns do not have",
            expected="close among them",
            do="add it, or choose another normaliser",
        )
    if settings.kind not in AS_THEY_ARE or "*" not in scope.instruments:
        return
    named = [name for name in spec.columns if lookup(name).unit in _OF_ONE_INSTRUMENT]
    if named:
        raise ConfigError(
            f"normaliser {settings.kind} takes {named[0]} as it is, and scope.instruments is *",
            expected="the ids of the instruments whose prices and sizes are like those of the training",
            do="name them in scope.instruments, or use scale_free or per_window",
        )


def fit_normaliser(
    settings: NormaliserSettings, data: Dataset, unit_kinds: list[str], close_index: int
) -> Fitted:  # needs torch
    """The normaliser of the settings, fitted.  ``unit_kinds`` and ``close_index`` are what ``scale_free`` goes by.

    Raises ``DataError`` when no training row is clean.
    """
    from models.networks.normalisers import Affine, PerWindow, Unscaled

    kind = settings.kind
    columns = data.values.shape[1]
    if kind == "scale_free":
        return _fit_scale_free(data, unit_kinds, close_index)
    if kind in FITTED:
        held = training_rows(data)
        clean = held[np.isfinite(data.values[held]).all(axis=1)]
        centre, scale = statistics(kind, _some(data.values[clean]))
        limits = _LIMITS[kind] if settings.clip is None or settings.clip else None
        described = Normalisation(kind, limits, _fitted_on(data, held, clean))
        return Fitted(Affine(kind, centre, scale, limits), described)
    module = PerWindow(columns) if kind == "per_window" else Unscaled(columns)
    return Fitted(module, Normalisation(kind, None, None))


def column_kinds(data: Dataset, columns: tuple[str, ...]) -> list[str]:
    """How the graph scales each column: by its declared unit; a price unit is a level or a difference by its size.

    A level (a mean, a band) stays near the close, a difference (MACD, ATR) near nothing: on training rows the typical
    share of the close is beyond 0.5 for the one and below 0.1 for the other.
    """
    sample = data.values[data.train.every(4_096).position].astype(np.float64)  # (N, F)
    close = np.abs(sample[:, columns.index("close")])
    kinds = []
    for i, name in enumerate(columns):
        unit = lookup(name).unit
        if unit == "price":
            share = float(np.median(np.abs(sample[:, i]) / np.maximum(close, 1e-12)))
            kinds.append("price" if share > 0.5 else "price_difference")
        elif unit == "qty":
            kinds.append("qty_total" if name in _CUMULATIVE else "qty")
        else:
            kinds.append("plain")
    return kinds


def training_rows(data: Dataset) -> Int64:
    """Positions of the rows that training windows hold, each once: all of them lie before the first cut.

    Rows whose mid did not change later have no label, and are in the windows of others all the same.
    """
    edges = np.zeros(len(data.values) + 1, np.int64)
    np.add.at(edges, data.train.position - data.window + 1, 1)
    np.add.at(edges, data.train.position + 1, -1)
    return np.flatnonzero(np.cumsum(edges[:-1]) > 0)


def statistics(kind: str, rows: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What is subtracted and divided by, float64 ``(F,)`` each, from finite ``rows (N, F)``.

    - ``min_max``: minimum and range; ``z_score``: mean and population deviation
    - ``robust``: median and distance of the quartiles; where more than half of the rows are equal that distance is
      nothing, and the deviation takes its place (scikit-learn would divide by 1, whatever the column's size)

    A constant column has scale 0.  One wrong tick in the training rows sets a range and stretches a deviation; only
    ``robust`` does not feel it.
    """
    centre, scale = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for j in range(rows.shape[1]):
        first = float(rows[0, j])
        moved = (
            rows[:, j].astype(np.float64) - first
        )  # from the first: a sum of a million prices of 60,000 loses digits
        low, high = float(moved.min()), float(moved.max())
        if kind == "min_max":
            middle, spread = low, high - low
        elif kind == "z_score":
            middle, spread = float(moved.mean()), float(moved.std())
        else:
            quartile, middle, upper = (float(q) for q in np.percentile(moved, [25, 50, 75]))
            spread = upper - quartile or float(moved.std())
        constant = high == low or spread < _SCALE_MIN
        centre[j], scale[j] = first + middle, 0.0 if constant else spread
    return centre, scale


def _fit_scale_free(data: Dataset, unit_kinds: list[str], close_index: int) -> Fitted:
    import torch

    from models.networks.served import CLIP, Normaliser

    position = data.train.every(_WINDOWS_MAX).position
    windows = data.windows(position)
    clean = np.isfinite(windows).all(axis=(1, 2))
    module = Normaliser(unit_kinds, close_index)
    module.fit(torch.from_numpy(_some(windows if clean.all() else windows[clean])))
    held = _held(position, data.window)
    return Fitted(
        module, Normalisation("scale_free", (-CLIP, CLIP), _fitted_on(data, held, _held(position[clean], data.window)))
    )


def _held(position: Int64, window: int) -> Int64:
    """Rows in the windows that end at ``position``, each once."""
    return np.unique(position[:, None] + np.arange(1 - window, 1))


def _some(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not len(rows):
        raise DataError(
            "every training row has a column that is not finite",
            expected="rows that all columns have a value in",
            do="leave out the column that has none, or give the inputs it needs",
        )
    return rows


def _fitted_on(data: Dataset, held: Int64, clean: Int64) -> FittedOn:
    times = data.ts_ns[clean]
    first, last = (datetime.fromtimestamp(int(ns) // 1_000_000_000, UTC) for ns in (times.min(), times.max()))
    return FittedOn(len(clean), len(held) - len(clean), first.isoformat(), last.isoformat())
