"""Transactions as account events: the sandbox's own desk makes them, streams lose and repeat them."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.oanda import wire
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.holes import ANSWERS, LONG_NS
from connectors.oanda.known import ENDED_KEPT
from connectors.oanda.sandbox.errors import ApiError
from engine.events import (
    CancelRejected,
    Gap,
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)
from tests.support.oanda import NOW_NS, Venue

EUR = "EUR/USD@oanda"
NAMES = {"EUR_USD": EUR, "USD_JPY": "USD/JPY@oanda"}
RECV_NS = NOW_NS + 7


class Reader:
    """The protocol beside a venue's state; ``read`` gives it what the stream would say since the last time."""

    def __init__(self, **settings: Any) -> None:
        self.venue = Venue(**settings)
        self.log = self.venue.account.log
        self.protocol = AccountProtocol("oanda", NAMES, "USD")
        self.protocol.start(self.log.last)
        self._read = self.log.last

    def lines(self) -> list[bytes]:
        entries = self.log.since(self._read)
        self._read = self.log.last
        return [msgspec.json.encode(entry.body) + b"\n" for entry in entries]

    def read(self) -> list[InputEvent]:
        return list(self.protocol.receive_frame(b"".join(self.lines()), RECV_NS))

    def since(self, number: int) -> wire.Transactions:
        bodies = [entry.body for entry in self.log.since(number)]
        return wire.decode_transactions(
            msgspec.json.encode({"transactions": bodies, "lastTransactionID": str(self.log.last)})
        )

    def place(self, client_id: str, kind: str = "MARKET", **fields: Any) -> None:
        self.protocol.sent(client_id)
        try:
            self.venue.place(kind, clientExtensions={"id": client_id}, **fields)
        except ApiError:
            pass


def names(events: list[InputEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def beat(last_id: int) -> bytes:
    return f'{{"type":"HEARTBEAT","lastTransactionID":"{last_id}","time":"2026-11-20T14:03:10Z"}}\n'.encode()


def test_a_market_order_is_accepted_and_filled() -> None:
    """The execution has the venue's price, our id and the fill's number; exact decimals."""
    reader = Reader()
    reader.place("a", units="-250")
    events = reader.read()
    assert events == [
        OrderAccepted(NOW_NS, RECV_NS, "oanda", "a", "4"),
        OrderFilled(
            NOW_NS,
            RECV_NS,
            "oanda",
            "a",
            "4",
            "5",
            EUR,
            Side.SELL,
            Decimal(250),
            Decimal("1.08400"),
            Decimal("0.0000"),
            "USD",
            Liquidity.TAKER,
        ),
    ]
    assert reader.protocol.unresolved() == []


def test_an_order_that_dies_at_once_is_accepted_and_cancelled() -> None:
    """201 with a cancel: the reason is the venue's word."""
    reader = Reader()
    reader.place("a", units="2000000")
    assert names(reader.read()) == ["OrderAccepted", "OrderCancelled"]
    reader.place("b", "LIMIT", units="1", price="1", timeInForce="GTD", gtdTime="2026-11-20T14:03:30Z")
    reader.venue.pass_time(60)
    assert reader.read()[-1] == OrderExpired(reader.venue.now_ns, RECV_NS, "oanda", "b", "6")


def test_a_refused_order_is_told_once() -> None:
    """By its reject transaction, or by the answer when that came first."""
    reader = Reader()
    reader.place("a", units="0")
    (event,) = reader.read()
    assert isinstance(event, OrderRejected)
    assert (event.client_order_id, event.reason, event.text) == ("a", "invalid_qty", "UNITS_INVALID")
    reader.place("b", units="0")
    assert names(reader.protocol.refused("b", "UNITS_INVALID", "words", 1)) == ["OrderRejected"]
    assert reader.read() == []
    assert reader.protocol.refused("b", "UNITS_INVALID", "words", 1) == []


def test_an_immediate_order_that_fills_in_part_is_over() -> None:
    """The rest is told as cancelled at once."""
    reader = Reader()
    reader.venue.quote("1.08400", "1.08410", units=100)
    reader.place("a", units="150", timeInForce="IOC")
    events = reader.read()
    assert names(events) == ["OrderAccepted", "OrderFilled", "OrderCancelled"]


def test_a_resting_order_that_fills_in_part_goes_on_under_another_number() -> None:
    """One order of ours for the core: two executions, no end between them; a cancel finds its newest number."""
    reader = Reader()
    reader.venue.quote("1.08400", "1.08410", units=100)
    reader.place("a", "LIMIT", units="250", price="1.08410")
    assert names(reader.read()) == ["OrderAccepted", "OrderFilled"]
    assert reader.protocol.address("a") == "6"
    reader.venue.quote("1.08390", "1.08400", units=100)
    assert names(reader.read()) == ["OrderFilled"]
    reader.venue.exchange.desk.cancel(reader.venue.account, reader.protocol.address("a"), reader.venue.now_ns)
    (event,) = reader.read()
    assert isinstance(event, OrderCancelled)
    assert event.client_order_id == "a"


def test_what_is_left_and_not_replaced_is_gone() -> None:
    """A reduce-only limit order takes the position and no more: the next transaction, or a heartbeat, ends it."""
    for by_beat in (False, True):
        reader = Reader()
        reader.place("a", units="30")
        reader.place("b", "LIMIT", units="-100", price="1.08400", positionFill="REDUCE_ONLY")
        assert names(reader.read()) == ["OrderAccepted", "OrderFilled"] * 2
        if by_beat:
            events = list(reader.protocol.receive_frame(beat(reader.log.last), RECV_NS))
        else:
            reader.place("c", units="1")
            events = reader.read()
        assert isinstance(events[0], OrderCancelled)
        assert events[0].client_order_id == "b"


def test_a_cancel_that_is_refused_says_so() -> None:
    """By number and by client id, also of an order that is over."""
    reader = Reader()
    reader.place("a", units="1")
    reader.read()
    for which, name in (("@a", "a"), ("4", "a"), ("77", "77")):
        with pytest.raises(ApiError):
            reader.venue.exchange.desk.cancel(reader.venue.account, which, reader.venue.now_ns)
        expected = CancelRejected(NOW_NS, RECV_NS, "oanda", name, "ORDER_DOESNT_EXIST")
        assert reader.read() == [expected]


def test_orders_of_others_are_found_and_their_fills_told() -> None:
    """One that rests is found under its number, a market order by hand shows itself in its execution; exits of trades
    are nobody's orders."""
    reader = Reader()
    reader.venue.rest("LIMIT", units="-5", price="1.2", clientExtensions={"id": "theirs"})
    (found,) = reader.read()
    assert isinstance(found, OrderFound)
    assert (found.client_order_id, found.side, found.qty, found.limit_px) == (
        "theirs",
        Side.SELL,
        Decimal(5),
        Decimal("1.20000"),
    )
    reader.venue.buy(7, stopLossOnFill={"price": "1"})
    (fill,) = reader.read()
    assert isinstance(fill, OrderFilled)
    assert fill.client_order_id == "5"


def test_a_second_order_under_our_id_is_somebody_elses() -> None:
    """The venue takes duplicates: the second one is found by its number and never mixed with ours."""
    reader = Reader()
    reader.place("a", "LIMIT", units="1", price="1")
    reader.venue.rest("LIMIT", units="1", price="1", clientExtensions={"id": "a"})
    accepted, found = reader.read()
    assert isinstance(accepted, OrderAccepted)
    assert isinstance(found, OrderFound)
    assert (accepted.venue_order_id, found.client_order_id) == ("4", "5")
    assert reader.protocol.address("a") == "4"


def test_a_gap_is_reported_once_and_filled_by_what_is_read() -> None:
    """Two transactions are lost: nothing behind them is told until they are there, then everything once."""
    reader = Reader()
    reader.place("a", units="1")
    reader.place("b", "LIMIT", units="1", price="1")
    reader.place("c", units="1")
    first, *_, fourth, fifth = reader.lines()
    protocol = reader.protocol
    assert names(list(protocol.receive_frame(first, RECV_NS))) == ["OrderAccepted"]
    assert protocol.receive_frame(fourth + fifth, RECV_NS) == [Gap(RECV_NS, RECV_NS, "oanda", "", 5, 7)]
    assert protocol.missing_since == 4
    assert protocol.receive_frame(beat(8), RECV_NS) == []
    told = protocol.receive_since(reader.since(4), RECV_NS)
    assert names(told) == ["OrderFilled", "OrderAccepted", "OrderAccepted", "OrderFilled"]
    assert protocol.missing_since is None
    assert protocol.receive_frame(fourth + fifth, RECV_NS) == []
    assert protocol.counters.repeated == 2


def test_a_heartbeat_shows_what_a_quiet_stream_has_lost() -> None:
    """The last id is newer than ours; an answer that lags leaves the rest missing."""
    reader = Reader()
    reader.place("a", units="1")
    reader.lines()
    protocol = reader.protocol
    assert names(list(protocol.receive_frame(beat(5), RECV_NS))) == ["Gap"]
    lagging = wire.Transactions([], "3")
    assert protocol.receive_since(lagging, RECV_NS) == []
    assert protocol.missing_since == 3
    assert names(protocol.receive_since(reader.since(3), RECV_NS)) == ["OrderAccepted", "OrderFilled"]


def test_a_transaction_that_cannot_be_read_does_not_stop_the_others() -> None:
    """On the stream it is a gap; asked for again and still broken, it is passed over and the account is in doubt."""
    reader = Reader()
    reader.place("a", units="1")
    bodies = [entry.body for entry in reader.log.since(3)]
    bodies[0] = {**bodies[0], "units": "NaN"}
    protocol = reader.protocol
    frame = b"".join(msgspec.json.encode(body) + b"\n" for body in bodies)
    assert names(list(protocol.receive_frame(frame, RECV_NS))) == ["Gap"]
    answer = wire.decode_transactions(msgspec.json.encode({"transactions": bodies, "lastTransactionID": "5"}))
    assert names(protocol.receive_since(answer, RECV_NS)) == ["OrderFilled"]
    assert protocol.doubtful
    assert protocol.missing_since is None


def test_a_market_order_whose_execution_cannot_be_read_is_over_all_the_same() -> None:
    """Nobody else would ever end it.  A reading that is of before its execution proves nothing."""
    reader = Reader()
    reader.place("a", units="-250")
    bodies = [entry.body for entry in reader.log.since(3)]
    bodies[1] = {**bodies[1], "price": "NaN"}
    answer = msgspec.json.encode({"transactions": bodies, "lastTransactionID": str(reader.log.last)})
    protocol = reader.protocol
    assert names(protocol.receive_since(wire.decode_transactions(answer), RECV_NS)) == ["OrderAccepted"]
    assert (protocol.doubtful, protocol.last_id) == (True, 5)
    assert protocol.lose(set(), 4, RECV_NS) == []
    (told,) = protocol.lose(set(), 5, RECV_NS)
    assert (type(told), protocol.lose(set(), 5, RECV_NS)) == (OrderCancelled, [])


def test_a_number_that_answers_go_on_behind_is_passed_over_in_time() -> None:
    """Not by the first answer, which may be early, and not while it may be written still; then the account is in
    doubt, and everything behind it is told once.  An answer that was read to its end says so at once."""
    for whole in (False, True):
        reader = Reader()
        reader.place("a", units="1")
        reader.place("b", units="1")
        protocol = reader.protocol
        bodies = [entry.body for entry in reader.log.since(3)]
        del bodies[1]
        answer = wire.decode_transactions(msgspec.json.encode({"transactions": bodies, "lastTransactionID": "7"}))
        told = protocol.receive_since(answer, RECV_NS, whole=whole)
        if not whole:
            assert names(told) == ["OrderAccepted", "Gap"]
            for number in range(ANSWERS):
                assert protocol.receive_since(answer, RECV_NS + LONG_NS - ANSWERS + number) == []
            assert (protocol.missing_since, protocol.doubtful) == (4, False)
            told = protocol.receive_since(answer, RECV_NS + LONG_NS)
        assert names(told)[-2:] == ["OrderAccepted", "OrderFilled"]
        assert (protocol.missing_since, protocol.doubtful, protocol.holes.passed) == (None, True, 1)


def test_a_session_begins_with_the_orders_that_rest() -> None:
    """Ours of before are accepted, others are found, exits of trades are left alone."""
    venue = Venue()
    venue.rest("LIMIT", units="3", price="1", clientExtensions={"id": "mine"})
    venue.rest("STOP", units="-3", price="1")
    venue.buy(1, stopLossOnFill={"price": "1"})
    bodies = [order.json(5) for order in venue.account.pending.values()]
    rows = msgspec.convert(bodies, list[wire.OrderRow], strict=False)
    protocol = AccountProtocol("oanda", NAMES, "USD")
    protocol.sent("mine")
    assert names(protocol.start(8, rows, RECV_NS)) == ["OrderAccepted", "OrderFound"]
    assert protocol.address("mine") == "4"
    assert protocol.address("never") == "@never"


def test_ended_orders_are_forgotten_in_turn() -> None:
    """Bounded, whatever happens at the account."""
    reader = Reader()
    protocol = reader.protocol
    number = protocol.last_id
    for _ in range(ENDED_KEPT + 100):
        number += 2
        for body in (
            {"id": str(number - 1), "type": "MARKET_ORDER", "units": "1", "instrument": "EUR_USD"},
            {"id": str(number), "type": "ORDER_CANCEL", "orderID": str(number - 1)},
        ):
            protocol.receive_frame(msgspec.json.encode(body) + b"\n", RECV_NS)
    assert len(protocol.orders) == ENDED_KEPT


@pytest.mark.parametrize("seed", range(6))
def test_everything_is_told_once_and_in_order_over_a_stream_that_breaks(seed: int) -> None:
    """Drawn requests; the stream loses, repeats and cuts lines, connections end, and what is missing is read. The
    events are those of a perfect stream, and fills add up to the venue's position."""
    draw = random.Random(seed)
    reader = Reader()
    perfect = AccountProtocol("oanda", NAMES, "USD")
    perfect.start(reader.log.last)
    told: list[InputEvent] = []
    expected: list[InputEvent] = []
    for step in range(120):
        name = f"c{step}"
        perfect.sent(name)
        kind = draw.choice(["MARKET", "LIMIT", "LIMIT", "STOP"])
        fields = {} if kind == "MARKET" else {"price": f"1.08{draw.randrange(300, 500)}"}
        reader.place(name, kind, units=str(draw.randrange(-300, 300)), **fields)
        bid = Decimal("1.08300") + draw.randrange(200) * Decimal("0.00001")
        reader.venue.quote(bid, bid + Decimal("0.0001"), units=draw.choice([50, 100_000]))
        lines = reader.lines()
        expected += perfect.receive_frame(b"".join(lines), RECV_NS)
        sent = [line for line in lines for _ in range(draw.choice([0, 1, 1, 1, 2]))]
        body = b"".join(sent)
        if draw.random() < 0.2:
            body = body[: draw.randrange(len(body) + 1)]
            told += reader.protocol.receive_frame(body, RECV_NS)
            reader.protocol.reset(RECV_NS)
        else:
            cut = draw.randrange(len(body) + 1)
            told += reader.protocol.receive_frame(body[:cut], RECV_NS)
            told += reader.protocol.receive_frame(body[cut:], RECV_NS)
        told += reader.protocol.receive_frame(beat(reader.log.last), RECV_NS)
        missing = reader.protocol.missing_since
        if missing is not None and draw.random() < 0.7:
            told += reader.protocol.receive_since(reader.since(missing), RECV_NS)
    if reader.protocol.missing_since is not None:
        told += reader.protocol.receive_since(reader.since(reader.protocol.missing_since), RECV_NS)
    last = beat(reader.log.last)
    told += reader.protocol.receive_frame(last, RECV_NS)
    expected += perfect.receive_frame(last, RECV_NS)
    facts = [event for event in told if not isinstance(event, Gap)]
    assert [_without_times(event) for event in facts] == [_without_times(event) for event in expected]
    fills = [event for event in facts if isinstance(event, OrderFilled)]
    longs, shorts = reader.venue.account.units_of("EUR_USD")
    assert sum((fill.qty * fill.side for fill in fills), Decimal(0)) == longs - shorts


def _without_times(event: InputEvent) -> object:
    """A cancel that a heartbeat shows has the heartbeat's time."""
    return msgspec.structs.replace(event, ts_event_ns=0)
