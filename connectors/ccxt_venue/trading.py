"""What a key opens at an exchange: an object of its own, the gateway, the news of orders, and what keeps them true.

Owns how these parts are put together, started, replaced and taken apart.  A stream of orders, where there is one, is
only a hint to ask sooner: the library merges what comes between two calls.  Public data is ``feed``'s.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.account_health import AccountHealth
from connectors.ccxt_venue.account import AccountReconciler
from connectors.ccxt_venue.answers import read_orders
from connectors.ccxt_venue.capabilities import Needs
from connectors.ccxt_venue.client_ids import ClientIds
from connectors.ccxt_venue.dead_man import DeadMansSwitch
from connectors.ccxt_venue.errors import names_of, words
from connectors.ccxt_venue.exact import mapping, text
from connectors.ccxt_venue.gateway import CcxtGateway
from connectors.ccxt_venue.library import Handle
from connectors.ccxt_venue.questions import Questions
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.ccxt_venue.settle import Settler
from connectors.ccxt_venue.tracker import OrderTracker
from connectors.reconnect import Backoff
from engine.carried import CarriedOrder
from engine.commands import CancelOrder
from engine.errors import KestrelError
from engine.events import FeedDown, FeedUp, InputEvent
from engine.instruments import Instrument
from engine.ports import Clock, Publish

CALM_S = 5.0
"""An object is replaced when nothing was under way for so long."""

_log = logging.getLogger(__name__)


class Trading:
    """``make`` gives an open object with the key.  ``best`` gives the best ask of an instrument, None for none."""

    def __init__(
        self,
        settings: CcxtSettings,
        needs: Needs,
        *,
        handle: Handle,
        make: Callable[[], Awaitable[Handle]],
        instruments: Mapping[str, Instrument],
        publish: Publish,
        clock: Clock,
        rng: random.Random,
        best: Callable[[str], float | None],
        rival: Callable[[str], str],
    ) -> None:
        name = settings.name
        self.handle = handle
        self.hints = 0
        """Times that the stream of orders told something."""
        self.recycled = 0
        self.offset_ns = 0
        self._settings = settings
        self._needs = needs
        self._make = make
        self._publish = publish
        self._clock = clock
        self._rng = rng
        self._outside = contextvars.copy_context()
        self._hinted = False
        self._tasks: list[asyncio.Task[None]] = []
        self._watchers: list[asyncio.Task[None]] = []
        self.ids = ClientIds(settings.exchange)
        self.symbols = {each: each.partition("@")[0] for each in instruments}
        self.tracker = OrderTracker(name, self.ids, {symbol: each for each, symbol in self.symbols.items()})
        self.health = AccountHealth(name, self._on_health, clock)
        self.questions = Questions(lambda: self.handle, needs, clock)
        self.settler = Settler(
            name,
            questions=self.questions,
            tracker=self.tracker,
            ids=self.ids,
            clock=clock,
            emit=lambda events: self.gateway.publish_all(events),
            account=self.health,
            offset_ns=lambda: self.offset_ns,
            take_back=self._take_back,
            not_effective=lambda client_id: self.gateway.not_effective(client_id),
            hinted=lambda: self._hinted,
            poll_s=settings.poll_s,
            grace_s=settings.unknown_grace_s,
        )
        self.gateway = CcxtGateway(
            name,
            handle=lambda: self.handle,
            instruments=instruments,
            ids=self.ids,
            tracker=self.tracker,
            settler=self.settler,
            publish=publish,
            clock=clock,
            best=best,
            timeout_s=settings.order_timeout_s,
            in_flight_max=settings.orders_in_flight,
            key_refused=self._on_key_refused,
        )
        self.reconciler = AccountReconciler(
            name,
            questions=self.questions,
            settler=self.settler,
            tracker=self.tracker,
            symbols=settings.symbols,
            emit=self.gateway.publish_all,
            publish=publish,
            clock=clock,
            every_s=settings.reconcile_s,
            listing_lag_s=settings.listing_lag_s,
            rival=rival,
        )
        self.dead_man = DeadMansSwitch(
            name,
            lambda timeout_ms: self.handle.ask("cancel_all_orders_after", timeout_ms),
            timeout_s=settings.dead_man_s,
            is_needed=lambda: self.gateway.counters.submitted > 0,
        )

    # --- start and stop ---------------------------------------------------------------------------------------------

    async def start(self, carried: Sequence[CarriedOrder]) -> None:
        """The hints first, then the account: what is filled after its reading is hinted at already.

        Raises ``VenueError``; what was started is ended by ``stop``.
        """
        self.offset_ns = await self.questions.clock_offset_ns()
        self.settler.start()
        self.reconciler.adopt(carried, self.symbols)
        self._watch()
        await self.reconciler.open()
        self.health.open()
        now_ns = self._clock.now_ns()
        self.health.on_stream(FeedUp(now_ns, now_ns, self._settings.name, "user"))
        self.reconciler.rounds.start()
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._keep_house(), name=f"{self._settings.name}-house"))
        if self._settings.dead_man_s and self._needs.dead_man:
            self.dead_man.start()

    async def stop(self) -> None:
        """Also after a start that failed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.reconciler.rounds.stop()
        await self.settler.stop()
        await self.gateway.stop()
        await self._stop_watching()
        await self.dead_man.stop()
        now_ns = self._clock.now_ns()
        self.health.on_stream(FeedDown(now_ns, now_ns, self._settings.name, "user", "stopped"))
        await self.handle.close()

    # --- the stream of orders ---------------------------------------------------------------------------------------

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        for way in self._needs.order_hints if self._settings.order_hints else ():
            work = self._follow_orders(self.handle, way)
            name = f"{self._settings.name}-{way}"
            self._watchers.append(loop.create_task(work, name=name, context=self.handle.context()))

    async def _stop_watching(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers = []

    async def _follow_orders(self, handle: Handle, way: str) -> None:
        """For ever.  Runs in the library's context."""
        settings = self._settings
        backoff = Backoff(self._rng, base_s=settings.backoff_base_s, cap_s=settings.backoff_cap_s, budget_per_minute=20)
        while True:
            try:
                found = await (handle.ex.watch_orders() if way == "watchOrders" else handle.ex.watch_my_trades())
                backoff.succeeded()
                self._outside.run(self._on_hint if way == "watchOrders" else self._on_trades, found)
                continue
            except Exception as error:
                _log.warning("%s: news of orders: %s; they are asked about", settings.name, words(error))
                self._outside.run(self._on_silence)
                if "ArgumentsRequired" in names_of(error) or "NotSupported" in names_of(error):
                    return  # not without a symbol, or not for this kind of account
            await asyncio.sleep(backoff.next_delay_s(asyncio.get_running_loop().time()))

    def _on_hint(self, found: Any) -> None:
        """Something happened to these orders: which and what, a question tells."""
        self.hints += 1
        self._hinted = True
        for seen in read_orders(found, self._clock.now_ns()):
            order = self.tracker.find(seen)
            if order is None:
                self._look_at_stranger(seen.told_id)
            elif not order.closed:
                if not order.venue_order_id:
                    now_ns = self._clock.now_ns()
                    self.gateway.publish_all(self.tracker.accepted(order.client_order_id, seen.venue_order_id, now_ns))
                self.settler.check_now(order.client_order_id)

    def _on_trades(self, found: Any) -> None:
        """Something was executed: of which orders, and what, a question tells."""
        self.hints += 1
        self._hinted = True
        for row in found if isinstance(found, list) else []:
            order = self.tracker.by_venue(text(mapping(row).get("order")))
            if order is not None and not order.closed:
                self.settler.check_now(order.client_order_id)

    def _look_at_stranger(self, told_id: str) -> None:
        if self.gateway.in_flight == 0 or not told_id:  # else it may be ours, and its answer is on its way
            self.reconciler.rounds.wake()

    def _on_silence(self) -> None:
        """What was told meanwhile is not told again: everything is asked about."""
        self._hinted = False
        self.settler.check_all()
        self.reconciler.rounds.wake()

    # --- what else happens ------------------------------------------------------------------------------------------

    def _on_health(self, event: InputEvent) -> None:
        self.gateway.publish(event)
        if type(event) is FeedUp and self.reconciler.rounds.is_running:
            self.reconciler.rounds.wake()  # entries wait for it (``engine.venues``)

    def _on_key_refused(self, said: str) -> None:
        _log.error("%s: the key was refused for an order: %s", self._settings.name, said)
        self.reconciler.rounds.wake()  # if it opens nothing any more, that shows in the account's next reading

    def _take_back(self, client_id: str) -> None:
        order = self.tracker.get(client_id)
        if order is not None:
            now_ns = self._clock.now_ns()
            instrument = next((each for each, symbol in self.symbols.items() if symbol == order.symbol), "")
            self.gateway.cancel(
                CancelOrder(now_ns, client_id, self._settings.name, order.venue_order_id, instrument, "not immediate")
            )

    async def _keep_house(self) -> None:
        """The clock now and then, another object once a day."""
        loop = asyncio.get_running_loop()
        born_s, looked_s = loop.time(), loop.time()
        while True:
            await asyncio.sleep(min(CALM_S, self._settings.recycle_s / 4))
            if loop.time() - looked_s > 300.0:
                looked_s = loop.time()
                try:
                    self.offset_ns = await self.questions.clock_offset_ns()
                except KestrelError as error:
                    _log.info("%s: clock: %s", self._settings.name, error)
            is_due = loop.time() - born_s > self._settings.recycle_s and self._is_calm()
            if is_due and await self._recycle():
                born_s = loop.time()

    def _is_calm(self) -> bool:
        return self.gateway.in_flight == 0 and self.gateway.waiting_cancels == 0

    async def _recycle(self) -> bool:
        try:
            fresh = await self._make()
        except KestrelError as error:
            _log.warning("%s: its object is not replaced now: %s", self._settings.name, error)
            return False
        old, self.handle = self.handle, fresh
        await self._stop_watching()
        self._watch()
        await old.close()
        self.recycled += 1
        self.settler.check_all()
        self.reconciler.rounds.wake()
        return True
