"""The account asked about as a whole: every open order, every fill since last time, and the balances that follow.

Owns the order of those questions and the one fact that comes out, ``AccountSettled``: told only when nothing was filled
meanwhile, so that what the books say can be compared to the last digit.  Single orders are ``settle``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from connectors.coinbase.directory import Directory, Opening
from connectors.coinbase.settle import LISTING_MARGIN_NS, Settler
from connectors.coinbase.tracker import OrderTracker
from engine.carried import ENDED, CarriedOrder
from engine.errors import VenueError
from engine.events import AccountSettled
from engine.ports import Clock, Publish

EVERY_S = 300.0
"""How often the account is asked about, unless something makes it doubtful before."""
BOUND_S = 30.0
"""Longest wait for orders to show themselves; those that have not are told as unresolved, and are asked about on."""
TRIES = 10
LISTING_TRIES = 3
LISTING_PAUSE_S = 0.5
_LOOK_S = 0.05

_log = logging.getLogger(__name__)


class AccountReconciler:
    """``products`` maps canonical instruments to product ids.  ``venue_offset_ns`` is the venue's clock minus ours."""

    def __init__(
        self,
        venue: str,
        *,
        directory: Directory,
        settler: Settler,
        tracker: OrderTracker,
        products: Mapping[str, str],
        publish: Publish,
        clock: Clock,
        venue_offset_ns: Callable[[], int],
        every_s: float = EVERY_S,
    ) -> None:
        self._venue = venue
        self._directory = directory
        self._settler = settler
        self._tracker = tracker
        self._products = products
        self._publish = publish
        self._clock = clock
        self._offset_ns = venue_offset_ns
        self._every_s = every_s
        self._since_ns = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failures = 0
        self.last_error = ""

    def adopt(self, orders: Sequence[CarriedOrder], since_ns: int) -> None:
        """Go on with the orders of an earlier session; ``since_ns`` (our clock) is when it was last heard of."""
        self._since_ns = since_ns + self._offset_ns() - LISTING_MARGIN_NS
        for order in orders:
            if order.new.venue == self._venue:
                self._tracker.adopt(
                    order.new.client_order_id,
                    order.venue_order_id,
                    order.filled_qty,
                    order.trade_ids,
                    ended=order.state in ENDED,
                )
                if order.state not in ENDED and not order.venue_order_id:
                    product_id = self._products.get(order.new.intent.instrument, "")
                    now_ns = self._clock.now_ns()
                    self._settler.resolve(order.new.client_order_id, product_id, order.new.ts_ns, now_ns)

    async def open(self) -> Opening:
        """The account at the start: orders that went on looked up, then the balances.  Raises ``VenueError``."""
        unresolved = await self._look_up(BOUND_S)
        opening = await self._balances()
        for balance in opening.balances:
            self._publish(balance)
        self._tell(opening, unresolved)
        return opening

    # --- from time to time ------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._venue}-account")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def look_for_strangers(self) -> None:
        """Called after each batch of the user stream: an order of somebody else is looked into at once."""
        if self._tracker.strangers and self._task is not None:
            self._tracker.strangers = False
            self._wake.set()

    def wake(self) -> None:
        """Something happened that may have hidden facts: a stream that was down, a clock that stepped."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), self._every_s)
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.settle()
            except VenueError as error:
                # The next round asks again; what was not read is not zero.
                self.failures += 1
                self.last_error = str(error)
                _log.warning("%s: the account could not be confirmed: %s", self._venue, error)
            except Exception as error:
                self.failures += 1
                self.last_error = f"{type(error).__name__}: {error}"
                _log.exception("%s: confirming the account failed; it goes on", self._venue)

    async def settle(self) -> None:
        """Confirm the account once.  Raises ``VenueError`` when that cannot be had now."""
        unresolved = await self._look_up(BOUND_S)
        opening = await self._balances()
        self._tell(opening, unresolved)

    # --- questions --------------------------------------------------------------------------------------------------

    async def _look_up(self, bound_s: float) -> list[str]:
        """Ask about every open order of ours; client ids of those that have not shown themselves in time."""
        self._settler.reconcile()
        await self._find_strangers()
        waiting = [order.client_order_id for order in self._tracker.open_orders() if order.ours]
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + bound_s
        while True:
            waiting = [client_id for client_id in waiting if self._tracker.is_unresolved(client_id)]
            if not waiting or loop.time() >= deadline_s:
                return waiting
            await asyncio.sleep(_LOOK_S)

    async def _find_strangers(self) -> None:
        """Every open order that nobody here has sent.  One listing that fails is asked for again; a start must not end
        by it."""
        products = {product_id: instrument for instrument, product_id in self._products.items()}
        for left in reversed(range(LISTING_TRIES)):
            try:
                unreadable = await self._settler.find_strangers(products)
            except VenueError as error:
                if not left:
                    raise
                _log.warning("%s: %s", self._venue, error)
                await asyncio.sleep(LISTING_PAUSE_S)
            else:
                if unreadable:
                    names = ", ".join(unreadable[:5])
                    _log.error("%s: open orders of others that cannot be read: %s", self._venue, names)
                return

    async def _balances(self) -> Opening:
        """Balances that are those of the books, if both are right: every fill before their reading is booked, and none
        behind it.  Read again when one was booked meanwhile; from here to their telling nobody else gets a turn."""
        for _ in range(TRIES):
            booked = self._tracker.booked
            opening = await self._directory.opening(self._offset_ns)
            if self._since_ns:
                await self._settler.read_fills_since(self._since_ns)
            if self._tracker.booked == booked:
                self._since_ns = opening.since_ns - LISTING_MARGIN_NS
                return opening
        raise VenueError(f"{self._venue} account: fills in each of {TRIES} readings of its balances")

    def _tell(self, opening: Opening, unresolved: list[str]) -> None:
        now_ns = self._clock.now_ns()
        balances = tuple((one.currency, one.total) for one in opening.balances)
        self._publish(AccountSettled(now_ns, now_ns, self._venue, balances, tuple(unresolved)))
