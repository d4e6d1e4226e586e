"""The paper account: outcomes of a book become events, money is booked before they are told; ids are remembered."""

from __future__ import annotations

from connectors.matching.mirror import MarketMirror
from connectors.matching.orders import Closed, CloseReason, Filled, Opened, Refused, RefuseReason
from connectors.paper.account import ACCOUNT, PaperAccount, RecentIds
from engine.events import OrderCancelled, OrderExpired, OrderFilled, OrderRejected, Side
from tests.support.matching import SPOT, D, book, new


class Told:
    """An account with one open order ``o`` (buy 2), and what it was told with the cash at that moment."""

    def __init__(self):
        self.events = []
        self.account = PaperAccount(self.tell, "test", "p")
        self.account.ledger.deposit(ACCOUNT, "USD", D(1000))
        self.mirror = MarketMirror(book())
        self.account.open(new("o", Side.BUY, "2", "100"), SPOT, D(2))

    def tell(self, event):
        self.events.append((event, self.account.ledger.balance(ACCOUNT, "USD").total))

    def report(self, *outcomes):
        self.account.report(self.mirror, outcomes, 7)
        return [event for event, _ in self.events]


def test_a_fill_is_booked_before_anything_is_told():
    """Opened and filled in one report: already at the acceptance the cash is what it is after the fill and its fee."""
    told = Told()
    match = Filled("m", "o", D(100), D(2), Side.BUY, "t1", 7, "market", ACCOUNT)
    told.report(Opened("o", ACCOUNT), match, Closed("o", CloseReason.FILLED, ACCOUNT, D(2)))
    assert [(type(event).__name__, cash) for event, cash in told.events] == [
        ("OrderAccepted", D("799.6")),
        ("OrderFilled", D("799.6")),
    ]
    assert told.account.orders == {}
    assert "o" in told.account.recent


def test_each_end_has_its_event_and_other_accounts_have_none():
    """Cancelled with its reason, expired, refused by the book; what happens to the market's orders is no news."""
    for outcome, kind, reason in (
        (Closed("o", CloseReason.IOC, ACCOUNT), OrderCancelled, "ioc"),
        (Closed("o", CloseReason.REDUCED, ACCOUNT), OrderCancelled, "reduce_only"),
        (Closed("o", CloseReason.EXPIRED, ACCOUNT), OrderExpired, None),
        (Refused("o", RefuseReason.BOOK_FULL, ACCOUNT), OrderRejected, "unavailable"),
    ):
        told = Told()
        (event,) = told.report(Closed("m", CloseReason.CANCELLED, "market"), outcome)
        assert type(event) is kind
        assert getattr(event, "reason", None) == reason
        assert told.account.orders == {}


def test_two_own_orders_in_one_match_have_two_trade_ids():
    """The book knows one id; facts are distinct by it."""
    told = Told()
    told.account.open(new("s", Side.SELL, "2", "100"), SPOT, D(2))
    events = told.report(Filled("s", "o", D(100), D(1), Side.BUY, "t1", 7, ACCOUNT, ACCOUNT))
    assert [(type(e), e.client_order_id, e.trade_id, e.side) for e in events] == [
        (OrderFilled, "s", "t1m", Side.SELL),
        (OrderFilled, "o", "t1", Side.BUY),
    ]


def test_the_oldest_ids_are_forgotten_first():
    """Four ids into a memory of three."""
    recent = RecentIds(3)
    for order_id in ("a", "b", "c", "d"):
        recent.add(order_id)
    assert "a" not in recent
    assert all(order_id in recent for order_id in ("b", "c", "d"))
    assert len(recent) == 3
