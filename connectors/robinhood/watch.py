"""Our orders by asking for them: what changed lately, what became of those without an answer, what was not shown long.

Owns the pace of these questions, the state of the stream ``user`` that stands for them, and how an unknown outcome is
resolved.  Facts go through the tracker, which tells each once.  An order without a known outcome is never sent again
and never assumed rejected: listings decide (design, section 1.4).

One listing a round tells of every order: those updated since the newest update that was seen, less a margin, so that
what is listed late is not missed.  The venue's own times bound it, no clock of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from connectors.account_health import AccountHealth
from connectors.reconnect import Backoff
from connectors.rest import RestError
from connectors.robinhood import wire
from connectors.robinhood.asking import Asker
from connectors.robinhood.names import venue_name
from connectors.robinhood.tracker import OrderTracker
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, InputEvent, OrderRejected
from engine.ports import Clock

NS_PER_S = 1_000_000_000
MARGIN_NS = 10 * NS_PER_S
"""An order may be listed with its update this much later than another one."""
SENT_MARGIN_NS = 30 * NS_PER_S
"""Listings of orders that are looked for start this long before they were sent."""
LOOK_AGAIN_NS = 30 * NS_PER_S
"""When an open order was not shown for so long all of them are listed, and asked about by its id if it is missing."""
FAILURES_MAX = 3
UNREADABLE_MAX = 5
"""Rounds in a row in which an order makes no sense, until the account counts as unreadable."""
SHORTEST_S = 0.25
"""Between two rounds, however often somebody wants one."""
WORDS_MAX = 48
_LIVE_STATES = {"v1": ("open", "partially_filled"), "v2": ("open", "pending", "partially_filled")}

_log = logging.getLogger(__name__)


class _Unknown(msgspec.Struct):
    sent_ns: int
    lost_ns: int
    absent: int = 0


class OrderWatch:
    """``emit`` publishes account events.  ``after_round(asked_ns)`` is called after each round, with when it began."""

    def __init__(
        self,
        venue: str,
        asker: Asker,
        paths: wire.Paths,
        tracker: OrderTracker,
        health: AccountHealth,
        clock: Clock,
        backoff: Backoff,
        *,
        emit: Callable[[list[InputEvent]], None],
        after_round: Callable[[int], None],
        busy_s: float,
        idle_s: float,
        grace_s: float,
    ) -> None:
        self.rounds = 0
        self._venue = venue
        self._asker = asker
        self._paths = paths
        self._tracker = tracker
        self._health = health
        self._clock = clock
        self._backoff = backoff
        self._emit = emit
        self._after_round = after_round
        self._busy_s = busy_s
        self._idle_s = idle_s
        self._grace_ns = int(grace_s * NS_PER_S)
        self._live_states = list(_LIVE_STATES[paths.generation])
        self._newest_ns = 0
        self._unknown: dict[str, _Unknown] = {}
        self._checks: dict[str, None] = {}
        self._senseless = 0
        self._failures = 0
        self._is_up = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._words_said: set[str] = set()

    # --- requests, from the loop's callbacks --------------------------------------------------------------------------

    def look_soon(self) -> None:
        """Something was asked of the venue that changes an order."""
        self._wake.set()

    def resolve(self, client_order_id: str, sent_ns: int) -> None:
        """Find out whether this order exists; the time is ours."""
        self._unknown[client_order_id] = _Unknown(sent_ns, self._clock.now_ns())
        self._wake.set()

    def check(self, client_order_id: str) -> None:
        """Ask about this order by its id."""
        self._checks[client_order_id] = None
        self._wake.set()

    def unresolved(self) -> int:
        """Orders without a known outcome."""
        return len(self._unknown)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def read_all(self) -> None:
        """Every order that lives, whoever sent it, and what happened lately.  Raises ``VenueError``."""
        if not self._newest_ns:
            self._newest_ns = self._asker.venue_now_ns() - 6 * MARGIN_NS
        await self._read_live()
        await self.read()

    async def _read_live(self) -> None:
        """Every order that lives."""
        for state in list(self._live_states):
            try:
                self._observe(await self._asker.orders(self._paths.orders(state=state)))
            except RestError as error:
                if error.status != 400 or state == "open":
                    raise
                self._live_states.remove(state)  # a generation may lack a word

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._venue}-orders")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._round()
            except VenueError as error:
                self._failed(str(error))
                await asyncio.sleep(self._backoff.next_delay_s(loop.time()))
                continue
            except Exception as error:
                _log.exception("%s: a round of questions about orders failed; it goes on", self._venue)
                self._health.trouble("task orders", f"{type(error).__name__}: {error}")
                await asyncio.sleep(self._backoff.next_delay_s(loop.time()))
                continue
            self._succeeded()
            await asyncio.sleep(SHORTEST_S)
            busy = bool(self._unknown or self._checks or any(one.ours for one in self._tracker.open_orders()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((self._busy_s if busy else self._idle_s) - SHORTEST_S):
                    await self._wake.wait()
            self._wake.clear()

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures < FAILURES_MAX or not self._is_up:
            return
        self._is_up = False
        now_ns = self._clock.now_ns()
        self._health.on_stream(FeedDown(now_ns, now_ns, self._venue, "user", reason[:200]))

    def _succeeded(self) -> None:
        self._failures = 0
        self._backoff.succeeded()
        self._health.recovered("task orders")
        self.rounds += 1
        if not self._is_up:
            self._is_up = True
            now_ns = self._clock.now_ns()
            self._health.on_stream(FeedUp(now_ns, now_ns, self._venue, "user"))

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        asked_ns = self._clock.now_ns()
        await self.read(poll=True)
        await self.resolve_unknown()
        await self._ask_one_by_one()
        self._judge()
        self._after_round(asked_ns)

    async def read(self, *, poll: bool = False) -> None:
        """What changed since the newest change that was seen.  Raises ``VenueError``."""
        since = wire.time_text(max(0, self._newest_ns - MARGIN_NS))
        self._observe(await self._asker.orders(self._paths.orders(updated_at_start=since), poll=poll))

    async def resolve_unknown(self) -> None:
        """Decide orders that a listing shows, or does not show for long enough.  Raises ``VenueError``."""
        for client_id in list(self._unknown):
            order = self._tracker.get(client_id)
            if order is None or order.accepted or order.closed:
                del self._unknown[client_id]
        if not self._unknown:
            return
        asked_ns = self._clock.now_ns()
        since_ns = min(one.sent_ns for one in self._unknown.values()) + self._asker.offset_ns - SENT_MARGIN_NS
        waiting = dict(self._unknown)
        listed = await self._asker.orders(self._paths.orders(created_at_start=wire.time_text(max(0, since_ns))))
        self._observe(listed)
        shown = {(order.client_order_id or "").lower() for order in listed}
        for client_id, unknown in waiting.items():
            if venue_name(client_id) in shown:
                self._unknown.pop(client_id, None)
            else:
                self._absent(client_id, unknown, asked_ns)

    def _absent(self, client_id: str, unknown: _Unknown, asked_ns: int) -> None:
        unknown.absent += 1
        order = self._tracker.get(client_id)
        if order is not None and order.accepted:
            return  # shown while the listing was under way
        if unknown.absent < 2 or asked_ns - unknown.lost_ns < self._grace_ns:
            return
        self._unknown.pop(client_id, None)
        self._tracker.not_sent(client_id)
        now_ns = self._clock.now_ns()
        late_s = (asked_ns - unknown.lost_ns) / NS_PER_S
        text = f"absent from {unknown.absent} listings, the last {late_s:.1f} s later"
        self._emit([OrderRejected(now_ns, now_ns, self._venue, client_id, "never_arrived", text)])

    async def look_up(self, client_ids: list[str]) -> None:
        """Ask about these orders of ours now.  Raises ``VenueError``."""
        await self.resolve_unknown()
        self._checks.update(dict.fromkeys(client_ids))
        await self._ask_one_by_one()

    async def _ask_one_by_one(self) -> None:
        """Orders that somebody wants to know about, and those that are not among the living any more."""
        if self._silent():
            await self._read_live()
            self._checks.update(dict.fromkeys(self._silent()))
        for client_id in list(self._checks):
            order = self._tracker.get(client_id)
            if order is not None and order.venue_order_id and not order.closed:
                found = await self._asker.order(self._paths, order.venue_order_id)
                if found is not None:
                    self._observe([found])
            self._checks.pop(client_id, None)

    def _silent(self) -> list[str]:
        """Open orders that nothing has shown for long."""
        since_ns = self._clock.now_ns() - LOOK_AGAIN_NS
        return [
            order.client_order_id
            for order in self._tracker.open_orders()
            if order.venue_order_id and max(order.seen_ns, order.sent_ns) < since_ns
        ]

    def _observe(self, orders: list[wire.Order]) -> None:
        now_ns, venue_ns = self._clock.now_ns(), self._asker.venue_now_ns()
        timed = [(wire.time_ns(order.updated_at), order) for order in orders]
        for updated_ns, order in sorted(timed, key=lambda one: one[0]):
            self._emit(self._tracker.observe(order, now_ns))
            # A time that lies ahead would hide what comes before it.
            self._newest_ns = max(self._newest_ns, min(updated_ns, venue_ns))

    # --- judgement ----------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Orders that make no sense for some rounds stop entries; words that are not known are said once."""
        unreadable = self._tracker.unreadable
        self._senseless = self._senseless + 1 if unreadable else 0
        if self._senseless >= UNREADABLE_MAX:
            self._health.trouble("orders", next(iter(unreadable.values())))
        elif not unreadable:
            self._health.recovered("orders")
        for venue_order_id in unreadable:
            order = self._tracker.by_venue(venue_order_id)
            if order is not None:
                self._checks[order.client_order_id] = None
        for client_id, word in self._tracker.take_unknown_states().items():
            if word not in self._words_said and len(self._words_said) < WORDS_MAX:
                self._words_said.add(word)
                _log.error(
                    "%s says that order %s is %r, which this release does not know: it counts as open; look it up at "
                    "the venue",
                    self._venue,
                    client_id,
                    word,
                )
