"""Trade on a model's prediction when it is sure enough and the expected move pays for the trade.

Owns the signal, the cost rule and the exits by horizon, stop, take-profit and opposite signal.  Order making is
``strategies.entry`` and ``strategies.exits``, size ``strategies.sizing``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, nan
from typing import Any, Literal, NamedTuple

import msgspec

from engine.commands import Intent
from engine.errors import DataError
from engine.events import OrderFilled, Prediction, PredictionStatus, Side, Timer
from engine.features.column import lookup
from engine.instruments import Instrument
from engine.ports import Top, View
from strategies.base import BaseStrategy
from strategies.entry import entry_order, may_enter
from strategies.exits import ExitRules, Exits
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

# Enum members are slow to reach through their class in CPython 3.11; these are on the way of an order.
_OK = PredictionStatus.OK
_BUY, _SELL = Side.BUY, Side.SELL


class ThresholdParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters; times are ns, ``*_bps`` basis points, notionals the instrument's quote currency.

    - ``mode``: ``probability`` (the first output is P(up)) or ``return_bps`` (it is the expected return in bps).
    - ``buy``, ``sell``: signal at or above / at or below this output; unset: what the model's bundle suggests.
    - ``return_scale_bps``: move that a sure prediction stands for; expected return = ``(2 p - 1) * return_scale_bps``;
      unset: the bundle's.
    - ``cost_multiple``: enter only when the expected return exceeds this many times ``spread + 2 * taker fee``; 0 asks
      nothing (demonstrations only: it loses its costs).
    - ``sizing``: ``volatility`` (``target_vol_bps`` over the span of the feature ``vol_column``, which is a return),
      ``fixed``, ``kelly`` (``kelly_fraction`` of the best share of equity, at most ``kelly_cap`` of it; the odds are
      the prediction's, with take-profit against stop as the payoff, or its return against ``vol_column``) or
      ``risk_parity`` (``notional`` for each instrument, shared out so that each adds the same risk); all capped by
      ``max_notional``.
    - ``horizon_ns``, ``stop_bps``, ``take_profit_bps``: leave after that time, loss, gain; 0 switches one off.
    - ``exit_on_opposite``: leave on the opposite signal.
    - ``order_type``: ``limit`` (marketable IOC, ``slip_ticks`` beyond the far touch) or ``market``.
    - ``exit_limit_attempts`` limit exits before a market one; ``exit_retry_ns``, ``entry_retry_ns``, ``cooldown_ns``.
    """

    mode: Literal["probability", "return_bps"] = "probability"
    buy: float | None = None
    sell: float | None = None
    return_scale_bps: float | None = None
    cost_multiple: float = 1.0
    sizing: Literal["volatility", "fixed", "kelly", "risk_parity"] = "volatility"
    notional: float = 1000.0
    max_notional: float = 2000.0
    target_vol_bps: float = 5.0
    vol_floor_bps: float = 1.0
    vol_column: str = "rv_20"
    kelly_fraction: float = 0.25
    kelly_cap: float = 0.1
    horizon_ns: int = 10_000_000_000
    stop_bps: float = 20.0
    take_profit_bps: float = 20.0
    exit_on_opposite: bool = True
    order_type: Literal["limit", "market"] = "limit"
    slip_ticks: int = 2
    exit_limit_attempts: int = 3
    exit_retry_ns: int = 200_000_000
    entry_retry_ns: int = 250_000_000
    cooldown_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not isfinite(value):
                raise ValueError(f"{name} is {value}, expected a finite number")
            if name not in {"buy", "sell"} and isinstance(value, float | int) and value < 0:
                raise ValueError(f"{name} is {value}, expected 0 or more")
        if (self.buy is None) != (self.sell is None):
            raise ValueError("buy and sell are to be given together, or both left to the model")
        if self.buy is not None and self.sell is not None:
            self._check_thresholds(self.buy, self.sell)
        if self.notional <= 0 or self.max_notional <= 0 or self.vol_floor_bps <= 0:
            raise ValueError("notional, max_notional and vol_floor_bps are to be above 0")
        if self.exit_retry_ns <= 0 or self.entry_retry_ns <= 0:
            raise ValueError("exit_retry_ns and entry_retry_ns are to be above 0")
        if not (0.0 < self.kelly_fraction <= 1.0 and 0.0 < self.kelly_cap <= 1.0):
            raise ValueError("kelly_fraction and kelly_cap are to be above 0 and at most 1")
        bets = self.sizing == "kelly" and self.mode == "probability"
        if bets and not (self.stop_bps and self.take_profit_bps):
            raise ValueError("sizing kelly needs stop_bps and take_profit_bps: they are what can be lost and won")
        if self.sizing != "fixed" and not bets:
            try:
                lookup(self.vol_column)
            except DataError as error:
                raise ValueError(f"vol_column: {error}") from None

    def _check_thresholds(self, buy: float, sell: float) -> None:
        low, middle, high = (0.0, None, 1.0) if self.mode == "probability" else (float("-inf"), 0.0, float("inf"))
        if not low <= sell < buy <= high or (middle is not None and not sell < middle < buy):
            expected = "0 <= sell < buy <= 1" if self.mode == "probability" else "sell < 0 < buy"
            raise ValueError(f"sell {sell} and buy {buy}, expected {expected} in mode {self.mode}")


class Signal(NamedTuple):
    """What counts as a signal on one instrument."""

    buy: float
    sell: float
    return_scale_bps: float


class ThresholdStrategy(BaseStrategy):
    """At most one position per instrument; sends nothing while an order of its own is open or unknown there."""

    Params = ThresholdParams

    def __init__(self, name: str, instruments: Sequence[str], params: ThresholdParams | None = None) -> None:
        super().__init__(name, instruments, params)
        self.params: ThresholdParams
        p = self.params
        attempts = p.exit_limit_attempts if p.order_type == "limit" else 0
        self._exits = Exits(name, instruments, ExitRules(p.slip_ticks, attempts, p.exit_retry_ns, p.cooldown_ns))

        self._signals: dict[str, Signal] = {}

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None:
        """Settle the thresholds for the instrument: the parameters, else the bundle's, else no signal at all."""
        p = self.params
        self._signals[instrument] = Signal(
            facts.get("buy", inf) if p.buy is None else p.buy,
            facts.get("sell", -inf) if p.sell is None else p.sell,
            facts.get("return_scale_bps", 0.0) if p.return_scale_bps is None else p.return_scale_bps,
        )

    # --- signals ------------------------------------------------------------------------------------------------

    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]:
        """Enter, or leave on the opposite signal.  One that is not ``ok``, or no number in range, is ignored."""
        signal, expected_bps = self._signal(prediction)
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
        if top is None or not self._pays(instrument, top, signal * expected_bps):
            return ()
        side = _BUY if signal > 0 else _SELL
        px = marketable_px(instrument, top, side, self.params.slip_ticks)
        if px is None:
            return ()
        qty = quantity_for(instrument, self._notional(name, instrument, prediction.values[0], signal, view), px)
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
                reason=f"{'long' if signal > 0 else 'short'} {prediction.values[0]:.4f}",
                model=prediction.model,
                prediction_seq=prediction_seq,
            ),
        )

    def _signal(self, prediction: Prediction) -> tuple[int, float]:
        """``(+1, 0 or -1, expected return in bps)``; 0 for a prediction that must not be traded on (E1)."""
        if prediction.status is not _OK or not prediction.values:
            return 0, 0.0
        value = prediction.values[0]
        signal = self._signals.get(prediction.instrument)
        if signal is None or not isfinite(value):
            return 0, 0.0
        expected_bps = value
        if self.params.mode == "probability":
            if not 0.0 <= value <= 1.0:
                return 0, 0.0
            expected_bps = (2.0 * value - 1.0) * signal.return_scale_bps
        return (1 if value >= signal.buy else -1 if value <= signal.sell else 0), expected_bps

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
        return {"holdings": self._exits.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self._exits.restore(state.get("holdings", {}))
