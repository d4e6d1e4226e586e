"""What the account's transactions say of exits that hang on a trade, told as orders of ours."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.oanda import wire
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.books import AccountBooks
from connectors.oanda.known import SECOND
from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.settings import SandboxInstrument
from connectors.oanda.sandbox.views import details_json
from engine.events import CancelRejected, Gap, InputEvent, OrderCancelled, OrderFilled, OrderRejected
from tests.unit.connectors.oanda.test_account_protocol import EUR, NAMES, RECV_NS, Reader, names
from tests.unit.connectors.oanda.test_orders import EUR as RULES

D = Decimal


class Holder(Reader):
    """A trade of 100 at 1.08410, and the books beside the protocol."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.protocol.books = self.books = AccountBooks("USD", {"EUR_USD": RULES})
        self.trade = self.venue.buy(100)["tradeOpened"]["tradeID"]
        self.read()

    def bracket(self, client_id: str = "b", qty: int = 100) -> None:
        self.protocol.sent(client_id, D(qty), 2)
        body = {
            "takeProfit": {"price": "1.09000", "clientExtensions": {"id": client_id}},
            "stopLoss": {"price": "1.07000", "clientExtensions": {"id": client_id + SECOND}},
        }
        self.venue.account.log.begin("1")
        self.venue.exchange.closing.exits(self.venue.account, self.trade, body, self.venue.now_ns)

    def cancel(self, address: str) -> None:
        self.venue.exchange.desk.cancel(self.venue.account, address, self.venue.now_ns)


@pytest.mark.parametrize(("bid", "ask", "px"), [("1.09000", "1.09010", "1.09"), ("1.06990", "1.07000", "1.0699")])
def test_a_bracket_is_one_order_that_either_half_fills(bid: str, ask: str, px: str) -> None:
    """Accepted once, filled once; what the venue says of the other half then is told to nobody."""
    holder = Holder()
    holder.bracket()
    assert names(holder.read()) == ["OrderAccepted"]
    holder.venue.quote(bid, ask)
    (fill,) = holder.read()
    assert isinstance(fill, OrderFilled)
    assert (fill.client_order_id, fill.instrument, fill.qty, fill.px) == ("b", EUR, 100, D(px))
    assert holder.protocol.orders.halves == []
    assert holder.protocol.unresolved() == []


def test_the_books_know_when_something_hangs_on_the_only_trade() -> None:
    """Ours or anybody's, told by the stream or read with the account; a second trade makes the position nobody's."""
    holder = Holder()
    assert holder.books.one_trade(EUR) == msgspec.structs.replace(
        holder.books.one_trade(EUR), id=holder.trade, units=D(100), has_exits=False
    )
    holder.bracket()
    holder.read()
    told = holder.books.one_trade(EUR)
    account = wire.decode_details(
        msgspec.json.encode(
            {
                "account": details_json(holder.venue.account, holder.venue.exchange.markets),
                "lastTransactionID": str(holder.log.last),
            }
        )
    ).account
    again = AccountBooks("USD", {"EUR_USD": RULES})
    again.open(account, holder.log.last)
    for one in (told, again.one_trade(EUR)):
        assert one is not None
        assert (one.id, one.units, one.has_exits) == (holder.trade, D(100), True)
    for part in holder.protocol.orders.parts("b"):
        holder.cancel(holder.protocol.address(part))
    holder.read()
    assert holder.books.one_trade(EUR) == msgspec.structs.replace(told, has_exits=False)
    holder.venue.buy(5)
    holder.read()
    assert holder.books.one_trade(EUR) is None


def test_cancelled_is_a_bracket_when_both_halves_are() -> None:
    """By their numbers, which the venue has told; nothing is left over when it was we who asked."""
    holder = Holder()
    assert holder.protocol.orders.parts("b") == ["b"]
    holder.bracket()
    assert holder.protocol.orders.parts("b") == ["b", "b.2"]
    assert [holder.protocol.address(part) for part in ("b", "b.2")] == ["@b", "@b.2"]
    holder.read()
    first, second = [holder.protocol.address(part) for part in holder.protocol.orders.leave("b")]
    holder.cancel(first)
    assert holder.read() == []
    assert holder.protocol.orders.halves == []
    holder.cancel(second)
    (event,) = holder.read()
    assert isinstance(event, OrderCancelled)
    assert event.client_order_id == "b"
    with pytest.raises(ApiError):
        holder.cancel("@b.2")
    (late,) = holder.read()
    assert isinstance(late, CancelRejected)
    assert late.client_order_id == "b"


def test_half_a_bracket_is_to_go() -> None:
    """Somebody cancels one of the two: the other one's number is left to be cancelled, and then it is over."""
    holder = Holder()
    holder.bracket()
    holder.read()
    holder.cancel("@b")
    assert holder.read() == []
    (left,) = holder.protocol.orders.halves
    assert left == holder.protocol.address("b.2")
    holder.cancel(left)
    assert names(holder.read()) == ["OrderCancelled"]


@pytest.mark.parametrize("both", [False, True])
def test_ends_that_could_not_be_read_are_seen_in_the_next_listing(both: bool) -> None:
    """The account is read and does not list one of the two, or neither: half a bracket is to go, none is over; once."""
    holder = Holder()
    holder.bracket()
    holder.read()
    first, second = holder.venue.account.pending
    listed = set() if both else {str(second)}
    events = holder.protocol.lose(listed, holder.log.last, RECV_NS)
    assert names(events) == ["OrderCancelled"] * both
    assert holder.protocol.orders.halves == [str(second)] * (not both)
    assert holder.protocol.lose(listed, holder.log.last, RECV_NS) == []
    assert first < second


def test_a_trade_that_somebody_closes_takes_the_bracket_along() -> None:
    """Cancelled once, by the venue; there is nothing left to cancel."""
    holder = Holder()
    holder.bracket()
    holder.read()
    holder.venue.buy(-100)
    assert names(holder.read()) == ["OrderFilled", "OrderCancelled"]
    assert holder.protocol.orders.halves == []


def test_a_trade_that_has_become_smaller_ends_its_exit_with_what_there_was() -> None:
    """Somebody sells a part: the exit fills the rest, and what it could not is told as cancelled."""
    holder = Holder()
    holder.bracket()
    holder.venue.buy(-40)
    holder.read()
    holder.venue.quote("1.09000", "1.09010")
    events = holder.read()
    assert names(events) == ["OrderFilled", "OrderCancelled"]
    assert isinstance(events[0], OrderFilled)
    assert events[0].qty == 60


def test_an_order_that_closes_a_trade_with_exits_goes_on_with_its_rest() -> None:
    """The exit is cancelled between the execution and the order's next number: it is the same order all the same."""
    holder = Holder()
    holder.venue.place("STOP_LOSS", tradeID=holder.trade, price="1.05000")
    holder.venue.quote("1.08400", "1.08410", units=100)
    holder.place("a", "LIMIT", units="-250", price="1.08400")
    assert names(holder.read()) == ["OrderAccepted", "OrderFilled"]
    assert holder.venue.kinds(holder.log.last - 3)[1:] == [
        "ORDER_CANCEL:LINKED_TRADE_CLOSED",
        "LIMIT_ORDER:REPLACEMENT",
    ]
    assert holder.protocol.address("a") == str(holder.log.last)
    holder.venue.quote("1.08410", "1.08420")
    (fill,) = holder.read()
    assert isinstance(fill, OrderFilled)
    assert (fill.client_order_id, fill.qty) == ("a", 150)


def test_a_half_that_is_told_after_the_cancel_is_to_go_too() -> None:
    """The cancel left when the stream had told of one of the two."""
    holder = Holder()
    holder.bracket()
    first, second = holder.lines()
    holder.protocol.receive_frame(first, RECV_NS)
    assert holder.protocol.orders.leave("b") == ["b"]
    holder.protocol.receive_frame(second, RECV_NS)
    assert holder.protocol.orders.halves == [str(holder.log.last)]


@pytest.mark.parametrize("other_first", [False, True])
def test_a_half_that_could_not_be_cancelled_is_to_go(other_first: bool) -> None:
    """The cancel of one failed for good, that of the other did not: no half is left with what protects missing."""
    holder = Holder()
    holder.bracket()
    holder.read()
    orders = holder.protocol.orders
    first, second = [holder.protocol.address(part) for part in orders.leave("b")]
    if other_first:
        holder.cancel(second)
        holder.read()
        orders.stay("b")
    else:
        orders.stay("b")
        assert orders.halves == []
        holder.cancel(second)
        holder.read()
    assert orders.halves == [first]
    holder.cancel(first)
    assert names(holder.read()) == ["OrderCancelled"]


@pytest.mark.parametrize("by_answer", [False, True])
def test_a_bracket_of_which_half_is_refused_is_refused_whole(by_answer: bool) -> None:
    """Told once, by the answer or by a reject transaction; a half that comes all the same is to go."""
    holder = Holder()
    holder.protocol.sent("b", D(100), 2)
    reject = {"type": "STOP_LOSS_ORDER_REJECT", "rejectReason": "STOP_LOSS_ORDER_ALREADY_EXISTS"}
    reject |= {"tradeID": holder.trade, "clientExtensions": {"id": "b.2"}}
    holder.venue.account.log.add(reject.pop("type"), holder.venue.now_ns, reject)  # type: ignore[arg-type]
    if by_answer:
        events = holder.protocol.refused("b", "exit_exists", "words", RECV_NS)
        assert holder.read() == []
    else:
        events = holder.read()
    (refused,) = events
    assert isinstance(refused, OrderRejected)
    assert (refused.client_order_id, refused.reason) == ("b", "exit_exists")
    made = {"tradeID": holder.trade, "price": "1.09000", "clientExtensions": {"id": "b"}}
    number = holder.venue.account.log.add("TAKE_PROFIT_ORDER", holder.venue.now_ns, made)["id"]
    assert holder.read() == []
    assert holder.protocol.orders.halves == [number]


def test_the_half_that_came_before_the_refusal_is_to_go() -> None:
    """It was told as accepted: it is cancelled, which ends the bracket."""
    holder = Holder()
    holder.protocol.sent("b", D(100), 2)
    made = {"tradeID": holder.trade, "price": "1.09000", "clientExtensions": {"id": "b"}}
    number = holder.venue.account.log.add("TAKE_PROFIT_ORDER", holder.venue.now_ns, made)["id"]
    reject = {"rejectReason": "STOP_LOSS_ORDER_ALREADY_EXISTS", "clientExtensions": {"id": "b.2"}}
    holder.venue.account.log.add("STOP_LOSS_ORDER_REJECT", holder.venue.now_ns, reject)
    assert names(holder.read()) == ["OrderAccepted"]
    assert holder.protocol.orders.halves == [number]
    holder.venue.account.log.add("ORDER_CANCEL", holder.venue.now_ns, {"orderID": number, "reason": "CLIENT_REQUEST"})
    assert names(holder.read()) == ["OrderCancelled"]


@pytest.mark.fault("A2")
def test_a_session_begins_with_the_bracket_that_rests() -> None:
    """Listed as two orders without units: one of ours, which a later end of either half ends."""
    holder = Holder()
    holder.bracket()
    bodies = [order.json(5) for order in holder.venue.account.pending.values()]
    rows = msgspec.convert(bodies, list[wire.OrderRow], strict=False)
    protocol = AccountProtocol("oanda", NAMES, "USD")
    protocol.sent("b", D(100), 2)
    assert names(protocol.start(holder.log.last, rows, RECV_NS)) == ["OrderAccepted"]
    assert protocol.orders.parts("b") == ["b", "b.2"]
    at = holder.log.last
    holder.venue.quote("1.06990", "1.07000")
    assert names(protocol.receive_since(holder.since(at), RECV_NS)) == ["OrderFilled"]


def test_a_guaranteed_stop_costs_its_premium_when_it_acts() -> None:
    """Through a gap: executed at its own price, and the premium is the execution's fee."""
    rules = SandboxInstrument(
        "EUR_USD", D("1.08402"), guaranteed="ALLOWED", guaranteed_distance=D("0.00100"), guaranteed_premium=D("0.0001")
    )
    holder = Holder(instruments=(rules,))
    holder.protocol.sent("g", D(100))
    holder.venue.place(
        "GUARANTEED_STOP_LOSS", tradeID=holder.trade, price="1.08000", clientExtensions={"id": "g"}
    )  # fmt: skip
    assert names(holder.read()) == ["OrderAccepted"]
    holder.venue.quote("1.05000", "1.05010")
    (fill,) = holder.read()
    assert isinstance(fill, OrderFilled)
    assert (fill.client_order_id, fill.qty, fill.px, fill.fee) == ("g", 100, D("1.08"), D("0.0100"))


@pytest.mark.parametrize("seed", range(6))
def test_brackets_are_told_once_over_a_stream_that_breaks(seed: int) -> None:
    """Drawn brackets, prices, trades and cancels by hand; the stream loses, repeats and cuts lines, and what is missing
    is read.  The events are those of a perfect stream; each bracket ends once, or rests, whole or as a half."""
    draw = random.Random(seed)
    holder = Holder()
    perfect = AccountProtocol("oanda", NAMES, "USD", AccountBooks("USD", {"EUR_USD": RULES}))
    perfect.start(holder.log.last)
    told: list[InputEvent] = []
    expected: list[InputEvent] = []
    sent = []
    for step in range(150):
        act = draw.choice(["bracket", "bracket", "trade", "quote", "quote", "cancel"])
        trades = list(holder.venue.account.open_trades.values())
        if act == "bracket" and len(trades) == 1 and not trades[0].exits and trades[0].units > 0:
            holder.trade = trades[0].id
            perfect.sent(f"b{step}", abs(trades[0].units), 2)
            holder.bracket(f"b{step}", int(abs(trades[0].units)))
            sent.append(f"b{step}")
        elif act == "trade":
            holder.venue.account.log.begin("1")
            net = int(sum(trade.units for trade in trades))
            holder.venue.buy(draw.choice([-40, -net, -net, 60]) if net > 40 else 100 - net)
        elif act == "quote":
            bid = D(draw.choice(["1.06950", "1.08000", "1.08500", "1.09050"]))
            holder.venue.quote(bid, bid + D("0.0001"))
        elif holder.venue.account.pending:
            holder.cancel(str(draw.choice(list(holder.venue.account.pending))))
        lines = holder.lines()
        expected += perfect.receive_frame(b"".join(lines), RECV_NS)
        body = b"".join(line for line in lines for _ in range(draw.choice([0, 1, 1, 2])))
        cut = draw.randrange(len(body) + 1)
        told += holder.protocol.receive_frame(body[:cut], RECV_NS)
        if draw.random() < 0.2:
            holder.protocol.reset(RECV_NS)
        else:
            told += holder.protocol.receive_frame(body[cut:], RECV_NS)
        if draw.random() < 0.5:
            told += holder.protocol.receive_since(holder.since(holder.protocol.last_id), RECV_NS)
    told += holder.protocol.receive_since(holder.since(holder.protocol.last_id), RECV_NS)
    facts = [event for event in told if not isinstance(event, Gap)]
    assert facts == expected
    assert holder.protocol.orders.halves == perfect.orders.halves
    assert len(sent) > 5
    for name in sent:
        own = [event for event in facts if getattr(event, "client_order_id", "") == name]
        resting = [one for one in holder.venue.account.pending.values() if one.spec.client_id.startswith(name + ".")]
        resting += [one for one in holder.venue.account.pending.values() if one.spec.client_id == name]
        ends = [event for event in own if isinstance(event, OrderCancelled)]
        filled = sum((event.qty for event in own if isinstance(event, OrderFilled)), D(0))
        assert names(own).count("OrderAccepted") == 1
        assert bool(resting) is not bool(ends or filled)
        if len(resting) == 1:
            assert resting[0].id in holder.protocol.orders.halves
