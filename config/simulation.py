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
from typing import Any, Literal, Protocol

import msgspec

from config.load import load, session_limits
from config.schema import Settings
from config.wiring import build_guardian
from connectors.coinbase.offer import OFFER
from connectors.coinbase.sandbox.keys import make_key_file
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.venue import CoinbaseVenue
from connectors.simulation.acts import timed_acts
from connectors.simulation.faults import KINDS, Faults
from connectors.simulation.network import MemoryNetwork
from connectors.simulation.venue import MARKET_PORT, REST_PORT, USER_PORT, SimulatedVenue
from engine.carried import CarriedOrder
from engine.commands import OrderIntent
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.ports import Assembly, Clock, FeedCounts, Publish, Recorder, VenueGateway, View
from engine.seats import ServingRules
from risk.gate import Gate
from risk.limits import Limits

SYMBOLS = ("BTC/USD", "ETH/USD")
BALANCES = (("USD", Decimal(100_000)), ("BTC", Decimal(1)), ("ETH", Decimal(20)))
MAX_POSITION_QTY = {"BTC/USD@coinbase": Decimal("1.015"), "ETH/USD@coinbase": Decimal("20.3")}
"""A little more than what the account begins with, so that the limit is met again and again."""
LOTS = {"BTC/USD@coinbase": 100_000, "ETH/USD@coinbase": 2_000_000}
"""Least quantity of an order, in lots of 1e-8."""
AHEAD_NS = 1_000_000_000
FAILURES_MAX, PAUSE_NS = 3, 20_000_000_000
FALLBACKS: tuple[Literal["hold", "flat", "older"], ...] = ("hold", "flat", "older")
"""What becomes of whoever trades on a model that does not serve, seed by seed."""
GUARDIAN = {"stop_bps": 15, "take_profit_bps": 30, "max_age_s": 900, "cooldown_s": 5}


def simulation_settings() -> Settings:
    return load(
        env={},
        overrides={
            "venue.symbols": list(SYMBOLS),
            "risk.allowed_instruments": list(LOTS),
            "risk.max_position_qty": {name: str(qty) for name, qty in MAX_POSITION_QTY.items()},
            "risk.guardian": GUARDIAN,
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

    currency = "USD"
    max_position_qty = MAX_POSITION_QTY
    lots = LOTS
    oldest_s = GUARDIAN["max_age_s"] + 150.0

    def __init__(self, only: frozenset[str] | None = None, often: float = 1.0) -> None:
        self._settings = simulation_settings()
        self._only = only
        self._often = often

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The ids of every kind of fault that there is."""
        return {name: kind.ids for name, kind in KINDS.items()}

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
        products = [symbol.replace("/", "-") for symbol in SYMBOLS]
        self.venue = SimulatedVenue(
            self.network, self.faults, now_ns, key_file, seed, products=products, balances=BALANCES
        )
        self._seed = seed
        self._now_ns = now_ns
        self._guard = Guard()

    def acts(self) -> dict[str, Callable[[], object]]:
        def break_guard() -> None:
            self._guard.fail(self._now_ns(), self.faults.rng.uniform(5.0, 90.0))

        return {**timed_acts(self.venue, self.faults, self.network), "guard_failed": break_guard}

    def heal(self) -> None:
        """No fault from now on, and none that lasts."""
        self.faults.heal()
        self._guard.mend(self._now_ns())
        self.venue.heal()

    def guard_fails(self, now_ns: int) -> bool:
        return self._guard.fails_at(now_ns)

    def make_core(
        self,
        recorder: Recorder,
        id_prefix: str,
        slots: Sequence[StrategySlot],
        assembly: Assembly,
        *,
        hold_orders: bool,
    ) -> TradingCore:
        names = list(LOTS)
        guardian = build_guardian(self.settings, names)
        assert guardian is not None
        offer = OFFER if self.venue.attaches else msgspec.structs.replace(OFFER, entries=frozenset())
        return TradingCore(
            recorder=recorder,
            gate=_BrokenGate(session_limits(self.settings, names, live=False), self._guard),
            slots=[*slots, guardian],
            assembly=assembly,
            currency=self.settings.portfolio.currency,
            id_prefix=id_prefix,
            hold_orders=hold_orders,
            tolerances=self.settings.quality.tolerances(),
            offers={name.rpartition("@")[2]: offer for name in names},
            rules=ServingRules(FAILURES_MAX, PAUSE_NS, FALLBACKS[self._seed % len(FALLBACKS)]),
        )

    def make_venue(self, publish: Publish, clock: Clock, left: Before | None, number: int) -> SimulatedTrading:
        settings = CoinbaseSettings(
            symbols=SYMBOLS,
            rest_url=f"http://127.0.0.1:{REST_PORT}",
            ws_market_url=f"ws://127.0.0.1:{MARKET_PORT}/ws",
            ws_user_url=f"ws://127.0.0.1:{USER_PORT}/ws-user",
            key_file=str(self.key_file),
            products_s=90.0,
            order_connections=2,
            order_warm_s=60.0,
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
                carried_balances={} if left is None else left.state.balances(settings.name),
                carried_trades=() if left is None else left.state.trades,
            )
        )


class Guard:
    """When a part of risk fails.  Of one seed; a replay asks it of the same times."""

    def __init__(self) -> None:
        self._times: list[tuple[int, int]] = []

    def fail(self, now_ns: int, seconds: float) -> None:
        """From a moment later on, so that no daemon whose clock is a little ahead has passed the time already."""
        self._times.append((now_ns + AHEAD_NS, now_ns + int(seconds * 1e9)))

    def mend(self, now_ns: int) -> None:
        self._times = [(start_ns, min(end_ns, now_ns + AHEAD_NS)) for start_ns, end_ns in self._times]

    def fails_at(self, now_ns: int) -> bool:
        return any(start_ns <= now_ns < end_ns for start_ns, end_ns in self._times)


class _BrokenGate(Gate):
    """A gate of which one guard raises at some times, on the short way and on the long one."""

    def __init__(self, limits: Limits, guard: Guard) -> None:
        super().__init__(limits)
        self._pace: Any = _BrokenPace(self._pace, guard)
        if self._screen is not None:
            self._screen: Any = _BrokenScreen(self._screen, guard)


class _Broken:
    def __init__(self, part: Any, guard: Guard) -> None:
        self._part = part
        self._guard = guard

    def _fail(self, now_ns: int) -> None:
        if self._guard.fails_at(now_ns):
            raise RuntimeError("a guard fails")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


class _BrokenPace(_Broken):
    def check_entry(self, intent: OrderIntent, now_ns: int) -> Any:
        self._fail(now_ns)
        return self._part.check_entry(intent, now_ns)


class _BrokenScreen(_Broken):
    def worth_of(self, intent: OrderIntent, view: View) -> Any:
        self._fail(view.now_ns)
        return self._part.worth_of(intent, view)


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
