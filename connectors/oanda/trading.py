"""What trades on an OANDA account: order connections, the account's stream, the gateway, and what keeps the books true.

Owns how these parts are put together, how an account is begun or gone on with, and how they are taken apart.  Prices,
clocks and currency rates are ``connectors.oanda.venue``'s.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec

from connectors.account_health import AccountHealth
from connectors.http import OrderChannel
from connectors.oanda import requests, wire
from connectors.oanda.access import TokenAccess
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.books import AccountBooks
from connectors.oanda.directory import Directory
from connectors.oanda.gateway import OandaGateway
from connectors.oanda.reconcile import AccountReconciler
from connectors.oanda.resume import place_of, told_until
from connectors.oanda.settings import OandaSettings
from connectors.oanda.streams import AccountFeed
from connectors.ratelimit import TokenBucket
from connectors.reconnect import Backoff
from connectors.rest import RestClient
from connectors.rivals import Rivals
from connectors.ws import default_ssl
from engine.carried import ENDED, Carried
from engine.commands import OrderType
from engine.errors import VenueError
from engine.events import (
    BalanceReported,
    FeedUp,
    Gap,
    InputEvent,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderRejected,
    PositionReported,
)
from engine.instruments import Instrument
from engine.ports import Clock, Publish

TIME_MARGIN_NS = 60 * wire.NS_PER_S
"""Where an earlier session knows no number, it goes by its last record's time, less this for both clocks."""

_log = logging.getLogger(__name__)


class Left(msgspec.Struct, frozen=True):
    """What an earlier session has left, and when (our clock, ns) it heard or decided anything last."""

    state: Carried
    last_ns: int


class Trading:
    """Of one start of the venue.  ``account`` is the one that ``directory`` has found, in ``currency``."""

    def __init__(
        self,
        settings: OandaSettings,
        *,
        currency: str,
        rest: RestClient,
        token: str,
        directory: Directory,
        publish: Publish,
        clock: Clock,
        rng: random.Random,
        is_closed: Callable[[str], bool],
        rival: Callable[[str], str],
        left: Left | None,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._publish = publish
        self._clock = clock
        self._rng = rng
        self._left = left
        self._called = self._is_open = False
        name = settings.name
        self._earlier = _earlier_instruments(left, name, directory)
        self.books = AccountBooks(currency, directory.instruments | self._earlier)
        self.protocol = AccountProtocol(name, {}, currency, self.books)
        self.health = AccountHealth(name, self._on_account_event, clock)
        self.access = TokenAccess(name, publish, clock, ask=directory.find_account, confirm=self.confirm)
        burst = max(4, int(settings.orders_per_s))
        bucket = TokenBucket(settings.orders_per_s, burst, reserve=burst // 4, now_ns=clock.now_ns())
        headers = {"Authorization": f"Bearer {token}"}
        self.channel = self._make_channel(token)
        self.feed = AccountFeed(
            settings.stream_url,
            directory.account,
            self.protocol,
            rest=rest,
            authorize=lambda: headers,
            publish=self.health.on_stream,
            now_ns=clock.now_ns,
            backoff=self._backoff(),
            rest_backoff=self._backoff,
            on_read=self._on_read,
            route=settings.route,
            silence_s=settings.silence_timeout_s,
        )
        self.gateway = OandaGateway(
            name,
            host=urlsplit(settings.rest_url).netloc,
            account=directory.account,
            token=token,
            instruments={one.id: one for one in (directory.instruments | self._earlier).values()},
            publish=publish,
            now_ns=clock.now_ns,
            writer=self.channel,
            protocol=self.protocol,
            look=self.feed.look,
            looks=lambda: self.feed.looks,
            bucket=bucket,
            is_closed=is_closed,
            answered=self.access.answered,
            one_trade=self.books.one_trade,
            guarantees=self._guarantees,
            grace_s=settings.unknown_grace_s,
        )
        self.reconciler = AccountReconciler(
            name,
            directory=directory,
            protocol=self.protocol,
            books=self.books,
            gateway=self.gateway,
            health=self.health,
            publish=publish,
            clock=clock,
            look=self.feed.look,
            every_s=settings.reconcile_s,
            rival=rival,
            carried=frozenset() if left is None else {one.new.client_order_id for one in left.state.orders},
        )

    def _guarantees(self, instrument: str) -> bool:
        return self._settings.guaranteed_stops and instrument in self._directory.guaranteeing

    def _backoff(self) -> Backoff:
        settings = self._settings
        return Backoff(self._rng, base_s=settings.backoff_base_s, cap_s=settings.backoff_cap_s, budget_per_minute=30)

    def _make_channel(self, token: str) -> OrderChannel:
        settings = self._settings
        url = urlsplit(settings.rest_url)
        asked = requests.ACCOUNTS
        question = f"{asked.method} {asked.path} HTTP/1.1\r\nHost: {url.netloc}\r\nUser-Agent: kestrel\r\n"
        return OrderChannel(
            url.hostname or "",
            url.port or (443 if url.scheme == "https" else 80),
            ssl=default_ssl(settings.rest_url, None, settings.route),
            route=settings.route,
            backoff=self._backoff,
            connections=settings.order_connections,
            timeout_s=settings.order_timeout_s,
            warm_request=f"{question}Authorization: Bearer {token}\r\n\r\n".encode(),
            warm_after_s=settings.order_warm_s,
        )

    # --- start and stop ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Order connections, the account as it is, then its stream from there on.  Raises ``VenueError``, and
        ``WrongAccount`` where another daemon has orders there; what was started is ended by ``stop``."""
        settings = self._settings
        await asyncio.sleep(2 * settings.dial_gap_s)
        await self.channel.start()
        account, at = await self._directory.details()
        Rivals(self._settings.name).refuse(self.reconciler.rivals(account))
        if self._left is None:
            self._begin(account, at)
        else:
            await self._go_on(account, at, self._left)
        await asyncio.sleep(settings.order_connections * settings.dial_gap_s)
        self.feed.start()
        await self.feed.wait_up(settings.open_timeout_s)
        await self.reconciler.settle()
        self.health.open()
        self.reconciler.rounds.start()
        self._is_open = True

    async def stop(self) -> None:
        """The stream first; also after a start that failed."""
        await self.feed.stop()
        await self.reconciler.rounds.stop()
        await self.access.stop()
        self.gateway.stop()
        await self.channel.stop()

    def _begin(self, account: wire.Account, at: int) -> None:
        """Nothing is known of it: what is there is where our books begin."""
        now_ns = self._clock.now_ns()
        self.books.open(account, at)
        self._report(list(self._directory.instruments), account, now_ns)
        self.protocol.trade(_ids(self._directory.instruments))
        for event in self.protocol.start(at, account.orders, now_ns):
            self._publish(event)

    async def _go_on(self, account: wire.Account, at: int, left: Left) -> None:
        """Everything since the last transaction that the earlier session was told of is told now, in order."""
        venue, state = self._settings.name, left.state
        place = place_of(state, venue)
        known_id, from_id = place.known_id, place.from_id
        if not known_id:
            known_id = from_id = min(at, await self._directory.last_before(left.last_ns - TIME_MARGIN_NS))
        if known_id > at:
            raise VenueError(
                f"transactions of the {venue} account end at {at}, and the last session was told of {known_id}",
                expected="the same account",
                do="check the address and the account; to begin anew on it: --venue-truth",
            )
        since = await self._directory.transactions_since(from_id, at)
        held = {one.instrument: one for one in state.money.holdings}
        opened = {instrument for instrument, currency in state.money.reported if not currency}
        everything = self._directory.instruments | self._earlier
        old = [name for name, one in everything.items() if one.id in opened or (one.id in held and held[one.id].qty)]
        new = [name for name in self._directory.instruments if name not in old]
        self.books.open(account, at)
        booked = {name: held[everything[name].id].qty if everything[name].id in held else Decimal(0) for name in old}
        until = told_until(_readable(since), {name: self.books.units(name) for name in old}, booked, known_id, at)
        if until is None:
            until = known_id
            _log.error("%s: no execution explains the positions that the last session has left: %s", venue, booked)
        for name in old:
            one = held.get(everything[name].id)
            self.books.restore(name, Decimal(0) if one is None else one.qty, Decimal(0) if one is None else one.avg_px)
        self.books.restore_money(state.balances(venue))
        now_ns = self._clock.now_ns()
        self._report(new, account, now_ns)
        for order in state.orders:
            if order.new.venue == venue and order.state not in ENDED:
                pair = order.new.intent.order_type is OrderType.BRACKET
                self.protocol.sent(order.new.client_order_id, order.new.intent.qty, 2 if pair else 1)
        self.protocol.trade(_ids({name: everything[name] for name in old}))
        self.protocol.start(from_id)
        self.protocol.quiet_until = until
        self.protocol.interest.restore(state.fundings, left.last_ns)
        told = self.protocol.receive_since(_up_to(since, at), now_ns, whole=True)
        self._tell_orders(left, now_ns)
        for event in told:
            if type(event) is not Gap:  # it is the account's
                self._publish(event)
        self.protocol.trade(_ids(self._directory.instruments))

    def _report(self, names: list[str], account: wire.Account, now_ns: int) -> None:
        """Positions in which our books begin, and the balances."""
        venue = self._settings.name
        self.books.begin(names)
        for name in names:
            qty, avg_px = self.books.held(name)
            instrument = self._directory.instruments[name].id
            self._publish(PositionReported(now_ns, now_ns, venue, instrument, qty, avg_px))
        told = () if self._left is None else self._left.state.money.reported
        if any(at == venue and currency for at, currency in told):
            return  # else an earlier session ended before it had read the account
        totals = self.books.totals()
        for currency, total in sorted(totals.items()):
            free = account.marginAvailable if currency == account.currency else total
            self._publish(BalanceReported(now_ns, now_ns, venue, currency, total, free))
        self.books.told(totals)

    def _tell_orders(self, left: Left, now_ns: int) -> None:
        """What became of the orders that were open: those that are still there, those whose end was not recorded, and
        those of which nobody knows."""
        venue = self._settings.name
        ends = {
            event.client_order_id: event
            for event in self.protocol.quiet
            if isinstance(event, OrderCancelled | OrderExpired | OrderRejected)
        }
        self.protocol.quiet.clear()
        lost = set(self.protocol.unresolved())
        for order in left.state.orders:
            name = order.new.client_order_id
            if order.new.venue != venue or order.state in ENDED:
                continue
            if name in lost:
                self.gateway.adopt(name, order.new.ts_ns)
            elif name in ends:
                self._publish(msgspec.structs.replace(ends[name], ts_recv_ns=now_ns))
            elif number := self.protocol.number_of(name):
                self._publish(OrderAccepted(now_ns, now_ns, venue, name, number))

    # --- what is told -----------------------------------------------------------------------------------------------

    def redefine(self, name: str, instrument: Instrument) -> None:
        """New rules of an instrument, by the venue's name: what is sent from now on goes by them."""
        self.gateway.redefine(instrument)
        self.books.add(name, instrument)

    def confirm(self) -> None:
        self.reconciler.rounds.wake()

    def _on_account_event(self, event: InputEvent) -> None:
        self._publish(event)
        if type(event) is FeedUp and self._is_open:
            self.access.answered(200)
            self.confirm()  # entries wait for it (``engine.venues``)

    def _on_read(self) -> None:
        """After whatever the venue told of the account."""
        protocol = self.protocol
        if protocol.orders.halves:
            self.gateway.cancel_halves()
        if protocol.doubtful or protocol.moved:
            self.confirm()
        if protocol.margin_call != self._called:
            self._called = protocol.margin_call
            if self._called:
                _log.error("%s: margin call: the venue will close trades by force if it gets worse", protocol.venue)
            else:
                _log.warning("%s: the margin call is over", protocol.venue)


def _ids(instruments: dict[str, Instrument]) -> dict[str, str]:
    return {name: one.id for name, one in instruments.items()}


def _earlier_instruments(left: Left | None, venue: str, directory: Directory) -> dict[str, Instrument]:
    """Those that only an earlier session traded, by the venue's names: its orders and positions may be left."""
    if left is None:
        return {}
    return {
        one.venue_symbol: one
        for one in left.state.instruments
        if one.venue == venue and one.venue_symbol not in directory.instruments
    }


def _readable(since: wire.Transactions) -> list[wire.Transaction]:
    """Those that can be read.  What cannot leaves positions that fit nothing, or is noticed when it is told."""
    found = []
    for raw in since.transactions:
        try:
            transaction = wire.decode_transaction(raw)
            int(transaction.id)
            transaction.check()
        except wire.UNREADABLE:
            continue
        found.append(transaction)
    return found


def _up_to(since: wire.Transactions, at: int) -> wire.Transactions:
    """Without what is newer than the reading of the account."""
    kept = []
    for raw in since.transactions:
        try:
            if int(wire.decode_id(raw).id) > at:
                continue
        except wire.UNREADABLE:
            pass
        kept.append(raw)
    return wire.Transactions(kept, str(at))
