"""An exchange of the library as one object: start it, and facts are published; its gateway takes commands.

Owns the order of a start and of a stop.  Without a key file it is market-only: public data, no gateway.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.ccxt_venue.candles import fetch_bars
from connectors.ccxt_venue.capabilities import Needs, needs_of
from connectors.ccxt_venue.exact import exact, mapping
from connectors.ccxt_venue.feed import MarketFeed
from connectors.ccxt_venue.keys import Credentials, read_credentials
from connectors.ccxt_venue.library import SUBSCRIPTION_MS, Handle
from connectors.ccxt_venue.markets import SIGNIFICANT_DIGITS, make_instrument, nearest
from connectors.ccxt_venue.questions import Questions
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.ccxt_venue.streams import Streams
from connectors.ccxt_venue.trading import Trading
from engine.carried import CarriedOrder
from engine.errors import ConfigError, VenueError, WrongAccount
from engine.events import InputEvent, InstrumentDefined, InstrumentStatus, Quote, TradingStatus
from engine.instruments import Instrument
from engine.ports import Clock, FeedCounts, Publish

NS_PER_S = 1_000_000_000

_log = logging.getLogger(__name__)


class CcxtVenue:
    """The connector.  Parameters as those of ``config.venue_kind.Opening``."""

    def __init__(
        self,
        settings: CcxtSettings,
        publish: Publish,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        history: Callable[[str], tuple[int, int]] = lambda _instrument: (0, 0),
        carried: Sequence[CarriedOrder] = (),
        carried_balances: Mapping[str, Decimal] | None = None,  # noqa: ARG002 - what there is is told anew at each start
        identify: Callable[[str], None] | None = None,
        rival: Callable[[str], str] = lambda _client_order_id: "",
    ) -> None:
        """Raises ``ConfigError`` for settings or a key file that cannot work."""
        settings.check()
        self.settings = settings
        self.instruments: dict[str, Instrument] = {}
        """By canonical id; filled by ``start``."""
        self.offset_ns = 0
        """The exchange's clock minus ours."""
        self.needs: Needs | None = None
        self.market: MarketFeed | None = None
        self.trading: Trading | None = None
        self._publish = publish
        self._clock = clock
        self._rng = rng or random.Random()
        self._history = history
        self._carried = carried
        self._identify = identify
        self._rival = rival
        self._credentials: Credentials | None = read_credentials(settings.key_file) if settings.key_file else None
        self._fees: dict[str, tuple[object, object]] = {}
        self._best_ask: dict[str, float] = {}
        self._started_ns = 0
        self._statuses: dict[str, TradingStatus] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._spare: Handle | None = None
        """The object of the start, until the streams take it over."""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def gateway(self) -> Any:
        return None if self.trading is None else self.trading.gateway

    # --- start and stop ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Markets, instruments, account, streams; returns when a price of every symbol is told.

        Raises ``VenueError`` with one clear line, and leaves nothing open, when any of them cannot be had.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        self._check_money()
        self._started_ns = self._clock.now_ns()
        self._spare = await self._open(keyed=False)
        self.needs = needs_of(settings.exchange, self._spare.has)
        await self._check_clock(self._spare)
        if self._credentials is None:
            await self._define(self._spare)
        else:
            await self._open_account(self._spare)
        await self._warm_up(self._spare)
        if self.trading is not None:
            await self.trading.start(self._carried)
        self.market = MarketFeed(
            settings.name,
            self._streams,
            publish=self._publish,
            clock=self._clock,
            rng=self._rng,
            confirm_s=self._patience_s(),
            recycle_s=settings.recycle_s,
            backoff_base_s=settings.backoff_base_s,
            backoff_cap_s=settings.backoff_cap_s,
        )
        await self.market.start(self._patience_s())
        if settings.products_s > 0:
            loop = asyncio.get_running_loop()
            self._watcher = loop.create_task(self._watch_products(), name=f"{self.name}-products")

    async def stop(self) -> None:
        """Close everything, streams first; safe to call twice and after a failed start."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        if self.market is not None:
            await self.market.stop()
        if self.trading is not None:
            trading, self.trading = self.trading, None
            await trading.stop()
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.close()

    def confirm(self) -> None:
        """Have the account confirmed soon (``engine.ports.Venue``)."""
        if self.trading is not None:
            self.trading.settler.check_all()
            self.trading.reconciler.rounds.wake()

    def renew(self, instrument: str, attempt: int) -> None:
        """Have the book of an instrument told anew: the library gives no smaller remedy than another object."""
        _log.warning("%s: the book of %s makes no sense, asked for anew (%d)", self.name, instrument, attempt)
        if self.market is not None:
            self.market.renew(f"the book of {instrument} made no sense")

    def counts(self) -> FeedCounts:
        made = 0 if self.market is None else max(self.market.connections - 1, 0)
        duplicates = 0 if self.trading is None else self.trading.tracker.duplicate_fills
        return FeedCounts(reconnects=made, duplicate_fills=duplicates)

    def queue_depths(self) -> dict[str, int]:
        """Cancels that have not left, and orders that wait for their answer."""
        if self.trading is None:
            return {"cancels": 0, "requests": 0}
        gateway = self.trading.gateway
        return {"cancels": gateway.waiting_cancels, "requests": gateway.in_flight}

    def shadow(self) -> None:
        """It has no wire half of its own."""
        return

    # --- parts ------------------------------------------------------------------------------------------------------

    def _check_money(self) -> None:
        """Raises ``WrongAccount`` where play money is meant and no server on this machine is given, or the reverse."""
        wanted, is_local = self.settings.money, self.settings.is_local
        if (wanted == "play" and not is_local) or (wanted == "real" and is_local):
            raise WrongAccount(
                f"{self.name} is led to {self.settings.rest_url or 'the real exchange'}",
                expected="a server on this machine" if wanted == "play" else "the real exchange",
                do="correct the address: play money and real money are never mixed",
            )

    async def _open(self, *, keyed: bool) -> Handle:
        """Raises ``VenueError`` or ``ConfigError``; then nothing is left open."""
        handle = Handle(self.settings, self._credentials if keyed else None, exact=keyed)
        try:
            await handle.open()
        except BaseException:
            await handle.close()
            raise
        return handle

    async def _open_account(self, public: Handle) -> None:
        needs = self.needs
        assert needs is not None
        if not needs.can_trade:
            raise ConfigError(
                f"orders at {self.settings.exchange} through ccxt: it lacks {', '.join(needs.missing)}",
                expected="an exchange of which an order's course can be told",
                do="remove venue.key_file to watch its market",
            )
        handle = await self._open(keyed=True)
        try:
            if self._identify is not None and self._credentials is not None:
                self._identify(self._credentials.name)
            await self._ask_fees(handle)
            await self._define(public)
        except BaseException:
            await handle.close()
            raise
        self.trading = Trading(  # from here on ``stop`` closes it
            self.settings,
            needs,
            handle=handle,
            make=lambda: self._open(keyed=True),
            instruments=self.instruments,
            publish=self._publish,
            clock=self._clock,
            rng=self._rng,
            best=self._best_ask.get,
            rival=self._rival,
        )

    async def _ask_fees(self, handle: Handle) -> None:
        """The account's own rates, where it tells them; without them those of the markets stand."""
        for symbol in self.settings.symbols:
            if handle.has.get("fetchTradingFee") is not True:
                return
            try:
                found = mapping(await handle.ask("fetch_trading_fee", symbol))
            except VenueError as error:
                _log.info("%s: %s; the market's rates stand", self.name, error)
                return
            self._fees[symbol] = (found.get("maker"), found.get("taker"))

    async def _check_clock(self, handle: Handle) -> None:
        assert self.needs is not None
        self.offset_ns = offset_ns = await Questions(lambda: handle, self.needs, self._clock).clock_offset_ns()
        if abs(offset_ns) > self.settings.skew_limit_s * NS_PER_S:
            raise VenueError(
                f"this machine's clock is {abs(offset_ns) / NS_PER_S:.1f} s off that of {self.settings.exchange}",
                expected=f"at most {self.settings.skew_limit_s:g} s",
                do="set the clock (NTP)",
            )

    async def _define(self, handle: Handle) -> None:
        """Every configured symbol, or nothing: raises ``VenueError`` for the first that there is none of."""
        made: list[tuple[Instrument, bool]] = []
        for symbol in self.settings.symbols:
            market = mapping(mapping(handle.ex.markets).get(symbol))
            if not market:
                raise VenueError(
                    f"unknown symbol {symbol!r} on {self.name}",
                    expected="one of its markets",
                    do=nearest(handle.ex.markets, symbol),
                )
            reference = None
            if handle.ex.precisionMode == SIGNIFICANT_DIGITS:
                reference = exact(mapping(await handle.ask("fetch_ticker", symbol)).get("last"))
            made.append(
                (
                    self._instrument(symbol, market, handle.ex.precisionMode, reference),
                    market.get("active") is not False,
                )
            )
        now_ns = self._clock.now_ns()
        for instrument, is_active in made:
            known = self.instruments.get(instrument.id)
            self.instruments[instrument.id] = instrument
            if known != instrument:
                self._publish(InstrumentDefined(now_ns, now_ns, instrument))
            self._tell_status(instrument.id, is_active=is_active)

    def _tell_status(self, instrument: str, *, is_active: bool) -> None:
        status = TradingStatus.TRADING if is_active else TradingStatus.HALTED
        if self._statuses.get(instrument) is not status:
            self._statuses[instrument] = status
            now_ns = self._clock.now_ns()
            self._publish(InstrumentStatus(now_ns, now_ns, instrument, status))
            if is_active:
                self.confirm()  # entries wait for it (``engine.venues``)

    async def _watch_products(self) -> None:
        """Whether the markets trade, by a question now and then: the library has no stream of it."""
        while True:
            await asyncio.sleep(self.settings.products_s)
            current = None if self.market is None else self.market.current
            if current is None:
                continue
            try:
                listed = await current.handle.ask("fetch_markets")
            except VenueError as error:
                _log.info("%s: %s; the markets' states stand as they are", self.name, error)
                continue
            found = {mapping(one).get("symbol"): mapping(one) for one in (listed if isinstance(listed, list) else [])}
            for instrument in self.instruments:
                market = found.get(instrument.partition("@")[0])
                if found:
                    self._tell_status(instrument, is_active=market is not None and market.get("active") is not False)

    def _instrument(
        self, symbol: str, market: Mapping[str, object], mode: int, reference: Decimal | None
    ) -> Instrument:
        settings, needs = self.settings, self.needs
        assert needs is not None
        return make_instrument(
            self.name,
            symbol,
            market,
            mode,
            default_fee_rate=settings.default_fee_rate,
            fees=self._fees.get(symbol, (None, None)),
            reference_px=reference,
            has_sizes=needs.has_sizes,
            has_trades=settings.trades and bool(needs.trades),
            has_depth=settings.depth and bool(needs.book),
        )

    async def _warm_up(self, handle: Handle) -> None:
        """Candles of the past for instruments whose features want them."""
        assert self.needs is not None
        for instrument, symbol in [(each, each.partition("@")[0]) for each in self.instruments]:
            interval_ns, bars = self._history(instrument)
            if bars > 0 and self.needs.history:
                now_ns = self._clock.now_ns()
                for bar in await fetch_bars(
                    handle, symbol, instrument, interval_ns=interval_ns, bars=bars, venue_now_ns=now_ns, recv_ns=now_ns
                ):
                    self._publish(bar)

    def _patience_s(self) -> float:
        """Streams are asked for one by one."""
        each = 1 + self.settings.trades + self.settings.depth
        return self.settings.confirm_timeout_s + len(self.settings.symbols) * each * SUBSCRIPTION_MS / 1000

    async def _streams(
        self, publish: Callable[[list[InputEvent]], None], changed: Callable[[Streams], None]
    ) -> Streams:
        """Another object for the market, with the rules of its instruments read again."""
        handle, self._spare = self._spare, None
        is_new = handle is None
        if handle is None:
            handle = await self._open(keyed=False)
        try:
            assert self.needs is not None
            if is_new:
                await self._define(handle)

            def heard(events: list[InputEvent]) -> None:
                for event in events:
                    if type(event) is Quote:
                        self._best_ask[event.instrument] = event.ask_px
                publish(events)

            return Streams(
                handle,
                self.settings,
                self.needs,
                publish=heard,
                changed=changed,
                clock=self._clock,
                rng=self._rng,
                since_ns=self._started_ns + self.offset_ns,
                offset_ns=self.offset_ns,
            )
        except BaseException:
            await handle.close()
            raise
