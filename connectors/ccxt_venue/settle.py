"""What happens to an order after its answer: looked up until it has ended, its executions read, its outcome found.

Owns the questions about single orders and when they are asked.  Facts go through the tracker, which tells each once.
An order without a known outcome is never sent again and never assumed refused: what the exchange lists decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final

import msgspec

from connectors.account_health import AccountHealth
from connectors.ccxt_venue.answers import OPEN, SeenFill, SeenOrder
from connectors.ccxt_venue.client_ids import ClientIds
from connectors.ccxt_venue.questions import Listing, Questions, UnansweredError
from connectors.ccxt_venue.tracker import OrderTracker, Tracked
from engine.commands import OrderIntent
from engine.errors import VenueError
from engine.events import InputEvent, OrderRejected
from engine.ports import Clock

NS_PER_S: Final = 1_000_000_000
MARGIN_NS: Final = 60 * NS_PER_S
"""Listings start this long before the send: the exchange's clock may differ from ours."""
CHECK_AFTER_S: Final = 2.0
END_PAUSES_S: Final = (0.05, 0.15, 0.3, 0.6, 1.0, 2.0, 5.0)
"""Between looks at an order that must end by itself or was cancelled; the last one repeats."""
CHECK_AGAIN_S: Final = 5.0
ROUND_S: Final = 0.25
FAILURES_TOLERATED: Final = 3
IMMEDIATE_NS: Final = 3 * NS_PER_S
"""An immediate order that is open so long after its answer is none there, and is taken back."""

_log = logging.getLogger(__name__)


class _Unknown(msgspec.Struct):
    lost_ns: int
    intent: OrderIntent | None
    absent: int = 0


class _Check(msgspec.Struct):
    due_s: float
    looks: int = 0
    must_end: bool = False


class Settler:
    """One background task; it does not end before ``stop``, whatever an answer holds.

    ``emit`` publishes account events.  ``poll_s``: between two looks at orders of which no stream tells.
    ``offset_ns``: the exchange's clock minus ours.  ``take_back(client_order_id)`` cancels an order that should not
    rest; ``not_effective`` hears of one that a cancel did not end.
    """

    def __init__(
        self,
        venue: str,
        *,
        questions: Questions,
        tracker: OrderTracker,
        ids: ClientIds,
        clock: Clock,
        emit: Callable[[list[InputEvent]], None],
        account: AccountHealth,
        offset_ns: Callable[[], int],
        take_back: Callable[[str], None],
        not_effective: Callable[[str], None],
        hinted: Callable[[], bool],
        poll_s: float,
        grace_s: float,
    ) -> None:
        self.failures = 0
        self.last_error = ""
        self._venue = venue
        self._questions = questions
        self._tracker = tracker
        self._ids = ids
        self._clock = clock
        self._emit = emit
        self._account = account
        self._offset_ns = offset_ns
        self._take_back = take_back
        self._not_effective = not_effective
        self._hinted = hinted
        self._poll_s = poll_s
        self._grace_ns = int(grace_s * NS_PER_S)
        self._checks: dict[str, _Check] = {}
        self._unknown: dict[str, _Unknown] = {}
        self._accepted_ns: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failed_in_row = 0

    # --- requests ---------------------------------------------------------------------------------------------------

    def check_now(self, client_order_id: str) -> None:
        check = self._checks.setdefault(client_order_id, _Check(0.0))
        check.due_s = 0.0
        self._wake.set()

    def check_later(self, client_order_id: str) -> None:
        """It rests: looked at now and then, sooner where a stream tells of it."""
        if client_order_id not in self._checks:
            self._checks[client_order_id] = _Check(asyncio.get_running_loop().time() + self._pause_s())

    def expect_end(self, client_order_id: str) -> None:
        """It must end within moments: an immediate order, or one that was cancelled."""
        self._checks[client_order_id] = _Check(asyncio.get_running_loop().time() + END_PAUSES_S[0], must_end=True)
        self._wake.set()

    def resolve(self, client_order_id: str, lost_ns: int, intent: OrderIntent | None = None) -> None:
        """Find out whether this order exists."""
        self._unknown[client_order_id] = _Unknown(lost_ns, intent)
        self._wake.set()

    def may_be_ours(self, seen: SeenOrder) -> bool:
        """Whether an order that nobody here knows may be one of ours that has no id there yet, sent or lost: without a
        name of its own it looks like one."""
        for order in self._tracker.open_orders():
            if order.ours and not order.venue_order_id and self._is_nobodys(seen, is_denied=False):
                unknown = self._unknown.get(order.client_order_id)
                intent = None if unknown is None else unknown.intent
                if _is_alike(seen, order, intent, order.sent_ns + self._offset_ns()):
                    return True
        return False

    def check_all(self) -> None:
        """Something may have been missed."""
        for order in self._tracker.open_orders():
            if order.venue_order_id:
                self.check_now(order.client_order_id)

    def _pause_s(self) -> float:
        return max(CHECK_AGAIN_S, self._poll_s) if self._hinted() else self._poll_s

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._venue}-orders")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_S):
                    await self._wake.wait()
            self._wake.clear()
            await self.guarded("orders", self.round)

    async def guarded(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether it went well.  A question that fails again and again makes the account unreadable until one does."""
        try:
            await work()
        except VenueError as error:
            self._failed(name, str(error))
        except Exception as error:
            _log.exception("%s %s: a round failed", self._venue, name)
            self._failed(name, f"{type(error).__name__}: {error}", at_once=True)
        else:
            if self._failed_in_row:
                self._failed_in_row = 0
            self._account.recovered(name)
            return True
        await asyncio.sleep(self._poll_s)
        return False

    def _failed(self, name: str, said: str, *, at_once: bool = False) -> None:
        self.failures += 1
        self._failed_in_row += 1
        self.last_error = said
        if at_once or self._failed_in_row > FAILURES_TOLERATED:
            self._account.trouble(name, said[:300])

    async def round(self) -> None:
        """Everything that is due.  Raises ``VenueError`` for the first question without an answer."""
        loop = asyncio.get_running_loop()
        failed: VenueError | None = None
        for client_id, check in list(self._checks.items()):
            if check.due_s <= loop.time() and self._checks.get(client_id) is check:
                try:
                    await self._look(client_id, check)
                except VenueError as error:
                    failed = failed or error  # the others are not kept waiting for this one
        by_symbol: dict[str, list[Tracked]] = {}
        for client_id in list(self._unknown):
            order = self._tracker.get(client_id)
            if order is None or order.accepted or order.closed:
                del self._unknown[client_id]  # it has shown itself meanwhile
            else:
                by_symbol.setdefault(order.symbol, []).append(order)
        for symbol, orders in by_symbol.items():
            try:
                await self._find(symbol, orders)
            except VenueError as error:
                failed = failed or error
        try:
            await self.read_wanted()
        except VenueError as error:
            failed = failed or error
        if failed is not None:
            raise failed

    # --- orders that are known --------------------------------------------------------------------------------------

    async def _look(self, client_id: str, check: _Check) -> None:
        order = self._tracker.get(client_id)
        if order is None or order.closed or not order.venue_order_id:
            self._checks.pop(client_id, None)
            self._accepted_ns.pop(client_id, None)
            return
        loop = asyncio.get_running_loop()
        check.looks += 1
        pause_s = END_PAUSES_S[min(check.looks, len(END_PAUSES_S) - 1)] if check.must_end else self._pause_s()
        check.due_s = loop.time() + pause_s
        asked_ns = self._clock.now_ns()
        seen = await self._questions.order(order.venue_order_id, order.symbol)
        if seen is not None:
            self.observe(seen)
            await self.read_wanted()
            self._judge(order, seen, check, asked_ns)
        if order.closed:
            self._checks.pop(client_id, None)
            self._accepted_ns.pop(client_id, None)
        elif order.wants_fills:
            check.must_end = True  # its executions are not listed yet

    def _judge(self, order: Tracked, seen: SeenOrder, check: _Check, asked_ns: int) -> None:
        """Of an order that is open still, and should not be."""
        if seen.status != OPEN or order.closed:
            return
        if order.cancel_taken_ns:
            if asked_ns - order.cancel_taken_ns > CHECK_AFTER_S * NS_PER_S:
                order.cancel_taken_ns = 0
                check.must_end = False
                self._not_effective(order.client_order_id)
        elif check.must_end and not order.wants_fills:
            since_ns = self._accepted_ns.setdefault(order.client_order_id, asked_ns)
            if asked_ns - since_ns > IMMEDIATE_NS and order.ours:
                _log.error(
                    "%s: order %s should have ended at once and rests: the exchange did not take its time in force; "
                    "it is cancelled", self._venue, order.client_order_id,
                )  # fmt: skip
                del self._accepted_ns[order.client_order_id]
                self._take_back(order.client_order_id)

    def observe(self, seen: SeenOrder) -> None:
        """Tell what is new of an order; its executions are read by ``read_wanted``."""
        self._emit(self._tracker.observe(seen, self._clock.now_ns()))

    async def read_wanted(self) -> None:
        """Executions that are claimed and not booked, one listing for each symbol."""
        wanted: dict[str, list[Tracked]] = {}
        for order in self._tracker.open_orders():
            if order.wants_fills and order.venue_order_id:
                wanted.setdefault(order.symbol, []).append(order)
        for symbol, orders in wanted.items():
            ended = [order for order in orders if order.end]
            listed = await self.read_fills(symbol, min(order.sent_ns for order in orders))
            for order in ended if listed.complete else ():
                self._emit(self._tracker.fills_read(order.venue_order_id, self._clock.now_ns()))

    async def read_fills(self, symbol: str, since_ns: int) -> Listing[SeenFill]:
        """Book what is listed since then (our clock), less a margin."""
        fills = await self._questions.fills(symbol, max(since_ns + self._offset_ns() - MARGIN_NS, 0))
        now_ns = self._clock.now_ns()
        for fill in fills:
            self._emit(self._tracker.book(fill, now_ns))
        return fills

    # --- orders of which nobody knows -------------------------------------------------------------------------------

    async def _find(self, symbol: str, orders: list[Tracked]) -> None:
        """One listing for all of a symbol."""
        asked_ns = self._clock.now_ns()
        since_ns = max(min(order.sent_ns for order in orders) + self._offset_ns() - MARGIN_NS, 0)
        # Open ones first: what ends between the two questions is in the second answer.
        is_open = await self._questions.open_orders(symbol)
        has_ended = await self._questions.ended_orders(symbol, since_ns)
        listed = [*is_open, *has_ended]
        all_listed = self._questions.shows_ended and is_open.complete and has_ended.complete
        named = {self._ids.ours(one.told_id): one for one in listed if one.told_id}
        for order in orders:
            client_id = order.client_order_id
            unknown = self._unknown.get(client_id)
            if unknown is None or order.accepted or order.closed:
                continue  # something else has shown it meanwhile
            seen = named.get(client_id)
            question = self._ids.question(client_id) if self._questions.shows_orders else {}
            is_absent, is_denied = all_listed, False
            if seen is None and question:
                try:
                    seen = await self._questions.order_named(question, symbol)
                    is_absent = is_denied = True  # if there is none: the exchange says so itself
                except UnansweredError as error:
                    _log.info("%s: order %s: %s", self._venue, client_id, error)
                    is_absent = False
            if seen is None:
                nobodys = [one for one in listed if self._is_nobodys(one, is_denied=is_denied)]
                alike = _alike(nobodys, order, unknown.intent, order.sent_ns + self._offset_ns())
                if len(alike) == 1:
                    seen = alike[0]
                is_absent = is_absent and not alike  # any of several may be it
            if seen is None:
                if is_absent:  # else it may have come and gone: nobody may say that it never was
                    self._absent(client_id, unknown, asked_ns)
                continue
            self._unknown.pop(client_id, None)
            self._emit(self._tracker.accepted(client_id, seen.venue_order_id, self._clock.now_ns()))
            self.observe(seen)
            if not order.closed:
                self.check_later(client_id)

    def _is_nobodys(self, seen: SeenOrder, *, is_denied: bool) -> bool:
        """Whether it may be the order that is looked for: nobody here has it, and no name of its own speaks against it.
        ``is_denied``: the exchange knows names, and has said that it has none of the one that is looked for."""
        is_nameless = not seen.told_id and not is_denied
        return self._tracker.find(seen) is None and (is_nameless or self._names_are_lost())

    def _names_are_lost(self) -> bool:
        """Whether the exchange is known to tell orders back under other names than they were given."""
        return self._tracker.renamed > 0 and self._tracker.echoed == 0

    def _absent(self, client_id: str, unknown: _Unknown, asked_ns: int) -> None:
        unknown.absent += 1
        if unknown.absent < 2 or asked_ns - unknown.lost_ns < self._grace_ns:
            return
        del self._unknown[client_id]
        self._tracker.not_sent(client_id)
        now_ns = self._clock.now_ns()
        waited_s = (asked_ns - unknown.lost_ns) / NS_PER_S
        said = f"absent from {unknown.absent} listings, the last {waited_s:.1f} s later"
        self._emit([OrderRejected(now_ns, now_ns, self._venue, client_id, "never_arrived", said)])


def _alike(listed: list[SeenOrder], order: Tracked, intent: OrderIntent | None, since_ns: int) -> list[SeenOrder]:
    """Those that are what was sent."""
    if intent is None:
        return []
    return list({one.venue_order_id: one for one in listed if _is_alike(one, order, intent, since_ns)}.values())


def _is_alike(one: SeenOrder, order: Tracked, intent: OrderIntent | None, since_ns: int) -> bool:
    """By symbol, size and time, and by side and price where they are known."""
    return (
        one.symbol == order.symbol
        and (one.qty or Decimal(0)) == order.qty
        and one.ts_event_ns >= since_ns - 2 * NS_PER_S
        and (intent is None or one.side is intent.side)
        and (intent is None or intent.limit_px is None or one.limit_px == intent.limit_px)
    )
