"""Whether a forecast is sure enough to enter on: gates by conformal sets and by the forecast's own spread.

Owns the gates and what they have learned.  Leaving a position is asked of nobody here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, log, nan
from typing import Any

import msgspec

from engine.events import Prediction
from engine.ports import View
from strategies.conformal import Coverage, quantile_at, sides_of_probability, sides_of_return
from strategies.forecasts import Forecast, forecast_of
from strategies.outcomes import Outcome, Outcomes, Told
from strategies.pricing import readable
from strategies.threshold_params import ThresholdParams


def objection_to(params: ThresholdParams, facts: Mapping[str, float]) -> str:
    """Why a strategy with ``params`` would never enter on a model with ``facts``; empty where it may."""
    forecast = forecast_of(facts, params.mode, params.output)
    if forecast.objection:
        return forecast.objection
    if "conformal" in params.gates and not (forecast.quantiles and forecast.horizon_rows):
        return "gate conformal: the model has no conformal quantiles; make its bundle (or weights_file) again"
    if (params.edge_spreads or "spread" in params.gates) and forecast.spread_index < 0:
        return "the spread is asked for, and the model gives none (models.uncertainty, and a bundle that has one)"
    return ""


class Confidence:
    """Gates of one strategy on all of its instruments."""

    def __init__(self, params: ThresholdParams) -> None:
        self._params = params
        self._forecasts: dict[str, Forecast] = {}
        self._outcomes: dict[str, Outcomes] = {}
        self._latest: dict[str, Told] = {}
        self._coverage: dict[str, Coverage] = {}
        self._closes: dict[str, bool] = {}
        self.learns = "conformal" in params.gates
        """It is to be told of every prediction and row."""

    def on_model(self, instrument: str, forecast: Forecast) -> None:
        """The forecast that entries are made on from now on; what was under way was of another model."""
        self._forecasts[instrument] = forecast
        self._latest.pop(instrument, None)
        self._outcomes.pop(instrument, None)
        if self.learns and forecast.horizon_rows > 0:
            self._outcomes[instrument] = Outcomes(forecast.horizon_rows)

    def coverage(self, instrument: str) -> Coverage | None:
        """How often the sets held the truth; None before the first."""
        return self._coverage.get(instrument)

    def hear(self, prediction: Prediction) -> None:
        """Make the set of a prediction that is ok, whether anybody trades on it or not."""
        name = prediction.instrument
        self._latest.pop(name, None)
        outcomes, forecast = self._outcomes.get(name), self._forecasts.get(name)
        if outcomes is None or forecast is None:
            return
        value = forecast.value(prediction)
        if not isfinite(value):
            return
        coverage = self._coverage_of(name, prediction.model)
        most = 1.0 if self._params.mode == "probability" else inf
        told = Told(value, quantile_at(forecast.quantiles, coverage.alpha, most=most))
        self._latest[name] = told
        outcomes.say(prediction.ts_recv_ns, told)

    def on_row(self, instrument: str, view: View) -> None:
        """A row is complete: what was said as many rows ago as the label looks ahead has come true, or not."""
        outcomes = self._outcomes.get(instrument)
        if outcomes is None:
            return
        px = self._row_px(instrument, view)
        if not isfinite(px):
            outcomes.forget()
            return
        outcome = outcomes.add(view.now_ns, px)
        if outcome is not None:
            self._settle(self._coverage[instrument], outcome)

    def on_timer(self, view: View) -> None:
        """Rows are missing where features are not warm any more."""
        for instrument, outcomes in self._outcomes.items():
            features = view.features(instrument)
            if features is not None and not features.warm:
                outcomes.forget()

    def allows(self, prediction: Prediction, side: int) -> bool:
        """Whether an entry on ``side`` (+1, -1) may be made on it.  What a gate needs and has not is no permission."""
        p = self._params
        name = prediction.instrument
        forecast = self._forecasts.get(name)
        if forecast is None:
            return not p.gates
        # NaN compares false: a spread that is not known is no permission.
        if "spread" in p.gates and not forecast.spread(prediction) <= p.spread_max:
            return False
        if "conformal" in p.gates:
            told = self._latest.get(name)
            return told is not None and self._sides(told) == (side < 0, side > 0)
        return True

    def edge_bps(self, prediction: Prediction, expected_bps: float) -> float:
        """Of an expected return on the side of the entry, what is left when its uncertainty is taken off."""
        p = self._params
        if not p.edge_spreads:
            return expected_bps
        forecast = self._forecasts[prediction.instrument]
        scale = 2.0 * forecast.return_scale_bps if p.mode == "probability" else 1.0
        return expected_bps - p.edge_spreads * scale * forecast.spread(prediction)

    def _coverage_of(self, instrument: str, model: str) -> Coverage:
        """Of this model: what was learned about another one says nothing about it."""
        coverage = self._coverage.get(instrument)
        if coverage is None or coverage.model != model:
            coverage = self._coverage[instrument] = Coverage(model=model, alpha=self._params.error_rate)
        return coverage

    def _sides(self, told: Told) -> tuple[bool, bool]:
        """Whether its set holds down, and up."""
        of = sides_of_probability if self._params.mode == "probability" else sides_of_return
        return of(told.value, told.quantile)

    def _settle(self, coverage: Coverage, outcome: Outcome) -> None:
        before_px, after_px = outcome.before_px, outcome.after_px
        said = outcome.said
        sides = self._sides(said)
        if self._params.mode == "probability":
            if after_px == before_px:
                return  # no direction: such rows are in no training and in no score either
            is_covered = sides[after_px > before_px]
        else:
            if before_px <= 0.0 or after_px <= 0.0:
                return  # no log return
            is_covered = abs(log(after_px / before_px) * 1e4 - said.value) <= said.quantile
        coverage.settle(
            is_covered=is_covered,
            is_single=sides[0] is not sides[1],
            error_rate=self._params.error_rate,
            step=self._params.adaptation,
        )

    def _row_px(self, instrument: str, view: View) -> float:
        """The close of the row where features have one, as the label reads it; else the mid."""
        features = view.features(instrument)
        if features is not None and self._closes.get(instrument, True):
            try:
                return features.latest("close")
            except KeyError:
                self._closes[instrument] = False
        top = view.top(instrument)
        return top.mid_px if top is not None and readable(top) else nan

    # --- state --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values.  Sets under way are not kept: after a stop nobody knows how many rows there were."""
        return {name: msgspec.to_builtins(one) for name, one in self._coverage.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._coverage = msgspec.convert(dict(state), dict[str, Coverage])
