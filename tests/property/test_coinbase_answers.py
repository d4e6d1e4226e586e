"""Answers and account messages in a vocabulary that nobody here knows: nothing is guessed, nothing raises, risk stays
held (C12, C13)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectors.account_health import AccountHealth
from connectors.coinbase import listings, product_wire, wire
from connectors.coinbase.access import KeyAccess
from connectors.coinbase.directory import trading_status
from connectors.coinbase.exit_tracking import UNCANCELLED
from connectors.coinbase.orders import read_order_answer
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import CoinbaseUserProtocol
from connectors.fakes import EventLog, FakeClock
from connectors.verdicts import Verdict
from engine import codec
from engine.errors import VenueError
from engine.events import OrderCancelled, OrderExpired, OrderFilled, OrderRejected, TradingStatus
from tests.property.test_coinbase_protocol_frames import mutate, reshaped
from tests.support.coinbase import BTC, TS_NS, fill, user, user_order

ENDS = (OrderCancelled, OrderExpired, OrderRejected)
FINAL_WORDS = ("FILLED", "CANCELLED", "EXPIRED", "FAILED")
KNOWN = {*UNCANCELLED, "CANCEL_QUEUED", *FINAL_WORDS}
words = st.text(max_size=20) | st.sampled_from(["open", "Filled", "CANCELED", "SUSPENDED", "FILLED ", "DONE", ""])
ORDER = {
    "order_id": "v1",
    "client_order_id": "c1",
    "product_id": "BTC-USD",
    "side": "BUY",
    "status": "OPEN",
    "filled_size": "0.4",
    "order_configuration": {"limit_limit_gtc": {"base_size": "1", "limit_price": "100"}},
}
ANSWERS: dict[str, list[bytes]] = {
    "v1": [json.dumps({"order": {**ORDER, "status": word}}).encode() for word in ("OPEN", "FILLED", "CANCELLED")],
    "batch": [json.dumps({"orders": [ORDER, {**ORDER, "order_id": "v9", "client_order_id": "x"}]}).encode()],
    "fills": [
        json.dumps({"fills": rows, "cursor": ""}).encode()
        for rows in (
            [fill("e1", "v1"), fill("e2", "v1")],
            [fill("e1", "v1"), fill("e3", "v1", trade_type="REVERSAL", trade_id="t-e1")],
            [fill("e1", "v1"), fill("e4", "v1", trade_type="CORRECTION", trade_id="t-e1", price="90")],
        )
    ],
}
PLACED = json.dumps({"success": True, "success_response": {"order_id": "v1", "client_order_id": "c1"}}).encode()
REFUSED = json.dumps(
    {"success": False, "error_response": {"error": "INSUFFICIENT_FUND", "message": "m"}, "failure_reason": ""}
).encode()


class Scripted:
    """Answers each path with the next of its bodies, the last one again and again."""

    def __init__(self, bodies: dict[str, list[bytes]]) -> None:
        self.bodies = bodies

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        bodies = self.bodies[path.rpartition("/")[2]]
        return bodies.pop(0) if len(bodies) > 1 else bodies[0]


class Account:
    """A settler over scripted answers; ``c1`` is an order of ours that the venue has accepted, ``lost`` one without an
    answer."""

    def __init__(self, bodies: dict[str, list[bytes]]) -> None:
        self.log = EventLog()
        clock = FakeClock(TS_NS)
        self.tracker = OrderTracker("coinbase", {"BTC-USD": BTC}, since_ns=0)
        for name in ("c1", "lost"):
            self.tracker.sent(name, TS_NS)
        self.tracker.accepted("c1", "v1", TS_NS)
        self.settler = Settler(
            "coinbase",
            rest=Scripted(bodies),
            tracker=self.tracker,
            clock=clock,
            emit=self.log.extend,
            account=AccountHealth("coinbase", self.log, clock),
            venue_offset_ns=lambda: 0,
            still_open=lambda *_: None,
        )

    async def ask(self) -> int:
        """Everything that is asked about orders, once each; how many answers could be used."""
        used = 0
        self.settler.checks.check_now("c1")
        self.settler.resolve("lost", "BTC-USD", TS_NS, TS_NS)
        self.settler._fills_due["v1"] = None
        for question in (
            self.settler.checks.look(),
            self.settler.resolve_unknown(),
            self.settler.find_strangers({"BTC-USD": BTC}),
            self.settler.read_fills(),
        ):
            try:
                await question
                used += 1
            except VenueError:
                pass
        return used


@pytest.mark.fault("C12")
@pytest.mark.fault("C13")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_answers_about_orders_that_are_reshaped_or_damaged_raise_nothing_and_end_nothing_by_guess(data: Any) -> None:
    """A member replaced or removed, bytes flipped: each question ends in facts that can be recorded or in a
    ``VenueError``; an order ends only if an answer holds one of the venue's words for that; ``lost`` stays unknown."""
    make = data.draw(st.sampled_from(["reshape", "damage"]))
    bodies = {}
    for name, corpus in ANSWERS.items():
        if make == "reshape":
            bodies[name] = [data.draw(reshaped(corpus)) for _ in range(3)]
        else:
            bodies[name] = [mutate(data.draw, data.draw(st.sampled_from(corpus))) for _ in range(3)]
    said = b"".join(bodies["v1"] + bodies["batch"]).decode("utf-8", "replace")
    account = Account(bodies)
    with patch.object(listings, "MAX_PAGES", 4):
        asyncio.run(account.ask())
    for event in account.log:
        assert codec.encode(codec.decode(codec.encode(event))) == codec.encode(event)
    ended = [event for event in account.log if type(event) in ENDS]
    assert not ended or any(word in said for word in FINAL_WORDS)
    assert "lost" in {order.client_order_id for order in account.tracker.open_orders()} or "lost" in said
    for event in account.log.of(OrderFilled):
        assert event.qty > 0
        assert event.px > 0


@pytest.mark.fault("C13")
@settings(max_examples=100, deadline=None)
@given(word=words, by_stream=st.booleans(), filled=st.sampled_from(["0", "0.4", "", "much", "NaN"]))
def test_an_order_in_a_status_that_nobody_knows_stays_open_is_said_and_asked_about(
    word: str, by_stream: bool, filled: str
) -> None:
    """By the stream or by a listing; afterwards a word that is known ends it as ever."""
    assume(word not in KNOWN)
    account = Account({})
    tracker, settler = account.tracker, account.settler
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("connectors.coinbase.settle")
    logger.addHandler(handler)
    protocol = CoinbaseUserProtocol("coinbase", tracker)

    async def tell() -> None:
        for count in range(2):
            if by_stream:
                account.log.extend(protocol.receive_frame(user(count, user_order("v1", "c1", word, filled)), 1))
                settler.wake_for_fills()
            else:
                settler._observe(wire.RestOrder("v1", word, "BTC-USD", "c1", "BUY", filled))

    try:
        asyncio.run(tell())
    finally:
        logger.removeHandler(handler)
    assert not [event for event in account.log if type(event) in ENDS]
    assert [order.client_order_id for order in tracker.open_orders()] == ["c1", "lost"]
    assert settler.checks._due_s.keys() == {"c1"}
    assert len([text for text in said if "does not know" in text]) == 1
    account.log.extend(
        tracker.observe(
            client_order_id="c1",
            venue_order_id="v1",
            product_id="BTC-USD",
            status="CANCELLED",
            filled_qty="0",
            reason="",
            ts_event_ns=1,
            ts_recv_ns=1,
        )
    )
    assert tracker.wants_fills("v1")  # its end waits for the fills that were claimed, and for a reading of them
    account.log.extend(tracker.fills_read("v1", 1, after_end=True))
    if filled == "0.4":
        assert not [event for event in account.log if type(event) in ENDS]
    else:
        assert type(account.log[-1]) is OrderCancelled


@pytest.mark.fault("C12")
@pytest.mark.fault("C13")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_answer_to_an_order_proves_only_what_it_says(data: Any) -> None:
    """Reshaped and damaged: accepted needs success and an id, refused needs the venue's own word for why; whatever
    else it is, the order may live."""
    body = data.draw(reshaped([PLACED, REFUSED]))
    if data.draw(st.booleans()):
        body = mutate(data.draw, body)
    status = data.draw(st.sampled_from([200, 200, 200, 201, 302, 500, 503]))
    answer = read_order_answer(status, body)
    if status != 200:
        assert answer.verdict is Verdict.UNKNOWN
    elif answer.verdict is Verdict.ACCEPTED:
        assert answer.venue_order_id
        assert str(json.loads(body)["success"]).lower() in ("true", "1")
    elif answer.verdict is Verdict.REJECTED:
        assert answer.reason not in ("", "unknown_reason", "unreadable_answer")
        assert str(json.loads(body)["success"]).lower() in ("false", "0")


@pytest.mark.fault("C13")
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_product_is_open_and_a_key_may_trade_only_where_that_is_said(data: Any) -> None:
    """A status that nobody knows closes; permissions that cannot be read are none."""
    status = data.draw(words)
    assume(status not in ("online", ""))
    product = product_wire.Product("BTC-USD", *[msgspec.json.decode(b'"1"', type=wire.Decimal)] * 4, status=status)
    assert trading_status(product) is TradingStatus.HALTED
    body = data.draw(reshaped([b'{"can_view":true,"can_trade":true,"can_transfer":false}']))
    access = KeyAccess(
        "coinbase", Scripted({"key_permissions": [body]}), EventLog(), FakeClock(1), confirm=int, fresh_tokens=int
    )
    try:
        asyncio.run(access.check())
    except VenueError:
        return
    said = json.loads(body)
    assert all(str(said[name]).lower() in ("true", "1", "1.0") for name in ("can_view", "can_trade"))


@pytest.mark.fault("C12")
@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    "body",
    [
        b'{"success":true,"success_response":{"order_id":"\xff"}}',
        b'{"success":false,"error_response":{"error":"\xffINSUFFICIENT_FUND"}}',
        b"[" * 100_000,
        PLACED[:-5],
        b"",
    ],
)
def test_an_answer_in_broken_text_leaves_the_order_unknown(body: bytes) -> None:
    """Also one that a strict reader of UTF-8 refuses: nothing may be raised where an answer arrives."""
    assert read_order_answer(200, body).verdict is Verdict.UNKNOWN
