"""The account asked about as a whole: orders, then balances, then orders again.

Owns the order of those questions and the one fact that comes out, ``AccountSettled``: told only when no execution was
seen between the two readings of the orders, so that the balances hold those that are booked and no other.

The venue shows of money only what is free, not what open buys bind.  While buys are open the total is what the
executions make it since it was told last, as long as what is missing is no more than they may bind; without such a
memory it is what is free and what their limits and fees come to.  Free money is shown to the cent perhaps: less than
that is no difference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from connectors.account_rounds import AccountRounds
from connectors.rivals import Rivals
from connectors.robinhood import wire
from connectors.robinhood.asking import Asker
from connectors.robinhood.directory import Directory
from connectors.robinhood.tracker import OrderTracker
from connectors.robinhood.watch import OrderWatch
from engine.carried import ENDED, CarriedOrder
from engine.errors import VenueError, WrongAccount
from engine.events import AccountSettled, BalanceReported
from engine.order_states import OrderState
from engine.ports import Clock, Publish

MONEY = "USD"
BOUND_S = 30.0
"""Longest wait for orders of ours to show themselves; those that have not are told as unresolved, and looked for on."""
ROUND_S = 120.0
"""Longest a confirmation may take in all."""
TRIES = 12
LISTING_LAG_S = 0.25
"""An execution may be listed a moment after it moved a balance."""
START_TRIES = 3
PAUSE_S = 0.5
ROUNDING = Decimal("0.01")
HOLD_MOST = Decimal("1.1")
"""What open buys bind is at most this much of their limits and fees: a stop at market has no limit of its own."""
_LOOK_S = 2.0
_ZERO = Decimal(0)

_log = logging.getLogger(__name__)


class AccountReconciler:
    """``rival(client_order_id)`` names the session of another daemon that sent an order; empty for any other order."""

    def __init__(
        self,
        venue: str,
        *,
        asker: Asker,
        paths: wire.Paths,
        directory: Directory,
        watch: OrderWatch,
        tracker: OrderTracker,
        publish: Publish,
        clock: Clock,
        every_s: float,
        rival: Callable[[str], str],
        on_account: Callable[[], None],
    ) -> None:
        """``on_account`` is called after each reading of the account, which may have another state."""
        self._venue = venue
        self._asker = asker
        self._paths = paths
        self._directory = directory
        self._watch = watch
        self._tracker = tracker
        self._publish = publish
        self._clock = clock
        self._rival = rival
        self._on_account = on_account
        self._rivals = Rivals(venue)
        self._expected: dict[str, Decimal] = {}
        """Balances as they were confirmed last, less what executions had done to them by then."""
        self._since_ns = 0
        self.rounds = AccountRounds(venue, self.settle, every_s=every_s)

    def adopt(self, orders: Sequence[CarriedOrder], balances: Mapping[str, Decimal]) -> None:
        """Go on with the orders and ``balances`` (by currency) of an earlier session."""
        self._expected = dict(balances)
        for order in orders:
            if order.new.venue != self._venue:
                continue
            name, is_ended = order.new.client_order_id, order.state in ENDED
            self._tracker.adopt(
                name,
                order.venue_order_id,
                order.new.intent.instrument,
                order.filled_qty,
                order.trade_ids,
                order.new.ts_ns,
                ended=is_ended,
                rejected=order.state == OrderState.REJECTED,
            )
            if order.venue_order_id:
                self._watch.check(name)
            elif not is_ended:
                self._watch.resolve(name, order.new.ts_ns)

    async def open(self) -> None:
        """The account at the start.  Raises ``VenueError``."""
        for left in reversed(range(START_TRIES)):
            try:
                balances, unresolved = await self._confirmed(self._rivals.refuse)
                break
            except WrongAccount:
                raise
            except VenueError as error:
                if not left:
                    raise
                _log.warning("%s: %s", self._venue, error)
                await asyncio.sleep(PAUSE_S)
        for balance in balances:
            self._publish(balance)
        self._tell(balances, unresolved)
        self._tracker.open(self._since_ns)

    # --- from time to time --------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Confirm the account once.  Raises ``VenueError`` when that cannot be had now."""
        balances, unresolved = await self._confirmed(self._rivals.name)
        self._tell(balances, unresolved)

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _confirmed(self, judge: Callable[[list[str]], None]) -> tuple[list[BalanceReported], list[str]]:
        """Balances, and orders of unknown outcome; ``judge`` hears of other daemons."""
        try:
            async with asyncio.timeout(ROUND_S):
                await self._watch.read_all()
                unresolved = await self._wait_for_ours()
                judge(self._find_rivals())
                return await self._balances(), unresolved
        except TimeoutError:
            raise VenueError(
                f"{self._venue} account: not confirmed in {ROUND_S:g} s", do="see the venue's status"
            ) from None

    async def _wait_for_ours(self) -> list[str]:
        """Client ids of orders that have not shown themselves in time."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + BOUND_S
        waiting = {order.client_order_id for order in self._tracker.unaccounted()}
        while True:
            if waiting:
                await self._watch.look_up(list(waiting))
                waiting &= {order.client_order_id for order in self._tracker.unaccounted()}
            if not waiting or loop.time() >= deadline_s:
                return sorted(waiting)
            await asyncio.sleep(_LOOK_S)

    async def _balances(self) -> list[BalanceReported]:
        """As they were while nothing was executed.  Raises ``VenueError``."""
        for again in range(TRIES):
            before = self._tracker.taken_in
            since_ns = self._asker.venue_now_ns()
            account = await self._directory.read_account(self._paths)
            holdings = await self._asker.holdings(self._paths)
            await asyncio.sleep(LISTING_LAG_S * (1 + again % 3))
            await self._watch.read()
            if self._tracker.taken_in == before and not any(o.ours for o in self._tracker.unaccounted() if o.accepted):
                self._since_ns = since_ns
                self._on_account()
                return self._reported(account, holdings)
        raise VenueError(
            f"{self._venue} account was traded during each of {TRIES} readings of its balances",
            expected="a moment in which nothing is executed",
            do="stop other programs that trade on it",
        )

    def _reported(self, account: wire.Account, holdings: list[wire.Holding]) -> list[BalanceReported]:
        amounts = {one.asset_code: (one.total_quantity, one.quantity_available_for_trading) for one in holdings}
        if not all(total.is_finite() and free.is_finite() for total, free in amounts.values()):
            raise VenueError(f"{self._venue} tells holdings that are no numbers", expected="numbers")
        # The listing was read to its end: what it does not name is not there.
        traded = {one.base for one in self._directory.instruments.values()}
        for asset in sorted((traded | self._expected.keys()) - amounts.keys() - {MONEY}):
            amounts[asset] = (_ZERO, _ZERO)
        for asset, (total, _) in amounts.items():
            self._compare(asset, total, traded)
        amounts[MONEY] = (self._money(account.buying_power), account.buying_power)
        now_ns = self._clock.now_ns()
        return [
            BalanceReported(now_ns, now_ns, self._venue, currency, total, free)
            for currency, (total, free) in sorted(amounts.items())
        ]

    def _money(self, free: Decimal) -> Decimal:
        """The total of which ``free`` is free."""
        bound = sum((_bound(one.live) for one in self._tracker.open_orders() if one.live is not None), _ZERO)
        expected = self._made(MONEY)
        if expected is None:
            return free + bound
        missing = expected - free
        if -ROUNDING < missing - bound < ROUNDING or (bound and -ROUNDING < missing <= bound * HOLD_MOST):
            return expected
        self._warn(MONEY, free + bound, expected)
        return free + bound

    def _made(self, currency: str) -> Decimal | None:
        """What the executions since make of what was confirmed last."""
        last = self._expected.get(currency)
        return None if last is None else last + self._tracker.moved.get(currency, _ZERO)

    def _compare(self, currency: str, told: Decimal, traded: set[str]) -> None:
        expected = self._made(currency)
        if expected is not None and told != expected and currency in traded:
            self._warn(currency, told, expected)

    def _warn(self, currency: str, told: Decimal, expected: Decimal) -> None:
        _log.warning(
            "%s: the balance of %s is %s, the executions make it %s: somebody else moved it; it is booked as the venue "
            "tells it",
            self._venue,
            currency,
            told,
            expected,
        )

    def _tell(self, balances: list[BalanceReported], unresolved: list[str]) -> None:
        now_ns = self._clock.now_ns()
        totals = tuple((one.currency, one.total) for one in balances)
        self._expected = {name: total - self._tracker.moved.get(name, _ZERO) for name, total in totals}
        self._publish(AccountSettled(now_ns, now_ns, self._venue, totals, tuple(unresolved)))

    # --- other daemons ------------------------------------------------------------------------------------------------

    def _find_rivals(self) -> list[str]:
        """Sessions of other daemons with open orders on the account."""
        ids = (order.client_order_id for order in self._tracker.open_orders() if not order.ours)
        return sorted({session for session in map(self._rival, ids) if session})


def _bound(shown: wire.Order) -> Decimal:
    """Money that an open buy binds, as far as it shows."""
    qty = shown.qty()
    if shown.side != "buy" or qty is None:
        return _ZERO
    config = shown.config
    px = wire.finite(config.limit_price) or wire.finite(config.stop_price) or _ZERO
    left = qty - (wire.finite(shown.filled_asset_quantity) or _ZERO)
    return max(left, _ZERO) * px + (wire.finite(shown.estimated_fee_remaining) or _ZERO)
