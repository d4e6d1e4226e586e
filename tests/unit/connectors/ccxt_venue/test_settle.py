"""What becomes of orders after their answer, by scripted listings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.account_health import AccountHealth
from connectors.ccxt_venue.answers import SeenBalance, SeenFill, SeenOrder
from connectors.ccxt_venue.client_ids import ClientIds
from connectors.ccxt_venue.questions import Listing, UnansweredError
from connectors.ccxt_venue.settle import Settler
from connectors.ccxt_venue.tracker import OrderTracker
from connectors.fakes import EventLog, FakeClock
from engine.commands import OrderIntent, OrderType
from engine.errors import VenueError
from engine.events import Liquidity, OrderAccepted, OrderCancelled, OrderFilled, OrderRejected, Side

BTC = "BTC/USD@ccxt_kraken"
S = 1_000_000_000


class FakeQuestions:
    """Listings that a test writes; ``failing`` makes every question fail."""

    def __init__(self) -> None:
        self.open: list[SeenOrder] = []
        self.ended: list[SeenOrder] = []
        self.executions: list[SeenFill] = []
        self.shows_ended = True
        self.shows_orders = True
        self.complete = True
        """Of the listing of ended orders and that of executions."""
        self.open_complete = True
        self.unclear = False
        self.held: list[SeenBalance] = []
        self.failing = ""
        self.asked = 0

    async def order(self, venue_order_id: str, _symbol: str) -> SeenOrder | None:
        self._count()
        return next((one for one in (*self.open, *self.ended) if one.venue_order_id == venue_order_id), None)

    async def order_named(self, _question: Any, _symbol: str) -> SeenOrder | None:
        self._count()
        if self.unclear:
            raise UnansweredError("busy, try again")
        return None

    async def open_orders(self, _symbol: str) -> Listing[SeenOrder]:
        self._count()
        listing = Listing(self.open)
        listing.complete = self.open_complete
        return listing

    async def ended_orders(self, _symbol: str, _since_ns: int | None) -> Listing[SeenOrder]:
        self._count()
        return self._cut(Listing(self.ended))

    async def fills(self, _symbol: str, _since_ns: int) -> Listing[SeenFill]:
        self._count()
        return self._cut(Listing(self.executions))

    async def balances(self) -> list[SeenBalance]:
        self._count()
        return list(self.held)

    def _cut(self, listing: Listing[Any]) -> Listing[Any]:
        listing.complete = self.complete
        return listing

    def _count(self) -> None:
        self.asked += 1
        if self.failing:
            raise VenueError(self.failing)


class Desk:
    def __init__(self, exchange: str = "coinbase") -> None:
        self.clock = FakeClock()
        self.log = EventLog()
        self.questions = FakeQuestions()
        self.ids = ClientIds(exchange)
        self.tracker = OrderTracker("ccxt_kraken", self.ids, {"BTC/USD": BTC})
        self.taken_back: list[str] = []
        self.ineffective: list[str] = []
        self.health = AccountHealth("ccxt_kraken", self.log, self.clock)
        self.settler = Settler(
            "ccxt_kraken",
            questions=self.questions,  # type: ignore[arg-type]
            tracker=self.tracker,
            ids=self.ids,
            clock=self.clock,
            emit=self.log.extend,
            account=self.health,
            offset_ns=lambda: 0,
            take_back=self.taken_back.append,
            not_effective=self.ineffective.append,
            hinted=lambda: False,
            poll_s=0.0,
            grace_s=20.0,
        )

    def lose(self, client_id: str, qty: str = "1", px: str = "100") -> None:
        """Sent, and no answer came."""
        now_ns = self.clock.now_ns()
        self.ids.told(client_id)
        self.tracker.sent(client_id, "BTC/USD", Decimal(qty), now_ns)
        intent = OrderIntent(now_ns, "s", BTC, Side.BUY, Decimal(qty), OrderType.LIMIT, Decimal(px))
        self.settler.resolve(client_id, now_ns, intent)

    def seen(
        self, venue_id: str, status: str = "open", filled: str = "0", *, told: str = "", qty: str = "1"
    ) -> SeenOrder:
        return SeenOrder(venue_id, told, "BTC/USD", status, Side.BUY, Decimal(qty), Decimal(filled), Decimal(100),
                         self.clock.now_ns())  # fmt: skip

    def kinds(self) -> list[type]:
        return [type(event) for event in self.log]


async def test_an_order_without_an_outcome_is_found_by_its_name_and_its_executions_read() -> None:
    """It lives and half of it is filled: accepted, then filled."""
    desk = Desk()
    desk.lose("c1")
    desk.questions.open = [desk.seen("v1", filled="0.5", told="c1")]
    desk.questions.executions = [_fill(1, "0.5")]
    await desk.settler.round()
    assert desk.kinds() == [OrderAccepted, OrderFilled]


async def test_absence_counts_only_twice_after_the_grace_and_where_ended_orders_are_listed() -> None:
    """Missing at once is no evidence; without such a listing nobody may say that it never was."""
    desk = Desk()
    desk.lose("c1")
    await desk.settler.round()
    desk.clock.advance(19 * S)
    await desk.settler.round()
    assert desk.kinds() == []
    desk.clock.advance(2 * S)
    await desk.settler.round()
    assert desk.kinds() == [OrderRejected]
    other = Desk()
    other.questions.shows_ended = False
    other.lose("c1")
    for _ in range(5):
        other.clock.advance(30 * S)
        await other.settler.round()
    assert other.kinds() == []
    assert len(other.tracker.open_orders()) == 1


@pytest.mark.parametrize(("exchange", "cut", "unclear", "is_told"), [
    ("coinbase", True, False, False),  # no look-up by name, and the listing may hold more
    ("okx", True, False, True),  # the exchange says that it has none of that name
    ("okx", False, True, False),  # asked by name it says something else
    ("okx", True, True, False),
])  # fmt: skip
async def test_an_order_never_arrived_only_where_the_exchange_says_so(
    exchange: str, cut: bool, unclear: bool, is_told: bool
) -> None:
    """Absent from everything for a minute: a listing that was cut and an error are no evidence of it."""
    desk = Desk(exchange)
    desk.questions.complete, desk.questions.unclear = not cut, unclear
    desk.lose("c1")
    for _ in range(6):
        await desk.settler.round()
        desk.clock.advance(10 * S)
    assert desk.kinds() == ([OrderRejected] if is_told else [])


async def test_a_cancelled_order_that_tells_no_quantity_has_its_executions_read_first() -> None:
    """From a listing that shows all of them: as long as one may be missing, nothing is told as the end."""
    desk = Desk()
    desk.tracker.sent("c1", "BTC/USD", Decimal(1), 0)
    desk.tracker.accepted("c1", "v1", 0)
    ended = desk.seen("v1", "canceled", told="c1")
    desk.questions.ended = [msgspec.structs.replace(ended, filled_qty=None)]
    desk.questions.complete = False
    desk.settler.check_now("c1")
    await desk.settler.round()
    assert desk.kinds() == []
    desk.questions.executions = [_fill(1, "0.4")]
    desk.questions.complete = True
    await desk.settler.round()
    assert desk.kinds() == [OrderFilled, OrderCancelled]


async def test_where_names_are_not_kept_the_only_order_alike_is_it_and_of_two_none_is() -> None:
    """The exchange gave an earlier order another name: by side, size and price; never by guess."""
    desk = Desk()
    desk.tracker.renamed = 1
    desk.lose("c1")
    desk.questions.open = [desk.seen("v1", told="x"), desk.seen("v2", told="y", qty="2")]
    await desk.settler.round()
    assert desk.kinds() == [OrderAccepted]
    unsure = Desk()
    unsure.tracker.renamed = 1
    unsure.lose("c1")
    unsure.questions.open = [unsure.seen("v1", told="x"), unsure.seen("v2", told="y")]
    for _ in range(6):
        await unsure.settler.round()
        unsure.clock.advance(10 * S)
    assert unsure.kinds() == []


@pytest.mark.parametrize(("exchange", "alike", "told"), [
    ("coinbase", 1, [OrderAccepted]),  # no name on it, and it is what was sent
    ("coinbase", 2, []),  # one of the two may be it: nobody may say that it never arrived
    ("coinbase", 0, [OrderRejected]),
    ("okx", 1, [OrderRejected]),  # it knows names, and says that there is none of this one
])  # fmt: skip
@pytest.mark.fault("B14")
async def test_an_order_that_comes_back_without_a_name_is_not_told_as_never_arrived(
    exchange: str, alike: int, told: list[type]
) -> None:
    """The exchange tells no names back, or not in this listing: what is there may be ours."""
    desk = Desk(exchange)
    desk.lose("c1")
    desk.questions.open = [desk.seen(f"v{number}") for number in range(alike)] + [desk.seen("other", qty="2")]
    for _ in range(6):
        await desk.settler.round()
        desk.clock.advance(10 * S)
    assert desk.kinds() == told


async def test_one_failing_question_keeps_nobody_else_and_is_told_when_it_goes_on() -> None:
    """The account counts as unreadable after some failures in a row, until a round goes well."""
    desk = Desk()
    desk.lose("c1")
    desk.questions.failing = "down"
    with pytest.raises(VenueError):
        await desk.settler.round()
    for _ in range(5):
        assert not await desk.settler.guarded("orders", desk.settler.round)
    assert desk.settler.failures == 5
    desk.questions.failing = ""
    desk.questions.open = [desk.seen("v1", told="c1")]
    assert await desk.settler.guarded("orders", desk.settler.round)
    assert desk.kinds() == [OrderAccepted]


async def test_an_immediate_order_that_rests_is_taken_back() -> None:
    """The exchange did not know its time in force: it is open seconds after its answer."""
    desk = Desk()
    desk.tracker.sent("c1", "BTC/USD", Decimal(1), 0)
    desk.tracker.accepted("c1", "v1", 0)
    desk.questions.open = [desk.seen("v1", told="c1")]
    for _ in range(3):
        desk.settler.expect_end("c1")
        desk.settler.check_now("c1")
        await desk.settler.round()
        desk.clock.advance(4 * S)
    assert desk.taken_back == ["c1"]


async def test_a_cancel_that_was_taken_and_did_nothing_is_told() -> None:
    """The order is open still a while after the acknowledgement."""
    desk = Desk()
    order = desk.tracker.sent("c1", "BTC/USD", Decimal(1), 0)
    desk.tracker.accepted("c1", "v1", 0)
    desk.questions.open = [desk.seen("v1", told="c1")]
    order.cancel_taken_ns = desk.clock.now_ns()
    for _ in range(2):
        desk.settler.check_now("c1")
        await desk.settler.round()
        desk.clock.advance(3 * S)
    assert desk.ineffective == ["c1"]


async def test_a_hundred_lost_orders_cost_one_listing_each_round() -> None:
    """Not one for each: an exchange would shut its door."""
    desk = Desk()
    for number in range(100):
        desk.lose(f"c{number}")
    desk.questions.ended = [desk.seen(f"v{number}", "canceled", told=f"c{number}") for number in range(100)]
    await desk.settler.round()
    assert desk.kinds().count(OrderCancelled) == 100
    assert desk.questions.asked <= 3


def _fill(number: int, qty: str) -> SeenFill:
    return SeenFill(f"v1:{number}", "v1", "BTC/USD", Side.BUY, Decimal(qty), Decimal(100), Decimal(0), "USD",
                    Liquidity.TAKER, 1)  # fmt: skip
