"""What happens to an order after its answer: fills read, unknown outcomes resolved, silent orders looked up.

Owns the REST questions about orders and when they are asked.  Facts go through the tracker, which tells each once.
An order without a known outcome is never sent again and never assumed rejected: listings decide (design, section 1.4).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.account import AccountHealth
from connectors.coinbase.tracker import UNCANCELLED, OrderTracker, exact
from connectors.rest import RestClient, RestError
from engine.errors import VenueError
from engine.events import InputEvent, OrderRejected
from engine.ports import Clock

NS_PER_S = 1_000_000_000
LISTING_MARGIN_NS = 60 * NS_PER_S
"""Listings start this long before the send: the venue's clock and the order's way there may differ from ours."""
FILL_RETRY_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits between readings of fills that the stream claims and the listing does not show yet; the last one repeats."""
CHECK_AFTER_S = 2.0
CHECK_AGAIN_S = 5.0
MAX_PAGES = 200
IDS_PER_CALL = 50
FAILURES_TOLERATED = 5
"""Failed readings of fills in a row; after more the account counts as unreadable."""
RESTART_FIRST_S, RESTART_CAP_S = 0.1, 30.0
"""Pauses of a background task that raised what it should not: they double."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


class _Unknown(msgspec.Struct):
    product_id: str
    sent_ns: int
    lost_ns: int
    absent: int = 0


class _LookedUp(wire.RestOrder):
    """One order as GET /orders/historical/{id} shows it."""

    pending_cancel: Any = False
    """``true``, also as text, while a cancel is at work; nothing else in it may cost us the look-up."""

    def is_uncancelled(self) -> bool:
        return self.status in UNCANCELLED and self.pending_cancel not in (True, "true")


class _LookUpAnswer(wire.RestOrderAnswer):
    order: _LookedUp


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
        rest: RestClient,
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
        self._rest = rest
        self._tracker = tracker
        self._clock = clock
        self._emit = emit
        self._account = account
        self._offset_ns = venue_offset_ns
        self._still_open = still_open
        self._grace_ns = int(grace_s * NS_PER_S)
        self._poll_s = poll_s
        self._unknown: dict[str, _Unknown] = {}
        self._checks: dict[str, float] = {}
        self._fills_due: dict[str, None] = {}
        self._fills_unreadable: dict[str, str] = {}
        self._fills_tries = 0
        self._fills_failed = 0
        self._fills_wake = asyncio.Event()
        self._orders_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.failures = 0
        self.last_error = ""

    # --- requests, from the loop's callbacks ------------------------------------------------------------------------

    def wake_for_fills(self) -> None:
        """The tracker may want fills: called after every batch of the user stream."""
        wanted = self._tracker.take_wanted()
        if wanted:
            self._fills_due.update(dict.fromkeys(wanted))
            self._fills_wake.set()

    def resolve(self, client_order_id: str, product_id: str, sent_ns: int, lost_ns: int) -> None:
        """Find out whether this order exists; times are ours."""
        self._unknown[client_order_id] = _Unknown(product_id, sent_ns, lost_ns)
        self._orders_wake.set()

    def check_later(self, client_order_id: str) -> None:
        """Look the order up if nothing has ended it in ``CHECK_AFTER_S``."""
        self._checks.setdefault(client_order_id, asyncio.get_running_loop().time() + CHECK_AFTER_S)

    def check_now(self, client_order_id: str) -> None:
        self._checks[client_order_id] = 0.0
        self._orders_wake.set()

    def reconcile(self) -> None:
        """Messages of the user stream were lost: look up every open order."""
        for order in self._tracker.open_orders():
            if order.venue_order_id:
                self._checks[order.client_order_id] = 0.0
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
                await asyncio.wait_for(self._fills_wake.wait(), pause_s)

    async def read_fills(self) -> None:
        """Read the fills of the orders that are due, book them, keep those due that are still short.

        More than ``IDS_PER_CALL`` take turns: orders whose fills never come do not keep others from theirs.
        """
        due = list(self._fills_due)[:IDS_PER_CALL]
        if not due:
            return
        for order_id in due:
            self._fills_due[order_id] = self._fills_due.pop(order_id)
        params = [("order_ids", order_id) for order_id in due] + [("limit", "100")]
        now_ns = self._book(await self._read_fills(params))
        for order_id in due:
            self._emit(self._tracker.fills_read(order_id, now_ns))
            if not self._tracker.wants_fills(order_id):
                self._fills_due.pop(order_id, None)
        self._note_unreadable(due)

    async def read_fills_since(self, since_ns: int) -> None:
        """Book every fill of the account since then (venue's clock) that no stream has told."""
        params = [("start_sequence_timestamp", wire.format_time(since_ns)), ("limit", "100")]
        fills = await self._read_fills(params)
        self._book(fills)
        self.wake_for_fills()

    async def _read_fills(self, params: list[tuple[str, str]]) -> list[wire.Fill]:
        """A listing to its end.  Raises ``VenueError`` for one that has none: what it leaves out is not known."""
        fills: list[wire.Fill] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            page = await self._ask(
                "/orders/historical/fills", params + ([("cursor", cursor)] if cursor else []), wire.Fills
            )
            fills.extend(page.fills)
            cursor = page.cursor
            if not cursor or not page.fills:
                return fills
        raise VenueError(f"fill listing did not end after {MAX_PAGES} pages")

    def _book(self, fills: list[wire.Fill]) -> int:
        now_ns = self._clock.now_ns()
        for fill in sorted(fills, key=lambda fill: fill.trade_time):  # stable: ties keep the listing's order
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
            self._account.trouble("opening", f"{self._tracker.doubtful}; start the session again")

    # --- orders -------------------------------------------------------------------------------------------------

    async def _orders_round(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._orders_wake.wait(), self._poll_s)
        self._orders_wake.clear()
        try:
            await self._check_due()
            await self.resolve_unknown()
        except VenueError as error:
            self._failed(error)
            await asyncio.sleep(self._poll_s)
        self.wake_for_fills()

    async def _check_due(self) -> None:
        loop = asyncio.get_running_loop()
        for client_id in [c for c, due_s in self._checks.items() if due_s <= loop.time()]:
            order = self._tracker.get(client_id)
            if order is None or order.closed or not order.venue_order_id:
                self._checks.pop(client_id, None)
                continue
            self._checks[client_id] = loop.time() + CHECK_AGAIN_S
            asked_ns = self._clock.now_ns()
            try:
                answer = await self._ask(f"/orders/historical/{order.venue_order_id}", (), _LookUpAnswer)
            except RestError as error:
                if error.status != 404:
                    raise
                # Listings lag behind acceptances: "not found" is no evidence; it is asked again.
                continue
            self._observe(answer.order)
            if order.closed:
                self._checks.pop(client_id, None)
            elif answer.order.is_uncancelled():
                self._still_open(client_id, asked_ns)
        self.wake_for_fills()

    async def resolve_unknown(self) -> None:
        """One listing per product that has unknown orders; decide those that are found, or absent for long enough."""
        by_product: dict[str, list[str]] = {}
        for client_id, unknown in list(self._unknown.items()):
            order = self._tracker.get(client_id)
            if order is None or order.accepted or order.closed:
                del self._unknown[client_id]  # the stream has told it meanwhile
            else:
                by_product.setdefault(unknown.product_id, []).append(client_id)
        failed: VenueError | None = None
        for product_id, client_ids in by_product.items():
            since_ns = min(self._unknown[c].sent_ns for c in client_ids) + self._offset_ns() - LISTING_MARGIN_NS
            asked_ns = self._clock.now_ns()
            try:
                asked = [
                    ("product_ids", product_id),
                    ("start_date", wire.format_time(since_ns)),
                    ("limit", "100"),
                ]
                listed = {order.client_order_id: order for order in await self._list(asked)}
            except VenueError as error:
                # The other products' orders are not kept waiting for this one's listing.
                failed = error
                continue
            for client_id in client_ids:
                if client_id in listed:
                    del self._unknown[client_id]
                    self._observe(listed[client_id])
                else:
                    self._absent(client_id, asked_ns)
        if failed is not None:
            raise failed

    def _absent(self, client_id: str, asked_ns: int) -> None:
        unknown = self._unknown[client_id]
        unknown.absent += 1
        order = self._tracker.get(client_id)
        if order is not None and order.accepted:
            return  # told by the stream while the listing was under way
        if unknown.absent >= 2 and asked_ns - unknown.lost_ns >= self._grace_ns:
            del self._unknown[client_id]
            self._tracker.not_sent(client_id)
            now_ns = self._clock.now_ns()
            text = (
                f"absent from {unknown.absent} listings, the last {(asked_ns - unknown.lost_ns) / NS_PER_S:.1f} s later"
            )
            self._emit([OrderRejected(now_ns, now_ns, self._venue, client_id, "never_arrived", text)])

    async def find_strangers(self, instruments: Mapping[str, str]) -> list[str]:
        """Tell of every open order that nobody here has sent; ids of those whose size cannot be read.

        ``instruments`` maps product ids to canonical instruments.
        """
        unreadable: list[str] = []
        self._tracker.strangers = False
        for product_id, instrument in instruments.items():
            for listed in await self._list([("product_ids", product_id), ("order_status", "OPEN"), ("limit", "100")]):
                known = self._tracker.get(listed.client_order_id)
                if known is not None and known.ours:
                    continue
                size = listed.size_and_price()
                if size is None:
                    unreadable.append(listed.order_id)
                    continue
                now_ns = self._clock.now_ns()
                filled_qty = exact(listed.filled_size) or Decimal(0)
                self._emit(
                    self._tracker.find(
                        listed.client_order_id, listed.order_id, instrument, listed.side, size[0], filled_qty, size[1],
                        now_ns,
                    )
                )  # fmt: skip
        return unreadable

    async def _list(self, params: list[tuple[str, str]]) -> list[wire.RestOrder]:
        orders: list[wire.RestOrder] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            page = await self._ask(
                "/orders/historical/batch", params + ([("cursor", cursor)] if cursor else []), wire.RestOrders
            )
            orders.extend(page.orders)
            if not page.has_next or not page.cursor:
                return orders
            cursor = page.cursor
        # A listing cut short proves nothing about what is absent from it.
        raise VenueError(f"order listing did not end after {MAX_PAGES} pages", expected=f"less of {params[0][1]}")

    def _observe(self, order: wire.RestOrder) -> None:
        now_ns = self._clock.now_ns()
        self._emit(
            self._tracker.observe(
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
            )
        )
        self.wake_for_fills()

    # --- helpers ------------------------------------------------------------------------------------------------

    async def _ask(self, path: str, params: Sequence[tuple[str, str]], kind: type[T]) -> T:
        body = await self._rest.get(path, params)
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except msgspec.DecodeError as error:
            raise RestError(f"GET {path}: unreadable answer: {error}", expected=kind.__name__) from error

    def _failed(self, error: VenueError) -> None:
        """The question is asked again in the next round; until then nothing is assumed."""
        self.failures += 1
        self.last_error = str(error)
