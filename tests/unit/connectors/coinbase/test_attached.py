"""Exits that the venue makes itself: known by their entry's id alone and told after it, whatever comes first."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.coinbase import wire
from connectors.coinbase.attached import KEPT, Attachments
from connectors.coinbase.orders import encode_order, read_order_answer
from connectors.coinbase.tracker import OrderTracker
from engine.commands import NewOrderWithExits, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import (
    AttachmentMissing,
    InputEvent,
    OrderAccepted,
    OrderAttached,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Side,
)
from tests.support.coinbase import BTC, TS_NS, fill, new_order

D = Decimal
EXIT = "c1-x"


def entry(client: str = "c1", **fields: Any) -> NewOrderWithExits:
    made = new_order(client, **{"qty": D("0.4"), **fields})
    return NewOrderWithExits(made.ts_ns, made.client_order_id, made.venue, made.intent, D(62000), D(58000))


def tracker(*clients: str) -> OrderTracker:
    """Entries of 0.4 that have left."""
    made = OrderTracker("coinbase", {"BTC-USD": BTC})
    for client in clients or ("c1",):
        made.sent(client, 1)
        made.attachments.expect(entry(client), "BTC-USD")
    return made


def observe(t: OrderTracker, status: str, filled: str = "0", **more: Any) -> list[InputEvent]:
    fields: dict[str, Any] = {"client_order_id": "c1", "venue_order_id": "v1", "product_id": "BTC-USD", "reason": ""}
    return t.observe(**{**fields, **more}, status=status, filled_qty=filled, ts_event_ns=TS_NS, ts_recv_ns=9)


def see_exit(t: OrderTracker, status: str = "OPEN", filled: str = "0", **more: Any) -> list[InputEvent]:
    return observe(t, status, filled, **{"client_order_id": "x1", "venue_order_id": "x1", **more})


def book(
    t: OrderTracker, entry_id: str = "e1", order_id: str = "v1", size: str = "0.4", **more: Any
) -> list[InputEvent]:
    one = fill(entry_id, order_id, size, side="SELL" if order_id == "x1" else "BUY", **more)
    return t.book(msgspec.json.decode(json.dumps(one), type=wire.Fill, strict=False), 9)


def kinds(events: list[InputEvent]) -> list[tuple[type, str]]:
    return [(type(event), event.client_order_id) for event in events]  # type: ignore[union-attr]


def test_the_request_says_the_exits_and_the_answer_names_the_order_that_they_become() -> None:
    body = json.loads(encode_order(entry(), "BTC-USD"))
    assert body["attached_order_configuration"] == {
        "trigger_bracket_gtc": {"limit_price": "62000", "stop_trigger_price": "58000"}
    }
    assert body["order_configuration"]["limit_limit_gtc"]["base_size"] == "0.4"
    assert "attached_order_configuration" not in json.loads(encode_order(new_order(), "BTC-USD"))
    success = {"order_id": "v1", "attached_order_id": "x1"}
    answer = read_order_answer(200, json.dumps({"success": True, "success_response": success}).encode())
    assert (answer.venue_order_id, answer.exit_order_id) == ("v1", "x1")
    success["attached_order_id"] = None  # type: ignore[assignment]
    assert not read_order_answer(200, json.dumps({"success": True, "success_response": success}).encode()).exit_order_id


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (entry(order_type=OrderType.STOP_LIMIT, trigger_px=D(60000)), "a bracket with an entry of type stop_limit"),
        (entry(side=Side.SELL), "below it for one that sells"),
        (msgspec.structs.replace(entry(), trigger_px=D("NaN")), "trigger price NaN"),
    ],
)
def test_what_the_venue_would_not_take_is_not_sent(order: NewOrderWithExits, said: str) -> None:
    with pytest.raises(LocalProtocolError, match=said):
        encode_order(order, "BTC-USD")


def test_an_exit_is_told_with_what_was_asked_and_is_followed_like_an_order_of_ours() -> None:
    t = tracker()
    t.accepted("c1", "v1", 5)
    assert t.name_exit("c1", "x1", 5) == []
    observe(t, "FILLED", "0.4")
    assert kinds(book(t)) == [(OrderFilled, "c1")]
    (told,) = see_exit(t, leaves="0.4")
    assert told == OrderAttached(TS_NS, 9, "coinbase", EXIT, "x1", "c1", BTC, Side.SELL, D("0.4"), D(62000), D(58000))
    assert see_exit(t, leaves="0.4") == []
    assert see_exit(t, "FILLED", "0.4") == []
    assert t.take_wanted() == ["v1", "x1"]
    assert kinds(book(t, "e2", "x1")) == [(OrderFilled, EXIT)]
    assert (t.open_orders(), t.strangers, t.awaited_exits()) == ([], False, [])


@pytest.mark.fault("B3")
@given(order=st.permutations(["answer", "entry", "entry fill", "exit", "exit fill", "exit end"]))
def test_in_whatever_order_the_venue_tells_it_each_is_told_once_and_the_entry_first(order: list[str]) -> None:
    """Stream, answer and listings in any order: acceptance, fill, exit, its fill; nothing of it is a stranger's."""
    t = tracker()
    happened = {
        "answer": lambda: t.accepted("c1", "v1", 5) + t.name_exit("c1", "x1", 5),
        "entry": lambda: observe(t, "FILLED", "0.4"),
        "entry fill": lambda: book(t),
        "exit": lambda: see_exit(t, leaves="0.4"),
        "exit fill": lambda: book(t, "e2", "x1"),
        "exit end": lambda: see_exit(t, "FILLED", "0.4"),
    }
    told: list[InputEvent] = []
    for name in order:
        told += happened[name]()
    for name in ("entry", "entry fill", "exit fill", "exit end", "exit fill"):  # what lists are read for again
        told += happened[name]()
    assert kinds(told) == [(OrderAccepted, "c1"), (OrderFilled, "c1"), (OrderAttached, EXIT), (OrderFilled, EXIT)]
    assert (t.open_orders(), t.held_orders(), t.defers) == ([], [], False)


@pytest.mark.fault("B8")
def test_an_order_that_may_have_come_with_an_entry_is_nobodys_until_that_is_known() -> None:
    """Of somebody else: told as such, with what it has filled meanwhile."""
    t = tracker()
    t.open(0, (0, 0))
    assert observe(t, "OPEN", client_order_id="by-hand", venue_order_id="h1") == []
    assert book(t, "e9", "h1", "0.1") == []
    assert (t.strangers, t.is_unresolved("by-hand"), t.defers) == (False, True, True)
    assert t.find("by-hand", "h1", BTC, "SELL", D("0.2"), D(0), D(61000), 9) == []
    (held,) = t.held_orders()
    assert kinds(t.release(held, 9)) == [(OrderAccepted, "by-hand"), (OrderFilled, "by-hand")]
    assert (t.strangers, t.held_orders(), t.release(held, 9)) == (True, [], [])


def test_an_order_of_others_is_told_at_once_where_no_exit_is_missing() -> None:
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    assert kinds(observe(t, "OPEN", client_order_id="by-hand", venue_order_id="h1")) == [(OrderAccepted, "by-hand")]
    assert t.strangers


@pytest.mark.fault("B12")
def test_an_exit_that_grows_is_told_again_before_what_it_fills() -> None:
    """By what is left of it, by its record, or by an execution that is larger than it was."""
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    observe(t, "OPEN", "0.1")
    book(t, size="0.1")
    sizes = [see_exit(t, leaves="0.1"), see_exit(t, size_qty=D("0.2")), see_exit(t, size_qty=D("0.2"))]
    assert [[event.qty for event in events] for events in sizes] == [[D("0.1")], [D("0.2")], []]  # type: ignore[union-attr]
    book(t, "e2", size="0.3")
    assert kinds(book(t, "e3", "x1", "0.3")) == [(OrderAttached, EXIT), (OrderFilled, EXIT)]


@pytest.mark.fault("B7")
def test_what_fills_beyond_its_entry_has_not_grown() -> None:
    """Told as large as it was: more executed than that is seen as such."""
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    observe(t, "FILLED", "0.4")
    book(t)
    see_exit(t, leaves="0.4")
    assert kinds(book(t, "e2", "x1", "0.4")) == [(OrderFilled, EXIT)]
    assert kinds(see_exit(t, "OPEN", "0.6")) == []
    assert kinds(book(t, "e3", "x1", "0.2")) == [(OrderFilled, EXIT)]


def test_no_more_of_an_exit_is_told_than_its_entry_has_filled() -> None:
    """Half of the entry's executions are listed late: so is what closes them."""
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    observe(t, "OPEN", "0.4")
    book(t, size="0.1")
    see_exit(t, leaves="0.4")
    assert book(t, "e2", "x1") == []
    assert kinds(book(t, "e3", size="0.3")) == [(OrderFilled, "c1"), (OrderFilled, EXIT)]


def test_one_that_the_venue_refuses_is_told_and_ends() -> None:
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    book(t)
    told = see_exit(t, "FAILED", reason="INVALID_BRACKET_STOP_TRIGGER_PRICE")
    assert kinds(told) == [(OrderAttached, EXIT), (OrderRejected, EXIT)]


@pytest.mark.fault("B3")
@pytest.mark.fault("B16")
def test_a_record_that_is_behind_does_not_bring_back_one_that_has_ended() -> None:
    """Seed 800136: refused, then looked up in a listing that still had it open and larger.  Told again it was open in
    the books for good, and nobody could cancel it.  What it has filled is told, and how large it must have been."""
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    book(t, size="0.3")
    see_exit(t, "OPEN", size_qty=D("0.3"))
    see_exit(t, "FAILED", reason="INVALID_BRACKET_STOP_TRIGGER_PRICE")
    assert see_exit(t, "OPEN", size_qty=D("0.4")) == []
    assert see_exit(t, "OPEN", leaves="0.4") == []
    book(t, "e2", size="0.1")
    assert kinds(book(t, "e3", "x1", "0.4")) == [(OrderAttached, EXIT), (OrderFilled, EXIT)]


def test_one_whose_entry_has_filled_nothing_goes_with_it_or_is_told_of() -> None:
    """Cancelled by the venue: nobody hears of it.  Alive: it is told, so that it is cancelled."""
    for lives in (False, True):
        t = tracker()
        t.accepted("c1", "v1", 5)
        t.name_exit("c1", "x1", 5)
        assert see_exit(t, "PENDING", leaves="0.4") == []
        assert not t.is_unresolved(EXIT), "it waits for its entry, as long as that rests"
        assert t.take_doubted() == ["c1"]
        observe(t, "CANCELLED")
        t.fills_read("v1", 9, after_end=True)
        assert t.take_doubted() == [EXIT]
        if not lives:
            assert see_exit(t, "CANCELLED") == []
            assert t.open_orders() == []
            continue
        assert kinds(see_exit(t, leaves="0.4")) == [(OrderAttached, EXIT)]
        assert kinds(book(t, "e2", "x1")) == [(OrderFilled, EXIT)]


def test_an_exit_that_an_earlier_session_has_told_is_told_to_have_ended() -> None:
    """Its entry was cancelled with nothing filled, and the session ended when it had told the exit."""
    t = OrderTracker("coinbase", {"BTC-USD": BTC})
    t.adopt("c1", "v1", D(0), (), ended=True, instrument=BTC)
    t.adopt(EXIT, "x1", D(0), (), ended=False, instrument=BTC)
    t.adopt_exit(t.attachments.expect(entry(), "BTC-USD", "x1"), D("0.4"))
    assert kinds(see_exit(t, "CANCELLED")) == [(OrderAttached, EXIT)]
    assert kinds(t.fills_read("x1", 9, after_end=True)) == [(OrderCancelled, EXIT)]
    assert t.open_orders() == []
    assert see_exit(t, "CANCELLED") == []


@pytest.mark.fault("B3")
def test_one_that_went_unheard_of_is_told_with_its_end_when_its_entry_has_filled_something_after_all() -> None:
    """Without its end it was open in the books for good."""
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    observe(t, "CANCELLED")
    t.fills_read("v1", 9, after_end=True)
    assert see_exit(t, "CANCELLED", leaves="0") == []
    assert t.open_orders() == []
    assert kinds(book(t, size="0.1")) == [(OrderFilled, "c1"), (OrderAttached, EXIT)]
    assert "x1" in t.take_wanted()
    assert kinds(t.fills_read("x1", 9, after_end=True)) == [(OrderCancelled, EXIT)]
    assert t.open_orders() == []


@pytest.mark.fault("B3")
@pytest.mark.fault("B16")
@pytest.mark.parametrize("rejected", [False, True])
def test_an_exit_whose_end_an_earlier_session_has_told_is_not_told_again(rejected: bool) -> None:
    """Seed 951272: the venue had refused it, and its entry filled more than was asked for after a restart."""
    t = OrderTracker("coinbase", {"BTC-USD": BTC})
    t.adopt("c1", "v1", D("0.4"), ("e1",), ended=True, instrument=BTC)
    t.adopt(EXIT, "x1", D(0), (), ended=True, rejected=rejected, instrument=BTC)
    t.adopt_exit(t.attachments.expect(entry(), "BTC-USD", "x1"), D("0.4"))
    assert kinds(book(t, "e2", size="0.2")) == [(OrderFilled, "c1")]
    assert see_exit(t, leaves="0.4") == []
    assert t.open_orders() == []


@pytest.mark.fault("B19")
@pytest.mark.parametrize("ended", [False, True])
def test_an_exit_that_an_earlier_session_took_for_somebody_elses_is_known_again(ended: bool) -> None:
    """Seed 950471: it showed itself before its entry, and the machine went down before it was told as an exit.  Taken
    for an order that we had sent it was missing, and another one was sent beside it."""
    t = OrderTracker("coinbase", {"BTC-USD": BTC})
    t.adopt("c1", "v1", D("0.4"), ("e1",), ended=True, instrument=BTC)
    t.adopt("x1", "x1", D(0), (), ended=ended, of_others=True, instrument=BTC)
    t.attachments.expect(entry(), "BTC-USD")
    others = [] if ended else [(OrderCancelled, "x1")]
    assert kinds(t.name_exit("c1", "x1", 5)) == [*others, (OrderAttached, EXIT)]
    assert t.awaited_exits() == []
    assert see_exit(t, leaves="0.4") == []
    assert kinds(book(t, "e2", "x1")) == [(OrderFilled, EXIT)]
    assert see_exit(t, "FILLED", "0.4") == []
    assert t.open_orders() == []


@pytest.mark.fault("B12")
@pytest.mark.parametrize("asked", [True, False])
def test_the_end_of_an_exit_waits_for_what_it_may_have_filled(asked: bool) -> None:
    """Its price was reached, and self-trade prevention took the rest: told with 0 filled, 0.1 are listed.  Whether we
    asked for its cancel does not count, as the venue trades it meanwhile."""
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    book(t)
    see_exit(t, leaves="0.4")
    order = t.get(EXIT)
    assert order is not None
    order.is_cancel_asked = asked
    assert see_exit(t, "CANCELLED", reason="Self trade prevented") == []
    assert t.take_wanted() == ["x1"]
    assert kinds(book(t, "e2", "x1", "0.1")) == [(OrderFilled, EXIT)]
    assert kinds(t.fills_read("x1", 9, after_end=True)) == [(OrderCancelled, EXIT)]


@pytest.mark.fault("B12")
def test_the_end_of_an_order_that_turns_out_to_be_an_exit_waits_too() -> None:
    t = tracker()
    t.accepted("c1", "v1", 5)
    book(t)
    assert see_exit(t, "CANCELLED") == []
    assert kinds(t.name_exit("c1", "x1", 5)) == [(OrderAttached, EXIT)]
    assert t.take_wanted() == ["x1"]
    assert kinds(t.fills_read("x1", 9, after_end=True)) == [(OrderCancelled, EXIT)]


def test_an_exit_is_awaited_from_its_entrys_end_until_it_is_told_or_missed() -> None:
    """A refused entry, and one that filled nothing, have none; a late fill has."""
    t = tracker("c1", "c2", "c3")
    for client, order_id in (("c1", "v1"), ("c2", "v2")):
        t.accepted(client, order_id, 5)
    t.not_sent("c3")
    assert t.awaited_exits() == []
    observe(t, "CANCELLED", "0.1")
    assert t.awaited_exits() == []
    book(t, size="0.1")
    observe(t, "CANCELLED", client_order_id="c2", venue_order_id="v2")
    (awaited,) = t.awaited_exits()
    assert awaited.entry == "c1"
    assert kinds(t.miss_exit(awaited, "absent", 9)) == [(AttachmentMissing, "c1")]
    assert t.awaited_exits() == []
    observe(t, "CANCELLED", "0.2", client_order_id="c2", venue_order_id="v2")
    book(t, "e2", "v2", "0.2")
    assert [one.entry for one in t.awaited_exits()] == ["c2"]


@pytest.mark.fault("B16")
def test_one_that_was_given_up_is_told_when_it_shows_itself() -> None:
    t = tracker()
    t.accepted("c1", "v1", 5)
    t.name_exit("c1", "x1", 5)
    observe(t, "FILLED", "0.4")
    book(t)
    t.miss_exit(t.awaited_exits()[0], "absent", 9)
    assert kinds(see_exit(t, leaves="0.4")) == [(OrderAttached, EXIT)]


def test_one_that_was_told_as_somebody_elses_is_taken_back() -> None:
    """The venue has denied it before: what was told of it ends, and it is the entry's."""
    t = tracker()
    t.open(0, (0, 0))
    t.accepted("c1", "v1", 5)
    observe(t, "FILLED", "0.4")
    book(t)
    see_exit(t)
    t.release(t.held_orders()[0], 9)
    assert len(t.find("x1", "x1", BTC, "SELL", D("0.4"), D(0), D(62000), 9)) == 1
    assert kinds(t.name_exit("c1", "x1", 9)) == [(OrderCancelled, "x1"), (OrderAttached, EXIT)]


@pytest.mark.fault("B16")
def test_an_order_that_shows_itself_after_its_exit_was_given_up_is_nobodys_until_it_was_asked_about() -> None:
    """Told as somebody else's, what it fills would be booked there, and the exit that it is would stay as it was."""
    t = tracker()
    t.accepted("c1", "v1", 5)
    observe(t, "FILLED", "0.4")
    book(t)
    t.miss_exit(t.awaited_exits()[0], "absent", 9)
    assert see_exit(t, "OPEN", "0.1", leaves="0.3") == []
    assert (book(t, "e2", "x1", "0.1"), t.strangers) == ([], False)
    assert kinds(t.name_exit("c1", "x1", 9)) == [(OrderAttached, EXIT), (OrderFilled, EXIT)]
    assert kinds(see_exit(t, "OPEN", "0.1", client_order_id="", venue_order_id="h1")) == [(OrderAccepted, "h1")]


@pytest.mark.fault("B16")
@pytest.mark.fault("B19")
@pytest.mark.parametrize("first", ["x1", EXIT])
def test_of_two_that_an_earlier_session_has_told_of_one_order_the_exit_is_followed(first: str) -> None:
    """It was told as somebody else's, and then as the entry's."""
    t = OrderTracker("coinbase", {"BTC-USD": BTC})
    t.adopt("c1", "v1", D("0.4"), ("e1",), ended=True, instrument=BTC)
    for name in (first, "x1" if first == EXIT else EXIT):
        t.adopt(name, "x1", D(0), (), ended=name == "x1", of_others=name == "x1", instrument=BTC)
    t.adopt_exit(t.attachments.expect(entry(), "BTC-USD", "x1"), D("0.4"))
    see_exit(t, leaves="0.4")
    assert kinds(book(t, "e2", "x1")) == [(OrderFilled, EXIT)]
    assert (see_exit(t, "FILLED", "0.4"), t.open_orders()) == ([], [])


def test_an_exit_that_goes_by_its_entrys_name_is_not_its_entry() -> None:
    t = tracker()
    t.accepted("c1", "v1", 5)
    observe(t, "FILLED", "0.4")
    book(t)
    assert see_exit(t, client_order_id="c1") == []
    assert kinds(t.name_exit("c1", "x1", 9)) == [(OrderAttached, EXIT)]
    assert t.get("c1").venue_order_id == "v1"  # type: ignore[union-attr]


def test_the_oldest_entry_is_forgotten_first() -> None:
    known = Attachments()
    for number in range(KEPT + 1):
        known.name(known.expect(entry(f"c{number}"), "BTC-USD"), f"x{number}")
    assert (known.of("c0"), known.of_exit("x0"), len(known.unsettled())) == (None, None, KEPT)
    assert known.of_exit("x1") is known.of("c1")


def test_a_later_session_knows_the_exit_by_its_id() -> None:
    known = Attachments()
    made = known.expect(entry(time_in_force=TimeInForce.IOC), "BTC-USD", "x1")
    assert (made.fate, known.unnamed("BTC-USD"), known.of_exit("x1")) == ("told", [], made)
