"""The price that a synthetic market moves around: a jump diffusion with clustered volatility.

Owns the stochastic process; knows no orders.  Log price: Brownian motion whose log volatility is the sum of two
mean-reverting (Ornstein-Uhlenbeck) parts, one of seconds and one of minutes, plus rare jumps, plus a weak pull to the
start price so that a run of months stays in a sensible range.  Log-normal volatility of variance v gives a return
kurtosis of ``3 * exp(4 v)`` and autocorrelated absolute returns, which are the two facts a market shows on any chart.
"""

from __future__ import annotations

import math
import random

_FAST_S = 30.0
_SLOW_S = 600.0
_FAST_STD = 0.5
_SLOW_STD = 0.4
_JUMPS_PER_S = 1 / 120.0
_JUMP_STD = 4.0
"""In standard deviations of one second's move."""
_PULL_S = 6 * 3600.0
_LOG_LIMIT = 2.0
_MAX_STEP_S = 1.0


class LatentPrice:
    """``px`` in quote currency, ``volatility`` as the usual standard deviation of the log price over one second."""

    def __init__(self, start_px: float, volatility: float, source: random.Random) -> None:
        self.px = start_px
        self._start_log = math.log(start_px)
        self._log = self._start_log
        self._volatility = volatility
        self._random = source
        self._fast = source.gauss(0.0, _FAST_STD)
        self._slow = source.gauss(0.0, _SLOW_STD)

    @property
    def regime(self) -> float:
        """Present volatility over the usual one."""
        return math.exp(min(_LOG_LIMIT, max(-_LOG_LIMIT, self._fast + self._slow)))

    @property
    def activity(self) -> float:
        """Factor of the event rate: more trading when the price moves more."""
        return min(2.5, max(0.5, math.sqrt(self.regime)))

    @property
    def spread_factor(self) -> float:
        """Factor of the spread: makers ask for more when the price moves more."""
        return min(3.0, max(0.6, math.sqrt(self.regime)))

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds``."""
        while seconds > 0:
            step = min(seconds, _MAX_STEP_S)
            seconds -= step
            self._step(step)

    def _step(self, dt: float) -> None:
        gauss = self._random.gauss
        root = math.sqrt(dt)
        self._fast += -self._fast * dt / _FAST_S + _FAST_STD * math.sqrt(2 * dt / _FAST_S) * gauss(0.0, 1.0)
        self._slow += -self._slow * dt / _SLOW_S + _SLOW_STD * math.sqrt(2 * dt / _SLOW_S) * gauss(0.0, 1.0)
        sigma = self._volatility * self.regime
        move = sigma * root * gauss(0.0, 1.0) + (self._start_log - self._log) * dt / _PULL_S
        if self._random.random() < _JUMPS_PER_S * dt:
            move += sigma * _JUMP_STD * gauss(0.0, 1.0)
            self._fast = min(_LOG_LIMIT, self._fast + 0.4)  # a jump leaves nervousness behind
        self._log += move
        self.px = math.exp(self._log)
