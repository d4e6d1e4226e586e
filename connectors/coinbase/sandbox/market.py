"""The background market: who trades on the sandbox when no client does.

Owns which flow feeds which book and how time is passed to it.  Synthetic flow and mirrored records both act inside the
same books as the clients.  No sockets and no sleeping: ``step`` is called with the time.
"""

from __future__ import annotations

import math
from typing import Protocol

from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.matching.synthetic import FlowSettings, SyntheticFlow

NS = 1_000_000_000


class BackgroundMarket(Protocol):
    """What the server drives."""

    def step(self, now_ns: int) -> None:
        """Let the market live until ``now_ns``."""
        ...


class SyntheticMarket:
    """Seeded flow on every product.

    ``speed`` N makes N times as many events and sqrt(N) times the volatility a second: the same market with its clock
    running N times as fast, while time stamps stay real.
    """

    def __init__(self, exchange: Exchange, settings: SandboxSettings) -> None:
        self._exchange = exchange
        defaults = FlowSettings()
        rate_per_s = (settings.rate_per_s or defaults.rate_per_s) * settings.speed
        volatility_bps = defaults.volatility_bps * math.sqrt(settings.speed)
        self._flows = [
            (
                market,
                SyntheticFlow(
                    market.instrument,
                    settings.seed,
                    market.product.start_px,
                    rate_per_s=rate_per_s,
                    volatility_bps=volatility_bps,
                ),
            )
            for market in exchange.markets.values()
            if market.shares is None
        ]

    def step(self, now_ns: int) -> None:
        for market, flow in self._flows:
            outcomes = flow.step(market.engine, now_ns)
            if outcomes:
                self._exchange.absorb(market, outcomes, now_ns)
