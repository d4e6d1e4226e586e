"""Robinhood's stocks and options as one object: start it, and facts are published; its gateway takes commands.

Owns the order of a start and of a stop.  The blocking client is in a process of its own (``supervisor``); quotes and
hours are ``market``'s, orders and money ``account``'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from connectors.account_health import AccountHealth
from connectors.robin_stocks import wire
from connectors.robin_stocks.account import AccountPoll
from connectors.robin_stocks.directory import Directory
from connectors.robin_stocks.gateway import RobinStocksGateway
from connectors.robin_stocks.history import history
from connectors.robin_stocks.login_file import check_folder, read_login
from connectors.robin_stocks.market import MarketPoll
from connectors.robin_stocks.messages import Told
from connectors.robin_stocks.orders import Listing
from connectors.robin_stocks.protocol import OrderBooks
from connectors.robin_stocks.settings import LIMITS, PLAY_NICKNAME, RobinStocksSettings
from connectors.robin_stocks.supervisor import Supervisor
from engine.carried import CarriedOrder
from engine.errors import VenueError, WrongAccount
from engine.events import FeedDown, FeedUp, InputEvent, InstrumentDefined
from engine.ports import Clock, FeedCounts, Publish


class RobinStocksVenue:
    """The connector.  ``publish`` receives every fact; ``start`` returns when the venue is ready to trade.

    ``history(instrument)`` is asked once the instrument is defined: bar length (ns) and number of past bars that its
    features want; ``(0, 0)`` for none.  ``carried`` are orders of an earlier session on the account.  ``identify`` is
    told the account's number before anything is asked of it, and may refuse it.  ``say`` hears the limits in plain
    words.
    """

    def __init__(
        self,
        settings: RobinStocksSettings,
        publish: Publish,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        history: Callable[[str], tuple[int, int]] = lambda _instrument: (0, 0),
        carried: Sequence[CarriedOrder] = (),
        identify: Callable[[str], None] | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Raises ``ConfigError`` for settings or a key file that cannot work."""
        settings.check()
        self.settings = settings
        self._publish = publish
        self._clock = clock
        self._history = history
        self._carried = carried
        self._identify = identify
        self._say = say
        self._login = read_login(Path(settings.key_file))
        if settings.session_folder or self._login.session_folder:
            check_folder(Path(settings.session_folder or self._login.session_folder))
        self._rng = rng or random.Random()
        self.worker: Supervisor | None = None
        self._health = AccountHealth(settings.name, publish, clock)
        self.listings: dict[str, Listing] = {}
        self.market: MarketPoll | None = None
        self.account: AccountPoll | None = None
        self.gateway: RobinStocksGateway | None = None
        self._running = False

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def offset_ns(self) -> int:
        """The venue's clock minus ours, from the dates of its answers; 0 as long as nothing shows another."""
        return 0 if self.market is None else self.market.offset.ns

    @property
    def gateways(self) -> Sequence[RobinStocksGateway]:
        return () if self.gateway is None else (self.gateway,)

    # --- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Login, account, instruments, hours, quotes, orders, balances.

        Raises ``VenueError`` with one clear line, and leaves nothing open, when any of them cannot be had.
        """
        for line in LIMITS:
            self._say(line)
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        worker = self.worker = Supervisor(
            settings,
            self._login,
            now_ns=self._clock.now_ns,
            rng=self._rng,
            up=self._on_up,
            down=self._on_down,
        )
        await worker.start()
        directory = Directory(settings, self._call)
        number = await self._choose_account(directory)
        self.listings = await directory.listings()
        for listing in self.listings.values():
            now_ns = self._clock.now_ns()
            self._publish(InstrumentDefined(now_ns, now_ns, listing.instrument))
        await self._warm_up()
        absent_ns = int(settings.absent_s * wire.NS_PER_S)
        books = OrderBooks(self.name, self.listings, absent_ns, offset_ns=lambda: self.offset_ns)
        for order in self._carried:
            if order.new.venue == self.name:
                books.adopt(order)
        market = self.market = MarketPoll(
            settings,
            self.listings,
            call=self._call,
            publish=self._publish,
            now_ns=self._clock.now_ns,
            reopened=self.confirm,
        )
        gateway = self.gateway = RobinStocksGateway(
            settings,
            account=number,
            listings=self.listings,
            books=books,
            ask=worker.ask,
            withdraw=worker.withdraw,
            ask_px=market.ask_px,
            shut=market.shut,
            look=self._look,
            publish=self._publish,
            now_ns=self._clock.now_ns,
        )
        account = self.account = AccountPoll(
            settings,
            number,
            self.listings,
            books,
            call=self._call,
            tell=gateway.tell,
            publish=self._publish,
            health=self._health,
            now_ns=self._clock.now_ns,
        )
        await market.open()
        await account.open()
        now_ns = self._clock.now_ns()
        self._health.on_stream(FeedUp(now_ns, now_ns, self.name, "user"))
        self._health.open()
        market.start()
        account.start()
        self._running = True

    async def _choose_account(self, directory: Directory) -> str:
        """The account that trades, looked at before anything is asked of it.  Raises ``WrongAccount``."""
        row = await directory.one("account", {"account": self._login.account}, wire.AccountRow, "account")
        if self._login.account and row.account_number != self._login.account:
            raise WrongAccount(
                f"asked for account {self._login.account}, {self.name} told of {row.account_number}",
                expected="the account of the key file",
            )
        if self.settings.money and (row.nickname == PLAY_NICKNAME) != (self.settings.money == "play"):
            names = {"play": "the built-in exchange", "real": "a real account"}
            raise WrongAccount(
                f"account {row.account_number} at {self.settings.rest_url or self.name} is of the other kind of money",
                expected=names[self.settings.money],
                do="correct address and key file: play money and real money are never mixed",
            )
        if row.deactivated or row.state not in ("active", ""):
            raise VenueError(f"account {row.account_number} is {row.state or 'deactivated'}", expected="active")
        if self._identify is not None:
            self._identify(row.account_number)
        return row.account_number

    async def _warm_up(self) -> None:
        """Bars of the past for stocks whose features want them."""
        for name, listing in self.listings.items():
            interval_ns, bars = self._history(name)
            if bars > 0 and not listing.is_option:
                for bar in await history(self._call, listing.instrument, interval_ns, bars, self._clock.now_ns()):
                    self._publish(bar)

    async def finished(self) -> None:
        """A live feed never ends by itself."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Safe to call twice and after a failed start."""
        self._running = False
        if self.market is not None:
            await self.market.stop()
        if self.account is not None:
            await self.account.stop()
        if self.gateway is not None:
            self.gateway.stop()
        if self.worker is not None:
            await self.worker.stop()

    # --- while it runs ------------------------------------------------------------------------------------------------

    async def _call(self, call: str, given: Mapping[str, Any]) -> Told:
        assert self.worker is not None
        return await self.worker.call(call, dict(given))

    def _look(self) -> None:
        if self.account is not None:
            self.account.look()

    def confirm(self) -> None:
        """Have the account confirmed soon (``engine.ports.Venue``)."""
        if self.account is not None:
            self.account.confirm()

    def settle(self) -> None:
        """It settles by itself."""

    def shadow(self) -> None:
        """There is no wire half to keep warm: orders leave through another process."""

    def renew(self, instrument: str, attempt: int) -> None:
        """No books, only best prices, which are asked for again and again."""

    def counts(self) -> FeedCounts:
        return FeedCounts(reconnects=0 if self.worker is None else max(self.worker.logins - 1, 0))

    def queue_depths(self) -> dict[str, int]:
        """Cancels that have not left, and requests that wait for the worker."""
        waiting = 0 if self.gateway is None else self.gateway.waiting_cancels
        return {"cancels": waiting, "requests": 0 if self.worker is None else self.worker.waiting}

    def _on_up(self) -> None:
        if not self._running:
            return
        now_ns = self._clock.now_ns()
        self._on_user(FeedUp(now_ns, now_ns, self.name, "user"))
        self.confirm()

    def _on_down(self, reason: str) -> None:
        if not self._running:
            return
        now_ns = self._clock.now_ns()
        if self.market is not None:
            self.market.down(reason)
        self._on_user(FeedDown(now_ns, now_ns, self.name, "user", reason))

    def _on_user(self, event: InputEvent) -> None:
        self._health.on_stream(event)
