"""Trade on a model's prediction when it is sure enough and the expected move pays for the trade.

Owns the signal, the cost rule and the exits by horizon, stop, take-profit and opposite signal.  Which number of a
prediction is traded on is ``strategies.forecasts``, how sure it must be ``strategies.confidence``.  Order making is
``strategies.entry`` and ``strategies.exits``, size ``strategies.sizing``; parameters ``strategies.threshold_params``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import msgspec

from engine.commands import Intent
from engine.events import OrderFilled, Prediction, Side, Timer
from engine.instruments import Instrument
from engine.ports import Top, View
from strategies.base import BaseStrategy
from strategies.confidence import Confidence, objection_to
from strategies.conformal import Coverage
from strategies.entry import entry_order, may_enter
from strategies.exits import ExitRules, Exits
from strategies.forecasts import Forecast, forecast_of
from strategies.holding import Holding
from strategies.pricing import marketable_px, readable, spread_bps
from strategies.sizing import (
    fixed,
    kelly,
    kelly_of_bet,
    kelly_of_return,
    quantity_for,
    risk_parity,
    volatility_target,
)
from strategies.threshold_params import ThresholdParams

# Enum members are slow to reach through their class in CPython 3.11; these are on the way of an order.
_BUY, _SELL = Side.BUY, Side.SELL


class ThresholdStrategy(BaseStrategy):
    """At most one position per instrument; sends nothing while an order of its own is open or unknown there."""

    Params = ThresholdParams

    def __init__(self, name: str, instruments: Sequence[str], params: ThresholdParams | None = None) -> None:
        super().__init__(name, instruments, params)
        self.params: ThresholdParams
        p = self.params
        attempts = p.exit_limit_attempts if p.order_type == "limit" else 0
        self._exits = Exits(name, instruments, ExitRules(p.slip_ticks, attempts, p.exit_retry_ns, p.cooldown_ns))
        self.feature_columns = (p.vol_column,) if p.reads_volatility else ()
        self._forecasts: dict[str, Forecast] = {}
        self._confidence = Confidence(p)
        if not self._confidence.learns:
            # Nobody is asked at each row for what would do nothing.
            self.on_row = super().on_row  # type: ignore[method-assign]

    @staticmethod
    def objection(params: ThresholdParams, facts: Mapping[str, float]) -> str:
        """Why it would never enter on a model with ``facts``; empty where it may."""
        return objection_to(params, facts)

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None:
        """Settle what is traded on: thresholds are the parameters', else the bundle's, else there is no signal."""
        p = self.params
        forecast = forecast_of(facts, p.mode, p.output)
        changes: dict[str, float] = {}
        if p.buy is not None and p.sell is not None:
            changes |= {"buy": p.buy, "sell": p.sell}
        if p.return_scale_bps is not None:
            changes["return_scale_bps"] = p.return_scale_bps
        forecast = self._forecasts[instrument] = msgspec.structs.replace(forecast, **changes)
        self._confidence.on_model(instrument, forecast)

    def conformal_coverage(self, instrument: str) -> Coverage | None:
        """How often the conformal sets held the truth; None without that gate, and before the first."""
        return self._confidence.coverage(instrument)

    # --- signals ------------------------------------------------------------------------------------------------

    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]:
        """Enter, or leave on the opposite signal.  One that is not ``ok``, or no number in range, is ignored."""
        if self._confidence.learns:
            self._confidence.hear(prediction)
        signal, value, expected_bps = self._signal(prediction)
        if signal == 0:
            return ()
        name = prediction.instrument
        holding = self._exits.holding(name, view)
        if holding is None:
            return ()
        instrument = view.instrument(name)
        if not self._exits.is_flat(instrument, holding):
            if self.params.exit_on_opposite and holding.qty * signal < 0:
                return self._exits.leave(name, holding, "opposite", view)
            return ()
        if signal < 0 and not instrument.can_short:
            return ()
        top = may_enter(self.name, name, holding, view, self.params.entry_retry_ns)
        if top is None or not self._confidence.allows(prediction, signal):
            return ()
        if not self._pays(instrument, top, self._confidence.edge_bps(prediction, signal * expected_bps)):
            return ()
        side = _BUY if signal > 0 else _SELL
        px = marketable_px(instrument, top, side, self.params.slip_ticks)
        if px is None:
            return ()
        qty = quantity_for(instrument, self._notional(name, instrument, value, signal, view), px)
        if qty <= 0:
            return ()
        return (
            entry_order(
                strategy=self.name,
                instrument=name,
                side=side,
                qty=qty,
                px=px if self.params.order_type == "limit" else None,
                holding=holding,
                view=view,
                reason=f"{'long' if signal > 0 else 'short'} {value:.4f}",
                model=prediction.model,
                prediction_seq=prediction_seq,
            ),
        )

    def _signal(self, prediction: Prediction) -> tuple[int, float, float]:
        """``(+1, 0 or -1, the number traded on, expected return in bps)``; 0 for what must not be traded on (E1)."""
        forecast = self._forecasts.get(prediction.instrument)
        if forecast is None:
            return 0, nan, 0.0
        value = expected_bps = forecast.value(prediction)
        if not isfinite(value):
            return 0, value, 0.0
        if self.params.mode == "probability":
            if not 0.0 <= value <= 1.0:
                return 0, value, 0.0
            expected_bps = (2.0 * value - 1.0) * forecast.return_scale_bps
        return (1 if value >= forecast.buy else -1 if value <= forecast.sell else 0), value, expected_bps

    def _pays(self, instrument: Instrument, top: Top, gain_bps: float) -> bool:
        """In and out both cross half the spread and pay the taker fee."""
        multiple = self.params.cost_multiple
        cost_bps = spread_bps(top) + 2.0 * float(instrument.taker_fee_rate) * 1e4
        return multiple == 0.0 or gain_bps > multiple * cost_bps

    def _notional(self, name: str, instrument: Instrument, value: float, signal: int, view: View) -> float:
        """Quote currency; 0.0 where what the rule needs is not known."""
        p = self.params
        if p.sizing == "fixed":
            return fixed(p.notional, p.max_notional)
        if p.sizing == "volatility":
            return volatility_target(
                p.notional,
                target_vol_bps=p.target_vol_bps,
                realised_vol_bps=self._volatility(name, view) * 1e4,
                vol_floor_bps=p.vol_floor_bps,
                max_notional=p.max_notional,
            )
        if p.sizing == "risk_parity":
            volatilities = {one: self._volatility(one, view) for one in self.instruments}
            share = risk_parity(volatilities, vol_floor=p.vol_floor_bps * 1e-4).get(name, 0.0)
            return min(p.notional * len(self.instruments) * share, p.max_notional)
        if p.mode == "probability":
            best = kelly_of_bet(value if signal > 0 else 1.0 - value, p.take_profit_bps / p.stop_bps)
        else:
            best = kelly_of_return(abs(value) * 1e-4, max(self._volatility(name, view), p.vol_floor_bps * 1e-4))
        equity, rate = view.equity(), view.rate(instrument.quote)
        if equity is None or rate is None or rate <= 0:
            return 0.0
        return kelly(
            best, float(equity / rate), fraction=p.kelly_fraction, cap=p.kelly_cap, max_notional=p.max_notional
        )

    def _volatility(self, instrument: str, view: View) -> float:
        """As a fraction, over the span of ``vol_column``; NaN while it is not known."""
        features = view.features(instrument)
        return nan if features is None else features.latest(self.params.vol_column)

    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:
        """What conformal sets said some rows ago has come true, or not."""
        self._confidence.on_row(instrument, view)
        return ()

    # --- exits --------------------------------------------------------------------------------------------------

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        """Stop, take-profit and horizon, judged at the price the position could be closed at."""
        holding = self._held(instrument, view)
        if holding is None:
            return ()
        reason = (
            holding.exit_reason or self._price_reason(instrument, holding, view) or self._time_reason(holding, view)
        )
        return self._exits.leave(instrument, holding, reason, view) if reason else ()

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        """The horizon and unfinished exits, also when no quotes come."""
        if self._confidence.learns:
            self._confidence.on_timer(view)
        intents: list[Intent] = []
        for instrument in self.instruments:
            holding = self._held(instrument, view)
            if holding is not None:
                reason = holding.exit_reason or self._time_reason(holding, view)
                if reason:
                    intents.extend(self._exits.leave(instrument, holding, reason, view))
        return intents

    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:
        self._exits.on_fill(fill, view)
        return ()

    def _held(self, instrument: str, view: View) -> Holding | None:
        holding = self._exits.holding(instrument, view)
        if holding is None or not holding.qty or self._exits.is_flat(view.instrument(instrument), holding):
            return None
        return holding

    def _price_reason(self, instrument: str, holding: Holding, view: View) -> str:
        top = view.top(instrument)
        if top is None or not readable(top) or holding.avg_px == 0:
            return ""
        is_long = holding.qty > 0
        entry = float(holding.avg_px)
        gain = (top.bid_px - entry) if is_long else (entry - top.ask_px)
        gain_bps = gain / abs(entry) * 1e4
        p = self.params
        if p.stop_bps and gain_bps <= -p.stop_bps:
            return "stop"
        return "take_profit" if p.take_profit_bps and gain_bps >= p.take_profit_bps else ""

    def _time_reason(self, holding: Holding, view: View) -> str:
        horizon_ns = self.params.horizon_ns
        return "horizon" if horizon_ns and view.now_ns - holding.entry_ns >= horizon_ns else ""

    # --- state --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {"holdings": self._exits.state(), **({"coverage": kept} if (kept := self._confidence.state()) else {})}

    def restore(self, state: dict[str, Any]) -> None:
        self._exits.restore(state.get("holdings", {}))
        self._confidence.restore(state.get("coverage", {}))
