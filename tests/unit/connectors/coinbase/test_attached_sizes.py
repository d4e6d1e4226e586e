"""How large an exit is that the venue has made, where the venue does not say it in time."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.coinbase.exit_tracking import OVERFILL_NS
from engine.events import OrderAttached, OrderFilled
from tests.support.coinbase_tracker import listed
from tests.unit.connectors.coinbase.test_attached import book, observe, see_exit, tracker

D = Decimal


@pytest.mark.parametrize("told", ["0.2", ""])
def test_an_exit_that_is_first_heard_of_as_filled_was_as_large_as_what_it_filled(told: str) -> None:
    """Its entry lives on and may fill more: the exit was made for what that had filled by then, and nothing else would
    ever end one that is told as larger."""
    t = tracker()
    observe(t, "OPEN", "0.2")
    book(t, size="0.2")
    t.name_exit("c1", "x1", 9)
    heard = [*see_exit(t, "FILLED", told), *book(t, "e2", "x1", "0.2"), *t.fills_read("x1", 9, after_end=True)]
    filled = [event for event in heard if isinstance(event, OrderFilled)]
    sizes = [event.qty for event in heard if isinstance(event, OrderAttached)]
    assert [event.qty for event in filled] == [D("0.2")]
    assert sizes[-1] == D("0.2")
    assert len(sizes) == (1 if told else 2)
    assert not t.open_orders()[1:]


@pytest.mark.fault("B7")
def test_an_exit_is_as_large_as_what_its_entry_has_filled_though_not_all_of_that_was_told() -> None:
    """Only half of the entry's executions are listed yet: told as half as large, the exit would be filled in the books
    by what it fills first, and live at the venue."""
    t = tracker()
    observe(t, "FILLED", "0.4")
    t.name_exit("c1", "x1", 9)
    see_exit(t, "OPEN", "0.2")
    (_, told) = book(t, size="0.2")
    assert isinstance(told, OrderAttached)
    assert told.qty == D("0.4")


@pytest.mark.fault("B7")
def test_what_an_exit_fills_after_its_end_was_told_waits_for_nothing() -> None:
    """Its entry rests and has filled no more: put off until then it would be in the account's balances and in no
    books, as whoever confirms the account does not wait for an order that has ended."""
    t = tracker()
    observe(t, "OPEN", "0.2")
    book(t, size="0.2")
    t.name_exit("c1", "x1", 9)
    see_exit(t, "FILLED", "0.2")
    book(t, "e2", "x1", "0.2")
    assert [type(event) for event in book(t, "e3", "x1", "0.1")] == [OrderFilled]
    assert not t.defers


@pytest.mark.fault("B7")
@pytest.mark.parametrize("claimed", ["0.2", "0.4"])
def test_what_an_exit_fills_beyond_its_entry_is_put_off_for_a_while(claimed: str) -> None:
    """Its entry rests: it may have filled more that nobody has told yet.  Long after the exit has ended it has not, if
    all that it claims is booked; the account could not be confirmed as long as it rests."""
    t = tracker()
    observe(t, "OPEN", "0.2")
    book(t, size="0.2")
    t.name_exit("c1", "x1", 9)
    see_exit(t, "FILLED", "0.3")
    book(t, "e2", "x1", "0.2")
    observe(t, "OPEN", claimed)
    over = listed("e3", order_id="x1", side="SELL", size="0.1")
    assert t.book(over, OVERFILL_NS) == []
    assert t.defers
    late = [type(event) for event in t.book(over, 2 * OVERFILL_NS)]
    assert (OrderFilled in late, t.defers) == ((True, False) if claimed == "0.2" else (False, True))
