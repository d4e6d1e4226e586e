"""The account read as a whole and held against what transactions have made it; the one fact that comes out.

Owns ``AccountSettled``, and when it may be told.  The venue numbers everything: a reading names the last transaction
that is in it, and what came later is known one by one, so that each reading proves both sides to the last unit; where
they differ all the same, the venue is right.  What the amounts mean for our books is ``books``'.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Sequence

from connectors.account_health import AccountHealth
from connectors.account_rounds import AccountRounds
from connectors.oanda import wire
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.books import AccountBooks
from connectors.oanda.directory import Directory
from connectors.oanda.gateway import OandaGateway
from connectors.rivals import Rivals
from engine.errors import VenueError
from engine.events import AccountSettled, InputEvent, PositionReported
from engine.ports import Clock, Publish

TRIES = 20
CATCH_UP_S = 5.0
"""Longest wait for the transactions that a reading has and the stream has not."""
BOUND_S = 20.0
"""Longest wait for orders to show themselves; those that have not are told as unresolved, and are asked about on."""
_LOOK_S = 0.02

_log = logging.getLogger(__name__)


class AccountReconciler:
    """``look`` has missing transactions read.  ``rival(client_order_id)`` names the session of another daemon that sent
    an order; empty for any other order.  Of those that an earlier session knew (``carried``) none is a rival's: they
    were sent here, or somebody has begun anew with them there."""

    def __init__(
        self,
        venue: str,
        *,
        directory: Directory,
        protocol: AccountProtocol,
        books: AccountBooks,
        gateway: OandaGateway,
        health: AccountHealth,
        publish: Publish,
        clock: Clock,
        look: Callable[[], None],
        every_s: float,
        rival: Callable[[str], str] = lambda _client_order_id: "",
        carried: Collection[str] = (),
    ) -> None:
        self._carried = carried
        self._venue = venue
        self._directory = directory
        self._protocol = protocol
        self._books = books
        self._gateway = gateway
        self._health = health
        self._publish = publish
        self._clock = clock
        self._look = look
        self._rival = rival
        self._rivals = Rivals(venue)
        self.rounds = AccountRounds(venue, self.settle, every_s=every_s)
        self.settled = 0

    async def settle(self) -> None:
        """Confirm the account once.  Raises ``VenueError`` when that cannot be had now."""
        await self._wait_for_orders()
        account, at, later = await self.reading()
        # From here to the telling nobody else gets a turn.
        moved = self._books.open(account, at, later)
        if moved and not self._protocol.doubtful:
            _log.warning("%s: the balance is %s off what transactions have made it", self._venue, moved)
        now_ns = self._clock.now_ns()
        for event in self._protocol.find(account.orders, now_ns):
            self._publish(event)
        lost: list[InputEvent] = []
        if self._protocol.doubtful:
            lost = self._protocol.lose({order.id for order in account.orders}, at, now_ns)
        self._rivals.name(self.rivals(account))
        self._adjust_positions()
        self._protocol.doubtful = self._protocol.moved = False
        self.tell(now_ns, lost)

    def tell(self, now_ns: int, lost: Sequence[InputEvent] = ()) -> None:
        """The books are right: what they should hold from now on.  ``lost``: ends of orders that may have filled with
        nobody hearing of it: told after the positions, so that nothing is sent for what they have closed."""
        for name, instrument in self._directory.instruments.items():
            qty, avg_px = self._books.held(name)
            self._publish(PositionReported(now_ns, now_ns, self._venue, instrument.id, qty, avg_px))
        for event in lost:
            self._publish(event)
        totals = self._books.totals()
        self._books.told(totals)
        self.settled += 1
        unresolved = tuple(self._gateway.unresolved())
        self._publish(AccountSettled(now_ns, now_ns, self._venue, tuple(sorted(totals.items())), unresolved))

    async def reading(self) -> tuple[wire.Account, int, list[wire.Transaction]]:
        """The account, the last transaction in it, and those that were taken in since.  Raises ``VenueError``."""
        for _ in range(TRIES):
            account, at = await self._directory.details()
            await self._catch_up(at)
            later = self._protocol.recent_since(at)
            if later is not None and self._protocol.last_id >= at:
                return account, at, later
        raise VenueError(
            f"{self._venue} account: {TRIES} readings were of transactions that nobody has told",
            expected="a reading between two transactions that are known",
        )

    async def _catch_up(self, at: int) -> None:
        if self._protocol.last_id >= at:
            return
        self._look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                while self._protocol.last_id < at:
                    await asyncio.sleep(_LOOK_S)

    async def _wait_for_orders(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUND_S):
                while self._gateway.unresolved():
                    await asyncio.sleep(_LOOK_S)

    def _adjust_positions(self) -> None:
        """Where executions do not make the positions, the venue's stand; what only an earlier session traded cannot be
        booked here, and while it differs the account counts as unreadable."""
        stray = []
        for name, (there, here) in self._books.differing().items():
            text = f"{name} is {there}, executions make it {here}"
            _log.error("%s: position in %s: somebody else moved it, or it is not told", self._venue, text)
            if name in self._directory.instruments:
                self._books.begin([name])
            else:
                stray.append(text)
        if stray:
            self._health.trouble("positions", "; ".join(stray))
        else:
            self._health.recovered("positions")

    # --- orders of others -------------------------------------------------------------------------------------------

    def rivals(self, account: wire.Account) -> list[str]:
        """Sessions of other daemons with open orders on the account."""
        names = (order.client_id for order in account.orders if order.client_id not in self._carried)
        return sorted({session for name in names if (session := self._rival(name))})
