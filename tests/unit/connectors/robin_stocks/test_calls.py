"""What a call proves, by the record of its exchanges: whatever value the client made of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from connectors.robin_stocks.calls import CALLS, POSTS, Client
from connectors.robin_stocks.messages import Ask, Outcome, Told
from connectors.robin_stocks.route import Exchange

ORDER = b'{"id":"1","state":"queued"}'


def judged(call: str, value: Any, *record: Exchange) -> Told:
    """The client as it is after a call, without its library."""
    client = Client.__new__(Client)
    client.route = SimpleNamespace(record=list(record))  # type: ignore[assignment]
    return client._judged(Ask(3, call, {}), value)


def got(status: int = 200, path: str = "/orders/", **fields: Any) -> Exchange:
    return Exchange("GET", path, status, **fields)


def posted(status: int = 200, body: bytes = ORDER, **fields: Any) -> Exchange:
    return Exchange("POST", "/orders/", status, body=body, **fields)


@pytest.mark.parametrize(
    ("value", "record", "outcome"),
    [
        ([{"id": "1"}], [got()], Outcome.OK),
        ([], [got(), got()], Outcome.OK),
        ([{"id": "1"}], [got(), got(503)], Outcome.UNKNOWN),  # the client returns what it had, as if that were all
        ([None], [got(401)], Outcome.REFUSED),
        (None, [got(404)], Outcome.REFUSED),
        (None, [got()], Outcome.UNKNOWN),
        ([None], [got()], Outcome.UNKNOWN),
        ([], [], Outcome.UNKNOWN),
        (None, [got(0, left=False, error="ConnectionError")], Outcome.NOT_SENT),
        (None, [got(0, error="ReadTimeout")], Outcome.UNKNOWN),
    ],
)
def test_what_was_read_counts_only_when_every_exchange_went_well(
    value: Any, record: list[Exchange], outcome: Outcome
) -> None:
    """A list that was cut short, None for an error, an empty list of nothing asked."""
    assert judged("orders", value, *record).outcome is outcome


@pytest.mark.parametrize(
    ("exchange", "outcome"),
    [
        (posted(201), Outcome.OK),
        (posted(200, b"<html>"), Outcome.UNKNOWN),
        (posted(200, b"[]"), Outcome.UNKNOWN),
        (posted(400, b'{"detail":"no"}'), Outcome.REFUSED),
        (posted(400, b"<html>"), Outcome.UNKNOWN),
        (posted(401, b'{"detail":"who"}'), Outcome.REFUSED),
        (posted(404, b'{"detail":"Not found."}'), Outcome.UNKNOWN),
        (posted(409, b'{"detail":"odd"}'), Outcome.UNKNOWN),
        (posted(429, b"<html>"), Outcome.REFUSED),
        (posted(500, b'{"detail":"no"}'), Outcome.UNKNOWN),
        (posted(302, b"{}", error="redirected (302)"), Outcome.UNKNOWN),
        (posted(0, b"", error="ReadTimeout"), Outcome.UNKNOWN),
        (posted(0, b"", error="ConnectionError", left=False), Outcome.NOT_SENT),
    ],
)
def test_an_order_is_refused_only_by_the_venues_own_word(exchange: Exchange, outcome: Outcome) -> None:
    """Whatever the client made of the answer, which is None for most of these."""
    assert judged("place", None, exchange).outcome is outcome


def test_a_cancel_of_what_is_not_there_is_refused_and_a_question_before_a_post_is_no_post() -> None:
    """404 of a cancel has done nothing; an order whose look-ups failed was never sent."""
    assert judged("cancel", None, posted(404, b'{"detail":"Not found."}')).outcome is Outcome.REFUSED
    assert judged("place_option", None, got(503)).outcome is Outcome.NOT_SENT
    assert judged("place", None).outcome is Outcome.NOT_SENT


def test_what_the_client_raises_is_told_by_its_kind_alone() -> None:
    """Its text may quote what was given; before a POST nothing has left, after it nobody knows."""
    client = Client.__new__(Client)
    for record, outcome in (([posted(0, b"", error="x")], Outcome.UNKNOWN), ([got()], Outcome.NOT_SENT)):
        client.route = SimpleNamespace(record=record)  # type: ignore[assignment]
        told = client._broken(Ask(1, "place", {}), KeyError("the password"))
        assert told.outcome is outcome
        assert "password" not in told.text
        assert "KeyError" in told.text


def test_a_call_that_is_none_is_not_sent_and_every_post_is_a_call() -> None:
    """By name."""
    client = Client.__new__(Client)
    assert client.carry_out(Ask(1, "__import__", {})).outcome is Outcome.NOT_SENT
    assert set(CALLS) >= POSTS
    assert msgspec.structs.asdict(judged("quotes", [{"a": 1}], got(date_s=5)))["date_s"] == 5
