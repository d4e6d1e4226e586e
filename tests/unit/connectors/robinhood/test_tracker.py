"""Orders as they are shown, told as facts: each once, whatever is repeated, late, mixed up or missing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from connectors.robinhood import wire
from connectors.robinhood.names import venue_name
from connectors.robinhood.tracker import ENDED_KEPT, OrderTracker
from engine.events import (
    FillCorrected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)

D = Decimal
BTC = "BTC/USD@robinhood"
OURS = "k20261120T140307-1a2b-17"
NOW_NS = 1_795_183_400_000_000_000
PARTS = [("60000.00", "0.3", "2026-11-20T14:03:08.1Z"), ("60010.00", "0.5", "2026-11-20T14:03:09Z"),
         ("60010.00", "0.1", "2026-11-20T14:03:09Z"), ("60010.00", "0.1", "2026-11-20T14:03:09Z")]  # fmt: skip


def shown(parts: Any = (), state: str = "open", client: str | None = OURS, **fields: Any) -> wire.Order:
    """As a listing has it; ``parts`` are ``(price, quantity, time)``."""
    executions = [{"effective_price": px, "quantity": qty, "timestamp": at} for px, qty, at in parts]
    body = {
        "id": "v-1",
        "symbol": "BTC-USD",
        "side": "buy",
        "state": state,
        "client_order_id": None if client is None else venue_name(client),
        "executions": executions,
        "filled_asset_quantity": str(sum((D(qty) for _, qty, _ in parts), D(0))),
        "fee_charged": str(sum((D(px) * D(qty) / 100 for px, qty, _ in parts), D(0))),
        "created_at": "2026-11-20T14:03:07Z",
        "updated_at": "2026-11-20T14:03:10Z",
        "limit_order_config": {"asset_quantity": "1", "limit_price": "60010.00"},
        **fields,
    }
    return wire.decode(msgspec.json.encode(body), wire.Order)


def tracking(*, is_open: bool = True) -> OrderTracker:
    tracker = OrderTracker("robinhood", {"BTC-USD": BTC})
    if is_open:
        tracker.open(NOW_NS - 3_600_000_000_000)
    return tracker


def sent() -> OrderTracker:
    tracker = tracking()
    tracker.sent(OURS, BTC, NOW_NS)
    return tracker


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]


def test_an_order_is_accepted_filled_in_parts_and_done() -> None:
    """Each execution once, fees by their share of the sum, the end when all are told; money and coins add up."""
    tracker = sent()
    assert kinds(tracker.observe(shown(), NOW_NS)) == [OrderAccepted]
    first = tracker.observe(shown(PARTS[:1]), NOW_NS)
    rest = tracker.observe(shown(PARTS, "filled"), NOW_NS)
    fills = [event for event in (*first, *rest) if type(event) is OrderFilled]
    assert [(fill.qty, fill.px, fill.fee) for fill in fills] == [
        (D("0.3"), D("60000.00"), D("180")),
        (D("0.5"), D("60010.00"), D("300.05")),
        (D("0.1"), D("60010.00"), D("60.01")),
        (D("0.1"), D("60010.00"), D("60.01")),
    ]
    assert len({fill.trade_id for fill in fills}) == 4
    assert {fill.client_order_id for fill in fills} == {OURS}
    assert tracker.moved == {"BTC": D(1), "USD": -sum(fill.qty * fill.px + fill.fee for fill in fills)}
    assert tracker.open_orders() == []
    assert tracker.observe(shown(PARTS, "filled"), NOW_NS) == []


@pytest.mark.fault("B1")
@given(st.permutations(PARTS), st.lists(st.integers(0, 4), max_size=6), st.booleans())
def test_whatever_is_shown_in_whatever_order_each_execution_is_told_once(
    parts: list[Any],
    looks: list[int],
    again: bool,
) -> None:
    """Looks that come late or twice, executions listed in any order: the same fills, with ids that anybody finds."""
    tracker, other = sent(), sent()
    events = [event for count in looks for event in tracker.observe(shown(PARTS[:count]), NOW_NS)]
    events += tracker.observe(shown(parts, "filled"), NOW_NS)
    if again:
        assert tracker.observe(shown(PARTS, "filled"), NOW_NS) == []
    fills = [event for event in events if type(event) is OrderFilled]
    assert sorted(fill.qty for fill in fills) == [D("0.1"), D("0.1"), D("0.3"), D("0.5")]
    assert sum(fill.fee for fill in fills) == D("600.07")
    alone = [event for event in other.observe(shown(PARTS, "filled"), NOW_NS) if type(event) is OrderFilled]
    assert {fill.trade_id for fill in fills} == {fill.trade_id for fill in alone}


@pytest.mark.fault("B9")
def test_the_end_waits_for_executions_that_are_not_listed_yet() -> None:
    """Filled by its sum, with one execution missing: it stays open, makes no sense meanwhile, and ends with it."""
    tracker = sent()
    events = tracker.observe(shown(PARTS[:1], "canceled", filled_asset_quantity="0.8"), NOW_NS)
    assert kinds(events) == [OrderAccepted, OrderFilled]
    assert "0.8 filled" in tracker.unreadable["v-1"]
    assert [one.client_order_id for one in tracker.unaccounted()] == [OURS]
    assert kinds(tracker.observe(shown(PARTS[:2], "canceled"), NOW_NS)) == [OrderFilled, OrderCancelled]
    assert tracker.unreadable == {}


@pytest.mark.fault("B10")
def test_a_fee_that_becomes_another_corrects_the_last_execution() -> None:
    """Once; the money follows."""
    tracker = sent()
    tracker.observe(shown(PARTS[:1], fee_charged="0"), NOW_NS)
    before = tracker.moved["USD"]
    (event,) = tracker.observe(shown(PARTS[:1], fee_charged="1.5"), NOW_NS)
    assert type(event) is FillCorrected
    assert (event.fee, event.new_fee, event.new_qty) == (D(0), D("1.5"), D("0.3"))
    assert tracker.moved["USD"] == before - D("1.5")
    assert tracker.observe(shown(PARTS[:1], fee_charged="1.5"), NOW_NS) == []


def test_an_order_of_v1_has_no_fee() -> None:
    """It is in the price; what is null or absent is nothing."""
    tracker = sent()
    body = shown(PARTS[:1], "filled", fee_charged=None, average_price=None)
    fill = tracker.observe(body, NOW_NS)[1]
    assert fill.fee == 0  # type: ignore[union-attr]


@pytest.mark.fault("C13")
@pytest.mark.parametrize(
    ("state", "parts", "expected"),
    [
        ("failed", [], [OrderRejected]),
        ("failed", PARTS[:1], [OrderAccepted, OrderFilled, OrderCancelled]),
        ("canceled", [], [OrderAccepted, OrderCancelled]),
        ("filled", [], [OrderAccepted]),
        ("pending", [], [OrderAccepted]),
        ("partially_filled", PARTS[:1], [OrderAccepted, OrderFilled]),
        ("exploded", [], [OrderAccepted]),
    ],
)
def test_each_state_at_first_sight(state: str, parts: list[Any], expected: list[type]) -> None:
    """A word that nobody knows leaves the order alive; one that is filled with nothing waits for what."""
    tracker = sent()
    assert kinds(tracker.observe(shown(parts, state), NOW_NS)) == expected
    ended = {OrderRejected, OrderCancelled} & set(expected)
    assert (tracker.open_orders() == []) == bool(ended)
    assert tracker.take_unknown_states() == ({OURS: "exploded"} if state == "exploded" else {})


def test_an_answer_that_comes_after_the_truth_changes_nothing() -> None:
    """The order was filled before its own answer, which shows it as it arrived."""
    tracker = sent()
    tracker.observe(shown(PARTS, "filled"), NOW_NS)
    assert tracker.observe(shown([], "pending"), NOW_NS) == []
    assert tracker.open_orders() == []


@pytest.mark.fault("B16")
def test_evidence_overrules_that_an_order_never_arrived() -> None:
    """Given up, and shown after all."""
    tracker = sent()
    tracker.not_sent(OURS)
    assert tracker.open_orders() == []
    assert kinds(tracker.observe(shown(), NOW_NS)) == [OrderAccepted]
    assert [one.client_order_id for one in tracker.open_orders()] == [OURS]


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": "long"},
        {"filled_asset_quantity": "NaN"},
        {"executions": [{"effective_price": "0", "quantity": "1"}]},
        {"executions": [{"effective_price": "1", "quantity": "-1"}]},
        {"executions": [{"effective_price": "Infinity", "quantity": "1"}]},
    ],
)
def test_what_makes_no_sense_is_not_booked(wrong: dict[str, Any]) -> None:
    """It is said, and mended by a look that does."""
    tracker = sent()
    assert tracker.observe(shown(**wrong), NOW_NS) == []
    assert list(tracker.unreadable) == ["v-1"]
    assert kinds(tracker.observe(shown(), NOW_NS)) == [OrderAccepted]
    assert tracker.unreadable == {}


@pytest.mark.fault("B1")
@pytest.mark.parametrize(
    "again",
    ["2026-11-20T14:03:08.100000Z", "2026-11-20T14:03:08.1+00:00", "2026-11-20T15:03:08.100+01:00",
     "2026-11-20T14:03:08.100"],
)  # fmt: skip
def test_an_execution_is_the_same_however_its_time_is_spelt(again: str) -> None:
    """Zeros, offsets, none: one moment, one execution, one id."""
    tracker = sent()
    tracker.observe(shown(PARTS[:1]), NOW_NS)
    px, qty, _ = PARTS[0]
    assert tracker.observe(shown([(px, qty, again)]), NOW_NS) == []
    assert tracker.unreadable == {}


@pytest.mark.fault("B1")
@pytest.mark.parametrize("filled", ["0.3", None])
def test_more_executions_than_the_venue_says_is_filled_are_not_booked(filled: str | None) -> None:
    """The same one told with another time, or with none that can be read: it is said, and a look that adds up mends
    it."""
    tracker = sent()
    tracker.observe(shown(PARTS[:1]), NOW_NS)
    px, qty, _ = PARTS[0]
    for at in ("2026-11-20T14:03:09.1Z", "just now"):
        assert tracker.observe(shown([(px, qty, at)], filled_asset_quantity=filled), NOW_NS) == []
        assert "0.3" in tracker.unreadable["v-1"]
    assert tracker.moved["BTC"] == D("0.3")
    assert kinds(tracker.observe(shown(PARTS, "filled"), NOW_NS)) == [OrderFilled] * 3
    assert (tracker.unreadable, tracker.moved["BTC"]) == ({}, D(1))


def test_somebody_elses_open_order_is_found_with_what_it_had_filled() -> None:
    """Before the balances are known that is part of them; what it fills later is told."""
    tracker = tracking(is_open=False)
    (found,) = tracker.observe(shown(PARTS[:1], client="by-hand"), NOW_NS)
    assert type(found) is OrderFound
    assert (found.qty, found.filled_qty, found.limit_px, found.side) == (D(1), D("0.3"), D("60010.00"), Side.BUY)
    assert tracker.moved == {}
    assert tracker.taken_in == 1
    tracker.open(NOW_NS - 60_000_000_000)
    events = tracker.observe(shown(PARTS, "filled", client="by-hand"), NOW_NS)
    assert kinds(events) == [OrderFilled] * 3 + []
    assert tracker.moved["BTC"] == D("0.7")


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("state", "ends"), [("open", []), ("filled", []), ("canceled", [OrderCancelled])])
def test_what_it_fills_between_its_listing_and_the_balances_is_told_as_found(state: str, ends: list[type]) -> None:
    """More of it is part of the balances than was known, and its end is its end."""
    tracker = tracking(is_open=False)
    (first,) = tracker.observe(shown(PARTS[:1], client="by-hand"), NOW_NS)
    again, *rest = tracker.observe(shown(PARTS[:2], state, client="by-hand"), NOW_NS)
    assert again == structs.replace(first, filled_qty=D("0.8"))  # type: ignore[type-var]
    assert kinds(rest) == ends
    assert (tracker.moved, len(tracker.open_orders())) == ({}, 1 if state == "open" else 0)


def test_an_execution_that_is_in_the_balances_and_is_listed_later_is_not_told() -> None:
    """At the opening the sum had it and the list did not; what comes on top is told, and nothing stays unreadable."""
    tracker = tracking(is_open=False)
    (found,) = tracker.observe(shown([], client="by-hand", filled_asset_quantity="0.3"), NOW_NS)
    assert found.filled_qty == D("0.3")  # type: ignore[union-attr]
    tracker.open(NOW_NS - 60_000_000_000)
    assert tracker.observe(shown(PARTS[:1], client="by-hand"), NOW_NS) == []
    assert kinds(tracker.observe(shown(PARTS[:2], client="by-hand"), NOW_NS)) == [OrderFilled]
    assert (tracker.moved["BTC"], tracker.unreadable, tracker.taken_in) == (D("0.5"), {}, 2)


def test_somebody_elses_order_since_the_opening_is_told_whole() -> None:
    """Found with nothing filled, then its executions, then its end: the core books it as the venue did."""
    tracker = tracking()
    events = tracker.observe(shown(PARTS[:2], "canceled", client=None), NOW_NS)
    assert kinds(events) == [OrderFound, OrderFilled, OrderFilled, OrderCancelled]
    assert {event.client_order_id for event in events} == {"v-1"}  # type: ignore[union-attr]
    assert events[0].filled_qty == 0  # type: ignore[union-attr]


def test_what_ended_before_the_opening_is_in_the_balances() -> None:
    """Shown late, by its own time it was over; nothing of it is told."""
    tracker = tracking()
    late = shown(PARTS, "filled", client=None, updated_at="2026-11-20T12:00:00Z")
    assert tracker.observe(late, NOW_NS) == []
    assert tracker.moved == {}


def test_orders_in_what_is_not_traded_here_are_left_alone() -> None:
    """Nor is a second order by an id of ours taken for ours."""
    tracker = sent()
    assert tracker.observe(shown(symbol="XYZ-USD", client=None), NOW_NS) == []
    tracker.observe(shown(), NOW_NS)
    events = tracker.observe(shown(PARTS, "filled", id="v-2"), NOW_NS)
    assert {event.client_order_id for event in events} == {"v-2"}  # type: ignore[union-attr]
    assert [one.client_order_id for one in tracker.open_orders()] == [OURS]


def test_an_order_of_an_earlier_session_goes_on_where_it_was_left() -> None:
    """Executions that are booked are not told again; a fee whose earlier part is not known is shared by value."""
    before = sent()
    booked = [e for e in before.observe(shown(PARTS[:1]), NOW_NS) if type(e) is OrderFilled]
    tracker = tracking(is_open=False)
    tracker.adopt(OURS, "v-1", BTC, D("0.3"), tuple(e.trade_id for e in booked), NOW_NS, ended=False)
    events = tracker.observe(shown(PARTS, "filled"), NOW_NS)
    fills = [event for event in events if type(event) is OrderFilled]
    assert [fill.qty for fill in fills] == [D("0.5"), D("0.1"), D("0.1")]
    assert sum(fill.fee for fill in fills) == D("420.07")
    assert tracker.open_orders() == []


@pytest.mark.fault("B8")
def test_what_filled_before_an_earlier_session_found_an_order_is_not_told() -> None:
    """0.3 without an id; the rest came since."""
    tracker = tracking(is_open=False)
    tracker.adopt(OURS, "v-1", BTC, D("0.3"), (), NOW_NS, ended=False)
    events = tracker.observe(shown(PARTS, "filled"), NOW_NS)
    assert [event.qty for event in events if type(event) is OrderFilled] == [D("0.5"), D("0.1"), D("0.1")]
    assert tracker.open_orders() == []


@pytest.mark.fault("B16")
def test_an_adopted_order_that_was_given_up_lives_where_it_shows_itself() -> None:
    """The session before said that it never arrived."""
    tracker = tracking()
    tracker.adopt(OURS, "", BTC, D(0), (), NOW_NS, ended=True, rejected=True)
    assert kinds(tracker.observe(shown([], "open"), NOW_NS)) == [OrderAccepted]
    assert [order.client_order_id for order in tracker.open_orders()] == [OURS]


def test_an_adopted_order_that_had_ended_is_silent() -> None:
    """Until it has filled after all."""
    tracker = tracking()
    tracker.adopt(OURS, "v-1", BTC, D(0), (), NOW_NS, ended=True)
    assert tracker.observe(shown([], "canceled"), NOW_NS) == []
    assert kinds(tracker.observe(shown(PARTS[:1], "canceled"), NOW_NS)) == [OrderFilled]


def test_ended_orders_are_forgotten_oldest_first() -> None:
    """Memory is bounded; an order that was forgotten and comes again is no order of ours."""
    tracker = tracking()
    for number in range(ENDED_KEPT + 1):
        tracker.sent(f"k-{number}", BTC, NOW_NS)
        tracker.not_sent(f"k-{number}")
    assert tracker.get("k-0") is None
    assert tracker.get("k-1") is not None
