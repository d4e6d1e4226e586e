"""Robinhood crypto as one object: start it, and facts are published; its gateway takes commands.

Owns the order of a start and of a stop, how the parts are put together, the state of key and account as the venue's,
and the pairs from time to time.  Everything is asked for: the venue has no stream.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from connectors import ws
from connectors.account_health import AccountHealth
from connectors.http import OrderChannel
from connectors.reconnect import Backoff
from connectors.robinhood import wire
from connectors.robinhood.account import AccountReconciler
from connectors.robinhood.asking import Asker
from connectors.robinhood.auth import Key
from connectors.robinhood.budget import Budget
from connectors.robinhood.directory import Directory
from connectors.robinhood.feed import QuotePoll
from connectors.robinhood.gateway import RobinhoodGateway
from connectors.robinhood.protocol import QuoteProtocol
from connectors.robinhood.settings import RobinhoodSettings
from connectors.robinhood.tracker import OrderTracker
from connectors.robinhood.watch import OrderWatch
from engine.carried import CarriedOrder
from engine.errors import VenueError, WrongAccount
from engine.events import FeedUp, InputEvent, InstrumentStatus, TradingStatus, VenueStatus
from engine.instruments import Instrument
from engine.ports import Clock, FeedCounts, Publish

REFUSALS_MAX = 4
"""Answers in a row that refuse the key: each question is asked twice, the second time with the venue's own clock."""
ORDER_REFUSALS_MAX = 2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 960.0
"""After so many orders that were refused for the key none leaves for so long; then one may try again."""
HOUSE_S = 1.0
_KINDS = {"play": "the built-in exchange", "real": "a real venue"}

_log = logging.getLogger(__name__)


class RobinhoodVenue:
    """The connector.  ``publish`` receives every fact; ``start`` returns when the venue is ready to trade.

    ``rng`` jitters what is tried again.  ``carried`` are orders of an earlier session on the account,
    ``carried_balances`` what it held, by currency.  ``identify`` is told the account's number before the account is
    touched, and may refuse it.  ``rival(client_order_id)`` names the session of another daemon that sent an order,
    empty for any other order.
    """

    def __init__(
        self,
        settings: RobinhoodSettings,
        publish: Publish,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        carried: Sequence[CarriedOrder] = (),
        carried_balances: Mapping[str, Decimal] | None = None,
        identify: Callable[[str], None] | None = None,
        rival: Callable[[str], str] = lambda _client_order_id: "",
    ) -> None:
        """Raises ``ConfigError`` for settings or a key file that cannot work."""
        settings.check()
        self.settings = settings
        self.gateway: RobinhoodGateway | None = None
        self.quotes: QuotePoll | None = None
        self.watch: OrderWatch | None = None
        self.asker: Asker | None = None
        self.instruments: dict[str, Instrument] = {}
        """By canonical id; filled by ``start``."""
        self._key = Key.from_file(settings.key_file)
        self._publish = publish
        self._clock = clock
        self._rng = rng or random.Random()
        self._carried = carried
        self._carried_balances = carried_balances or {}
        self._identify = identify
        self._rival = rival
        self._host = urlsplit(settings.rest_url).netloc
        self._directory: Directory | None = None
        self._paths = wire.Paths("v2")
        self._channel: OrderChannel | None = None
        self._reconciler: AccountReconciler | None = None
        self._housekeeper: asyncio.Task[None] | None = None
        self._told_status = TradingStatus.TRADING
        self._was_up = False
        """The account's stream has been up."""
        self._pause_s = FIRST_PAUSE_S
        self._paused_until_s = 0.0

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def offset_ns(self) -> int:
        """The venue's clock minus ours, 0 while it is within what the venue's ``Date`` can tell."""
        return 0 if self.asker is None else self.asker.offset_ns

    # --- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Account, pairs, order connections, orders and balances, quotes; returns when quotes and orders are read.

        Raises ``VenueError`` with one clear line, and leaves nothing open, when any of them cannot be had.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        self._check_money("key", "play" if self._key.is_play else "real")
        budget = Budget(settings.requests_per_minute, settings.burst, now_ns=self._clock.now_ns())
        asker = self.asker = Asker(
            settings.rest_url,
            self._key,
            self._clock,
            budget,
            timeout_s=settings.rest_timeout_s,
            route=settings.route,
        )
        directory = self._directory = Directory(settings, asker, self._clock)
        await asker.start()
        generation = await directory.choose_generation()
        account = directory.account
        assert account is not None
        self._check_money("server", "play" if asker.is_play_money else "real")
        if abs(self.offset_ns) > settings.skew_limit_s * 1e9:
            raise VenueError(
                f"this machine's clock is {-self.offset_ns / 1e9:+.0f} s off the clock of {self.name}",
                expected=f"at most {settings.skew_limit_s:g} s",
                do="synchronise the clock (NTP)",
            )
        if self._identify is not None:
            self._identify(account.account_number)
        self._paths = wire.Paths(generation, account.account_number)
        for event in await directory.define(self._paths):
            self._publish(event)
        self.instruments = directory.instruments
        channel = self._channel = self._make_channel(budget)
        watch, reconciler, health = self._make_trading(asker, directory, budget, channel)
        await channel.start()
        reconciler.adopt(self._carried, self._carried_balances)
        await reconciler.open()
        health.open()
        watch.start()
        reconciler.rounds.start()
        self._tell_status()
        symbols = {symbol: name for name, symbol in directory.symbols.items()}
        self.quotes = QuotePoll(
            self.name,
            asker,
            self._paths.quotes(list(symbols)),
            QuoteProtocol(symbols, lambda: asker.offset_ns),
            self._publish,
            self._clock,
            self._backoff(),
            every_s=settings.quote_poll_s,
        )
        self.quotes.start()
        await self.quotes.wait_up(settings.rest_timeout_s + settings.open_timeout_s)
        self._housekeeper = asyncio.get_running_loop().create_task(self._keep_house(), name=f"{self.name}-house")

    def _check_money(self, what: str, told: str) -> None:
        """Raises ``WrongAccount`` where server or key are of the other kind of money."""
        wanted = self.settings.money
        if wanted and told != wanted:
            where = self.settings.rest_url if what == "server" else f"the key in {self.settings.key_file}"
            raise WrongAccount(
                f"{where} is of {_KINDS[told]}",
                expected=_KINDS[wanted],
                do=f"correct {'the address' if what == 'server' else 'the key file'}: play money and real money are "
                "never mixed",
            )

    async def stop(self) -> None:
        """Close everything; safe to call twice and after a failed start."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
            self._housekeeper = None
        rounds = None if self._reconciler is None else self._reconciler.rounds
        for part in (self.quotes, rounds, self.watch):
            if part is not None:
                await part.stop()
        if self.gateway is not None:
            self.gateway.stop()
        if self._channel is not None:
            await self._channel.stop()
        if self.asker is not None:
            await self.asker.stop()

    # --- wiring -------------------------------------------------------------------------------------------------------

    def _backoff(self) -> Backoff:
        settings = self.settings
        return Backoff(self._rng, base_s=settings.backoff_base_s, cap_s=settings.backoff_cap_s, budget_per_minute=60)

    def _make_trading(
        self, asker: Asker, directory: Directory, budget: Budget, channel: OrderChannel
    ) -> tuple[OrderWatch, AccountReconciler, AccountHealth]:
        settings, now_ns = self.settings, self._clock.now_ns
        tracker = OrderTracker(self.name, {symbol: name for name, symbol in directory.symbols.items()})
        health = AccountHealth(self.name, self._on_account_event, self._clock)
        watch = self.watch = OrderWatch(
            self.name,
            asker,
            self._paths,
            tracker,
            health,
            self._clock,
            self._backoff(),
            emit=lambda events: gateway.publish_all(events),
            after_round=lambda asked_ns: gateway.after_round(asked_ns),
            busy_s=settings.order_poll_s,
            idle_s=settings.idle_poll_s,
            grace_s=settings.unknown_grace_s,
        )
        gateway = self.gateway = RobinhoodGateway(
            self.name,
            host=self._host,
            symbols=directory.symbols,
            instruments=directory.instruments,
            key=self._key,
            paths=self._paths,
            publish=self._publish,
            now_ns=now_ns,
            venue_now_ns=asker.venue_now_ns,
            writer=channel,
            tracker=tracker,
            watch=watch,
            budget=budget,
            sell_only=directory.sell_only,
        )
        reconciler = self._reconciler = AccountReconciler(
            self.name,
            asker=asker,
            paths=self._paths,
            directory=directory,
            watch=watch,
            tracker=tracker,
            publish=self._publish,
            clock=self._clock,
            every_s=settings.reconcile_s,
            rival=self._rival,
            on_account=self._tell_status,
        )
        return watch, reconciler, health

    def _make_channel(self, budget: Budget) -> OrderChannel:
        settings, bucket, now_ns = self.settings, budget.bucket, self._clock.now_ns
        url = urlsplit(settings.rest_url)
        return OrderChannel(
            url.hostname or "",
            url.port or (443 if url.scheme == "https" else 80),
            ssl=ws.default_ssl(settings.rest_url, None, settings.route),
            route=settings.route,
            backoff=lambda: Backoff(self._rng, base_s=0.1, cap_s=settings.backoff_cap_s, budget_per_minute=30),
            connections=settings.order_connections,
            timeout_s=settings.order_timeout_s,
            open_timeout_s=settings.open_timeout_s,
            # Not signed, so it costs nothing of the budget: any answer keeps the connection.
            warm_request=f"GET / HTTP/1.1\r\nHost: {self._host}\r\nUser-Agent: kestrel\r\n\r\n".encode(),
            warm_after_s=settings.order_warm_s,
            on_answer=lambda status, retry_after_s: bucket.answered(now_ns(), status, retry_after_s),
        )

    # --- what is told -------------------------------------------------------------------------------------------------

    def _on_account_event(self, event: InputEvent) -> None:
        assert self.gateway is not None
        self.gateway.publish(event)
        if type(event) is FeedUp:
            if self._was_up:
                self.confirm()  # entries wait for it (``engine.venues``)
            self._was_up = True

    def _tell_status(self) -> None:
        """The state of key and account, where it has changed."""
        assert self._directory is not None
        assert self.asker is not None
        status, text = self._directory.status()
        if self.asker.refused >= REFUSALS_MAX:
            status, text = TradingStatus.HALTED, "the API key is refused"
        elif self._may_not_trade():
            status, text = TradingStatus.HALTED, "orders are refused: the API key may not trade"
        if status is self._told_status:
            return
        _log.error("%s: %s", self.name, text or "key and account may trade again; the account is confirmed first")
        self._told_status = status
        now_ns = self._clock.now_ns()
        self._publish(VenueStatus(now_ns, now_ns, self.name, status, text))
        if status is TradingStatus.TRADING:
            self.confirm()

    def _may_not_trade(self) -> bool:
        """What a key may do is not told: it shows in what is refused."""
        gateway, now_s = self.gateway, asyncio.get_running_loop().time()
        if gateway is None:
            return False
        if gateway.key_refusals >= ORDER_REFUSALS_MAX:
            gateway.key_refusals = ORDER_REFUSALS_MAX - 1  # one more is enough, and one that is taken ends it
            self._paused_until_s, self._pause_s = now_s + self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        elif not gateway.key_refusals:
            self._pause_s = FIRST_PAUSE_S
        return now_s < self._paused_until_s

    def confirm(self) -> None:
        """Have the account confirmed soon (``engine.ports.Venue``)."""
        if self._reconciler is not None:
            self._reconciler.rounds.wake()

    def renew(self, instrument: str, attempt: int) -> None:
        """The venue has no books."""

    def shadow(self) -> None:
        """A quote comes once a second: there is no path to keep warm."""

    def counts(self) -> FeedCounts:
        return FeedCounts(reconnects=max(0 if self.quotes is None else self.quotes.ups - 1, 0))

    def queue_depths(self) -> dict[str, int]:
        """Cancels that are not acknowledged, and orders and cancels that wait for their answer."""
        channel, gateway = self._channel, self.gateway
        return {
            "cancels": 0 if gateway is None else gateway.waiting_cancels(),
            "requests": 0 if channel is None else channel.open - channel.free,
        }

    async def _keep_house(self) -> None:
        """Key and account every second, the pairs from time to time.  A failed question keeps the last answer."""
        directory, loop = self._directory, asyncio.get_running_loop()
        assert directory is not None
        next_s = loop.time() + self.settings.products_s
        while True:
            await asyncio.sleep(HOUSE_S)
            self._tell_status()
            if not self.settings.products_s or loop.time() < next_s:
                continue
            next_s = loop.time() + self.settings.products_s
            try:
                events = await directory.read_again(self._paths)
                for event in events:
                    self._publish(event)
                if any(type(event) is InstrumentStatus for event in events):
                    self.confirm()  # entries wait for it (``engine.venues``)
            except VenueError as error:
                _log.warning("%s: %s", self.name, error)
            except Exception:
                _log.exception("%s: reading the pairs failed; it goes on", self.name)
