"""Every order's facts told once, in an order that never releases risk early."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.coinbase import wire
from connectors.coinbase.exit_tracking import ENDED_KEPT
from connectors.coinbase.tracker import OrderTracker
from engine.events import (
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)
from tests.support.coinbase import BTC, TS_NS, fill


def tracker(**options: Any) -> OrderTracker:
    return OrderTracker("coinbase", {"BTC-USD": BTC}, **options)


def observe(t: OrderTracker, status: str, filled: str = "0", reason: str = "", **more: Any) -> list[InputEvent]:
    fields: dict[str, Any] = {"client_order_id": "c1", "venue_order_id": "v1", "product_id": "BTC-USD"}
    return t.observe(
        **{**fields, **more}, status=status, filled_qty=filled, reason=reason, ts_event_ns=TS_NS, ts_recv_ns=9
    )


def book(t: OrderTracker, entry: str = "e1", size: str = "0.4", **more: Any) -> list[InputEvent]:
    return t.book(msgspec.json.decode(json.dumps(fill(entry, size=size, **more)), type=wire.Fill, strict=False), 9)


def listed(entry: str, **more: Any) -> wire.Fill:
    return msgspec.json.decode(json.dumps(fill(entry, size="0.4", **more)), type=wire.Fill, strict=False)


def kinds(events: list[InputEvent]) -> list[type]:
    return [type(event) for event in events]


def test_the_acceptance_is_told_once_whoever_tells_it_first() -> None:
    """REST answer and stream, in both orders."""
    for first_rest in (True, False):
        t = tracker()
        t.sent("c1", 1)
        events = t.accepted("c1", "v1", 5) if first_rest else observe(t, "OPEN")
        events += observe(t, "OPEN") if first_rest else t.accepted("c1", "v1", 5)
        assert kinds(events) == [OrderAccepted]


def test_a_fill_carries_everything_and_its_entry_id_is_the_trade_id() -> None:
    """Trade ids repeat across orders at this venue, entry ids do not."""
    t = tracker()
    t.sent("c1", 1)
    observe(t, "OPEN", "0.4")
    (event,) = book(t)
    assert event == OrderFilled(
        TS_NS, 9, "coinbase", "c1", "v1", "e1", BTC, Side.BUY, Decimal("0.4"), Decimal(100), Decimal("0.04"), "USD",
        Liquidity.TAKER,
    )  # fmt: skip


@pytest.mark.fault("B1")
def test_a_fill_listed_twice_is_booked_once() -> None:
    """The listing is read anew for every partial fill, so repetition is the rule."""
    t = tracker()
    t.sent("c1", 1)
    observe(t, "OPEN", "0.4")
    book(t)
    assert book(t) == []
    assert t.duplicate_fills == 1


@pytest.mark.fault("B9")
def test_growth_wants_the_fills_until_they_are_booked() -> None:
    """0.4, then 0.4 again, then 1.0."""
    t = tracker()
    t.sent("c1", 1)
    observe(t, "OPEN")
    assert t.take_wanted() == []
    observe(t, "OPEN", "0.4")
    assert (t.take_wanted(), t.take_wanted(), t.wants_fills("v1")) == (["v1"], [], True)
    book(t)
    observe(t, "OPEN", "0.4")
    assert (t.take_wanted(), t.wants_fills("v1")) == ([], False)
    observe(t, "OPEN", "1.0")
    assert t.take_wanted() == ["v1"]


def ask_to_cancel(t: OrderTracker) -> None:
    order = t.get("c1")
    assert order is not None
    order.is_cancel_asked = True


@pytest.mark.fault("B5")
def test_a_cancelled_order_ends_only_after_its_last_fill() -> None:
    """CANCELLED with 0.4 filled: the end would release risk that a fill still needs, so it waits for the listing."""
    t = tracker()
    t.sent("c1", 1)
    ask_to_cancel(t)
    assert kinds(observe(t, "CANCELLED", "0.4", "User requested cancel")) == [OrderAccepted]
    events = book(t)
    assert kinds(events) == [OrderFilled, OrderCancelled]
    assert events[1].reason == "User requested cancel"
    assert observe(t, "CANCELLED", "0.4") == []


@pytest.mark.fault("B5")
@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED"])
def test_an_end_that_nobody_asked_for_waits_until_the_fills_were_read_after_it(status: str) -> None:
    """Self-trade prevention, or the rest of an order that does not rest: told with 0 filled, 0.4 are listed."""
    t = tracker()
    t.sent("c1", 1)
    assert kinds(observe(t, status, "0", "Self trade prevented")) == [OrderAccepted]
    assert (t.take_wanted(), t.wants_fills("v1"), t.hides_fills("v1"), t.is_unresolved("c1")) == (["v1"], *3 * [True])
    assert t.fills_read("v1", 9) == [], "that reading was under way when it ended"
    assert kinds(book(t)) == [OrderFilled]
    ends = t.fills_read("v1", 9, after_end=True)
    assert kinds(ends) == [OrderCancelled if status == "CANCELLED" else OrderExpired]
    assert (t.wants_fills("v1"), t.is_unresolved("c1"), t.open_orders()) == (False, False, [])
    assert observe(t, status, "0.4") == t.fills_read("v1", 9, after_end=True) == []


@pytest.mark.fault("B5")
def test_a_fill_without_sense_is_no_reading_of_what_an_order_has_filled_when_it_ended() -> None:
    """Nothing claimed, and an entry without a size: its end waits, until the venue says how much it was."""
    t = tracker()
    t.sent("c1", 1)
    observe(t, "CANCELLED")
    assert book(t, size="NaN") == t.fills_read("v1", 9, after_end=True) == []
    assert t.take_unreadable().keys() == {"v1"}
    assert t.wants_fills("v1")
    assert kinds(book(t, "e2")) == [OrderFilled]
    assert book(t, size="NaN") == []
    observe(t, "CANCELLED", "0.4")
    assert kinds(t.fills_read("v1", 9, after_end=True)) == [OrderCancelled]


@pytest.mark.fault("B16")
def test_an_order_that_is_filled_by_an_untold_amount_is_asked_about_with_pauses() -> None:
    """A reading that shows nothing wants no other one at once: the venue would be asked as fast as it answers."""
    t = tracker()
    t.sent("c1", 1)
    assert kinds(observe(t, "FILLED", "")) == [OrderAccepted]
    assert t.take_wanted() == ["v1"]
    assert t.fills_read("v1", 9, after_end=True) == t.take_wanted() == []
    assert (t.wants_fills("v1"), t.hides_fills("v1"), t.is_unresolved("c1")) == (True, True, True)
    assert kinds(observe(t, "FILLED", "0.4") + book(t)) == [OrderFilled]
    assert (t.wants_fills("v1"), t.open_orders()) == (False, [])


@pytest.mark.fault("B5")
def test_an_end_that_was_asked_for_is_told_at_once() -> None:
    """What it had filled was told before: whoever reprices by cancels is not kept waiting."""
    t = tracker()
    t.sent("c1", 1)
    ask_to_cancel(t)
    assert kinds(observe(t, "CANCELLED")) == [OrderAccepted, OrderCancelled]
    assert (t.take_wanted(), t.hides_fills("v1")) == ([], False)


@pytest.mark.fault("B5")
def test_a_fill_of_an_order_that_has_ended_is_still_wanted() -> None:
    t = tracker()
    t.sent("c1", 1)
    ask_to_cancel(t)
    observe(t, "CANCELLED")
    assert observe(t, "CANCELLED", "0.4") == []
    assert (t.take_wanted(), t.wants_fills("v1")) == (["v1"], True)
    assert kinds(book(t)) == [OrderFilled]


def test_each_end_is_told_once_as_what_it_is() -> None:
    """Filled tells no end of its own: the fills do."""
    for status, expected in (
        ("CANCELLED", [OrderAccepted, OrderCancelled]),
        ("EXPIRED", [OrderAccepted, OrderExpired]),
        ("FAILED", [OrderRejected]),
    ):
        t = tracker()
        t.sent("c1", 1)
        ask_to_cancel(t)
        assert kinds(observe(t, status) + observe(t, status)) == expected
        assert t.open_orders() == []
    t = tracker()
    t.sent("c1", 1)
    assert kinds(observe(t, "FILLED", "0.4")) == [OrderAccepted]
    assert kinds(book(t)) == [OrderFilled]
    assert t.open_orders() == []


def test_an_order_that_fails_after_its_acceptance_is_rejected_with_the_reason() -> None:
    """A post-only order that would cross: accepted is not live."""
    t = tracker()
    t.sent("c1", 1)
    t.accepted("c1", "v1", 5)
    (event,) = observe(t, "FAILED", reason="INVALID_LIMIT_PRICE_POST_ONLY")
    assert (type(event), event.reason) == (OrderRejected, "post_only_would_cross")
    assert event.text == "INVALID_LIMIT_PRICE_POST_ONLY"


@pytest.mark.fault("B4")
def test_a_fill_before_any_acknowledgement_makes_it_accepted_first() -> None:
    """The listing knows the order by its venue id only after the stream told it; the order of facts is kept."""
    t = tracker()
    t.sent("c1", 1)
    assert kinds(observe(t, "FILLED", "0.4") + book(t)) == [OrderAccepted, OrderFilled]


@pytest.mark.fault("C13")
def test_an_unknown_status_changes_nothing() -> None:
    """Counted; the order stays open."""
    t = tracker()
    t.sent("c1", 1)
    t.accepted("c1", "v1", 5)
    assert observe(t, "HALF_DONE") == []
    assert (t.unknown_status, len(t.open_orders())) == (1, 1)


@pytest.mark.fault("B16")
def test_evidence_overrules_never_arrived() -> None:
    """Given up as absent, then the stream shows it after all, filled."""
    t = tracker()
    t.sent("c1", 1)
    t.not_sent("c1")
    assert t.open_orders() == []
    assert kinds(observe(t, "OPEN", "0.4") + book(t)) == [OrderAccepted, OrderFilled]
    assert len(t.open_orders()) == 1


@pytest.mark.fault("B16")
@pytest.mark.parametrize(
    ("status", "filled", "told"),
    [
        ("CANCELLED", "0", [OrderAccepted, OrderCancelled]),
        ("EXPIRED", "0.4", [OrderAccepted, OrderFilled, OrderExpired]),
        ("FILLED", "0.4", [OrderAccepted, OrderFilled]),
    ],
)
def test_an_order_that_never_arrived_and_shows_itself_by_its_end_has_ended(
    status: str, filled: str, told: list[type]
) -> None:
    t = tracker()
    t.sent("c1", 1)
    t.not_sent("c1")
    events = observe(t, status, filled) + (book(t) if filled != "0" else []) + t.fills_read("v1", 9, after_end=True)
    assert (kinds(events), t.open_orders()) == (told, [])


@pytest.mark.fault("B8")
def test_fills_from_before_the_session_of_foreign_orders_are_not_told_again() -> None:
    """The balances read at the start contain them; a fill after the start is told, ours is told always."""
    t = tracker(since_ns=TS_NS)
    observe(t, "OPEN", "0.8", client_order_id="by-hand")
    assert book(t, "old", trade_time="2026-11-20T14:03:06Z") == []
    assert kinds(book(t, "new", trade_time="2026-11-20T14:03:08Z")) == [OrderFilled]
    t.sent("c2", 1)
    observe(t, "OPEN", "0.4", client_order_id="c2", venue_order_id="v2")
    assert kinds(book(t, "ours", order_id="v2", trade_time="2026-11-20T14:03:06Z")) == [OrderFilled]


def test_before_the_balances_are_read_no_foreign_fill_is_told() -> None:
    """It is part of what will be read; afterwards fills from that moment on are told, and one of the doubtful time is
    noted."""
    t = tracker()
    observe(t, "OPEN", "1", client_order_id="by-hand")
    assert book(t, "early", trade_time="2026-11-20T14:03:08Z") == []
    t.open(TS_NS, (TS_NS - 500_000_000, TS_NS + 500_000_000))
    assert kinds(book(t, "later", trade_time="2026-11-20T14:03:08Z")) == [OrderFilled]
    assert t.doubtful == ""
    assert kinds(book(t, "between", trade_time="2026-11-20T14:03:07.2Z")) == [OrderFilled]
    assert "fill between" in t.doubtful


def test_a_fill_of_ours_while_the_balances_are_read_is_no_doubt() -> None:
    """Nothing of ours was sent before they were read."""
    t = tracker()
    t.open(TS_NS, (TS_NS - 500_000_000, TS_NS + 500_000_000))
    t.sent("c1", 1)
    observe(t, "OPEN", "1")
    book(t, "e1")
    assert t.doubtful == ""


def test_orders_in_other_products_are_none_of_ours() -> None:
    """No event, nothing kept open."""
    t = tracker()
    assert observe(t, "OPEN", "1", product_id="DOGE-USD", client_order_id="x", venue_order_id="vx") == []
    assert t.open_orders() == []


def test_a_size_in_quote_currency_becomes_base_units() -> None:
    """40 USD at 100 is 0.4."""
    t = tracker(since_ns=0)
    observe(t, "OPEN", "0.4")
    (event,) = book(t, size="40", size_in_quote=True)
    assert event.qty == Decimal("0.4")


def test_ended_orders_are_forgotten_oldest_first() -> None:
    """The memory of ended orders is bounded; open ones are never forgotten."""
    t = tracker()
    t.sent("open", 1)
    for index in range(ENDED_KEPT + 10):
        t.sent(f"c{index}", 1)
        t.not_sent(f"c{index}")
    assert t.get("c0") is None
    assert t.get(f"c{ENDED_KEPT + 9}") is not None
    assert [order.client_order_id for order in t.open_orders()] == ["open"]


@pytest.mark.fault("B1")
@pytest.mark.fault("B3")
@pytest.mark.fault("B4")
@pytest.mark.fault("B5")
@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=10))
def test_any_order_of_messages_gives_the_same_position_and_one_end(order: list[int], repeats: list[int]) -> None:
    """B1-B5 by permutation: answer, updates and fills in any order, repeated; fills sum to the claim, one end."""
    t = tracker()
    t.sent("c1", 1)
    steps = [
        lambda: t.accepted("c1", "v1", 5),
        lambda: observe(t, "OPEN", "0.4"),
        lambda: observe(t, "CANCELLED", "0.7"),
        lambda: book(t, "e1", "0.4"),
        lambda: book(t, "e2", "0.3"),
        lambda: t.fills_read("v1", 9, after_end=t.hides_fills("v1")),
    ]
    events: list[InputEvent] = []
    for index in [*order, *repeats, 3, 4, 5]:  # the listing is read again until the claim is covered
        events += steps[index]()
    assert sum(e.qty for e in events if isinstance(e, OrderFilled)) == Decimal("0.7")
    assert kinds(events).count(OrderAccepted) == 1
    assert kinds(events).count(OrderCancelled) == 1
    assert kinds(events).index(OrderAccepted) == 0
    assert t.open_orders() == []


# --- orders of others, and of an earlier session ------------------------------------------------------------------


def found(t: OrderTracker, filled: str = "0.4", name: str = "by-hand") -> list[InputEvent]:
    return t.find(name, "v9", BTC, "SELL", Decimal(2), Decimal(filled), Decimal(70_000), 9)


@pytest.mark.fault("B8")
def test_a_strangers_order_before_the_opening_is_told_once_and_its_fills_so_far_never() -> None:
    """They are part of the balances; what is filled of it afterwards is told."""
    t = tracker()
    assert not t.strangers
    observe(t, "OPEN", "0.4", client_order_id="by-hand", venue_order_id="v9")
    assert t.strangers
    (event,) = found(t)
    assert isinstance(event, OrderFound)
    assert (event.client_order_id, event.side, event.qty, event.filled_qty) == ("by-hand", Side.SELL, 2, Decimal("0.4"))
    assert found(t) == []
    assert t.take_wanted() == []
    t.open(TS_NS, (0, 0))
    assert kinds(observe(t, "OPEN", "0.9", client_order_id="by-hand", venue_order_id="v9")) == []
    assert t.take_wanted() == ["v9"]
    assert kinds(book(t, "e9", "0.5", order_id="v9")) == [OrderFilled]


@pytest.mark.fault("B8")
def test_a_strangers_order_that_fills_up_while_the_account_is_read_ends() -> None:
    """After its listing and before the balances: those fills are never told, so its end is."""
    t = tracker()
    observe(t, "OPEN", "0.4", client_order_id="by-hand", venue_order_id="v9")
    found(t)
    t.open(2**62, (0, 0))
    assert kinds(observe(t, "FILLED", "2", client_order_id="by-hand", venue_order_id="v9")) == []
    assert kinds(book(t, "e9", "1.6", order_id="v9")) == [OrderCancelled]


@pytest.mark.fault("B8")
def test_after_the_opening_what_was_told_of_it_is_what_is_filled() -> None:
    """A fill came first and was told as one without an order; the listing then names the order."""
    t = tracker()
    t.open(TS_NS, (0, 0))
    observe(t, "OPEN", "0.4", client_order_id="by-hand", venue_order_id="v9")
    assert kinds(book(t, "e9", "0.4", order_id="v9")) == [OrderFilled]
    (event,) = found(t)
    assert isinstance(event, OrderFound)
    assert event.filled_qty == Decimal("0.4")


def test_an_order_of_ours_is_no_strangers() -> None:
    """Nor is one that has ended, or has a side that is none."""
    t = tracker()
    t.sent("c1", 1)
    assert t.find("c1", "v1", BTC, "BUY", Decimal(1), Decimal(0), None, 9) == []
    observe(t, "CANCELLED", client_order_id="by-hand", venue_order_id="v9")
    assert found(t) == []
    assert t.find("x", "v3", BTC, "SIDEWAYS", Decimal(1), Decimal(0), None, 9) == []


@pytest.mark.fault("A4")
def test_an_adopted_orders_booked_fills_are_not_told_again() -> None:
    """Two of its three fills were booked by the session before; the third is told, and so is its end."""
    t = tracker()
    t.adopt("c1", "v1", Decimal("0.8"), ("e1", "e2"), ended=False)
    assert t.is_unresolved("c1")
    assert kinds(observe(t, "FILLED", "1.2")) == [OrderAccepted]
    assert t.is_unresolved("c1")
    assert kinds(book(t, "e1") + book(t, "e2")) == []
    assert kinds(book(t, "e3")) == [OrderFilled]
    assert not t.is_unresolved("c1")
    assert t.get("c1").closed  # type: ignore[union-attr]


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("carried", "told"), [((), ["e3"]), (("e3",), []), (("e2",), ["e3"])])
def test_what_was_filled_before_an_order_was_found_is_not_told_by_the_session_after(
    carried: tuple[str, ...], told: list[str]
) -> None:
    """Half filled when it was found, with no ids; then perhaps filled further.  The oldest entries are those."""
    t = tracker()
    entries = [listed(name, trade_time=f"2026-11-19T01:00:0{n}Z") for n, name in enumerate(("e1", "e2", "e3"))]
    filled = Decimal("0.8") if "e3" not in carried else Decimal("1.2")  # each is 0.4
    t.adopt("hand", "v1", filled, carried, ended=False)
    t.recall(entries)
    assert [event.trade_id for one in entries for event in t.book(one, 1) if type(event) is OrderFilled] == told


def test_of_an_order_whose_entries_are_all_known_every_other_one_is_told() -> None:
    """One of two was on record; the other one was lost with the power, or came since."""
    t = tracker()
    entries = [listed(name, trade_time=f"2026-11-19T01:00:0{n}Z") for n, name in enumerate(("e1", "e2"))]
    t.adopt("c1", "v1", Decimal("0.4"), ("e2",), ended=False)
    t.recall(entries)
    t.recall(entries)
    assert [event.trade_id for one in entries for event in t.book(one, 1) if type(event) is OrderFilled] == ["e1"]


def test_an_adopted_order_that_had_ended_still_takes_a_late_fill() -> None:
    """It is resolved from the start, and a fill nobody has booked is told."""
    t = tracker()
    t.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=True)
    assert (t.is_unresolved("c1"), t.open_orders()) == (False, [])
    assert kinds(book(t, "e2")) == [OrderFilled]


@pytest.mark.fault("B16")
@pytest.mark.parametrize("venue_order_id", ["", "v1"])
def test_an_adopted_order_that_was_given_up_lives_where_it_shows_itself(venue_order_id: str) -> None:
    """The session before said that it never arrived, or that its record is gone."""
    t = tracker()
    t.adopt("c1", venue_order_id, Decimal(0), (), ended=True, rejected=True)
    assert (t.is_unresolved("c1"), t.open_orders()) == (False, [])
    assert kinds(observe(t, "FAILED")) == []
    assert kinds(observe(t, "OPEN")) == [OrderAccepted]
    assert [order.client_order_id for order in t.open_orders()] == ["c1"]
    assert kinds(observe(t, "CANCELLED")) in ([], [OrderCancelled])


@pytest.mark.fault("B9")
def test_an_adopted_order_of_what_is_not_traded_any_more_has_its_fills_told() -> None:
    """Else its outcome would never be known; in anything else that is not traded, fills say nothing."""
    t = OrderTracker("coinbase", {"ETH-USD": "ETH/USD@coinbase"})
    t.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=False, instrument=BTC)
    observe(t, "FILLED", "0.8")
    assert t.is_unresolved("c1")
    told = book(t, "e2")[0]
    assert isinstance(told, OrderFilled)
    assert (told.instrument, told.fee_currency) == (BTC, "USD")
    assert not t.is_unresolved("c1")
    t.sent("c2", 1)
    t.accepted("c2", "v2", 2)
    assert book(t, "e3", order_id="v2") == []
