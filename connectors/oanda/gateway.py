"""Orders and cancels out, their answers back: the OANDA ``VenueGateway``.

Owns request bytes, when they leave, and what becomes of orders whose answer was lost.  ``submit`` encodes and writes in
the caller's own call.  What happened to an order is told by the account's transactions (``account_protocol``); an
answer tells only that an order does not exist, or that nobody knows.

Unknown outcomes.  The client id is no protection against a second order, so nothing is ever sent again.  The account's
transactions are asked for until they show the order; only when they are complete twice after ``grace_s`` and do not
show it, it has never arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from connectors.http import OrderWriter
from connectors.oanda import requests
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.books import OneTrade
from connectors.oanda.exits import encode_exit, hangs, may_be_guaranteed, misfit
from connectors.oanda.known import SECOND
from connectors.oanda.orders import Answer, encode_order, read_answer
from connectors.oanda.refusals import GUARANTEE, Unfit, of_guaranteed
from connectors.ratelimit import TokenBucket
from connectors.verdicts import Verdict
from engine.commands import CancelOrder, NewOrder, OrderType, TimeInForce
from engine.events import CancelRejected, InputEvent, OrderOutcomeUnknown, OrderRejected
from engine.instruments import Instrument
from engine.ports import Publish

NS_PER_S = 1_000_000_000
MAX_WAITING_CANCELS = 1024
"""Cancels on their way, waiting or sent; beyond it a cancel is refused."""
CANCEL_TRIES = 4
"""A cancel may be repeated without harm; after this many failures it is reported."""
RETRY_DELAY_S = 0.3
HALF_DOUBLINGS_MAX = 5
NOT_NOW_S = 0.02
"""Until the next try of a cancel that found no connection, or no budget."""
LOOK_EVERY_S = 0.5
EVIDENCE_LOOKS = 2
_HALF = "#"


class Counters(msgspec.Struct):
    submitted: int = 0
    rejected_locally: int = 0
    rejected: int = 0
    unknown: int = 0
    never_arrived: int = 0
    cancels: int = 0
    cancel_retries: int = 0


class _Lost(msgspec.Struct):
    """An order without an answer: when, by our clock, and how many complete looks there had been."""

    lost_ns: int
    looks: int


class OandaGateway:
    """Implements ``engine.ports.VenueGateway``; see there for the contract.

    ``instruments`` by canonical id; ``host`` is ``HOST[:PORT]`` as in the request.  ``look`` has the account's missing
    transactions read, ``looks`` counts how often that was complete (``streams.AccountFeed``).  ``is_closed`` says of a
    canonical id whether its market was closed when it was told of last.  ``answered`` hears the status of each answer.
    ``one_trade`` is what ``AccountBooks`` says of a canonical id, ``guarantees`` whether stops in it are to be
    guaranteed.
    """

    def __init__(
        self,
        venue: str,
        *,
        host: str,
        account: str,
        token: str,
        instruments: Mapping[str, Instrument],
        publish: Publish,
        now_ns: Callable[[], int],
        writer: OrderWriter,
        protocol: AccountProtocol,
        look: Callable[[], None],
        looks: Callable[[], int],
        bucket: TokenBucket,
        is_closed: Callable[[str], bool] = lambda _instrument: False,
        answered: Callable[[int], None] = lambda _status: None,
        one_trade: Callable[[str], OneTrade | None] = lambda _instrument: None,
        guarantees: Callable[[str], bool] = lambda _instrument: False,
        grace_s: float = 15.0,
        look_every_s: float = LOOK_EVERY_S,
        retry_delay_s: float = RETRY_DELAY_S,
    ) -> None:
        self._venue = venue
        self._instruments = dict(instruments)
        self._publish = publish
        self._now_ns = now_ns
        self._writer = writer
        self._protocol = protocol
        self._look = look
        self._looks = looks
        self._bucket = bucket
        self._is_closed = is_closed
        self._answered = answered
        self._one_trade = one_trade
        self._guarantees = guarantees
        self._guaranteed: dict[str, str] = {}  # orders without an answer -> the trade that each is to guarantee
        self._unguaranteed: set[str] = set()  # trades of which the venue has refused that
        self._grace_ns = int(grace_s * NS_PER_S)
        self._look_every_s = look_every_s
        self._retry_delay_s = retry_delay_s
        self._account = account
        self._headers = (
            f"Host: {host}\r\nUser-Agent: kestrel\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
        )
        self._order_head = self._head(requests.create_order(account))
        self._lost: dict[str, _Lost] = {}
        self._cancels: dict[str, int] = {}  # by part: an id of ours, or ``#`` and a number; how often it has failed
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stopped = False
        self.counters = Counters()

    @property
    def venue(self) -> str:
        return self._venue

    def unresolved(self) -> list[str]:
        """Orders whose outcome nobody knows."""
        return list(self._lost)

    def redefine(self, instrument: Instrument) -> None:
        """The venue's rules of an instrument as they are now."""
        self._instruments[instrument.id] = instrument

    @property
    def waiting_cancels(self) -> int:
        return len(self._cancels)

    def stop(self) -> None:
        """No timer of this gateway fires any more."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- orders -------------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        client_id = order.client_order_id
        try:
            instrument = self._instruments.get(order.intent.instrument)
            if instrument is None:
                self._refuse(client_id, "unknown_instrument", str(order.intent.instrument))
                return
            head, body, guaranteed = self.encode(order, instrument)
        except Unfit as error:
            self._refuse(client_id, error.reason, str(error))
            return
        except Exception as error:
            # Whatever stood in its fields: one order that has no bytes must not end what called us.
            self._refuse(client_id, "unencodable", f"{type(error).__name__}: {error}")
            return
        if not self._bucket.try_take(self._now_ns()):
            self._refuse(client_id, "rate_limited", "the request budget is used up")
            return
        pair = order.intent.order_type is OrderType.BRACKET
        self._protocol.sent(client_id, order.intent.qty, 2 if pair else 1)
        request = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        try:
            written = self._writer.try_send(
                request, partial(self._on_answer, client_id), partial(self._on_lost, client_id)
            )
        except Exception as error:
            # Part of it may have left: no evidence either way.
            self._on_lost(client_id, f"send_failed_{type(error).__name__.lower()}")
            return
        if written:
            self.counters.submitted += 1
            if guaranteed:
                self._guaranteed[client_id] = guaranteed
            return
        self._bucket.give_back()
        self.counters.rejected_locally += 1
        self._tell(self._protocol.refused(client_id, "no_connection", "no free connection for orders", self._now_ns()))

    def encode(self, order: NewOrder, instrument: Instrument) -> tuple[bytes, bytes, str]:
        """Head and body that ``submit`` sends, and the trade whose end they have guaranteed, empty for none.  Raises
        ``Unfit`` for what the venue would refuse."""
        intent = order.intent
        if intent.order_type is OrderType.MARKET and self._is_closed(intent.instrument):
            raise Unfit("trading_halted", f"{intent.instrument} is closed", expected="an order that can wait, or hours")
        gtd = intent.time_in_force is TimeInForce.GTD
        if gtd and intent.expire_ns is not None and intent.expire_ns <= self._now_ns():
            raise Unfit("expiry_in_past", "an order whose time is up", expected="a later expire_ns")
        trade = self._one_trade(intent.instrument) if intent.reduce_only else None
        asked = self._guarantees(intent.instrument) and trade is not None and trade.id not in self._unguaranteed
        if hangs(intent) or (asked and may_be_guaranteed(intent) and misfit(intent, trade) is None):
            made = encode_exit(order, instrument, trade, guaranteed=asked)
            head = self._head(requests.trade_exits(self._account, made.trade)) if made.trade else self._order_head
            return head, made.body, trade.id if asked and trade is not None else ""
        return self._order_head, encode_order(order, instrument), ""

    def _head(self, asked: requests.Request) -> bytes:
        return f"{asked.method} {asked.path} HTTP/1.1\r\n{self._headers}Content-Length: ".encode()

    def shadow_request(self, order: NewOrder) -> bytes:
        """The bytes that ``submit`` would have written."""
        body = encode_order(order, self._instruments[order.intent.instrument])
        return b"%b%d\r\n\r\n%b" % (self._order_head, len(body), body)

    def _refuse(self, client_id: str, reason: str, text: str) -> None:
        """Nothing left this machine."""
        self.counters.rejected_locally += 1
        now_ns = self._now_ns()
        plain = text[:200].encode("ascii", "backslashreplace").decode()  # it may quote what could not be encoded
        self._publish(OrderRejected(now_ns, now_ns, self._venue, client_id, reason, plain))

    def _on_answer(self, client_id: str, status: int, body: bytes) -> None:
        answer = read_answer(status, body)
        now_ns = self._now_ns()
        self._bucket.answered(now_ns, status)
        self._answered(status)
        guaranteed, reason = self._guaranteed.pop(client_id, ""), answer.reason
        if guaranteed and answer.verdict is Verdict.REJECTED:
            reason = of_guaranteed(reason, answer.text)
            if reason == GUARANTEE:
                self._unguaranteed.add(guaranteed)
        if answer.verdict is Verdict.ACCEPTED:
            self._bucket.succeeded(now_ns)
            if self._protocol.last_id < answer.last_id:
                # The stream is about to say it; when it does not, REST will.
                self._later(f"look {client_id}", self._look_every_s, partial(self._look_for, answer))
        elif answer.verdict is Verdict.REJECTED:
            self.counters.rejected += 1
            self._tell(self._protocol.refused(client_id, reason, answer.text, now_ns))
        else:
            self._on_lost(client_id, answer.reason)

    def _look_for(self, answer: Answer) -> None:
        if self._protocol.last_id < answer.last_id:
            self._look()

    # --- orders without an answer -------------------------------------------------------------------------------------

    def _on_lost(self, client_id: str, reason: str) -> None:
        self._guaranteed.pop(client_id, None)
        if client_id not in self._protocol.unresolved():
            return  # the stream was faster than its answer would have been
        self.counters.unknown += 1
        now_ns = self._now_ns()
        self._lost[client_id] = _Lost(now_ns, self._looks())
        self._publish(OrderOutcomeUnknown(now_ns, now_ns, self._venue, client_id, reason))
        self._look()
        self._later("lost", self._look_every_s, self._settle)

    def adopt(self, client_id: str, sent_ns: int) -> None:
        """An order of an earlier session of which nobody knows whether it arrived."""
        self._lost[client_id] = _Lost(sent_ns, self._looks())
        self._later("lost", self._look_every_s, self._settle)

    def _settle(self) -> None:
        """Look again for what is lost, and give up what two complete looks after the grace have not shown."""
        unresolved = set(self._protocol.unresolved())
        now_ns, looks = self._now_ns(), self._looks()
        for client_id, lost in list(self._lost.items()):
            if client_id not in unresolved:
                del self._lost[client_id]
            elif now_ns - lost.lost_ns < self._grace_ns:
                lost.looks = looks  # only what is complete afterwards is evidence
            elif looks - lost.looks >= EVIDENCE_LOOKS:
                del self._lost[client_id]
                self.counters.never_arrived += 1
                text = "the account's transactions are complete and do not show it"
                self._tell(self._protocol.refused(client_id, "never_arrived", text, now_ns))
        if self._lost:
            self._look()
            self._later("lost", self._look_every_s, self._settle)

    # --- cancels ------------------------------------------------------------------------------------------------------

    def cancel(self, cancel: CancelOrder) -> None:
        """By the number that the venue has told, which changes when an order fills in part; else by our id.  Of a
        bracket both orders."""
        for part in self._protocol.orders.leave(cancel.client_order_id):
            if part in self._cancels:
                continue  # one is on its way
            if len(self._cancels) >= MAX_WAITING_CANCELS:
                self._cancel_refused(part, "too_many_waiting")
                return
            self._cancels[part] = 0
            self._send_cancel(part)

    def cancel_halves(self) -> None:
        """What is left of brackets of which the other half was refused, or is gone: asked for until it has gone too."""
        halves, self._protocol.orders.halves = self._protocol.orders.halves, []
        for part in [f"{_HALF}{number}" for number in halves]:
            if part not in self._cancels:
                self._cancels[part] = 0
                self._send_cancel(part)

    def _send_cancel(self, part: str) -> None:
        if not self._bucket.try_take(self._now_ns(), priority=True):
            self._later(f"cancel {part}", NOT_NOW_S, partial(self._send_cancel, part))
            return
        half = part.startswith(_HALF)
        address = part.removeprefix(_HALF) if half else self._protocol.address(part)
        asked = requests.cancel_order(self._account, address)
        request = f"{asked.method} {asked.path} HTTP/1.1\r\n{self._headers}Content-Length: 0\r\n\r\n".encode()
        try:
            written = self._writer.try_send(
                request, partial(self._on_cancel_answer, part), partial(self._on_cancel_failed, part)
            )
        except Exception as error:
            self._on_cancel_failed(part, f"send_failed_{type(error).__name__.lower()}")
            return
        if written:
            self.counters.cancels += 1
        else:
            self._bucket.give_back()
            self._later(f"cancel {part}", NOT_NOW_S, partial(self._send_cancel, part))

    def _on_cancel_answer(self, part: str, status: int, body: bytes) -> None:
        now_ns = self._now_ns()
        if status == 200 or (status == 404 and b"orderCancelRejectTransaction" in body):
            # Both are transactions, and told as such.
            self._bucket.succeeded(now_ns, priority=True)
            self._answered(200)
            self._cancels.pop(part, None)
            return
        self._bucket.answered(now_ns, status)
        self._answered(status)
        if status == 429:
            self._bucket.priority_refused(now_ns)
        self._on_cancel_failed(part, f"HTTP {status}")

    def _on_cancel_failed(self, part: str, reason: str) -> None:
        failures, half = self._cancels.get(part, CANCEL_TRIES) + 1, part.startswith(_HALF)
        if self._stopped or (failures >= CANCEL_TRIES and not half):
            self._cancels.pop(part, None)
            if half:
                return  # nobody else knows of it by this name
            self._cancel_refused(part, reason)
            self._protocol.orders.stay(part)
            if not self._stopped:
                self.cancel_halves()
            self._look()
            return
        self._cancels[part] = failures
        self.counters.cancel_retries += 1
        # What is left of a bracket nobody else would ask for again: without end, with longer and longer pauses.
        delay_s = self._retry_delay_s * (1 << min(max(failures - CANCEL_TRIES, 0), HALF_DOUBLINGS_MAX))
        self._later(f"cancel {part}", delay_s, partial(self._send_cancel, part))

    def _cancel_refused(self, part: str, reason: str) -> None:
        now_ns = self._now_ns()
        self._publish(CancelRejected(now_ns, now_ns, self._venue, part.removesuffix(SECOND), reason))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _tell(self, events: list[InputEvent]) -> None:
        for event in events:
            self._publish(event)

    def _later(self, name: str, delay_s: float, act: Callable[[], None]) -> None:
        """One timer of a name; a second one while it runs changes nothing."""
        if self._stopped or name in self._timers:
            return

        def fire() -> None:
            del self._timers[name]
            act()

        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, fire)
