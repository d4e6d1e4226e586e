"""Which numbers of a prediction are judged, and as what: by a bundle's manifest, or by the facts on record.

Owns the reading of both.  A return that is taken for a probability has a loss and a calibration that mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

import numpy as np

from models.facts import VARIANCES, Facts
from models.manifest import Manifest
from models.manifest_sections import DIRECTION
from models.observer.maturing import Reading, VarianceKind

_OUTPUT, _DIRECTION, _BPS = "output.", "direction.", "bps."
"""Of facts (``models.facts``): place of an output, that it is a probability of rising, that it is a return."""
_COVERED: Final = 0.9
"""Of the errors of returns on validation rows: what is beyond is a loss to ADWIN."""


def reading_of(manifest: Manifest) -> Reading:
    """What a bundle's manifest says of its outputs."""
    thresholds = manifest.thresholds
    buy, sell = (float("nan"),) * 2 if thresholds is None else (thresholds.buy, thresholds.sell)
    direction: int | None = 0 if manifest.label.kind == DIRECTION else None
    variance, variance_rows, horizon, at = None, 0, manifest.label.horizon_rows, 0
    kind: VarianceKind = "realised_variance"
    number, number_rows, error_max = None, 0, float("nan")
    forecasts = () if manifest.task is None else manifest.task.forecasts
    for forecast, tensor in zip(forecasts, manifest.outputs, strict=False):
        if forecast.form == "variance" and forecast.label_kind in VARIANCES and variance is None:
            variance, variance_rows, kind = at, forecast.horizon_rows, cast(VarianceKind, forecast.label_kind)
        elif forecast.form == "probability" and forecast.label_kind == DIRECTION and direction is None:
            direction, horizon = at, forecast.horizon_rows
        elif forecast.traded_as == "return" and number is None:
            number, number_rows = at, forecast.horizon_rows
            error_max = (manifest.conformal or {}).get(f"{_COVERED:g}{f'.{forecast.name}' if at else ''}", error_max)
        at += int(np.prod(tensor.shape[1:]))
    # Quantiles are of the first output.
    output = 0 if manifest.prediction_quantiles else direction
    if direction is None and number is not None:
        return Reading(number_rows, None, buy, sell, variance, variance_rows, output, number, error_max, kind)
    return Reading(horizon, direction, buy, sell, variance, variance_rows, output, variance_kind=kind)


def reading_of_facts(facts: Facts) -> Reading | None:
    """The same of a version whose bundle is not at hand, or that is none; None where the record does not tell its
    horizon."""
    told = dict(facts)
    if "horizon_rows" not in told:
        return None
    horizon, nan = int(told["horizon_rows"]), float("nan")
    places = sorted((int(place), key.removeprefix(_OUTPUT)) for key, place in facts if key.startswith(_OUTPUT))
    if not places:  # of a release before there was more than a probability of rising
        return Reading(horizon, 0, told.get("buy", nan), told.get("sell", nan))
    rows = {name: int(told.get(f"horizon_rows.{name}", horizon)) for _, name in places}
    found = _traded(told, places, rows)
    for place, name in places:
        for kind in VARIANCES:
            if f"{kind}.{name}" in told:
                return replace(found, variance=place, variance_rows=rows[name], variance_kind=kind)
    return found


def _traded(told: Mapping[str, float], places: list[tuple[int, str]], rows: Mapping[str, int]) -> Reading:
    """What facts say of a direction, or else of a return.  ``places``: of each output, ascending; ``rows``: horizons by
    name."""
    first, horizon, nan = places[0][0], int(told["horizon_rows"]), float("nan")
    numbers = [(place, name) for place, name in places if f"{_BPS}{name}" in told]
    output = first if numbers and numbers[0][0] == first else None
    for place, name in places:
        if f"{_DIRECTION}{name}" in told:
            buy, sell = (told.get(key, nan) if place == first else nan for key in ("buy", "sell"))
            return Reading(rows[name], place, buy, sell, output=place if output is None else output)
    if not numbers:
        return Reading(horizon, None, output=None)
    place, name = numbers[0]
    error_max = told.get(f"conformal_{round(1.0 - _COVERED, 9):g}{f'.{name}' if place else ''}", nan)
    return Reading(rows[name], None, output=output, number=place, error_max=error_max)
