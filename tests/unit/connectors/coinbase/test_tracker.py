"""Every order's facts told once, in an order that never releases risk early."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.coinbase.exit_tracking import ENDED_KEPT
from connectors.coinbase.tracker import OrderTracker
from engine.events import (
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    Side,
)
from tests.support.coinbase import BTC, TS_NS
from tests.support.coinbase_tracker import book, kinds, observe, tracker


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
