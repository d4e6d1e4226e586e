"""Which number of a prediction a strategy trades on, in which unit, and what the bundle suggests about it.

Owns the reading of a model's facts, which the core hands to ``on_model``:

- ``buy``, ``sell``, ``return_scale_bps``, ``horizon_rows``: suggestions about the first output; with ``.NAME`` behind,
  about the output NAME;
- ``output.NAME``: the place of the output's first number in ``Prediction.values``; ``spread.NAME``: of its deviation;
- ``direction.NAME`` is 1 where it is a probability of rising, ``bps.NAME`` is what one unit of a return is in bps;
  ``realised_variance.NAME`` and ``parkinson_variance.NAME`` are 1 where it is such a variance, which nobody trades on;
- ``conformal_ERROR`` (of the first) and ``conformal_ERROR.NAME``: the score that a share ERROR of
  validation rows is above.

A bundle of before there were names has one output, a probability of rising.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, nan
from typing import Literal

import msgspec

from engine.events import Prediction, PredictionStatus

_OK = PredictionStatus.OK  # enum members are slow to reach through their class in CPython 3.11
_OUTPUT, _CONFORMAL = "output.", "conformal_"

Mode = Literal["probability", "return_bps"]


class Forecast(msgspec.Struct, frozen=True):
    """One output of a model on one instrument.

    ``unit``: what one unit of it is in bps, 1 for probabilities.  ``spread_index`` is -1 and ``quantiles`` (pairs of
    error rate and quantile, ascending by rate, in the unit of the output) empty where the bundle has none.
    ``objection``: why it cannot be traded on as asked; it then gives no number.
    """

    index: int = 0
    unit: float = 1.0
    buy: float = inf
    sell: float = -inf
    return_scale_bps: float = 0.0
    horizon_rows: int = 0
    spread_index: int = -1
    quantiles: tuple[tuple[float, float], ...] = ()
    objection: str = ""

    def value(self, prediction: Prediction) -> float:
        """The number to trade on; NaN for a prediction that must not be traded on (E1)."""
        if prediction.status is not _OK or self.objection or self.index >= len(prediction.values):
            return nan
        return prediction.values[self.index] * self.unit

    def spread(self, prediction: Prediction) -> float:
        """Its deviation in the same unit; NaN where there is none."""
        index = self.spread_index
        if not 0 <= index < len(prediction.values):
            return nan
        spread = prediction.values[index] * self.unit
        return spread if isfinite(spread) and spread >= 0.0 else nan


def forecast_of(facts: Mapping[str, float], mode: Mode, output: str = "") -> Forecast:
    """The forecast called ``output`` (empty: the first) of a model with ``facts``."""
    places = {key.removeprefix(_OUTPUT): int(place) for key, place in facts.items() if key.startswith(_OUTPUT)}
    first = next((name for name, place in places.items() if place == 0), "")
    name = output or first
    if output and output not in places:
        known = ", ".join(places) or "one without a name"
        return Forecast(objection=f"the model has no output {output!r}; it has {known}")
    unit = 1.0
    if places:
        of_mode = facts.get(f"{'direction' if mode == 'probability' else 'bps'}.{name}", 0.0)
        if not of_mode:
            what = "a probability of rising" if mode == "probability" else "a return"
            return Forecast(objection=f"output {name} of the model is not {what}, which mode {mode} trades on")
        unit = of_mode if mode == "return_bps" else 1.0
    behind = "" if name == first else f".{name}"
    return Forecast(
        index=places.get(name, 0),
        unit=unit,
        buy=facts.get(f"buy{behind}", inf),
        sell=facts.get(f"sell{behind}", -inf),
        return_scale_bps=facts.get(f"return_scale_bps{behind}", 0.0),
        horizon_rows=int(facts.get(f"horizon_rows{behind}", 0.0)),
        spread_index=int(facts.get(f"spread.{name}", -1.0)),
        quantiles=_quantiles(facts, behind, unit),
    )


def _quantiles(facts: Mapping[str, float], behind: str, unit: float) -> tuple[tuple[float, float], ...]:
    found = []
    for key, quantile in facts.items():
        if key.startswith(_CONFORMAL) and key.endswith(behind):
            rate = key.removeprefix(_CONFORMAL).removesuffix(behind)
            # The first output's own have nothing behind the number.
            if rate.replace(".", "", 1).isdigit():
                found.append((float(rate), quantile * unit))
    return tuple(sorted(found))
