"""Orders in, bytes out; answers in, events out.  The channel is scripted, everything else is real."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.commands import NewOrderWithExits, OrderType, TimeInForce
from engine.events import OrderAccepted, OrderOutcomeUnknown, OrderRejected
from tests.support.coinbase import accepted_answer, new_order, refused_answer
from tests.support.coinbase_gateway import Bench


def test_submit_writes_one_complete_request_in_the_same_call_without_signing() -> None:
    """Head, token made ahead, length and body as an HTTP server reads them; two orders, no new signature."""
    b = Bench()
    signed = b.nonces
    b.gateway.submit(new_order("c1"))
    b.gateway.submit(new_order("c2"))
    head, _, body = b.channel.requests[0][0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert lines[0] == "POST /api/v3/brokerage/orders HTTP/1.1"
    assert headers["Host"] == "h:1"
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Authorization"].startswith("Bearer ey")
    assert json.loads(body)["client_order_id"] == "c1"
    assert (b.nonces, len(b.channel.requests), b.log) == (signed, 2, [])


def test_an_accepted_order_is_accepted_and_an_immediate_one_is_looked_after() -> None:
    """A resting order needs no look; an IOC must end soon."""
    b = Bench()
    b.gateway.submit(new_order("rest"))
    b.gateway.submit(new_order("ioc", time_in_force=TimeInForce.IOC))
    b.channel.answer(200, accepted_answer("v1", "rest"))
    b.channel.answer(200, accepted_answer("v2", "ioc"))
    assert [(e.client_order_id, e.venue_order_id) for e in b.log.of(OrderAccepted)] == [("rest", "v1"), ("ioc", "v2")]
    assert b.settler.later == ["ioc"]


def test_the_answer_to_an_entry_names_the_exit_that_the_venue_will_make() -> None:
    """From then on an order of that id is the entry's, and nobody else's."""
    b = Bench()
    plain = new_order("in")
    order = NewOrderWithExits(
        *(getattr(plain, name) for name in plain.__struct_fields__), Decimal(62000), Decimal(58000)
    )
    b.gateway.submit(order)
    body = json.loads(b.channel.requests[0][0].partition(b"\r\n\r\n")[2])
    assert body["attached_order_configuration"]["trigger_bracket_gtc"]["limit_price"] == "62000"
    success = {"order_id": "v1", "attached_order_id": "x1"}
    b.channel.answer(200, json.dumps({"success": True, "success_response": success}).encode())
    attachment = b.tracker.attachments.of_exit("x1")
    assert attachment is not None
    assert (attachment.entry, attachment.name) == ("in", "in-x")


def test_a_business_refusal_is_a_rejection() -> None:
    """HTTP 200, success false."""
    b = Bench()
    b.gateway.submit(new_order())
    b.channel.answer(200, refused_answer("INSUFFICIENT_FUND", message="not enough USD"))
    (event,) = b.log
    assert (type(event), event.reason, event.text) == (OrderRejected, "insufficient_funds", "not enough USD")
    assert b.tracker.open_orders() == []


def test_what_cannot_leave_is_rejected_without_a_byte() -> None:
    """No connection, unknown instrument, unsupported kind, no budget: each with its reason, nothing raised."""
    b = Bench(free=0)
    b.gateway.submit(new_order("a"))
    assert [(type(e), e.reason) for e in b.log] == [(OrderRejected, "no_connection")]
    b = Bench(burst=1)
    b.gateway.submit(new_order("a", instrument="DOGE/USD@coinbase"))
    b.gateway.submit(new_order("b", order_type=OrderType.STOP_LIMIT))
    b.gateway.submit(new_order("c"))
    b.gateway.submit(new_order("d"))
    assert [e.reason for e in b.log] == ["unknown_instrument", "unsupported", "rate_limited"]
    assert len(b.channel.requests) == 1
    assert [o.client_order_id for o in b.tracker.open_orders()] == ["c"]


@pytest.mark.fault("B14")
@pytest.mark.parametrize("outcome", ["timeout", "reset", 500, 502, "garbage"])
def test_no_trustworthy_answer_is_an_unknown_outcome_that_will_be_resolved(outcome: Any) -> None:
    """It stays open: its risk is held."""
    b = Bench()
    b.gateway.submit(new_order())
    if isinstance(outcome, int):
        b.channel.answer(outcome, b"<html>")
    elif outcome == "garbage":
        b.channel.answer(200, b"\x00")
    else:
        b.channel.lose(outcome)
    (event,) = b.log
    assert type(event) is OrderOutcomeUnknown
    assert b.settler.resolving == ["c1"]
    assert len(b.tracker.open_orders()) == 1
    assert b.channel.requests == []  # never sent again


@pytest.mark.fault("B17")
def test_an_answer_lost_after_the_stream_told_the_order_is_no_unknown() -> None:
    """The user stream was first; evidence stands, the order is looked up."""
    b = Bench()
    b.gateway.submit(new_order())
    b.tracker.accepted("c1", "v1", 5)
    b.channel.lose("reset")
    assert b.log == []
    assert (b.settler.resolving, b.settler.now) == ([], ["c1"])


@pytest.mark.fault("B17")
def test_a_refusal_that_contradicts_the_stream_is_not_believed() -> None:
    """The order is looked up instead."""
    b = Bench()
    b.gateway.submit(new_order())
    b.tracker.accepted("c1", "v1", 5)
    b.channel.answer(200, refused_answer("INVALID_REQUEST"))
    assert b.log == []
    assert b.settler.now == ["c1"]


@pytest.mark.fault("C8")
def test_a_401_is_a_rejection_and_the_tokens_are_made_anew() -> None:
    """The order did not happen; the next one carries another token."""
    b = Bench()
    b.gateway.submit(new_order("c1"))
    first = b.channel.requests[0][0]
    b.channel.answer(401, b"Unauthorized")
    assert [(type(e), e.reason) for e in b.log] == [(OrderRejected, "unauthorized")]
    b.gateway.submit(new_order("c1"))
    assert b.channel.requests[0][0] != first


@pytest.mark.fault("C7")
def test_a_429_stops_orders_for_a_second_and_not_cancels() -> None:
    """By the venue's word, of which the order channel tells the bucket."""
    b = Bench(reserve=2)
    b.accept("old", "v0")
    b.gateway.submit(new_order("c1"))
    b.bucket.answered(b.clock.now_ns(), 429)
    b.channel.answer(429, b"{}")
    b.gateway.submit(new_order("c2"))
    assert [e.reason for e in b.log] == ["rate_limited", "rate_limited"]
    b.cancel("old")
    assert json.loads(b.channel.requests[0][0].partition(b"\r\n\r\n")[2]) == {"order_ids": ["v0"]}
    b.clock.advance(1_000_000_001)
    b.gateway.submit(new_order("c3"))
    assert len(b.channel.requests) == 2


@pytest.mark.parametrize(
    "odd",
    [
        {"side": 2}, {"time_in_force": "ioc"}, {"order_type": "market"}, {"qty": Decimal("NaN")}, {"qty": 0.5},
        {"limit_px": Decimal("Infinity")}, {"instrument": []}, {"instrument": None},
        {"time_in_force": TimeInForce.GTD, "expire_ns": 2**70}, {"limit_px": "60000"},
    ],
    ids=str,
)  # fmt: skip
def test_an_order_that_has_no_bytes_is_a_rejection_and_raises_nothing(odd: dict[str, Any]) -> None:
    """Fields that no strategy should give, one at a time: refused with a text that any journal can hold, no byte."""
    b = Bench()
    b.gateway.submit(new_order(**odd))
    (event,) = b.log
    assert type(event) is OrderRejected
    assert event.reason in {"unsupported", "unencodable", "unknown_instrument"}
    assert msgspec.json.encode(event.text)
    assert b.channel.requests == []
    assert b.tracker.open_orders() == []


def test_an_id_that_is_no_text_is_refused_in_plain_letters() -> None:
    """A lone surrogate cannot be encoded; neither could a text that quotes it."""
    b = Bench()
    b.gateway.submit(new_order(instrument="\ud800"))
    (event,) = b.log
    assert (event.reason, event.text) == ("unknown_instrument", "\\ud800")


@pytest.mark.fault("B14")
def test_a_write_that_raises_leaves_the_outcome_unknown() -> None:
    """Part of it may have left: the order stays open and is looked up, and nothing passes through to the caller."""
    b = Bench()
    b.channel.error = OSError("broken")
    b.gateway.submit(new_order())
    (event,) = b.log
    assert (type(event), event.reason) == (OrderOutcomeUnknown, "send_failed_oserror")
    assert b.settler.resolving == ["c1"]
    assert len(b.tracker.open_orders()) == 1


def test_an_order_that_found_no_connection_costs_nothing_of_the_budget() -> None:
    """One token in all: refused for want of a connection, the same order leaves when one is free."""
    b = Bench(free=0, burst=1)
    b.gateway.submit(new_order("a"))
    b.channel.free = 1
    b.gateway.submit(new_order("b"))
    assert [e.reason for e in b.log] == ["no_connection"]
    assert len(b.channel.requests) == 1


@pytest.mark.fault("B14")
def test_an_unclear_refusal_is_no_proof() -> None:
    """HTTP 200 without success and without a reason: the order is looked up, its risk stays held."""
    b = Bench()
    b.gateway.submit(new_order())
    b.channel.answer(200, b'{"success":false}')
    assert [(type(e), e.reason) for e in b.log] == [(OrderOutcomeUnknown, "unknown_reason")]
    assert b.settler.resolving == ["c1"]
