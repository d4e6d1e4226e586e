"""The outside and the parts of a simulated daemon, as ``run.py simulate`` puts them together.

Owns the configuration of a simulation: which account, which limits, which trader.  Time and processes are
``engine.runtime.simulation``'s, the venue and its faults ``connectors.simulation``'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from config.load import load, session_limits
from config.schema import Settings
from connectors.coinbase.sandbox.keys import make_key_file
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.venue import CoinbaseVenue
from connectors.simulation.faults import Faults
from connectors.simulation.network import MemoryNetwork
from connectors.simulation.venue import MARKET_PORT, REST_PORT, USER_PORT, SimulatedVenue, timed_acts
from engine.carried import CarriedOrder
from engine.core import TradingCore
from engine.instruments import Instrument
from engine.lanes import StrategySlot
from engine.ports import Assignment, Clock, Features, FeedCounts, Model, Publish, Recorder, Strategy, VenueGateway
from risk.gate import Gate

SYMBOL = "BTC/USD"
INSTRUMENT = f"{SYMBOL}@coinbase"
MAX_POSITION_QTY = Decimal("1.03")
"""A little more than what the account begins with, so that the limit is met again and again."""
LOTS = 100_000
"""Least quantity of an order, in lots of 1e-8."""


def simulation_settings() -> Settings:
    return load(
        env={},
        overrides={
            "venue.symbols": [SYMBOL],
            "risk.allowed_instruments": [INSTRUMENT],
            "risk.max_position_qty": {"*": str(MAX_POSITION_QTY)},
            "risk.max_position_notional": 1_000_000,
            "risk.max_gross_notional": 1_000_000,
            "risk.max_net_notional": 1_000_000,
            "risk.max_open_orders": 30,
            "risk.stale_quote_ns": 20_000_000_000,
            "risk.max_daily_loss": 1_000_000,
            "risk.max_drawdown_bps": 9_000,
            "strategies": [],
        },
        default_profile="testing",
    )


class Before(Protocol):
    """What an earlier session left (``engine.runtime.succession``)."""

    @property
    def last_ns(self) -> int: ...

    @property
    def state(self) -> Any: ...


class SimulatedWorld:
    """What ``engine.runtime.simulation.sweep`` runs: the same account and limits for each seed.

    ``only``: kinds of faults that may happen (default: those that each seed draws); ``often`` times as many of them.
    """

    instrument = INSTRUMENT
    currency = "USD"
    max_position_qty = MAX_POSITION_QTY
    lots = LOTS

    def __init__(self, only: frozenset[str] | None = None, often: float = 1.0) -> None:
        self._settings = simulation_settings()
        self._only = only
        self._often = often

    def outside(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        now_ns: Callable[[], int],
        owner: Callable[[], object],
        root: Path,
    ) -> SimulatedOutside:
        """Everything around the daemon of one seed.  The key lies below ``root``."""
        key_file = root / "key.json"
        if not key_file.exists():
            make_key_file(key_file, algorithm="ES256")
        return SimulatedOutside(self._settings, loop, seed, now_ns, owner, key_file, only=self._only, often=self._often)


class SimulatedOutside:
    """Of one seed.  ``owner()`` names the running process."""

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        now_ns: Callable[[], int],
        owner: Callable[[], object],
        key_file: Path,
        *,
        only: frozenset[str] | None = None,
        often: float = 1.0,
    ) -> None:
        self.settings = settings
        self.key_file = key_file
        self.faults = Faults(seed, loop.time, only=only, often=often)
        self.network = MemoryNetwork(self.faults, owner)
        self.network.loop = loop
        self.venue = SimulatedVenue(self.network, self.faults, now_ns, key_file, seed)
        self._seed = seed

    def acts(self) -> dict[str, Callable[[], None]]:
        return timed_acts(self.venue, self.faults, self.network)

    def make_core(self, recorder: Recorder, id_prefix: str, trader: Strategy, *, hold_orders: bool) -> TradingCore:
        return TradingCore(
            recorder=recorder,
            gate=Gate(session_limits(self.settings, [INSTRUMENT], live=False)),
            slots=[StrategySlot(trader, instruments=frozenset((INSTRUMENT,)), uses_model=False)],
            assembly=_NoModel(),
            currency=self.settings.portfolio.currency,
            id_prefix=id_prefix,
            hold_orders=hold_orders,
            tolerances=self.settings.quality.tolerances(),
        )

    def make_venue(self, publish: Publish, clock: Clock, left: Before | None, number: int) -> SimulatedTrading:
        settings = CoinbaseSettings(
            symbols=(SYMBOL,),
            rest_url=f"http://127.0.0.1:{REST_PORT}",
            ws_market_url=f"ws://127.0.0.1:{MARKET_PORT}/ws",
            ws_user_url=f"ws://127.0.0.1:{USER_PORT}/ws-user",
            key_file=str(self.key_file),
            reconcile_s=120.0,
        )
        carried: Sequence[CarriedOrder] = () if left is None else left.state.orders
        return SimulatedTrading(
            CoinbaseVenue(
                settings,
                publish,
                clock,
                lag_ns=lambda: 0,
                rng=random.Random(f"connector/{self._seed}/{number}"),
                carried=carried,
                carried_ns=0 if left is None else left.last_ns,
            )
        )


class SimulatedTrading:
    """The connector in the shape that the supervisor drives."""

    def __init__(self, connector: CoinbaseVenue) -> None:
        self.connector = connector
        self.name = connector.name

    @property
    def gateways(self) -> tuple[VenueGateway, ...]:
        return () if self.connector.gateway is None else (self.connector.gateway,)

    async def start(self) -> None:
        await self.connector.start()

    async def finished(self) -> None:
        await asyncio.get_running_loop().create_future()

    def confirm(self) -> None:
        self.connector.confirm()

    def settle(self) -> None: ...

    def counts(self) -> FeedCounts:
        return self.connector.counts()

    def queue_depths(self) -> dict[str, int]:
        return self.connector.queue_depths()

    async def stop(self) -> None:
        await self.connector.stop()


class _NoModel:
    """Serves no instrument."""

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:  # noqa: ARG002
        return Assignment()

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None: ...

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None: ...
