"""Where groups are found: by id, instrument and order, while they go on and a while after."""

from __future__ import annotations

from decimal import Decimal

from engine import events as e
from engine.commands import GroupIntent, NewOrder, OrderType, TimeInForce
from engine.group_book import ENDED_KEPT, GroupBook
from engine.groups import Group, new_group
from engine.orders import OrderManager
from tests.support.core import BTC, intent

D = Decimal
STOP = intent(e.Side.SELL, order_type=OrderType.STOP, limit_px=None, trigger_px=D(90), time_in_force=TimeInForce.GTC)


def order(name: str, side: e.Side, parent_id: str) -> NewOrder:
    return NewOrder(1, name, "coinbase", intent(side, parent_id=parent_id))


def book_with(*names: str) -> tuple[GroupBook, list[Group]]:
    book = GroupBook(OrderManager("k"))
    groups = [new_group(name, GroupIntent(1, "s", (STOP,), intent())) for name in names]
    for group in groups:
        book.add(group)
    return book, groups


def test_orders_are_of_the_group_that_they_name() -> None:
    """The entry by its side, the exit likewise; a new entry names the old one; strangers are nobody's."""
    book, (group,) = book_with("g")
    for new in (
        order("in", e.Side.BUY, "g"),
        order("in-2", e.Side.BUY, "in"),
        order("out", e.Side.SELL, "g"),
        order("other", e.Side.SELL, "x"),
    ):
        book.link(new)
    assert (list(group.entered), list(group.left), group.sent_id) == (["in", "in-2"], ["out"], "out")
    assert set(book.of) == {"in", "in-2", "out"}


def test_what_has_ended_is_found_for_what_comes_late() -> None:
    """By its orders, not by its instrument; taken up again, it is as before."""
    book, (group, other) = book_with("g", "h")
    book.link(order("in", e.Side.BUY, "g"))
    book.forget(group)
    assert (book.of, book.late, book.watched) == ({}, {"in": group}, {BTC: [other]})
    book.reopen(group)
    assert (book.of, book.late, book.ended) == ({"in": group}, {}, {})
    assert book.watched == {BTC: [other, group]}


def test_what_is_remembered_of_the_ended_is_bounded() -> None:
    """The oldest goes, with its orders."""
    book, groups = book_with(*(f"g{number}" for number in range(ENDED_KEPT + 1)))
    book.link(order("in", e.Side.BUY, "g0"))
    for group in groups:
        book.forget(group)
    assert (len(book.ended), book.late, book.watched) == (ENDED_KEPT, {}, {})
