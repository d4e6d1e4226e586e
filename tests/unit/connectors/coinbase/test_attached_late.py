"""Exits that the venue names late: of which something was told as somebody else's order before."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.coinbase.tracker import OrderTracker
from engine.events import (
    AttachmentMissing,
    InputEvent,
    OrderAttached,
    OrderCancelled,
    OrderFilled,
)
from tests.support.account import Account
from tests.support.coinbase import BTC
from tests.unit.connectors.coinbase.test_attached import book, entry, kinds, observe, see_exit, tracker

D = Decimal
EXIT = "c1-x"


def open_in_the_books(told: list[InputEvent]) -> list[tuple[str, Decimal]]:
    """What a core that is told this holds for open."""
    account = Account()
    for event in told:
        account.publish(event)
    return [(one.client_order_id, one.leaves_qty) for one in account.core.orders.open_orders()]


def an_earlier_sessions(filled: str, entries: tuple[str, ...], *, ended: bool) -> OrderTracker:
    """Its entry filled; the exit was told as somebody else's, with so much of it filled."""
    t = OrderTracker("coinbase", {"BTC-USD": BTC})
    t.adopt("c1", "v1", D("0.4"), ("e1",), ended=True, instrument=BTC)
    t.adopt("x1", "x1", D(filled), entries, ended=ended, of_others=True, instrument=BTC)
    t.attachments.expect(entry(), "BTC-USD")
    return t


@pytest.mark.parametrize("ended", [False, True])
def test_an_exit_that_filled_as_somebody_elses_before_it_was_known_ends_when_it_is_full(ended: bool) -> None:
    """A part of it, or all while nobody looked: what was told under another name does not fill the exit in the books,
    where it stayed open for ever."""
    t = an_earlier_sessions("0.1", ("e2",), ended=ended)
    told = t.name_exit("c1", "x1", 5)
    told += see_exit(t, filled="0.1", leaves="0.3") + see_exit(t, "FILLED", "0.4")
    told += book(t, "e3", "x1", "0.3") + t.fills_read("x1", 9, after_end=True)
    assert t.open_orders() == []
    assert open_in_the_books(told) == []


def test_an_exit_that_filled_while_nobody_looked_and_was_known_afterwards_has_ended() -> None:
    """Its executions were read before its entry named it, so they were told as somebody else's."""
    t = an_earlier_sessions("0", (), ended=True)
    told = book(t, "e2", "x1") + t.name_exit("c1", "x1", 5)
    told += see_exit(t, "FILLED", "0.4") + t.fills_read("x1", 9, after_end=True)
    assert t.open_orders() == []
    assert open_in_the_books(told) == []


def test_an_exit_that_was_told_as_somebody_elses_in_this_session_ends_when_it_is_full() -> None:
    t = tracker()
    t.open(0, (0, 0))
    t.accepted("c1", "v1", 5)
    told = see_exit(t) + t.release(t.held_orders()[0], 5)
    told += t.find("x1", "x1", BTC, "SELL", D("0.4"), D(0), D(62000), 5) + book(t, "e2", "x1", "0.1")
    told += observe(t, "FILLED", "0.4") + book(t) + t.name_exit("c1", "x1", 5)
    told += see_exit(t, filled="0.1", leaves="0.3") + see_exit(t, "FILLED", "0.4")
    told += book(t, "e3", "x1", "0.3") + t.fills_read("x1", 9, after_end=True)
    assert t.open_orders() == []
    assert EXIT not in dict(open_in_the_books(told))


def a_later_session(told_before: tuple[str, ...] = ()) -> OrderTracker:
    """Of its entry all was told, the exit was not carried."""
    t = OrderTracker("coinbase", {"BTC-USD": BTC})
    t.know(told_before)
    t.adopt("c1", "v1", D("0.4"), ("e1",), ended=True, instrument=BTC)
    t.attachments.expect(entry(), "BTC-USD")
    t.open(0, (0, 0))
    return t


def sizes(told: list[InputEvent]) -> list[Decimal]:
    return [event.qty for event in told if isinstance(event, OrderAttached)]


def test_executions_that_an_earlier_session_has_told_are_not_told_again_as_the_exits() -> None:
    """They were told as those of an order that nobody knew, and so it was not carried: told anew they were duplicates,
    and the exit stayed open in the books."""
    t = a_later_session(("e1", "e2"))
    told = t.name_exit("c1", "x1", 5) + see_exit(t, filled="0.1", leaves="0.3")
    told += book(t, "e2", "x1", "0.1")
    assert (sizes(told), kinds(book(t, "e2", "x1", "0.1"))) == ([D("0.4"), D("0.3")], [])
    told += see_exit(t, "FILLED", "0.4") + book(t, "e3", "x1", "0.3")
    assert [event.trade_id for event in told if isinstance(event, OrderFilled)] == ["e3"]
    assert (t.open_orders(), open_in_the_books(told)) == ([], [])


def test_an_exit_of_which_an_earlier_session_has_told_every_execution_ends_as_filled() -> None:
    t = a_later_session(("e2",))
    told = t.name_exit("c1", "x1", 5) + see_exit(t, "FILLED", "0.4") + book(t, "e2", "x1")
    assert kinds(told) == [(OrderAttached, EXIT), (OrderCancelled, EXIT)]
    assert (t.open_orders(), open_in_the_books(told), t.awaited_exits()) == ([], [], [])


def test_an_exit_that_went_on_under_its_own_name_counts_what_was_told_under_the_other() -> None:
    """Both were carried: of 0.4 somebody else's order had filled 0.1, and 0.3 was the exit's."""
    t = a_later_session()
    t.adopt(EXIT, "x1", D("0.2"), ("e3",), ended=False, instrument=BTC)
    t.adopt("x1", "x1", D("0.1"), ("e2",), ended=True, of_others=True, instrument=BTC)
    made = t.attachments.expect(entry(), "BTC-USD", "x1")
    t.adopt_exit(made, D("0.3"))
    assert sizes(see_exit(t, filled="0.3", leaves="0.1")) == [D("0.3")]
    assert book(t, "e2", "x1", "0.1") == book(t, "e3", "x1", "0.2") == []
    assert see_exit(t, "FILLED", "0.4") == []
    assert kinds(book(t, "e4", "x1", "0.1")) == [(OrderFilled, EXIT)]
    assert t.open_orders() == []


def test_an_exit_that_has_filled_as_somebody_elses_to_the_last_is_missing_once() -> None:
    """Nothing is left that could be told as the exit's: whoever waits for it hears so."""
    t = an_earlier_sessions("0.4", ("e2",), ended=True)
    assert t.name_exit("c1", "x1", 5) == []
    assert t.take_doubted() == [EXIT]
    assert kinds(see_exit(t, "FILLED", "0.4")) == [(AttachmentMissing, "c1")]
    assert see_exit(t, "FILLED", "0.4") == t.fills_read("x1", 9, after_end=True) == []
    assert (t.open_orders(), t.awaited_exits()) == ([], [])


def test_one_that_is_executed_beyond_what_was_told_as_somebody_elses_is_told_with_that() -> None:
    t = an_earlier_sessions("0.4", ("e2",), ended=True)
    told = t.name_exit("c1", "x1", 5) + book(t, "e3", "x1", "0.1") + see_exit(t, "FILLED", "0.5")
    assert (kinds(told)[-1], set(sizes(told))) == ((OrderFilled, EXIT), {D("0.1")})
    assert (t.open_orders(), open_in_the_books(told)) == ([], [])
