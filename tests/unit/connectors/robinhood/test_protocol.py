"""Quotes from answers of either generation, and messages of the wire that are none."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.robinhood import wire
from connectors.robinhood.protocol import QuoteProtocol
from engine.errors import VenueError
from engine.events import Quote
from engine.ports import VenueProtocol

BTC = "BTC/USD@robinhood"
SYMBOLS = {"BTC-USD": BTC}
NOW_NS = 1_795_183_400_000_000_000
V1 = (
    b'{"results":[{"symbol":"BTC-USD","price":60005.1,"bid_inclusive_of_sell_spread":59490.0,"sell_spread":0.0085,'
    b'"ask_inclusive_of_buy_spread":"60520.08","buy_spread":"0.0085","timestamp":"2026-11-20T14:03:07.120000Z"}]}'
)
V2 = b'{"results":[{"symbol":"BTC-USD","bid":"60000.00","ask":"60010.5"},{"symbol":"XYZ-USD","bid":"1","ask":"2"}]}'


def test_quotes_of_both_generations() -> None:
    """v1 by its own time, numbers or text; v2 by the moment of receipt on the venue's clock; sizes are not told."""
    protocol = QuoteProtocol(SYMBOLS, lambda: 5_000_000_000)
    assert isinstance(protocol, VenueProtocol)
    (first,) = protocol.receive_frame(V1, NOW_NS)
    (second,) = protocol.receive_frame(memoryview(V2), NOW_NS)
    assert isinstance(first, Quote)
    assert isinstance(second, Quote)
    assert (first.bid_px, first.ask_px, first.ts_event_ns) == (
        59490.0,
        60520.08,
        wire.time_ns("2026-11-20T14:03:07.12Z"),
    )
    assert (second.bid_px, second.ask_px, second.ts_event_ns) == (60000.0, 60010.5, NOW_NS + 5_000_000_000)
    assert (first.ts_recv_ns, second.ts_recv_ns) == (NOW_NS, NOW_NS)
    assert math.isnan(first.bid_qty)
    assert protocol.counters.unknown == 1


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"bid": "1"},
        {"bid": "x", "ask": "2"},
        {"bid": "NaN", "ask": "2"},
        {"bid": "0", "ask": "2"},
        {"bid": "-1", "ask": "2"},
        {"bid": "Infinity", "ask": "2"},
    ],
)
def test_prices_that_are_none_are_dropped(row: dict[str, Any]) -> None:
    """Counted; a crossed quote is the core's to judge."""
    protocol = QuoteProtocol(SYMBOLS)
    body = json.dumps({"results": [{"symbol": "BTC-USD", **row}]}).encode()
    assert list(protocol.receive_frame(body, NOW_NS)) == []
    assert protocol.counters.unusable == 1


@given(st.binary(max_size=60) | st.tuples(st.sampled_from([V1, V2]), st.integers(0, 200), st.binary(max_size=3)))
def test_mutated_answers_never_raise(frame: Any) -> None:
    """Bytes of any kind, and answers with some of them replaced: events, or a count."""
    if isinstance(frame, tuple):
        body, place, new = frame
        frame = body[:place] + new + body[place + len(new) :]
    for event in QuoteProtocol(SYMBOLS).receive_frame(frame, NOW_NS):
        assert isinstance(event, Quote)
        assert event.bid_px > 0
        assert event.ask_px > 0


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1.5", "NaN", "buy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(wire.Order.__struct_fields__), ANY, max_size=8))
def test_an_order_of_any_shape_is_read_or_refused(fields: dict[str, Any]) -> None:
    """Members of any JSON type: an order, or one of the errors that callers know; nothing it is asked raises."""
    body = msgspec.json.encode({"id": "1", "symbol": "BTC-USD", "side": "buy", "state": "open", **fields})
    try:
        order = wire.decode(body, wire.Order)
    except wire.UNREADABLE:
        return
    qty = order.qty()
    assert qty is None or qty.is_finite()
    assert wire.time_ns(order.updated_at) >= wire.time_ns("x") or order.updated_at


def test_pages_are_followed_on_our_own_host_alone() -> None:
    """A page's URL gives path and query; what leads elsewhere is refused."""
    assert wire.following("https://elsewhere/api/v2/crypto/x/?cursor=a%3D") == "/api/v2/crypto/x/?cursor=a%3D"
    assert wire.following("/api/v1/x/") == "/api/v1/x/"
    for wrong in ("https://elsewhere/other", "", "//[", "http://h/api/x y", "http://h/api/\r\nx: y"):
        with pytest.raises(VenueError):
            wire.following(wrong)


def test_times_are_read_with_and_without_zone() -> None:
    """To the microsecond; what is no time is 0; and ours are written as theirs."""
    assert wire.time_ns("1970-01-01T00:00:01.000002Z") == wire.time_ns("1970-01-01T01:00:01.000002+01:00")
    assert wire.time_ns("1970-01-01T00:00:01.000002") == 1_000_002_000
    assert [wire.time_ns(wrong) for wrong in (None, "", "now", "9999-99-99T00:00:00Z")] == [0, 0, 0, 0]
    assert wire.time_text(1_000_002_999) == "1970-01-01T00:00:01.000002Z"


@given(st.text(min_size=1, max_size=12))
def test_paths_hold_what_they_are_given(text: str) -> None:
    """Whatever an id holds, it cannot leave its place in the path or the query."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    paths = wire.Paths("v2", text)
    for target in (paths.order(text), paths.cancel(text), paths.holdings, paths.orders(state=text)):
        path, _, query = target.partition("?")
        assert target.isascii()
        assert " " not in target
        assert path.count("/") <= 8
        assert query.startswith("account_number=")
        assert query.count("&") <= 1
