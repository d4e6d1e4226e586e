"""OANDA as one object: start it, and facts are published; its gateway takes commands.

Owns the order of a start and of a stop, prices, clocks and currency rates.  Orders and the account are
``connectors.oanda.trading``'s.  The venue tells nothing without a token; ``orders`` False only watches its prices.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from urllib.parse import urlsplit

from connectors.oanda.candles import granularity
from connectors.oanda.directory import Directory
from connectors.oanda.gateway import OandaGateway
from connectors.oanda.protocol import PriceProtocol
from connectors.oanda.rates import RateWatch
from connectors.oanda.rules import RuleWatch
from connectors.oanda.settings import OandaSettings
from connectors.oanda.shadow import OandaShadow
from connectors.oanda.streams import PriceFeed
from connectors.oanda.tokens import read_token
from connectors.oanda.trading import Left, Trading
from connectors.oanda.wire import Account
from connectors.reconnect import Backoff
from connectors.rest import RestClient
from engine.errors import WrongAccount
from engine.events import InputEvent, InstrumentDefined, InstrumentStatus, TradingStatus
from engine.instruments import Instrument
from engine.ports import Clock, FeedCounts, Publish

_log = logging.getLogger(__name__)


class OandaVenue:
    """The connector.  ``publish`` receives every fact; ``start`` returns when the venue is ready to trade.

    ``history(instrument)`` is asked once the instrument is defined: bar length (ns) and number of finished candles that
    its features want from the past; ``(0, 0)`` for none.  ``rng`` jitters reconnections.  ``left`` is what an earlier
    session on the account has left.  ``identify`` is told the account's id before it is touched, and may refuse it.
    ``rival(client_order_id)`` names the session of another daemon that sent an order, empty for any other order; an
    account on which one has orders open is refused at the start, and told of later.
    """

    def __init__(
        self,
        settings: OandaSettings,
        publish: Publish,
        clock: Clock,
        *,
        orders: bool = True,
        rng: random.Random | None = None,
        history: Callable[[str], tuple[int, int]] = lambda _instrument: (0, 0),
        left: Left | None = None,
        identify: Callable[[str], None] | None = None,
        rival: Callable[[str], str] = lambda _client_order_id: "",
    ) -> None:
        """Raises ``ConfigError`` for settings or a token file that cannot work."""
        settings.check()
        self.settings = settings
        self.instruments: dict[str, Instrument] = {}
        """By canonical id; filled by ``start``."""
        self.offset_ns = 0
        """The venue's clock minus ours."""
        self.trading: Trading | None = None
        """With orders, from its start on."""
        self.prices: PriceFeed | None = None
        self._protocol: PriceProtocol | None = None
        self._closed: set[str] = set()
        self._publish = publish
        self._clock = clock
        self._orders = orders
        self._rng = rng or random.Random()
        self._history = history
        self._left = left
        self._identify = identify
        self._rival = rival
        self._token = read_token(settings.token_file)
        self._headers = {"Authorization": f"Bearer {self._token}"}
        self._rest = RestClient(
            settings.rest_url,
            authorize=lambda _method, _path: self._headers,
            timeout_s=settings.rest_timeout_s,
            route=settings.route,
        )
        self.directory = Directory(settings, self._rest, clock)
        self.rates = RateWatch(
            self.directory,
            publish,
            clock,
            counted_in=settings.counted_in,
            rated=settings.rated,
            every_s=settings.rates_s,
        )
        self.rules = RuleWatch(
            self.directory,
            publish,
            clock,
            every_s=settings.products_s,
            redefine=self._redefine,
            is_closed=lambda name: self._protocol is not None and self._protocol.is_closed(name),
            confirm=self.confirm,
        )

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def gateway(self) -> OandaGateway | None:
        return None if self.trading is None else self.trading.gateway

    # --- start and stop -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Account, instruments, clock, rates, order connections, streams; returns when every stream is confirmed.

        Raises ``VenueError`` with one clear line, and leaves nothing open, when any of them cannot be had.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings, directory = self.settings, self.directory
        await self._rest.start()
        await directory.find_account()
        self._check_money()
        if self._orders and self._identify is not None:
            self._identify(directory.account)
        await directory.define()
        self.offset_ns = await directory.clock_offset_ns()
        now_ns = self._clock.now_ns()
        for instrument in directory.instruments.values():
            self.instruments[instrument.id] = instrument
            self._publish(InstrumentDefined(now_ns, now_ns, instrument))
        await self._warm_up()
        self._protocol = PriceProtocol(settings.name, {name: one.id for name, one in directory.instruments.items()})
        account, _ = await directory.details()
        await self.rates.open(account.currency, self._currencies())
        if self._orders:
            await self._start_trading(self._protocol, account)
        self.rates.start()
        self.prices = PriceFeed(
            settings.stream_url,
            directory.account,
            self._protocol,
            instruments=list(directory.instruments),
            authorize=lambda: self._headers,
            publish=self._on_market_event,
            now_ns=self._clock.now_ns,
            backoff=Backoff(
                self._rng, base_s=settings.backoff_base_s, cap_s=settings.backoff_cap_s, budget_per_minute=30
            ),
            route=settings.route,
            silence_s=settings.silence_timeout_s,
        )
        self.prices.stream.start()
        await self.prices.wait_up(settings.open_timeout_s)
        self.rules.start()

    def _currencies(self) -> set[str]:
        """In which anything here is earned, or was left."""
        found = {one.settlement for one in self.directory.instruments.values()}
        return found if self._left is None else found | self._left.state.balances(self.name).keys()

    async def _start_trading(self, protocol: PriceProtocol, account: Account) -> None:
        if account.hedgingEnabled:
            _log.info("%s: the account keeps long and short trades side by side; here they are one position", self.name)
        self.trading = Trading(
            self.settings,
            currency=account.currency,
            rest=self._rest,
            token=self._token,
            directory=self.directory,
            publish=self._on_trading_event,
            clock=self._clock,
            rng=self._rng,
            is_closed=protocol.is_closed,
            rival=self._rival,
            left=self._left,
        )
        await self.trading.start()
        await asyncio.sleep(self.settings.dial_gap_s)

    def _check_money(self) -> None:
        """Raises ``WrongAccount`` where the server is of the other kind of money."""
        told = "play" if self.directory.is_play_money else "real"
        names = {"play": "the built-in exchange", "real": "a real venue"}
        if self.settings.money not in ("", told):
            raise WrongAccount(
                f"{urlsplit(self.settings.rest_url).netloc} is {names[told]}",
                expected=names[self.settings.money],
                do="correct the address: play money and real money are never mixed",
            )

    async def _warm_up(self) -> None:
        """Candles of the past for instruments whose features want them."""
        for instrument in self.instruments.values():
            interval_ns, bars = self._history(instrument.id)
            if bars > 0 and granularity(interval_ns):
                for bar in await self.directory.history(instrument, interval_ns, bars):
                    self._publish(bar)

    def _on_market_event(self, event: InputEvent) -> None:
        self._publish(event)
        if type(event) is not InstrumentStatus:
            return
        if event.status is not TradingStatus.TRADING:
            self._closed.add(event.instrument)
        elif event.instrument in self._closed:
            self._closed.discard(event.instrument)
            self.confirm()  # entries of a market that opens wait for it (``engine.venues``)

    def _on_trading_event(self, event: InputEvent) -> None:
        self._publish(event)
        self.rules.on_event(event)

    def _redefine(self, name: str, instrument: Instrument) -> None:
        self.instruments[instrument.id] = instrument
        if self.trading is not None:
            self.trading.redefine(name, instrument)

    def renew(self, instrument: str, attempt: int) -> None:
        """There are no books: what makes no sense is told anew with the next price."""

    def confirm(self) -> None:
        """Have the account confirmed soon (``engine.ports.Venue``)."""
        if self.trading is not None:
            self.trading.confirm()

    async def stop(self) -> None:
        """Close everything, streams first; safe to call twice and after a failed start."""
        if self.prices is not None:
            await self.prices.stream.stop()
        await self.rates.stop()
        await self.rules.stop()
        if self.trading is not None:
            await self.trading.stop()
        await self._rest.stop()

    def shadow(self) -> OandaShadow | None:
        """The wire half for shadow ticks; None without order entry or before ``start``."""
        if self.gateway is None:
            return None
        return OandaShadow(self.name, {one.id: name for name, one in self.directory.instruments.items()}, self.gateway)

    def counts(self) -> FeedCounts:
        streams = [] if self.prices is None else [self.prices.stream]
        if self.trading is not None:
            streams.append(self.trading.feed.stream)
        return FeedCounts(reconnects=sum(max(stream.connections - 1, 0) for stream in streams))

    def queue_depths(self) -> dict[str, int]:
        """Cancels that wait or are on their way, and orders and cancels that wait for their answer."""
        trading = self.trading
        if trading is None:
            return {"cancels": 0, "requests": 0}
        return {
            "cancels": trading.gateway.waiting_cancels,
            "requests": trading.channel.open - trading.channel.free,
        }
