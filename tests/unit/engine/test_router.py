"""Commands reach the gateway of their venue or come back as events."""

from __future__ import annotations

from decimal import Decimal

from engine import events as e
from engine.commands import CancelOrder, Command, NewOrder, ReplaceOrder
from engine.router import OrderRouter
from tests.support.core import BTC, intent

ORDER = NewOrder(7, "k-1", "coinbase", intent())
CANCEL = CancelOrder(8, "k-1", "coinbase", "v-1", BTC)
REPLACE = ReplaceOrder(9, "k-1", "coinbase", "v-1", BTC, Decimal(2), Decimal(101), Decimal(1), Decimal(100))


class Keeps:
    """A gateway that keeps what it is given."""

    def __init__(self, venue: str) -> None:
        self.venue = venue
        self.submitted: list[Command] = []
        self.cancelled: list[Command] = []

    def submit(self, order: NewOrder) -> None:
        self.submitted.append(order)

    def cancel(self, cancel: CancelOrder) -> None:
        self.cancelled.append(cancel)


def test_each_command_goes_to_its_own_venue() -> None:
    """Two gateways: orders to ``submit``, cancels to ``cancel``, nothing to the other venue."""
    here, there = Keeps("coinbase"), Keeps("kraken")
    router = OrderRouter(lambda event: None, lambda: [there, here])
    router.send(ORDER)
    router.send(CANCEL)
    assert (here.submitted, here.cancelled) == ([ORDER], [CANCEL])
    assert (there.submitted, there.cancelled) == ([], [])


def test_a_change_goes_to_a_gateway_that_knows_the_word_and_comes_back_from_any_other() -> None:
    """One whose venue has no such thing is never asked."""

    class Edits(Keeps):
        def replace(self, replace: ReplaceOrder) -> None:
            self.submitted.append(replace)

    told: list[e.InputEvent] = []
    able, unable = Edits("coinbase"), Keeps("coinbase")
    OrderRouter(told.append, lambda: [able]).send(REPLACE)
    assert (able.submitted, told) == ([REPLACE], [])
    OrderRouter(told.append, lambda: [unable]).send(REPLACE)
    assert told == [e.ReplaceRejected(9, 9, "coinbase", "k-1", "unsupported")]
    assert (unable.submitted, unable.cancelled) == ([], [])


def test_without_a_gateway_every_kind_comes_back_with_the_reason() -> None:
    """As the events that a venue would answer with."""
    told: list[e.InputEvent] = []
    router = OrderRouter(told.append, list)
    router.send(ORDER)
    router.send(CANCEL)
    router.send(REPLACE)
    assert told == [
        e.OrderRejected(7, 7, "coinbase", "k-1", "no_gateway"),
        e.CancelRejected(8, 8, "coinbase", "k-1", "no_gateway"),
        e.ReplaceRejected(9, 9, "coinbase", "k-1", "no_gateway"),
    ]


def test_a_gateway_that_was_made_later_is_found() -> None:
    """Connectors make theirs while they start."""
    made: list[Keeps] = []
    told: list[e.InputEvent] = []
    router = OrderRouter(told.append, lambda: made)
    router.send(ORDER)
    made.append(Keeps("coinbase"))
    router.send(ORDER)
    assert len(told) == 1
    assert made[0].submitted == [ORDER]
