"""Orders at an exchange: every fact once, executions before the end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from connectors.ccxt_venue.answers import SeenFill, SeenOrder
from connectors.ccxt_venue.client_ids import ClientIds
from connectors.ccxt_venue.tracker import OrderTracker
from engine.events import (
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)

BTC = "BTC/USD@ccxt_kraken"
ONE = Decimal(1)


def tracker(qty: Decimal = ONE) -> OrderTracker:
    made = OrderTracker("ccxt_kraken", ClientIds("kraken"), {"BTC/USD": BTC})
    made.ids.told("c1")
    made.sent("c1", "BTC/USD", qty, 100)
    return made


def seen(status: str, filled: str | None = "0", *, told: str = "c1", venue_id: str = "v1", **more: Any) -> SeenOrder:
    claimed = None if filled is None else Decimal(filled)
    given = {"side": Side.BUY, "qty": ONE, "limit_px": Decimal(100), "ts_event_ns": 200} | more
    return SeenOrder(venue_id, told, "BTC/USD", status, filled_qty=claimed, **given)


def fill(number: int, qty: str = "0.5", venue_id: str = "v1") -> SeenFill:
    return SeenFill(
        f"{venue_id}:{number}", venue_id, "BTC/USD", Side.BUY, Decimal(qty), Decimal(100), Decimal("0.1"), "USD",
        Liquidity.TAKER, 300,
    )  # fmt: skip


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]


def test_an_end_waits_for_every_execution_that_the_exchange_claims() -> None:
    """Closed with everything filled: nothing is told as ended before both fills are, and an end of its own is none."""
    one = tracker()
    assert kinds(one.observe(seen("closed", "1"), 5)) == [OrderAccepted]
    order = one.get("c1")
    assert order is not None
    assert order.wants_fills
    assert kinds(one.book(fill(1), 6)) == [OrderFilled]
    assert kinds(one.book(fill(1), 7)) == []
    assert not order.closed
    assert kinds(one.book(fill(2), 8)) == [OrderFilled]
    assert order.closed
    assert one.duplicate_fills == 1
    assert one.open_orders() == []


def test_a_cancelled_order_tells_its_executions_first() -> None:
    """Half was filled; the cancel is told after it."""
    one = tracker()
    one.accepted("c1", "v1", 1)
    assert one.observe(seen("canceled", "0.5", reason="by user"), 5) == []
    filled, cancelled = one.book(fill(1), 6)
    assert isinstance(filled, OrderFilled)
    assert isinstance(cancelled, OrderCancelled)
    assert cancelled.reason == "by user"


def test_closed_with_less_than_was_ordered_is_the_end_of_the_rest() -> None:
    """Some exchanges close an immediate order that was filled in part."""
    one = tracker()
    one.observe(seen("closed", "0.5"), 5)
    assert kinds(one.book(fill(1), 6)) == [OrderFilled, OrderCancelled]


def test_closed_without_a_quantity_waits_for_executions() -> None:
    """Nothing says how much: no end is told on that."""
    one = tracker()
    one.observe(seen("closed", None), 5)
    assert one.fills_read("v1", 6) == []
    order = one.get("c1")
    assert order is not None
    assert one.is_unresolved(order)


def test_an_end_without_a_quantity_is_told_when_the_executions_were_read() -> None:
    """Cancelled, and closed after a part was booked: what else was filled is not guessed."""
    for status in ("canceled", "closed"):
        one = tracker()
        one.observe(seen("open", "0.5"), 4)
        one.book(fill(1), 5)
        assert one.observe(seen(status, None), 6) == []
        order = one.get("c1")
        assert order is not None
        assert order.wants_fills
        assert kinds(one.fills_read("v1", 7)) == [OrderCancelled]
    later = tracker()
    later.observe(seen("canceled", None), 5)
    assert kinds(later.observe(seen("canceled", "0"), 6)) == [OrderCancelled], "told after all"


def test_words_that_nobody_knows_and_none_leave_an_order_as_it_was() -> None:
    """Coinbase's ``PENDING`` comes through as it is; a status may be missing."""
    one = tracker()
    assert kinds(one.observe(seen("PENDING"), 5)) == [OrderAccepted]
    assert one.observe(seen("", None), 6) == []
    assert one.unknown_status == 2
    assert kinds(one.observe(seen("expired"), 7)) == [OrderCancelled], "we send none that has an end"
    assert one.observe(seen("open"), 8) == []


def test_a_refusal_seen_later_is_told_unless_something_was_filled() -> None:
    """A post-only order that would have crossed fails after its acceptance."""
    one = tracker()
    one.accepted("c1", "v1", 1)
    assert kinds(one.observe(seen("rejected", reason="post only"), 5)) == [OrderRejected]
    other = tracker()
    other.observe(seen("rejected", "0.5"), 5)
    assert kinds(other.book(fill(1), 6)) == [OrderFilled, OrderCancelled]


def test_evidence_overrules_that_it_never_arrived() -> None:
    """Told as refused, then it shows itself: it is accepted and followed."""
    one = tracker()
    one.not_sent("c1")
    assert one.open_orders() == []
    assert kinds(one.observe(seen("open"), 5)) == [OrderAccepted]
    assert len(one.open_orders()) == 1


def test_a_stranger_is_told_once_with_what_is_filled_already() -> None:
    """By hand, without a client id: its executions from before are part of the balances, later ones are told."""
    one = tracker()
    by_hand = seen("open", "0.2", told="", venue_id="v9")
    ending = seen("open", told="", venue_id="v8")
    one.stranger(ending, 250)
    assert kinds(one.observe(msgspec.structs.replace(ending, status="expired"), 260)) == [OrderExpired]
    (found,) = one.stranger(by_hand, 250)
    assert isinstance(found, OrderFound)
    assert (found.client_order_id, found.filled_qty) == ("v9", Decimal("0.2"))
    assert one.stranger(by_hand, 6) == []
    assert kinds(one.observe(seen("canceled", "0.7", told="", venue_id="v9"), 7)) == []
    assert kinds(one.book(fill(4, "0.5", "v9"), 8)) == [OrderFilled, OrderCancelled]


def test_what_filled_before_an_order_was_found_is_not_told_by_the_session_after() -> None:
    """Found half filled at 400, without ids; the fill of 300 is that half.  Of one of our own every fill that it does
    not know is told, whatever the exchange's clock says."""
    for ours, told in ((False, []), (True, [OrderFilled])):
        one = OrderTracker("ccxt_kraken", ClientIds("kraken"), {"BTC/USD": BTC})
        one.adopt("hand", "BTC/USD", ONE, 400, "v1", Decimal("0.5"), (), ended=False, ours=ours)
        assert [kind for kind in kinds(one.book(fill(1), 500)) if kind is OrderFilled] == told


def test_an_order_of_an_earlier_session_goes_on_where_it_was() -> None:
    """Half was booked: that execution is not told again, the other one is."""
    one = OrderTracker("ccxt_kraken", ClientIds("kraken"), {"BTC/USD": BTC})
    one.adopt("c1", "BTC/USD", ONE, 100, "v1", Decimal("0.5"), ("v1:1",), ended=False)
    assert one.observe(seen("closed", "1"), 5) == []
    assert one.book(fill(1), 6) == []
    assert kinds(one.book(fill(2), 7)) == [OrderFilled]


def test_an_order_that_an_earlier_session_gave_up_lives_where_it_shows_itself() -> None:
    """Told as never arrived, and here it is."""
    one = OrderTracker("ccxt_kraken", ClientIds("kraken"), {"BTC/USD": BTC})
    one.adopt("c1", "BTC/USD", ONE, 100, "", Decimal(0), (), ended=True, rejected=True)
    assert kinds(one.observe(seen("open"), 5)) == [OrderAccepted]
    assert [order.client_order_id for order in one.open_orders()] == ["c1"]


def test_names_told_back_are_counted_as_kept_or_not() -> None:
    """An exchange that does not keep our names is known by that."""
    one = tracker()
    one.accepted("c1", "v1", 1)
    one.observe(seen("open"), 5)
    one.observe(seen("open", told="its-own"), 6)
    assert (one.echoed, one.renamed) == (1, 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("observe"),
            st.sampled_from(["open", "closed", "canceled", "", "??"]),
            st.sampled_from([None, "0", "0.5", "1"]),
        ),
        st.tuples(st.just("book"), st.integers(1, 2), st.just("")),
        st.tuples(st.just("accepted"), st.just(""), st.just("")),
        st.tuples(st.just("read"), st.just(""), st.just("")),
    ),
    max_size=12,
)


@given(STEPS)
def test_in_any_order_each_fact_is_told_once_and_nothing_after_the_end(steps: list[Any]) -> None:
    """Accepted first and once, no execution twice, one end at most, and an order that is over was filled or said so."""
    one = tracker()
    told: list[Any] = []
    for kind, first, second in steps:
        if kind == "observe":
            told += one.observe(seen(first, second), 5)
        elif kind == "book":
            told += one.book(fill(first), 6)
        elif kind == "read":
            told += one.fills_read("v1", 7)
        else:
            told += one.accepted("c1", "v1", 4)
    names = kinds(told)
    assert names.count(OrderAccepted) <= 1
    assert names[:1] in ([], [OrderAccepted])
    trades = [event.trade_id for event in told if type(event) is OrderFilled]
    assert len(trades) == len(set(trades))
    assert names.count(OrderCancelled) <= 1
    order = one.get("c1")
    assert order is not None
    if order.closed and OrderCancelled not in names:
        assert order.booked_qty == order.qty
