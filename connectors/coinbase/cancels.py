"""Cancels out, and what becomes of those that cannot leave or fail: every cancel ends in evidence or in a refusal.

Owns the cancels that wait: for a connection or the rate limit, for the venue's id of their order, or, after a failure,
for their time.  A cancel is never dropped in silence: it is acknowledged and the order's end comes as a fact, its order
has ended, or ``CancelRejected`` is published and the core decides whether to ask again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

import msgspec

from connectors.coinbase.auth import TokenPool
from connectors.coinbase.order_checks import CHECK_AFTER_S, NS_PER_S
from connectors.coinbase.orders import CANCEL_ROUTE, MAX_CANCELS, encode_cancels, request_head
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.wire import UNREADABLE, decode_cancel_answer
from connectors.http import OrderWriter
from connectors.ratelimit import TokenBucket
from engine.events import InputEvent, OrderAccepted, OrderRejected
from engine.ports import Clock

MAX_WAITING_CANCELS = 1024
"""Cancels that wait for a connection, for the rate limit or for an order id; beyond it a cancel is refused."""
CANCEL_TRIES = 3
"""A cancel may be repeated without harm; after this many failures it is reported and its order is looked up."""
RETRY_DELAY_S = 0.3
_PASSING = frozenset({"ORDER_IS_BEING_REPLACED"})
"""Refusals that are over in a moment: a change of the order was under way."""
CHECK_AFTER_NS = int(CHECK_AFTER_S * NS_PER_S)
"""An acknowledged cancel has this long to show an effect."""

Batch = dict[str, tuple[str, int]]
"""Venue order id -> (client order id, failures so far)."""


class CancelCounters(msgspec.Struct):
    sent: int = 0
    retries: int = 0
    given_up: int = 0


class CancelQueue:
    """``refuse(client_order_id, reason)`` publishes a ``CancelRejected``.  ``hold_s`` tells how long the next request
    has to wait while the key is refused: cancels are tried on, slowly."""

    def __init__(
        self,
        *,
        host: str,
        refuse: Callable[[str, str], None],
        clock: Clock,
        writer: OrderWriter,
        tokens: TokenPool,
        tracker: OrderTracker,
        settler: Settler,
        bucket: TokenBucket,
        hold_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._hold_s = hold_s
        self.counters = CancelCounters()
        self.unaddressed: dict[str, None] = {}
        """Client ids of orders whose venue id is not known yet: there is no cancel by client id."""
        self._refuse = refuse
        self._clock = clock
        self._writer = writer
        self._tokens = tokens
        self._tracker = tracker
        self._settler = settler
        self._bucket = bucket
        self._head = request_head(CANCEL_ROUTE, host)
        self._token = tokens.keep(*CANCEL_ROUTE)
        self._waiting: OrderedDict[str, tuple[str, int]] = OrderedDict()
        # Apart from those that wait: a connection that becomes free, often by the very failure, must not send them.
        self._failed: Batch = {}
        self._retry_timers: set[asyncio.TimerHandle] = set()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def __len__(self) -> int:
        """Cancels that have not left, or must leave again."""
        return len(self._waiting) + len(self._failed) + len(self.unaddressed)

    def ask(self, client_id: str, venue_id: str) -> None:
        """Cancel this order; ``venue_id`` may be empty when the venue has not told it."""
        tracked = self._tracker.get(client_id)
        if not venue_id and tracked is not None:
            venue_id = tracked.venue_order_id
        if self._stopped:
            self._refuse(client_id, "stopped")
        elif not venue_id and tracked is None:
            self._refuse(client_id, "unknown_order")
        elif tracked is not None and tracked.closed:
            self._refuse(client_id, "order_closed")
        elif venue_id in self._failed:
            return  # it leaves again when its time has come
        elif len(self) >= MAX_WAITING_CANCELS:
            self._refuse(client_id, "too_many_waiting")
        elif not venue_id:
            self.unaddressed[client_id] = None
        else:
            if tracked is not None:
                tracked.cancel_acknowledged_ns = 0  # what counts from now on is the answer to this one
            self._waiting.setdefault(venue_id, (client_id, 0))
            self.flush()

    def still_open(self, client_id: str, asked_ns: int) -> None:
        """A look-up asked at ``asked_ns`` shows the order alive and no cancel at work on it.

        When it was acknowledged long enough before, that had no effect: said once for each acknowledgement.
        """
        tracked = self._tracker.get(client_id)
        if tracked is None or tracked.end or not tracked.cancel_acknowledged_ns:
            return
        if asked_ns - tracked.cancel_acknowledged_ns >= CHECK_AFTER_NS:
            tracked.cancel_acknowledged_ns, tracked.is_cancel_asked = 0, False
            self._refuse(client_id, "not_effective")

    def on_event(self, event: InputEvent) -> None:
        """The venue's word on an order, for cancels that wait to hear it."""
        if type(event) is OrderAccepted and event.client_order_id in self.unaddressed:
            del self.unaddressed[event.client_order_id]
            self._waiting[event.venue_order_id] = (event.client_order_id, 0)
            self.flush()
        elif type(event) is OrderRejected and event.client_order_id in self.unaddressed:
            del self.unaddressed[event.client_order_id]
            self._refuse(event.client_order_id, "order_rejected")

    def flush(self) -> None:
        """Send what waits, as many in one request as the venue takes.  Also called when a connection became free."""
        while self._waiting and not self._stopped:
            hold_s = self._hold_s()
            if hold_s > 0.0:
                self._flush_later(hold_s)
                return
            now_ns = self._clock.now_ns()
            if not self._bucket.try_take(now_ns, priority=True):
                self._flush_later(self._bucket.wait_ns(now_ns, priority=True) / 1e9)
                return
            batch = dict(islice(self._waiting.items(), MAX_CANCELS))
            request = self._request(batch)
            if request is None:
                self._bucket.give_back()
                continue
            try:
                taken = self._writer.try_send(request, partial(self._on_answer, batch), partial(self._on_lost, batch))
            except Exception as error:
                # Part of it may have left; a cancel that arrives twice does no harm.
                self._forget(batch)
                self._try_again(batch, f"send_failed_{type(error).__name__.lower()}")
                continue
            if not taken:
                self._bucket.give_back()
                self._flush_later(RETRY_DELAY_S)
                return
            self.counters.sent += len(batch)
            self._forget(batch)
            self._note_asked(batch, is_asked=True)

    def _request(self, batch: Batch) -> bytes | None:
        """None when an id cannot be encoded: that cancel is refused, and the others go in another batch."""
        try:
            body = encode_cancels(list(batch))
        except Exception:
            for venue_id, (client_id, _) in batch.items():
                try:
                    encode_cancels([venue_id])
                except Exception:
                    del self._waiting[venue_id]
                    self._refuse(client_id, "unencodable")
            return None
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, self._tokens.token(self._token), len(body), body)

    def _forget(self, batch: Iterable[str]) -> None:
        for venue_id in batch:
            del self._waiting[venue_id]

    def _note_asked(self, batch: Batch, *, is_asked: bool) -> None:
        """Whether an end of these orders may be the effect of what has left."""
        for client_id, _ in batch.values():
            if (tracked := self._tracker.get(client_id)) is not None:
                tracked.is_cancel_asked = is_asked

    def _flush_later(self, delay_s: float) -> None:
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(delay_s, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_timer = None
        self.flush()

    # --- answers ------------------------------------------------------------------------------------------------

    def _on_lost(self, batch: Batch, reason: str) -> None:
        self._try_again(batch, f"outcome_unknown_{reason}")

    def _on_answer(self, batch: Batch, status: int, body: bytes) -> None:
        if status == 401:
            self._tokens.discard()
        now_ns = self._clock.now_ns()
        if status == 429:
            self._bucket.priority_refused(now_ns)
        elif status < 300:
            self._bucket.succeeded(now_ns, priority=True)
        if status in (401, 408, 425, 429) or status >= 500:
            self._try_again(batch, f"http_{status}")
            return
        results: dict[str, tuple[bool, str]] = {}
        if status == 200:
            try:
                for result in decode_cancel_answer(body).results:
                    results[result.order_id] = (result.success, result.failure_reason)
            except UNREADABLE:
                self._try_again(batch, "unreadable_answer")
                return
        passing: Batch = {}
        for venue_id, (client_id, tries) in batch.items():
            success, reason = results.get(venue_id, (False, f"http_{status}" if status != 200 else "not_answered"))
            tracked = self._tracker.get(client_id)
            if success:
                # An acknowledgement only; the end itself comes on the user stream, or the check finds it, or the check
                # finds that nothing came of it (``still_open``).
                if tracked is not None:
                    tracked.cancel_acknowledged_ns = now_ns
                self._settler.checks.check_later(client_id)
            elif reason in _PASSING:
                passing[venue_id] = (client_id, tries)
            else:
                if tracked is not None:
                    tracked.is_cancel_asked = False
                self._refuse(client_id, reason.lower())
                self._settler.checks.check_now(client_id)
        if passing:
            self._try_again(passing, "order_is_being_replaced")

    def _try_again(self, batch: Batch, reason: str) -> None:
        """Each of these failed once more: it waits its time, or is given up, said and its order looked up."""
        again: list[str] = []
        for venue_id, (client_id, tries) in batch.items():
            tracked = self._tracker.get(client_id)
            if tracked is not None and tracked.closed:
                continue
            if tries + 1 < CANCEL_TRIES and not self._stopped:
                self.counters.retries += 1
                self._failed[venue_id] = (client_id, tries + 1)
                again.append(venue_id)
            else:
                self.counters.given_up += 1
                self._note_asked({venue_id: (client_id, tries)}, is_asked=False)
                self._refuse(client_id, reason)
                self._settler.checks.check_now(client_id)
        if again:
            self._arm_retry(again)

    def _arm_retry(self, venue_ids: list[str]) -> None:
        def due() -> None:
            self._retry_timers.discard(timer)
            for venue_id in venue_ids:
                failed = self._failed.pop(venue_id, None)
                if failed is None:
                    continue  # it was in two requests that failed: the first timer has taken it
                client_id, tries = failed
                tracked = self._tracker.get(client_id)
                if tracked is None or not tracked.closed:
                    self._waiting.setdefault(venue_id, (client_id, tries))
            self.flush()

        timer = asyncio.get_running_loop().call_later(RETRY_DELAY_S, due)
        self._retry_timers.add(timer)

    def stop(self) -> None:
        """No cancel leaves any more; those that have not left are refused with reason ``stopped``."""
        self._stopped = True
        for timer in (*self._retry_timers, *(() if self._flush_timer is None else (self._flush_timer,))):
            timer.cancel()
        self._retry_timers.clear()
        self._flush_timer = None
        left = [client_id for client_id, _ in (*self._waiting.values(), *self._failed.values())]
        left.extend(self.unaddressed)
        self._waiting.clear()
        self._failed.clear()
        self.unaddressed.clear()
        for client_id in left:
            self._refuse(client_id, "stopped")
