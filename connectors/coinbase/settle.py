"""What happens to an order after its answer: fills read, unknown outcomes resolved, silent orders looked up.

Owns the REST questions about orders and when they are asked.  Facts go through the tracker, which tells each once.
What an order without a known outcome has become is ``unknown_orders``'s, which exit came with an entry ``exits``'s, and
which orders are looked up one by one ``order_checks``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from connectors.account_health import AccountHealth
from connectors.coinbase import wire
from connectors.coinbase.adjustments import Adjustments
from connectors.coinbase.exit_tracking import ENDED
from connectors.coinbase.exits import ExitFinder
from connectors.coinbase.fills import is_execution
from connectors.coinbase.inquiry import Inquiry
from connectors.coinbase.listings import Listings
from connectors.coinbase.order_checks import OrderChecks
from connectors.coinbase.strangers import find_strangers
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.unknown_orders import UnknownOrders
from connectors.rest import Gets
from engine.errors import VenueError
from engine.events import InputEvent
from engine.ports import Clock

NS_PER_S = 1_000_000_000
FILL_RETRY_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits between readings of fills that the stream claims and the listing does not show yet; the last one repeats."""
IDLE_S = 5.0
"""Between two rounds while there is nothing to look up."""
IDS_PER_CALL = 50
STRANGERS_MAX = 20
"""Unknown orders looked up for the sake of their fills at once; what the others did is in the balances."""
FAILURES_TOLERATED = 5
"""Failed readings of fills in a row; after more the account counts as unreadable."""
WORDS_MAX = 48
"""Unknown words of the venue that are told, once each."""
RESTART_FIRST_S, RESTART_CAP_S = 0.1, 30.0
"""Pauses of a background task that raised what it should not: they double."""

_log = logging.getLogger(__name__)


class Settler:
    """Two background tasks over one REST client; neither ends before ``stop``, whatever an answer holds.

    ``emit`` publishes account events (the gateway's ``publish_all``).  ``venue_offset_ns`` is the venue's clock minus
    ours.  What cannot be read is said to ``account``.  ``still_open(client_order_id, asked_ns)`` hears of each look-up
    that shows an order alive with no cancel at work on it, and when (our clock) the question was asked.
    """

    def __init__(
        self,
        venue: str,
        *,
        rest: Gets,
        tracker: OrderTracker,
        clock: Clock,
        emit: Callable[[list[InputEvent]], None],
        account: AccountHealth,
        venue_offset_ns: Callable[[], int],
        still_open: Callable[[str, int], None],
        grace_s: float = 15.0,
        poll_s: float = 0.5,
    ) -> None:
        self._venue = venue
        self._listings = Listings(rest)
        self._tracker = tracker
        self._adjustments = Adjustments(tracker)
        self.on_doubt: Callable[[], None] = lambda: None
        """Called when the venue has adjusted an execution, or one may be in the opening balances or not: what the
        account holds is to be confirmed."""
        self._clock = clock
        self._emit = emit
        self._account = account
        self._grace_ns = int(grace_s * NS_PER_S)
        inquiry = Inquiry(
            venue, self._listings, tracker, clock, emit, self._observe, venue_offset_ns, grace_ns=self._grace_ns
        )
        self.exits = ExitFinder(inquiry)
        self._unknown = UnknownOrders(inquiry)
        self._inquiry = inquiry
        self._poll_s = poll_s
        self.checks = OrderChecks(
            inquiry,
            observe=self._observe,
            read_fills_of=self._book_all_of,
            still_open=still_open,
            wake=self._wake_for_orders,
            wake_idle=self._wake_idle,
        )
        self._fills_due: dict[str, None] = {}
        self._fills_unreadable: dict[str, str] = {}
        self._fills_tries = 0
        self._fills_failed = 0
        self._fills_wake = asyncio.Event()
        self._orders_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._words_said: set[str] = set()
        self.failures = 0
        self.last_error = ""

    # --- requests, from the loop's callbacks ------------------------------------------------------------------------

    def wake_for_fills(self) -> None:
        """The tracker may want fills: called after every batch of the user stream."""
        wanted = self._tracker.take_wanted()
        if wanted:
            self._fills_due.update(dict.fromkeys(wanted))
            self._fills_wake.set()
        for client_id, word in self._tracker.take_unknown().items():
            self._look_into(client_id, word)
        for client_id in self._tracker.take_doubted():
            self.checks.check_once(client_id)
        if self.exits.news():
            self._orders_wake.set()

    def _look_into(self, client_id: str, word: str) -> None:
        """A status that is not known is not guessed: the order stays as it was, holds its risk and is asked about."""
        self.checks.check_later(client_id)
        if word not in self._words_said and len(self._words_said) < WORDS_MAX:
            self._words_said.add(word)
            _log.error(
                "%s says that order %s is %r, which this release does not know: it counts as open and is asked about; "
                "look it up at the venue",
                self._venue,
                client_id,
                word,
            )

    def resolve(self, client_order_id: str, product_id: str, sent_ns: int, lost_ns: int) -> None:
        """Find out whether this order exists; times are ours."""
        self._unknown.add(client_order_id, product_id, sent_ns, lost_ns)
        self._orders_wake.set()

    def _wake_for_orders(self) -> None:
        self._orders_wake.set()

    def _wake_idle(self) -> None:
        if not self._unknown:
            self._orders_wake.set()

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep("fills", self._fills_round), name=f"{self._venue}-fills"),
            loop.create_task(self._keep("orders", self._orders_round), name=f"{self._venue}-orders"),
        ]

    async def _keep(self, name: str, one_round: Callable[[], Awaitable[None]]) -> None:
        """Run rounds for ever.  A defect in one is logged, said as an unreadable account, and the next round comes."""
        pause_s = RESTART_FIRST_S
        while True:
            try:
                await one_round()
            except Exception as error:
                self.failures += 1
                self.last_error = f"{type(error).__name__}: {error}"
                _log.exception("%s %s: a round failed", self._venue, name)
                self._account.trouble(f"task {name}", self.last_error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RESTART_CAP_S)
                self._orders_wake.set()  # whether it is well again shows in a round, not in waiting for one
            else:
                pause_s = RESTART_FIRST_S
                self._account.recovered(f"task {name}")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # --- fills --------------------------------------------------------------------------------------------------

    async def _fills_round(self) -> None:
        if not self._fills_due:
            self._fills_tries = 0
            self._account.recovered("task fills")  # nothing is left that it could fail on
            await self._fills_wake.wait()
        self._fills_wake.clear()
        try:
            await self.read_fills()
            self._fills_failed = 0
            self._account.recovered("fills listing")
        except VenueError as error:
            self._failed(error)
            self._fills_failed += 1
            if self._fills_failed > FAILURES_TOLERATED:
                self._account.trouble("fills listing", str(error))
        if self._fills_due:
            # Claimed by the stream, not listed yet.  A new claim does not wait for the pause to end.
            pause_s = FILL_RETRY_S[min(self._fills_tries, len(FILL_RETRY_S) - 1)]
            self._fills_tries += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._fills_wake.wait()

    async def read_fills(self) -> None:
        """Read the fills of the orders that are due, book them, keep those due that are still short.

        More than ``IDS_PER_CALL`` take turns: orders whose fills never come do not keep others from theirs.
        """
        due = list(self._fills_due)[:IDS_PER_CALL]
        if not due:
            return
        for order_id in due:
            self._fills_due[order_id] = self._fills_due.pop(order_id)
        ended = {order_id for order_id in due if self._tracker.hides_fills(order_id)}  # one that ends now is read again
        await self._book_all_of(due)
        failed: VenueError | None = None
        for order_id in sorted(due, key=ended.__contains__):  # the others do not wait for what is asked of these
            is_read = False
            if order_id in ended and failed is None:
                try:
                    is_read = await self._shows_end(order_id)
                except VenueError as error:
                    failed = error
                    self._fills_due[order_id] = self._fills_due.pop(order_id)  # the next time it is the last one
            self._emit(self._tracker.fills_read(order_id, self._clock.now_ns(), after_end=is_read))
            if not self._tracker.wants_fills(order_id):
                self._fills_due.pop(order_id, None)
        self._note_unreadable(due)
        self.wake_for_fills()  # what was told may have been awaited by something else
        if failed is not None:
            raise failed

    async def read_fills_since(self, since_ns: int) -> list[wire.Fill]:
        """Book every fill of the account since then (venue's clock) that no stream has told, also of orders that have
        not shown themselves yet; all that is listed, in order.  Raises ``VenueError``, also where one of ours makes no
        sense."""
        params = [("start_sequence_timestamp", wire.format_time(since_ns)), ("limit", "100")]
        fills = await self._listings.fills(params)
        strange = dict.fromkeys(fill.order_id for fill in fills if self._tracker.is_strange(fill))
        for order_id in list(strange)[:STRANGERS_MAX]:
            # An order of somebody else's, or one of ours whose answer is not here yet: only the venue can say which.
            await self._look_up(order_id)
        await self.exits.identify()
        self._book(fills)
        if missed := dict.fromkeys(fill.order_id for fill in fills if self._tracker.misses(fill)):
            # The balances have it: taken for whole without it, the account would be put right by what others did.
            self._fills_due |= missed
            self._fills_wake.set()
            raise VenueError(
                f"{self._venue} lists an execution of {next(iter(missed))} that cannot be read",
                expected="side, size, price and commission",
                do="it is read again; see the venue's status",
            )
        if adjusted := dict.fromkeys(fill.order_id for fill in self._adjustments.news(fills)):
            await self.read_fills_of(list(adjusted))  # with the executions that they are about, however old those are
        self.wake_for_fills()
        return self._tracker.in_order(fills)

    async def look_up_open(self) -> None:
        """Ask about every open order of ours now, one after the other.  Raises ``VenueError``."""
        for order in self._tracker.open_orders():
            if order.ours and order.venue_order_id:
                await self._look_up(order.venue_order_id)

    async def read_fills_of(self, order_ids: Sequence[str]) -> None:
        """Book every fill of these orders (venue's ids), however old."""
        for first in range(0, len(order_ids), IDS_PER_CALL):
            await self._book_all_of(order_ids[first : first + IDS_PER_CALL])
        self.wake_for_fills()

    async def _book_all_of(self, order_ids: Sequence[str]) -> int:
        """Book all entries of these orders, and then what adjusts some of them; returns the time of that."""
        fills = await self._listings.fills([("order_ids", one) for one in order_ids] + [("limit", "100")])
        self._tracker.recall(fills)
        now_ns = self._book(fills)
        adjustments = self._adjustments.news(fills)
        for fill in adjustments:
            self._emit(self._adjustments.take(fill, fills, now_ns))
            _log.error("%s: %s", self._venue, self._adjustments.log.last)
        if adjustments:
            for order_id in dict.fromkeys(fill.order_id for fill in adjustments):
                order = self._tracker.of_venue(order_id)
                if order is not None and not order.closed:
                    self.checks.check_now(order.client_order_id)
            self.on_doubt()
        return now_ns

    async def _look_up(self, order_id: str) -> wire.RestOrder | None:
        order = await self._listings.order(order_id)
        if order is not None:
            self._observe(order)
        return order

    async def _shows_end(self, order_id: str) -> bool:
        """Whether an order's record shows its end, or did not for long enough; it says what there is to read, also
        where the listing of fills lags.  A record that is not there yet is behind as well: it says nothing."""
        order, tracked = await self._look_up(order_id), self._tracker.of_venue(order_id)
        if tracked is None or (order is not None and order.status in ENDED):
            return True
        return self._clock.now_ns() - tracked.changed_ns >= self._grace_ns

    def _book(self, fills: list[wire.Fill]) -> int:
        now_ns = self._clock.now_ns()
        for fill in self._tracker.in_order(filter(is_execution, fills)):
            self._emit(self._tracker.book(fill, now_ns))
        return now_ns

    def _note_unreadable(self, read: list[str]) -> None:
        """Fills without sense stop entries until a later reading of their order makes sense."""
        for order_id in read:
            self._fills_unreadable.pop(order_id, None)
        for order_id, seen in self._tracker.take_unreadable().items():
            if self._tracker.wants_fills(order_id):  # else what the venue claims is booked without that entry
                self._fills_unreadable[order_id] = seen
        if self._fills_unreadable:
            self._account.trouble("fills", next(iter(self._fills_unreadable.values())))
        else:
            self._account.recovered("fills")
        if self._tracker.doubtful:
            self._account.trouble("opening", f"{self._tracker.doubtful}; the account is confirmed once more")
            self.on_doubt()

    def confirmed(self) -> None:
        """The account was told whole, with every execution that is booked: what the opening left in doubt is in it."""
        self._tracker.doubtful = ""
        self._account.recovered("opening")

    # --- orders -------------------------------------------------------------------------------------------------

    async def _orders_round(self) -> None:
        with contextlib.suppress(TimeoutError):
            is_busy = self.checks.is_busy or self._unknown or self.exits.is_busy
            async with asyncio.timeout(self._poll_s if is_busy else IDLE_S):
                await self._orders_wake.wait()
        self._orders_wake.clear()
        try:
            await self.checks.look()
            self.wake_for_fills()
            await self.resolve_unknown()
            await self.exits.round()
        except VenueError as error:
            self._failed(error)
            await asyncio.sleep(self._poll_s)
        self.wake_for_fills()

    async def resolve_unknown(self) -> None:
        """Decide the orders of unknown outcome that are found, or absent for long enough.  Raises ``VenueError``."""
        await self._unknown.look()

    async def find_strangers(self, instruments: Mapping[str, str]) -> list[str]:
        """Tell of every open order that nobody here has sent; ids of those whose size cannot be read.

        ``instruments`` maps product ids to canonical instruments.
        """
        return await find_strangers(self._inquiry, instruments)

    def _observe(self, order: wire.RestOrder, asked_ns: int = 0) -> None:
        """What the venue's record of an order says: also which exit came with it, or with which entry it came.
        ``asked_ns``: when this order alone was asked about; 0 for a listing, which may be behind."""
        now_ns, tracker = self._clock.now_ns(), self._tracker
        for entry_id, exit_id in (
            (order.order_id, order.attached_order_id),
            (order.originating_order_id, order.order_id),
        ):
            entry = tracker.of_venue(entry_id) if entry_id and exit_id else None
            if entry is not None and exit_id:
                self._emit(tracker.name_exit(entry.client_order_id, exit_id, now_ns))
        size = order.size_and_price() if tracker.attachments.of_exit(order.order_id) is not None else None
        versions, order_id = tracker.versions, order.order_id
        was_known = versions.is_known(order_id)
        if was_known:
            self._emit(versions.looked_up(order, asked_ns, now_ns, self._grace_ns))
        self._emit(
            tracker.observe(
                client_order_id=order.client_order_id,
                venue_order_id=order.order_id,
                product_id=order.product_id,
                status=order.status,
                filled_qty=order.filled_size,
                reason=(order.reject_message or order.reject_reason)
                if order.status == "FAILED"
                else order.cancel_message,
                ts_event_ns=now_ns,
                ts_recv_ns=now_ns,
                size_qty=None if size is None else size[0],
            )
        )
        if not was_known and versions.is_known(order_id):  # since now, and this shows what it is
            self._emit(versions.looked_up(order, asked_ns, now_ns, self._grace_ns))
        self.wake_for_fills()

    # --- helpers ------------------------------------------------------------------------------------------------

    def _failed(self, error: VenueError) -> None:
        """The question is asked again in the next round; until then nothing is assumed."""
        self.failures += 1
        self.last_error = str(error)
