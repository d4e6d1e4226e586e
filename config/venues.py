"""The venue a configuration asks for, in the shape the supervisor drives (``engine.ports.Venue``).

Three feeds: a Coinbase-speaking server (the real one or the sandbox, with its order entry), the real public market with
fills in this process, and recorded files with fills in this process.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from config.schema import Settings
from config.secrets import check_private
from connectors.coinbase.auth import Key
from connectors.coinbase.directory import make_instrument
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.shadow import CoinbaseShadow
from connectors.coinbase.venue import CoinbaseVenue
from connectors.coinbase.wire import Product
from connectors.paper.exchange import DEFAULT_BALANCE, PaperExchange
from connectors.published import PublishedFeed
from connectors.replay.feed import ReplayVenue, Speed
from engine.carried import Carried
from engine.data.parquet import describe_files
from engine.data.published import stored_observations
from engine.errors import ConfigError, VenueError
from engine.events import InputEvent, InstrumentDefined, Observation
from engine.instruments import Instrument
from engine.ports import Clock, FeedCounts, Publish, VenueGateway

BPS = Decimal(10_000)
MS_NS = 1_000_000
History = Callable[[str], tuple[int, int]]
"""Asked with an instrument's id: bar length (ns) and number of past bars its features want."""


@dataclass(frozen=True)
class Endpoints:
    """Where a Coinbase-speaking server listens; empty strings mean the venue's own."""

    rest: str = ""
    ws_market: str = ""
    ws_user: str = ""
    key_file: str = ""


START_LIMIT_S = 120.0
"""An hour of history for a few products takes the exchange a quarter of that."""


class Child(Protocol):
    """A server process that says where it listens (``engine.runtime.child``)."""

    @property
    def last_words(self) -> str: ...

    async def start(self, timeout_s: float) -> dict[str, Any]: ...

    async def ended(self) -> None: ...

    async def stop(self) -> None: ...


class Before(Protocol):
    """What an earlier session left (``engine.runtime.succession``)."""

    @property
    def state(self) -> Carried: ...

    @property
    def last_ns(self) -> int: ...


class RunningServer:
    """A server that was started by somebody else and goes on without us: its account outlives the session."""

    last_words = ""

    def __init__(self, settings: Settings) -> None:
        """Raises ``ConfigError`` when not all of its addresses are given."""
        venue = settings.venue
        self._said = {
            "rest": venue.rest_url,
            "ws_market": venue.ws_market_url,
            "ws_user": venue.ws_user_url,
            "key_file": None if venue.key_file is None else str(venue.key_file),
        }
        missing = [name for name, value in zip(_ADDRESSES, self._said.values(), strict=True) if not value]
        if missing:
            raise ConfigError(
                f"venue.rest_url names a running exchange, but {', '.join(missing)} is empty",
                expected=f"all of {', '.join(_ADDRESSES)}",
                do="copy what that exchange printed when it started",
            )
        for name in ("rest", "ws_market", "ws_user"):
            host = urlsplit(str(self._said[name])).hostname or ""
            if host != "localhost" and not host.startswith("127.") and host != "::1":
                raise ConfigError(
                    f"paper trading at {host}",
                    expected="the built-in exchange, on this machine: a real venue takes real money",
                    do=f"correct venue.{name}_url",
                )

    async def start(self, timeout_s: float) -> dict[str, Any]:  # noqa: ARG002
        return dict(self._said)

    async def ended(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None: ...


_ADDRESSES = ("venue.rest_url", "venue.ws_market_url", "venue.ws_user_url", "venue.key_file")


def account_of(settings: Settings) -> str:
    """Names the account that is traded on, where it outlives the session: venue and a fingerprint of server and key.

    Empty for an account that is made with the session.  Raises ``ConfigError`` for a key file that is none.
    """
    venue = settings.venue
    if venue.feed != "sandbox" or venue.rest_url is None or venue.key_file is None:
        return ""
    server = urlsplit(str(venue.rest_url)).netloc
    digest = hashlib.sha256(f"{server} {Key.from_file(venue.key_file).name}".encode()).hexdigest()
    return f"{venue.name}-{digest[:12]}"


def cancel_only_of(settings: Settings) -> dict[str, Any] | None:
    """What the venue's cancel-only module must know of the account; None where the account ends with the session."""
    if not account_of(settings):
        return None
    venue = settings.venue
    assert venue.key_file is not None
    return {
        "rest_url": str(venue.rest_url),
        "key_file": str(venue.key_file.absolute()),
        "timeout_s": venue.request_timeout_ms / 1000,
    }


class SandboxTrading:
    """The built-in exchange as a child process, traded over its own protocol exactly as the real venue would be."""

    def __init__(
        self,
        settings: Settings,
        child: Child,
        publish: Publish,
        clock: Clock,
        lag_ns: Callable[[], int],
        say: Callable[[str], None],
        history: History,
        left: Before | None = None,
    ) -> None:
        """``left``: what an earlier session on the account left.  Raises ``ConfigError`` for a key file of the user's
        own that others can read."""
        if settings.venue.key_file is not None:
            check_private(settings.venue.key_file)
        self._settings = settings
        self._history = history
        self._left = left
        self._child = child
        self._publish = publish
        self._clock = clock
        self._lag_ns = lag_ns
        self._say = say
        self._venue: CoinbaseVenue | None = None
        self._published = published_feed(settings, publish, clock, say)

    @property
    def name(self) -> str:
        return self._settings.venue.name

    @property
    def gateways(self) -> tuple[VenueGateway, ...]:
        gateway = None if self._venue is None else self._venue.gateway
        return () if gateway is None else (gateway,)

    @property
    def connector(self) -> CoinbaseVenue | None:
        return self._venue

    def shadow(self) -> CoinbaseShadow | None:
        return None if self._venue is None else self._venue.shadow()

    async def start(self) -> None:
        try:
            said = await self._child.start(START_LIMIT_S)
        except VenueError as error:
            do = "lower sandbox.history_s or sandbox.rate_per_s" if "said nothing" in error.seen else ""
            raise VenueError(error.seen, do=do) from None
        endpoints = Endpoints(said["rest"], said["ws_market"], said["ws_user"], said["key_file"])
        self._say(f"  exchange {endpoints.rest} (built-in, speaks Coinbase Advanced Trade)")
        if self._published is not None:
            await self._published.start()
        self._venue = CoinbaseVenue(
            coinbase_settings(self._settings, endpoints),
            self._publish,
            self._clock,
            lag_ns=self._lag_ns,
            history=self._history,
            carried=() if self._left is None else self._left.state.orders,
            carried_ns=0 if self._left is None else self._left.last_ns,
        )
        await self._venue.start()

    async def finished(self) -> None:
        await self._child.ended()
        raise VenueError(f"the built-in exchange ended: {self._child.last_words or 'without a word'}")

    def confirm(self) -> None:
        if self._venue is not None:
            self._venue.confirm()

    def settle(self) -> None:
        """It settles by itself."""

    def counts(self) -> FeedCounts:
        return FeedCounts() if self._venue is None else self._venue.counts()

    def queue_depths(self) -> dict[str, int]:
        return {} if self._venue is None else self._venue.queue_depths()

    async def stop(self) -> None:
        if self._published is not None:
            await self._published.stop()
        if self._venue is not None:
            await self._venue.stop()
        await self._child.stop()


class CoinbaseOnPaper:
    """The real public market, no keys; orders are matched in this process against its mirror."""

    def __init__(
        self,
        settings: Settings,
        publish: Publish,
        clock: Clock,
        lag_ns: Callable[[], int],
        endpoints: Endpoints,
        id_prefix: str,
        history: History,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        public = msgspec.structs.replace(coinbase_settings(settings, endpoints), key_file="")
        self._publish = publish
        self._clock = clock
        self._exchange = PaperExchange(
            publish,
            (),
            venue=public.name,
            balances=settings.paper.balances,
            latency_ns=int(settings.paper.latency_ms * MS_NS),
            id_prefix=id_prefix,
            assumed_notional=settings.paper.assumed_quote_notional,
            tolerances=settings.quality.tolerances(),
        )
        self._settings = settings
        self._venue = CoinbaseVenue(public, self._on_event, clock, lag_ns=lag_ns, history=history)
        self._published = published_feed(settings, publish, clock, say)

    @property
    def name(self) -> str:
        return self._venue.name

    @property
    def gateways(self) -> tuple[VenueGateway, ...]:
        return (self._exchange,)

    @property
    def connector(self) -> CoinbaseVenue:
        return self._venue

    async def start(self) -> None:
        if self._published is not None:
            await self._published.start()
        await self._venue.start()
        self._exchange.start(self._clock.now_ns(), define=False, streams=("user",))

    async def finished(self) -> None:
        await asyncio.Event().wait()

    def confirm(self) -> None:
        """The account is in this process."""

    def settle(self) -> None:
        self._exchange.advance(self._clock.now_ns())

    def counts(self) -> FeedCounts:
        return self._venue.counts()

    def queue_depths(self) -> dict[str, int]:
        """Orders and cancels on their way to the paper exchange."""
        return {"paper": self._exchange.pending}

    async def stop(self) -> None:
        if self._published is not None:
            await self._published.stop()
        await self._venue.stop()

    def _on_event(self, event: InputEvent) -> None:
        """What is under way arrives first, then the core sees the event, then resting orders meet it."""
        if isinstance(event, InstrumentDefined):
            event = msgspec.structs.replace(event, definition=with_paper_fees(event.definition, self._settings))
        self._exchange.advance(event.ts_recv_ns)
        self._publish(event)
        self._exchange.on_market(event)


class Recording:
    """Recorded files, played through paper exchanges in data time."""

    def __init__(
        self,
        settings: Settings,
        paths: Sequence[Path],
        speed: Speed,
        publish: Publish,
        clock: Clock,
        report: Callable[[str], None],
        id_prefix: str,
        known: Sequence[str] = (),
        published: Sequence[Observation] = (),
    ) -> None:
        """``known``: what is odd about the data before it is opened; ``published``: observations that are played with
        it, beside those of ``exogenous.series``.  Raises ``DataError`` for files that cannot be played."""
        own = settings.sources.get("paper.balances", "default") != "default"
        self._notes: list[str] = []

        def note(text: str) -> None:
            self._notes.append(text)
            report(text)

        for text in known:
            note(text)
        self._venue = ReplayVenue(
            paths,
            publish,
            clock=clock,
            speed=speed,
            timer_ms=settings.engine.timer_ms,
            overrides={
                info.instrument.id: with_paper_fees(info.instrument, settings) for info in describe_files(paths)
            },
            report=note,
            published=sorted(
                dict.fromkeys((*published, *_configured(settings))),
                key=lambda one: (one.ts_event_ns, one.period_end_ns, one.series),
            ),
            history_ns=settings.exogenous.history_ns,
            balances=settings.paper.balances if own else None,
            default_balance=settings.paper.balances.get(settings.portfolio.currency, DEFAULT_BALANCE),
            latency_ns=int(settings.paper.latency_ms * MS_NS),
            id_prefix=id_prefix,
            assumed_notional=settings.paper.assumed_quote_notional,
            tolerances=settings.quality.tolerances(),
        )
        self._stop = asyncio.Event()

    @property
    def name(self) -> str:
        return self._venue.name

    @property
    def gateways(self) -> tuple[VenueGateway, ...]:
        return self._venue.gateways

    async def start(self) -> None:
        await self._venue.start()

    async def finished(self) -> None:
        await self._venue.run(self._stop)

    @property
    def notes(self) -> Sequence[str]:
        """What was odd about the data: rows out of order, times without a zone."""
        return self._notes

    def confirm(self) -> None:
        """The account is in this process."""

    def settle(self) -> None:
        """After the end of the data: let cancels and their answers arrive, in data time."""
        self._venue.drain()

    def counts(self) -> FeedCounts:
        return FeedCounts()

    async def stop(self) -> None:
        self._stop.set()
        await self._venue.stop()


def published_feed(
    settings: Settings, publish: Publish, clock: Clock, report: Callable[[str], None]
) -> PublishedFeed | None:
    """The feed of ``exogenous.series``; None where there are none."""
    if not settings.exogenous.series:
        return None
    return PublishedFeed(
        lambda: _configured(settings),
        publish,
        clock,
        history_ns=settings.exogenous.history_ns,
        renew_s=settings.exogenous.renew_s,
        report=report,
    )


def _configured(settings: Settings) -> list[Observation]:
    series = settings.exogenous.series
    return stored_observations(settings.data.catalogue, series) if series else []


def foreseen_instruments(settings: Settings) -> list[Instrument]:
    """The configured symbols as Coinbase will define them, in all that a model, a limit or a rate goes by: what it
    lists for them is spot, and its feed gives sizes and trades.  Steps, bounds and fees are stand-ins until it tells.
    """
    one = Decimal(1)
    return [
        make_instrument(
            settings.venue.name,
            symbol,
            Product(symbol.replace("/", "-"), one, one, one, one),
            Decimal(0),
            Decimal(0),
            has_depth="level2" in settings.venue.channels,
        )
        for symbol in settings.venue.symbols
    ]


def with_paper_fees(instrument: Instrument, settings: Settings) -> Instrument:
    """The instrument with the fee rates of the ``paper`` section, where it sets any."""
    maker, taker = settings.paper.maker_fee_bps, settings.paper.taker_fee_bps
    return msgspec.structs.replace(
        instrument,
        maker_fee_rate=instrument.maker_fee_rate if maker is None else maker / BPS,
        taker_fee_rate=instrument.taker_fee_rate if taker is None else taker / BPS,
    )


def coinbase_settings(settings: Settings, endpoints: Endpoints) -> CoinbaseSettings:
    """The connector's settings; explicit configuration wins over the endpoints of a sandbox."""
    venue = settings.venue
    given: Mapping[str, str] = {
        "rest_url": venue.rest_url or endpoints.rest,
        "ws_market_url": venue.ws_market_url or endpoints.ws_market,
        "ws_user_url": venue.ws_user_url or endpoints.ws_user,
        "key_file": str(venue.key_file) if venue.key_file else endpoints.key_file,
    }
    made = CoinbaseSettings(
        symbols=tuple(venue.symbols),
        channels=tuple(venue.channels),
        transport=venue.transport,
        order_connections=venue.order_connections,
        order_timeout_s=venue.request_timeout_ms / 1000,
        reconcile_s=venue.reconcile_s,
        conflate_lag_ms=settings.engine.conflate_lag_ms,
        **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]  # all of these are text
    )
    made.check()
    return made
