"""Parameters of the threshold strategy, and which of them make no sense together."""

from __future__ import annotations

from math import isfinite
from typing import Literal

import msgspec

from engine.errors import DataError
from engine.features.column import lookup


class ThresholdParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters; times are ns, ``*_bps`` basis points, notionals the instrument's quote currency.

    - ``mode``: ``probability`` (the output is P(up)) or ``return_bps`` (it is an expected return; in bps where the
      bundle does not say its unit).
    - ``output``: the forecast to trade on, by the name that the bundle gives it (of several horizons ``h5``, say);
      empty: the first.
    - ``buy``, ``sell``: signal at or above / at or below this output; unset: what the model's bundle suggests.
    - ``return_scale_bps``: move that a sure prediction stands for; expected return = ``(2 p - 1) * return_scale_bps``;
      unset: the bundle's.
    - ``cost_multiple``: enter only when the expected return exceeds this many times ``spread + 2 * taker fee``; 0 asks
      nothing (demonstrations only: it loses its costs).
    - ``gates``: what else an entry must pass (``strategies.confidence``).  ``conformal``: the conformal set of error
      rate ``error_rate`` holds the side of the entry alone; ``adaptation`` is the step by which that rate follows the
      errors that were made (0: the bundle's quantile as it is).  ``spread``: the forecast's own deviation is at most
      ``spread_max``, in the unit of the output (bps for returns).
    - ``edge_spreads``: so many times that deviation is taken off the expected return before it is held against costs.
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
    output: str = ""
    buy: float | None = None
    sell: float | None = None
    return_scale_bps: float | None = None
    cost_multiple: float = 1.0
    gates: tuple[Literal["conformal", "spread"], ...] = ()
    error_rate: float = 0.1
    adaptation: float = 0.005
    spread_max: float = 0.05
    edge_spreads: float = 0.0
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
        if not (0.0 < self.error_rate < 1.0 and self.adaptation < 1.0):
            raise ValueError("error_rate is to be above 0 and below 1, adaptation below 1")
        if self.notional <= 0 or self.max_notional <= 0 or self.vol_floor_bps <= 0:
            raise ValueError("notional, max_notional and vol_floor_bps are to be above 0")
        if self.exit_retry_ns <= 0 or self.entry_retry_ns <= 0:
            raise ValueError("exit_retry_ns and entry_retry_ns are to be above 0")
        if not (0.0 < self.kelly_fraction <= 1.0 and 0.0 < self.kelly_cap <= 1.0):
            raise ValueError("kelly_fraction and kelly_cap are to be above 0 and at most 1")
        if self._bets and not (self.stop_bps and self.take_profit_bps):
            raise ValueError("sizing kelly needs stop_bps and take_profit_bps: they are what can be lost and won")
        if self.reads_volatility:
            try:
                lookup(self.vol_column)
            except DataError as error:
                raise ValueError(f"vol_column: {error}") from None

    @property
    def reads_volatility(self) -> bool:
        """Whether sizes depend on ``vol_column``."""
        return self.sizing != "fixed" and not self._bets

    @property
    def _bets(self) -> bool:
        return self.sizing == "kelly" and self.mode == "probability"

    def _check_thresholds(self, buy: float, sell: float) -> None:
        low, middle, high = (0.0, None, 1.0) if self.mode == "probability" else (float("-inf"), 0.0, float("inf"))
        if not low <= sell < buy <= high or (middle is not None and not sell < middle < buy):
            expected = "0 <= sell < buy <= 1" if self.mode == "probability" else "sell < 0 < buy"
            raise ValueError(f"sell {sell} and buy {buy}, expected {expected} in mode {self.mode}")
