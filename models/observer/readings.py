"""Which numbers of a prediction are judged, and as what: by a bundle's manifest, or by the facts on record.

Owns the reading of both.  A return that is taken for a probability has a loss and a calibration that mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast

from models.facts import VARIANCES, Facts
from models.manifest import Manifest
from models.observer.maturing import COVERED, Reading, VarianceKind

_OUTPUT, _BPS = "output.", "bps."
"""Of facts (``models.facts``): place of an output, that it is a return."""
_BPS_OF_LOG_RETURN: Final = 1e4
_DIRECTION, _RETURN = "direction", "return"
_NAN: Final = float("nan")
_NEVER: Final = (_NAN, _NAN)


class Traded(NamedTuple):
    """What the strategies of an instrument trade on: ``output`` (empty: they name none), and from where on it is a
    signal (NaN: they leave that to the bundle), a probability or bps of a return."""

    output: str = ""
    buy: float = _NAN
    sell: float = _NAN


_ANYTHING: Final = Traded()


class _Output(NamedTuple):
    """``kind``: ``direction``, ``return``, a variance's, or nothing that is judged; ``error_max`` as in a reading."""

    name: str
    place: int
    kind: str
    horizon_rows: int
    error_max: float = _NAN


def reading_of(manifest: Manifest, traded: Traded = _ANYTHING) -> Reading:
    """What a bundle's manifest says of its outputs.  Judged is the one that is traded on; where none is named, or the
    bundle has not got it, its first probability of rising, else its first return."""
    horizon, thresholds = manifest.label.horizon_rows, manifest.thresholds
    outputs: list[_Output] = []
    at = 0
    for number, tensor in enumerate(manifest.outputs):
        if manifest.task is None:  # schema 1 has one, a probability of rising
            outputs.append(_Output(tensor.name, at, _DIRECTION, horizon))
            break
        forecast = manifest.task.forecasts[number]
        is_variance = forecast.form == "variance" and forecast.label_kind in VARIANCES
        kind = forecast.label_kind if is_variance else forecast.traded_as
        error_max = (manifest.conformal or {}).get(f"{COVERED:g}{f'.{forecast.name}' if at else ''}", _NAN)
        outputs.append(_Output(forecast.name, at, kind, forecast.horizon_rows, error_max))
        at += math.prod(tensor.shape[1:])
    suggested = _NEVER if thresholds is None else (thresholds.buy, thresholds.sell)
    read = _reading(outputs, horizon, traded, suggested)
    # Quantiles are of the first output.
    return replace(read, output=0 if manifest.prediction_quantiles else _drifting(outputs, read))


def reading_of_facts(facts: Facts, traded: Traded = _ANYTHING) -> Reading | None:
    """The same of a version whose bundle is not at hand, or that is none; None where the record does not tell its
    horizon."""
    told = dict(facts)
    if "horizon_rows" not in told:
        return None
    horizon = int(told["horizon_rows"])
    kinds = {_DIRECTION: f"{_DIRECTION}.", _RETURN: _BPS} | {kind: f"{kind}." for kind in VARIANCES}
    outputs: list[_Output] = []
    places = sorted((int(place), key.removeprefix(_OUTPUT)) for key, place in facts if key.startswith(_OUTPUT))
    for place, name in places:
        kind = next((kind for kind, prefix in kinds.items() if f"{prefix}{name}" in told), "")
        error_max = told.get(f"conformal_{round(1.0 - COVERED, 9):g}{f'.{name}' if outputs else ''}", _NAN)
        outputs.append(_Output(name, place, kind, int(told.get(f"horizon_rows.{name}", horizon)), error_max))
    if not outputs:  # of a release before there was more than a probability of rising
        outputs = [_Output("", 0, _DIRECTION, horizon)]
    read = _reading(outputs, horizon, traded, (told.get("buy", _NAN), told.get("sell", _NAN)))
    return replace(read, output=_drifting(outputs, read))


def _drifting(outputs: Sequence[_Output], read: Reading) -> int | None:
    """Place of the number whose drift is watched without quantiles of it: of the first output, where that is a
    return."""
    return outputs[0].place if outputs[0].kind == _RETURN else read.direction


def _reading(outputs: Sequence[_Output], horizon_rows: int, traded: Traded, suggested: tuple[float, float]) -> Reading:
    """``outputs`` in their order; ``suggested``: where the first of them is a signal, by the bundle."""
    read = Reading(horizon_rows, None)
    judged = _judged(outputs, traded.output)
    if judged is not None:
        is_first_direction = judged is outputs[0] and judged.kind == _DIRECTION
        buy, sell = suggested if is_first_direction else _NEVER
        is_traded = judged.name == traded.output if traded.output else is_first_direction
        if is_traded and not math.isnan(traded.buy):
            unit = 1.0 if judged.kind == _DIRECTION else _BPS_OF_LOG_RETURN
            buy, sell = traded.buy / unit, traded.sell / unit
        if judged.kind == _DIRECTION:
            read = Reading(judged.horizon_rows, judged.place, buy, sell)
        else:
            read = Reading(judged.horizon_rows, None, buy, sell, number=judged.place, error_max=judged.error_max)
    if wanted := traded.output if judged is None or judged.name != traded.output else "":
        read = replace(read, lacks=wanted)
    for one in outputs:
        if one.kind in VARIANCES:
            kind = cast(VarianceKind, one.kind)
            return replace(read, variance=one.place, variance_rows=one.horizon_rows, variance_kind=kind)
    return read


def _judged(outputs: Sequence[_Output], wanted: str) -> _Output | None:
    usable = [one for one in outputs if one.kind in (_DIRECTION, _RETURN)]
    named = [one for one in usable if one.name == wanted]
    directions = [one for one in usable if one.kind == _DIRECTION]
    return next(iter([*named, *directions, *usable]), None)
