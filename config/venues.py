"""A venue in the shape the supervisor drives (``engine.ports.Venue``).

Two feeds: a venue's server with its order entry, and a market with fills in this process: the real one, or that of a
server of ours which takes no orders.  The third, recorded files, is ``config.recording``; which one a session has,
``config.chosen_venue``; what differs from venue to venue, ``config.venue_kind``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from config.exchange import home_of
from config.schema import Settings
from config.secrets import check_private
from config.venue_kind import Connector, History, Opening, Said, VenueKind
from connectors.paper.exchange import PaperExchange
from connectors.published import PublishedFeed
from engine.carried import Carried
from engine.data.published import stored_observations
from engine.errors import VenueError
from engine.events import InputEvent, InstrumentDefined, Observation
from engine.instruments import Instrument
from engine.order_ids import session_of
from engine.ports import Clock, FeedCounts, Publish, VenueGateway

BPS = Decimal(10_000)
MS_NS = 1_000_000
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

    @property
    def session(self) -> str: ...


class AccountTrading:
    """A venue's server, traded over its own protocol: the built-in one as a child process, or one that runs already."""

    def __init__(
        self,
        kind: VenueKind,
        settings: Settings,
        child: Child,
        publish: Publish,
        clock: Clock,
        lag_ns: Callable[[], int],
        say: Callable[[str], None],
        history: History,
        left: Before | None = None,
        identify: Callable[[str], None] | None = None,
        session: str = "",
    ) -> None:
        """``left``: what an earlier session on the account left.  ``identify`` is told which account it is; None for
        one that ends with the session.  ``session``: its name; empty: whatever other daemons have there is accepted.

        Raises ``ConfigError`` for a key file of the user's own that others can read.
        """
        if settings.venue.key_file is not None:
            check_private(settings.venue.key_file)
        self._kind = kind
        self._settings = settings
        self._history = history
        self._left = left
        self._identify = identify
        self._session = session
        self._child = child
        self._publish = publish
        self._clock = clock
        self._lag_ns = lag_ns
        self._say = say
        self._venue: Connector | None = None
        self._published = published_feed(settings, publish, clock, say)

    @property
    def name(self) -> str:
        return self._settings.venue.name

    @property
    def gateways(self) -> tuple[VenueGateway, ...]:
        gateway = None if self._venue is None else self._venue.gateway
        return () if gateway is None else (gateway,)

    @property
    def connector(self) -> Connector | None:
        return self._venue

    def shadow(self) -> Any:
        return None if self._venue is None else self._venue.shadow()

    def renew(self, instrument: str, attempt: int) -> None:
        if self._venue is not None:
            self._venue.renew(instrument, attempt)

    @property
    def _is_real(self) -> bool:
        """Only a live session trades on the account of a feed that is live (``config.live``)."""
        return self._settings.venue.feed == "live"

    async def start(self) -> None:
        said = await _started(self._child)
        where = said[self._kind.addresses[0].said] or home_of(self._settings, live=True)
        of = "REAL MONEY" if self._is_real else "built-in"
        self._say(f"  exchange {where} ({of}, speaks {self._kind.speaks})")
        if self._published is not None:
            await self._published.start()
        opening = Opening(
            self._publish,
            self._clock,
            self._lag_ns,
            self._history,
            money="real" if self._is_real else "play",
            carried=() if self._left is None else self._left.state.orders,
            carried_balances={} if self._left is None else self._left.state.balances(self._settings.venue.name),
            identify=self._identify,
            rival=self.rival,
            say=lambda line: self._say(f"  {line}"),
            earlier=None if self._left is None else self._left.state,
            earlier_ns=0 if self._left is None else self._left.last_ns,
        )
        self._venue = self._kind.connect(self._settings, said, opening)
        await self._venue.start()

    def rival(self, client_order_id: str) -> str:
        """A session that is neither this one nor any on this machine: those hold the account one after the other."""
        found = session_of(client_order_id)
        known = {"", self._session, "" if self._left is None else self._left.session}
        if not self._session or found in known or (self._settings.session.directory / found).exists():
            return ""
        return found

    async def finished(self) -> None:
        await _ended(self._child)

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


async def _started(child: Child) -> dict[str, Any]:
    try:
        return await child.start(START_LIMIT_S)
    except VenueError as error:
        do = "lower sandbox.history_s or sandbox.rate_per_s" if "said nothing" in error.seen else ""
        raise VenueError(error.seen, do=do) from None


async def _ended(child: Child) -> None:
    await child.ended()
    raise VenueError(f"the built-in exchange ended: {child.last_words or 'without a word'}")


class MarketOnPaper:
    """A public market, no keys; orders are matched in this process against its mirror."""

    def __init__(
        self,
        kind: VenueKind,
        settings: Settings,
        publish: Publish,
        clock: Clock,
        lag_ns: Callable[[], int],
        said: Said,
        id_prefix: str,
        history: History,
        say: Callable[[str], None] = lambda _line: None,
        child: Child | None = None,
    ) -> None:
        """``said``: addresses of a server other than the venue's own; mostly empty.  ``child``: a server of ours whose
        market it is, which says its addresses itself."""
        self._publish = publish
        self._clock = clock
        self._settings = settings
        self._kind = kind
        self._say = say
        self._child = child
        self._opening = Opening(self._on_event, clock, lag_ns, history)
        self._venue: Connector | None = None if child is not None else kind.watch(settings, said, self._opening)
        own = settings.sources.get("paper.balances", "default") != "default"
        self._exchange = PaperExchange(
            publish,
            (),
            venue=self.name,
            balances=settings.paper.balances if own else None,  # else of what its instruments are paid in
            home=settings.portfolio.currency,
            rates=settings.portfolio.rates,
            latency_ns=int(settings.paper.latency_ms * MS_NS),
            id_prefix=id_prefix,
            assumed_notional=settings.paper.assumed_quote_notional,
            tolerances=settings.quality.tolerances(),
        )
        self._published = published_feed(settings, publish, clock, say)

    @property
    def name(self) -> str:
        return self._settings.venue.name

    @property
    def gateways(self) -> tuple[VenueGateway, ...]:
        return (self._exchange,)

    @property
    def connector(self) -> Connector | None:
        return self._venue

    def renew(self, instrument: str, attempt: int) -> None:
        if self._venue is not None:
            self._venue.renew(instrument, attempt)

    async def start(self) -> None:
        if self._child is not None:
            said = await _started(self._child)
            self._say(f"  market {said['rest']} (built-in, speaks {self._kind.speaks}; orders are matched here)")
            self._venue = self._kind.watch(self._settings, said, self._opening)
        assert self._venue is not None
        if self._published is not None:
            await self._published.start()
        await self._venue.start()
        self._exchange.start(self._clock.now_ns(), define=False, streams=("user",))

    async def finished(self) -> None:
        if self._child is None:
            await asyncio.Event().wait()
        else:
            await _ended(self._child)

    def confirm(self) -> None:
        """The account is in this process."""

    def settle(self) -> None:
        self._exchange.advance(self._clock.now_ns())

    def counts(self) -> FeedCounts:
        return FeedCounts() if self._venue is None else self._venue.counts()

    def queue_depths(self) -> dict[str, int]:
        """Orders and cancels on their way to the paper exchange."""
        return {"paper": self._exchange.pending}

    async def stop(self) -> None:
        if self._published is not None:
            await self._published.stop()
        if self._venue is not None:
            await self._venue.stop()
        if self._child is not None:
            await self._child.stop()

    def _on_event(self, event: InputEvent) -> None:
        """What is under way arrives first, then the core sees the event, then resting orders meet it."""
        if isinstance(event, InstrumentDefined):
            event = msgspec.structs.replace(event, definition=with_paper_fees(event.definition, self._settings))
        self._exchange.advance(event.ts_recv_ns)
        self._publish(event)
        self._exchange.on_market(event)


def published_feed(
    settings: Settings, publish: Publish, clock: Clock, report: Callable[[str], None]
) -> PublishedFeed | None:
    """The feed of ``exogenous.series``; None where there are none."""
    if not settings.exogenous.series:
        return None
    return PublishedFeed(
        lambda: configured_series(settings),
        publish,
        clock,
        history_ns=settings.exogenous.history_ns,
        renew_s=settings.exogenous.renew_s,
        report=report,
    )


def configured_series(settings: Settings) -> list[Observation]:
    """What the catalogue holds of ``exogenous.series``."""
    series = settings.exogenous.series
    return stored_observations(settings.data.catalogue, series) if series else []


def with_paper_fees(instrument: Instrument, settings: Settings) -> Instrument:
    """The instrument with the fee rates of the ``paper`` section, where it sets any."""
    maker, taker = settings.paper.maker_fee_bps, settings.paper.taker_fee_bps
    return msgspec.structs.replace(
        instrument,
        maker_fee_rate=instrument.maker_fee_rate if maker is None else maker / BPS,
        taker_fee_rate=instrument.taker_fee_rate if taker is None else taker / BPS,
    )
