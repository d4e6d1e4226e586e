"""A market that is told by its levels alone: orders meet its best prices, and nothing while the book is not known."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.paper.exchange import PaperExchange
from engine.events import BookDelta, BookSnapshot, FeedDown, Gap, OrderCancelled, OrderFilled, OrderRejected, Side
from tests.support.matching import SPOT, D, new, quote, trade

BUY, SELL = Side.BUY, Side.SELL


class Desk:
    """A paper exchange without latency; ``told`` are its events."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.exchange = PaperExchange(self.told.append, [SPOT], venue="test", balances={"USD": D(10_000)}, latency_ns=0)
        self.at = 100

    def see(self, event: Any) -> Desk:
        self.exchange.advance(event.ts_recv_ns)
        self.exchange.on_market(event)
        return self

    def book(self, *bids: tuple[float, float], asks: tuple[tuple[float, float], ...] = ((101.0, 5.0),)) -> Desk:
        self.at += 1
        return self.see(BookSnapshot(self.at, self.at, SPOT.id, bids, asks))

    def change(self, *changes: tuple[int, float, float]) -> Desk:
        self.at += 1
        return self.see(BookDelta(self.at, self.at, SPOT.id, changes))

    def send(self, order_id: str, side: Side, qty: str, px: str | None = None) -> list[Any]:
        """What becomes of an order at once."""
        self.told.clear()
        self.exchange.submit(new(order_id, side, qty, px))
        self.at += 1
        self.exchange.advance(self.at)
        return self.told

    def fills(self) -> list[tuple[Any, Any]]:
        return [(event.px, event.qty) for event in self.told if isinstance(event, OrderFilled)]


def test_an_order_meets_the_best_levels_and_their_sizes() -> None:
    """A snapshot, then a change of the best ask: it is bought at the new one."""
    desk = Desk().book((100.0, 5.0)).change((-1, 100.5, 2.0))
    desk.send("c1", BUY, "1")
    assert desk.fills() == [(D("100.5"), D(1))]


def test_a_resting_order_fills_when_the_book_comes_to_it() -> None:
    """A bid at 100.5 below the ask; the ask falls to 100.4."""
    desk = Desk().book((100.0, 5.0))
    desk.send("c1", BUY, "1", "100.5")
    assert desk.fills() == []
    desk.change((-1, 100.4, 3.0))
    assert [px for px, _ in desk.fills()] == [D("100.5")]


@pytest.mark.fault("C5")
@pytest.mark.parametrize(
    "loss",
    [
        Gap(110, 110, "test", SPOT.id, 1, 3),
        Gap(110, 110, "test", "", 1, 3),
        FeedDown(110, 110, "test", "market", "reset"),
    ],
)
def test_nothing_is_offered_while_the_book_is_not_known(loss: Any) -> None:
    """After a loss a market order finds nobody, changes are of no use, and the next snapshot brings the prices back."""
    desk = Desk().book((100.0, 5.0)).see(loss)
    desk.at = 110
    desk.change((-1, 100.2, 1.0))
    told = desk.send("c1", BUY, "1")
    assert isinstance(told[-1], OrderCancelled | OrderRejected)
    desk.book((100.0, 5.0))
    desk.send("c2", BUY, "1")
    assert desk.fills() == [(D("101"), D(1))]


def test_losses_elsewhere_change_nothing() -> None:
    """Of another venue, of the account's stream."""
    desk = Desk().book((100.0, 5.0))
    desk.see(Gap(110, 110, "other", "", 1, 3)).see(FeedDown(110, 110, "test", "user", ""))
    desk.at = 110
    desk.send("c1", BUY, "1")
    assert desk.fills() == [(D("101"), D(1))]


def test_a_side_that_is_empty_offers_nothing() -> None:
    """The last ask goes, and comes back."""
    desk = Desk().book((100.0, 5.0)).change((-1, 101.0, 0.0))
    assert isinstance(desk.send("c1", BUY, "1")[-1], OrderCancelled | OrderRejected)
    desk.change((-1, 101.0, 5.0))
    desk.send("c2", BUY, "1")
    assert desk.fills() == [(D("101"), D(1))]


def test_levels_that_are_no_numbers_fill_nobody_until_the_next_snapshot() -> None:
    """The quality gate refuses the change; the book after it is not believed."""
    desk = Desk().book((100.0, 5.0)).change((-1, 100.2, float("nan")))
    assert desk.exchange.ignored() == 1
    desk.change((-1, 100.3, 1.0)).book((100.0, 5.0))
    desk.send("c1", BUY, "1")
    assert desk.fills() == [(D("101"), D(1))]


def test_best_prices_of_their_own_overrule_the_book() -> None:
    """Once a quote came, older levels do not take back what it said."""
    desk = Desk().book((100.0, 5.0))
    desk.at = 110
    desk.see(quote(100.0, 102.0, ts=110, of=SPOT.id)).change((-1, 100.5, 2.0))
    desk.send("c1", BUY, "1")
    assert desk.fills() == [(D("102"), D(1))]


def test_prices_that_stand_count_again_when_they_are_told_after_a_doubt() -> None:
    """A trade far off withholds the market; the next change of the book, far from the best, gives it back."""
    desk = Desk()
    for _ in range(30):
        desk.at += 1_000_000
        desk.book((100.0, 5.0))
        desk.see(trade(100.5, 1.0, 1, ts=desk.at, of=SPOT.id))
    desk.at += 1_000_000
    desk.see(trade(500.0, 1.0, 1, ts=desk.at, of=SPOT.id))
    assert isinstance(desk.send("c1", BUY, "1")[-1], OrderCancelled | OrderRejected)
    desk.change((1, 90.0, 1.0))
    desk.send("c2", BUY, "1")
    assert desk.fills() == [(D("101"), D(1))]
