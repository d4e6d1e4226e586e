"""Requests that change an order in place, and what their answers prove: the channel is scripted."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase.edits import encode_edit, read_edit_answer
from connectors.coinbase.wire import RestOrder
from connectors.verdicts import Verdict
from engine.commands import ReplaceOrder
from engine.events import OrderReplaced, ReplaceOutcomeUnknown, ReplaceRejected
from engine.ports import EditingGateway
from engine.refusals import WORDS
from tests.support.coinbase import BTC, TS_NS
from tests.support.coinbase_gateway import Bench

D = Decimal


def change(qty: str = "0.002", px: str = "59999.5", venue_id: str = "v1", client: str = "c1") -> ReplaceOrder:
    return ReplaceOrder(TS_NS, client, "coinbase", venue_id, BTC, D(qty), D(px), D("0.001"), D(60_000))


def refusal(name: str, preview: str = "UNKNOWN_PREVIEW_FAILURE_REASON") -> bytes:
    errors = [{"edit_failure_reason": name, "preview_failure_reason": preview}]
    return json.dumps({"success": False, "errors": errors}).encode()


TAKEN = b'{"success":true,"success_response":{"order_id":"v1"}}'


def resting() -> Bench:
    bench = Bench()
    bench.accept("c1", "v1")
    return bench


def test_the_request_has_both_amounts_without_exponent() -> None:
    assert json.loads(encode_edit(change("0.00000001"))) == {"order_id": "v1", "price": "59999.5", "size": "0.00000001"}
    bench = resting()
    assert isinstance(bench.gateway, EditingGateway)
    bench.gateway.replace(change())
    request = bench.channel.requests[-1][0]
    assert request.startswith(b"POST /api/v3/brokerage/orders/edit HTTP/1.1\r\n")
    assert request.endswith(encode_edit(change()))
    assert bench.tracker.versions.is_pending("v1")
    assert list(bench.log) == [], "nothing is known of it yet"


def test_an_answer_that_it_was_taken_is_no_proof() -> None:
    """The order is looked up unless the stream shows it before."""
    bench = resting()
    bench.gateway.replace(change())
    bench.channel.answer(200, TAKEN)
    assert (list(bench.log), bench.settler.changing) == ([], ["c1"])
    assert bench.tracker.versions.is_pending("v1")


@pytest.mark.parametrize(
    ("name", "preview", "word"),
    [
        ("CANNOT_EDIT_TO_BELOW_FILLED_SIZE", "", "invalid_qty"),
        ("INVALID_EDITED_SIZE", "PREVIEW_INVALID_SIZE_PRECISION", "invalid_qty_precision"),
        ("INVALID_EDITED_SIZE", "", "invalid_qty"),
        ("INVALID_EDITED_PRICE", "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY", "post_only_would_cross"),
        ("COMMANDER_REJECTED_EDIT_ORDER", "PREVIEW_INSUFFICIENT_FUND", "insufficient_funds"),
        ("COMMANDER_REJECTED_EDIT_ORDER", "", "refused"),
        ("ORDER_NOT_FOUND", "", "unknown_order"),
        ("ONLY_LIMIT_ORDER_EDITS_SUPPORTED", "", "unsupported"),
        ("A_NAME_NOBODY_KNOWS", "", "refused"),
    ],
)
def test_a_refusal_leaves_the_order_as_it_was(name: str, preview: str, word: str) -> None:
    """It comes as HTTP 200, in the words of every refusal; one of an order that has ended has it looked up."""
    bench = resting()
    bench.gateway.replace(change())
    bench.channel.answer(200, refusal(name, preview))
    (event,) = bench.log
    assert (type(event), event.reason, event.text) == (ReplaceRejected, word, name)
    assert word in WORDS
    assert not bench.tracker.versions.is_pending("v1")
    assert bench.settler.now == (["c1"] if word == "unknown_order" else [])


@pytest.mark.fault("B13")
@pytest.mark.parametrize(("qty", "reason"), [("0.002", ""), ("0.001", "unknown_order")])
def test_an_order_that_has_ended_meanwhile_says_as_which_version(qty: str, reason: str) -> None:
    """The request may have arrived twice: the first one changed the order and filled it, the second one is refused."""
    bench = resting()
    bench.gateway.replace(change())
    bench.channel.answer(200, refusal("ONLY_OPEN_ORDERS_CAN_BE_EDITED"))
    assert (list(bench.log), bench.settler.now) == ([], ["c1"])
    assert bench.tracker.is_unresolved("c1")
    px = "59999.5" if qty == "0.002" else "60000"
    size = {"limit_limit_gtc": {"base_size": qty, "limit_price": px}}
    record = RestOrder("v1", "FILLED", "BTC-USD", client_order_id="c1", order_configuration=size)
    (event,) = bench.tracker.versions.looked_up(record, TS_NS + 1, TS_NS + 2, 15_000_000_000)
    if reason:
        assert (type(event), event.reason) == (ReplaceRejected, reason)  # type: ignore[union-attr]
    else:
        assert (type(event), event.qty) == (OrderReplaced, D(qty))  # type: ignore[union-attr]
    assert not bench.tracker.versions.is_pending("v1")


@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"success":false}'),
        (200, refusal("UNKNOWN_EDIT_ORDER_FAILURE_REASON")),
        (200, refusal("EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST")),
        (200, refusal("ORDER_IS_ALREADY_BEING_REPLACED")),
        (500, b""),
        (503, b"<html>"),
        (408, b""),
        (409, b"{}"),
    ],
)
def test_whatever_proves_nothing_leaves_the_outcome_unknown(status: int, body: bytes) -> None:
    """A broken answer, a failure inside the venue, an order that is like that already: told once, and looked up."""
    bench = resting()
    bench.gateway.replace(change())
    bench.channel.answer(status, body)
    assert [type(event) for event in bench.log] == [ReplaceOutcomeUnknown]
    assert bench.tracker.versions.is_pending("v1")
    assert bench.settler.changing == ["c1"]


@pytest.mark.fault("C7")
@pytest.mark.fault("C8")
def test_limits_and_keys_that_are_refused_prove_that_nothing_was_done() -> None:
    for status, word in ((401, "unauthorized"), (429, "rate_limited"), (403, "permission_denied")):
        assert read_edit_answer(status, b"{}").verdict is Verdict.REJECTED
        assert read_edit_answer(status, b"{}").reason == word


@pytest.mark.fault("B14")
def test_a_lost_answer_or_a_write_that_raises_is_unknown() -> None:
    bench = resting()
    bench.gateway.replace(change())
    bench.channel.lose("timeout")
    assert [(type(event), event.reason) for event in bench.log] == [(ReplaceOutcomeUnknown, "timeout")]

    bench = resting()

    def break_down(*_: Any) -> bool:
        raise OSError("broken")

    bench.channel.try_send = break_down  # type: ignore[method-assign]
    bench.gateway.replace(change())
    assert [(type(event), event.reason) for event in bench.log] == [(ReplaceOutcomeUnknown, "send_failed_oserror")]


@pytest.mark.parametrize("what", ["stranger", "ended", "other id", "twice", "no amount", "budget", "no connection"])
def test_what_cannot_leave_is_refused_at_once_and_leaves_no_doubt(what: str) -> None:
    """Nothing is written; the next change may leave."""
    bench = Bench(burst=1) if what == "budget" else resting()
    if what == "budget":
        bench.accept("c1", "v1")
    wish = change()
    if what == "stranger":
        wish = change(client="nobody", venue_id="v9")
    elif what == "ended":
        bench.end("c1", "v1")
    elif what == "other id":
        wish = change(venue_id="v9")
    elif what == "twice":
        bench.gateway.replace(change(px="59000"))
    elif what == "no amount":
        wish = change(qty="NaN")
    elif what == "no connection":
        bench.channel.free = 0
    sent = len(bench.channel.requests)
    bench.gateway.replace(wish)
    assert len(bench.channel.requests) == sent
    (event,) = bench.log
    assert (type(event), event.client_order_id) == (ReplaceRejected, wish.client_order_id)
    assert event.reason in WORDS
    assert bench.tracker.versions.is_pending("v1") is (what == "twice")


def test_an_answer_after_the_stream_has_shown_the_order_changes_nothing() -> None:
    """Refused, lost or taken: evidence of the order itself counts more."""
    for status, body in ((200, refusal("INVALID_EDITED_SIZE")), (500, b""), (200, TAKEN)):
        bench = resting()
        bench.gateway.replace(change())
        bench.tracker.versions.drop("v1")
        bench.channel.answer(status, body)
        assert (list(bench.log), bench.settler.changing) == ([], [])
