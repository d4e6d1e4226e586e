"""The account asked about as a whole: open orders, executions since last time, and the balances that follow.

Owns the order of those questions and the one fact that comes out, ``AccountSettled``: told only of balances that were
read while no execution came in, so that what the books say can be compared.  Single orders are ``settle``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from connectors.account_rounds import AccountRounds
from connectors.ccxt_venue.answers import SeenBalance
from connectors.ccxt_venue.questions import Listing, Questions
from connectors.ccxt_venue.settle import Settler
from connectors.ccxt_venue.tracker import OrderTracker
from connectors.rivals import Rivals
from engine.carried import ENDED, CarriedOrder
from engine.errors import VenueError, WrongAccount
from engine.events import AccountSettled, BalanceReported, InputEvent
from engine.managed_order import EXTERNAL
from engine.order_states import OrderState
from engine.ports import Clock, Publish

TRIES: Final = 12
ROUND_S: Final = 180.0
START_TRIES: Final = 3
UNRESOLVED_WAIT_S: Final = 10.0
AGAIN_S: Final = 15.0

_log = logging.getLogger(__name__)


class AccountReconciler:
    """``symbols`` are those that are traded.  ``emit`` publishes account events of orders, ``publish`` all others.
    ``rival(client_order_id)`` names the session of another daemon that sent an order; empty for any other order."""

    def __init__(
        self,
        venue: str,
        *,
        questions: Questions,
        settler: Settler,
        tracker: OrderTracker,
        symbols: Sequence[str],
        emit: Callable[[list[InputEvent]], None],
        publish: Publish,
        clock: Clock,
        every_s: float,
        listing_lag_s: float,
        rival: Callable[[str], str] = lambda _client_order_id: "",
    ) -> None:
        self.settled = 0
        self._venue = venue
        self._questions = questions
        self._settler = settler
        self._tracker = tracker
        self._symbols = tuple(symbols)
        self._emit = emit
        self._publish = publish
        self._clock = clock
        self._listing_lag_s = listing_lag_s
        self._rival = rival
        self._rivals = Rivals(venue)
        self._since_ns = 0
        self._again: asyncio.TimerHandle | None = None
        self.rounds = AccountRounds(venue, self.settle, every_s=every_s)

    def adopt(self, orders: Sequence[CarriedOrder], instruments: Mapping[str, str]) -> None:
        """Go on with orders of an earlier session; ``instruments`` maps ours to the library's symbols."""
        for order in orders:
            name = order.new.intent.instrument
            if order.new.venue != self._venue:
                continue
            ended = order.state in ENDED
            self._tracker.adopt(
                order.new.client_order_id,
                instruments.get(name) or name.partition("@")[0],
                order.new.intent.qty,
                order.new.ts_ns,
                order.venue_order_id,
                order.filled_qty,
                order.trade_ids,
                ended=ended,
                rejected=order.state == OrderState.REJECTED,
                ours=order.new.intent.strategy != EXTERNAL,
            )
            if not ended:
                self._since_ns = min(self._since_ns or order.new.ts_ns, order.new.ts_ns)
                if order.venue_order_id:
                    self._settler.check_now(order.new.client_order_id)
                else:
                    self._settler.resolve(order.new.client_order_id, self._clock.now_ns(), order.new.intent)

    # --- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """The account at the start.  Raises ``VenueError``; ``WrongAccount`` where another daemon has orders on it."""
        for tries_left in reversed(range(START_TRIES)):
            try:
                balances, unresolved = await self._bounded(self._rivals.refuse)
                break
            except WrongAccount:
                raise
            except VenueError as error:
                if not tries_left:
                    raise
                _log.warning("%s: %s", self._venue, error)
                await asyncio.sleep(1.0)
        now_ns = self._clock.now_ns()
        for one in balances:
            self._publish(BalanceReported(now_ns, now_ns, self._venue, one.currency, one.total, one.available))
        self._tell(balances, unresolved)

    async def settle(self) -> None:
        """Confirm the account once.  Raises ``VenueError`` when that cannot be had now."""
        self._tell(*await self._bounded(self._rivals.name))

    # --- questions --------------------------------------------------------------------------------------------------

    async def _bounded(self, judge: Callable[[list[str]], None]) -> tuple[list[SeenBalance], list[str]]:
        try:
            async with asyncio.timeout(ROUND_S):
                return await self._ask_all(judge)
        except TimeoutError:
            raise VenueError(
                f"{self._venue} account: not confirmed in {ROUND_S:g} s", do="see the exchange's status"
            ) from None

    async def _ask_all(self, judge: Callable[[list[str]], None]) -> tuple[list[SeenBalance], list[str]]:
        rivals: set[str] = set()
        for symbol in self._symbols:
            listed = await self._questions.open_orders(symbol)
            self._require(listed, f"open orders in {symbol}")
            for seen in listed:
                now_ns = self._clock.now_ns()
                if self._tracker.find(seen) is not None:
                    self._settler.observe(seen)
                elif self._settler.may_be_ours(seen):
                    self._ask_again()
                else:
                    self._emit(self._tracker.stranger(seen, now_ns))
                    rivals.add(self._rival(seen.told_id))
        judge(sorted(rivals - {""}))
        self._settler.check_all()
        await self._settler.round()
        await self._wait_for_unresolved()
        return await self._balances(), self._unresolved()

    def _unresolved(self) -> list[str]:
        return [
            one.client_order_id for one in self._tracker.open_orders() if one.ours and self._tracker.is_unresolved(one)
        ]

    async def _wait_for_unresolved(self) -> None:
        """Orders that are about to show themselves are waited for; the others are told as unresolved."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + UNRESOLVED_WAIT_S
        while self._unresolved() and loop.time() < until_s:
            await asyncio.sleep(0.1)

    async def _balances(self) -> list[SeenBalance]:
        """Read while nothing was executed: the same executions are listed before it and a moment after it."""
        since_ns = self._since_ns or self._clock.now_ns()
        for _ in range(TRIES):
            asked_ns = self._clock.now_ns()
            before = await self._fills(since_ns)
            balances = await self._questions.balances()
            await asyncio.sleep(self._listing_lag_s)
            after = await self._fills(since_ns)
            if before == after:
                self._since_ns = asked_ns
                return balances + self._left_out(balances)
        raise VenueError(
            f"{self._venue} account was traded during each of {TRIES} readings of its balances",
            expected="a moment without an execution",
            do="stop other programs that trade on it, or give this one a key and an account of its own",
        )

    def _left_out(self, balances: list[SeenBalance]) -> list[SeenBalance]:
        """Some exchanges list only what there is something of: of what is traded here, the rest is nothing."""
        traded = {currency for symbol in self._symbols for currency in symbol.split("/")}
        missing = sorted(traded - {one.currency for one in balances})
        return [SeenBalance(currency, Decimal(0), Decimal(0)) for currency in missing]

    async def _fills(self, since_ns: int) -> set[str]:
        found: set[str] = set()
        for symbol in self._symbols:
            fills = await self._settler.read_fills(symbol, since_ns)
            self._require(fills, f"executions in {symbol}")
            found.update(fill.trade_id for fill in fills)
        return found

    def _ask_again(self) -> None:
        """An order is left to those who look for ours: whose it is will be known soon."""
        if self._again is None or self._again.when() < asyncio.get_running_loop().time():
            self._again = asyncio.get_running_loop().call_later(AGAIN_S, self.rounds.wake)

    def _require(self, listing: Listing[Any], name: str) -> None:
        """Raises ``VenueError`` for a listing that does not show everything: no account is confirmed on it."""
        if not listing.complete:
            raise VenueError(
                f"{self._venue} account: {len(listing)} {name} could be read, and there may be more",
                expected="a listing that can be read to its end",
                do="see the exchange's own page; with very many open orders, cancel some there",
            )

    # --- what is told -----------------------------------------------------------------------------------------------

    def _tell(self, balances: list[SeenBalance], unresolved: list[str]) -> None:
        now_ns = self._clock.now_ns()
        self.settled += 1
        totals = tuple((one.currency, one.total) for one in balances)
        self._publish(AccountSettled(now_ns, now_ns, self._venue, totals, tuple(unresolved)))
