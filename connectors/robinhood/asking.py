"""Signed questions over one REST client: within the budget, with the clock of the venue, in whole listings.

Owns when a question leaves and how its answer is read; pages are followed to their end.  What the venue's refusals of
the key mean is told to ``access``.  Orders and cancels are ``gateway``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from yarl import URL

from connectors.rest import RestClient, RestError
from connectors.robinhood import wire
from connectors.robinhood.auth import NS_PER_S, Key
from connectors.robinhood.budget import Budget
from connectors.route import Route
from engine.errors import VenueError
from engine.ports import Clock

MAX_PAGES = 200
LONGEST_TURN_S = 10.0
SANDBOX_HEADER = "X-Kestrel-Sandbox"
ROUGH_NS = 2 * NS_PER_S
"""``Date`` has whole seconds: a smaller difference of the clocks cannot be told from none, and does no harm."""

T = TypeVar("T")


class Asker:
    """``offset_ns``: the venue's clock minus ours, 0 while it is within what ``Date`` can tell."""

    def __init__(
        self,
        rest_url: str,
        key: Key,
        clock: Clock,
        budget: Budget,
        *,
        timeout_s: float,
        route: Route | None = None,
    ) -> None:
        self.offset_ns = 0
        self.is_play_money = False
        """The server said that it is a sandbox; known once it has answered."""
        self.budget = budget
        self.refused = 0
        """Answers in a row that refused the key."""
        self._key = key
        self._clock = clock
        self._rest = RestClient(
            rest_url, authorize=self._authorize, timeout_s=timeout_s, route=route, on_answer=self._on_answer
        )

    async def start(self) -> None:
        await self._rest.start()

    async def stop(self) -> None:
        await self._rest.stop()

    def venue_now_ns(self) -> int:
        return self._clock.now_ns() + self.offset_ns

    def _authorize(self, method: str, target: str) -> dict[str, str]:
        # What is signed must be what is sent, and the library has its own way to write a URL.
        return self._key.headers(self.venue_now_ns(), method, URL(target).raw_path_qs)

    def _on_answer(self, status: int, headers: Mapping[str, str]) -> None:
        self.is_play_money = bool(headers.get(SANDBOX_HEADER))
        self.refused = self.refused + 1 if status in (401, 403) else 0
        try:
            told_ns = int(parsedate_to_datetime(headers.get("Date", "")).timestamp()) * NS_PER_S + NS_PER_S // 2
        except (TypeError, ValueError, OverflowError):
            return
        offset_ns = told_ns - self._clock.now_ns()
        if abs(offset_ns - self.offset_ns) > ROUGH_NS:
            self.offset_ns = offset_ns if abs(offset_ns) > ROUGH_NS else 0

    # --- questions ----------------------------------------------------------------------------------------------------

    async def raw(self, target: str, *, poll: bool = False) -> bytes:
        """The body of a 2xx answer.  Raises ``RestError``."""
        await self._turn(poll=poll)
        bucket = self.budget.bucket
        try:
            body = await self._rest.get(target)
        except RestError as error:
            if error.status:
                bucket.answered(self._clock.now_ns(), error.status, error.retry_after_s)
            raise
        bucket.succeeded(self._clock.now_ns())
        return body

    async def get(self, target: str, kind: type[T], *, poll: bool = False) -> T:
        """An answer as the message it should be.  Raises ``RestError``."""
        body = await self.raw(target, poll=poll)
        try:
            return wire.decode(body, kind)
        except wire.UNREADABLE as error:
            what = target.partition("?")[0]
            raise RestError(f"GET {what}: unreadable answer: {error}", expected=kind.__name__) from error

    async def orders(self, target: str, *, poll: bool = False) -> list[wire.Order]:
        return await self._pages(target, wire.Orders, poll=poll)

    async def order(self, paths: wire.Paths, venue_order_id: str) -> wire.Order | None:
        """By the venue's id; None where it knows none of that id."""
        try:
            return await self.get(paths.order(venue_order_id), wire.Order)
        except RestError as error:
            if error.status != 404:
                raise
        return None

    async def accounts(self, paths: wire.Paths) -> list[wire.Account]:
        if paths.generation == "v1":
            return [await self.get(paths.accounts, wire.Account)]
        return await self._pages(paths.accounts, wire.Accounts)

    async def pairs(self, paths: wire.Paths, symbols: list[str]) -> list[wire.Pair]:
        """Of these symbols; of none: all there are."""
        return await self._pages(paths.pairs(symbols), wire.Pairs)

    async def holdings(self, paths: wire.Paths) -> list[wire.Holding]:
        return await self._pages(paths.holdings, wire.Holdings)

    async def _pages(self, target: str, kind: type[Any], *, poll: bool = False) -> list[Any]:
        """A listing to its end.  One that is cut short proves nothing about what is absent from it, and raises."""
        found: list[Any] = []
        for _ in range(MAX_PAGES):
            page = await self.get(target, kind, poll=poll)
            found += page.results
            if not page.next:
                return found
            target = wire.following(page.next)
        raise VenueError(f"the listing of {kind.__name__.lower()} did not end after {MAX_PAGES} pages")

    async def _turn(self, *, poll: bool) -> None:
        """Wait until the question may leave; a poll that may not for long has failed, as its stream has."""
        take = self.budget.try_poll if poll else self.budget.try_ask
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LONGEST_TURN_S
        while not take(self._clock.now_ns()):
            if poll and loop.time() > until_s:
                raise VenueError(f"no budget for a question in {LONGEST_TURN_S:g} s", do="ask the venue for less")
            await asyncio.sleep(self.budget.wait_s(self._clock.now_ns(), poll=poll))
