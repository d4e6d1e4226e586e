"""Where a session goes on: by numbers, and by the positions that they leave."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from connectors.oanda import wire
from connectors.oanda.resume import Place, place_of, told_until
from engine.carried import VERSION, Carried, CarriedMoney, CarriedOrder
from engine.commands import NewOrder, OrderIntent, OrderType, RiskState
from engine.events import Side

D = Decimal


def order(number: str, state: str, *trades: str, venue: str = "oanda") -> CarriedOrder:
    intent = OrderIntent(1, "s", f"EUR/USD@{venue}", Side.BUY, D(1), OrderType.MARKET)
    return CarriedOrder(NewOrder(1, f"c{number}", venue, intent), state, number, D(0), D(0), trades)


def carried(*orders: CarriedOrder, trades: tuple[str, ...] = ()) -> Carried:
    money = CarriedMoney("USD", (), (), (), (), None, -1, None)
    return Carried(VERSION, (), orders, trades, money, RiskState.ACTIVE, "", ())


@pytest.mark.parametrize(
    ("state", "place"),
    [
        (carried(), Place(0, 0)),
        (carried(trades=("oanda|40", "other|90", "oanda|x")), Place(40, 40)),
        (carried(order("30", "accepted"), order("35", "filled", "36")), Place(36, 29)),
        (carried(order("", "sent"), order("50", "accepted", venue="other"), trades=("oanda|7",)), Place(7, 7)),
    ],
)
def test_the_newest_number_and_the_oldest_open_order(state: Carried, place: Place) -> None:
    """Orders and executions of this venue alone; an order without a number says nothing."""
    assert place_of(state, "oanda") == place


def fills(*units: tuple[int, str, str]) -> list[wire.Transaction]:
    return [
        wire.Transaction(type="ORDER_FILL" if qty != "0" else "LIMIT_ORDER", id=str(number), instrument=name,
                         units=D(qty))
        for number, name, qty in units
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("there", "booked", "known_id", "expected"),
    [
        ("30", "10", 4, 5),  # the fill of 6 came after what was told, so did the rest
        ("30", "0", 4, 4),
        ("30", "30", 4, 7),
        ("30", "30", 7, 7),
        ("30", "11", 4, None),
    ],
)
def test_the_first_place_with_the_booked_positions(
    there: str, booked: str, known_id: int, expected: int | None
) -> None:
    """Executions are taken back one by one from the newest on."""
    since = fills((5, "EUR_USD", "10"), (6, "EUR_USD", "5"), (7, "EUR_USD", "15"), (8, "USD_JPY", "9"))
    units = {"EUR_USD": D(there)}
    assert told_until(since, units, {"EUR_USD": D(booked)}, known_id, 8) == expected


def test_a_position_that_comes_and_goes_is_told_from_the_first_on() -> None:
    """Flat before and after: nothing of it was told, so all of it is."""
    since = fills((5, "EUR_USD", "10"), (6, "EUR_USD", "-10"))
    assert told_until(since, {}, {"EUR_USD": D(0)}, 4, 6) == 4
    assert told_until(since, {}, {}, 4, 6) == 4


def test_numbers_that_are_none_are_no_numbers() -> None:
    """Whatever stands in an id: Unicode digits and long ones included."""
    made = carried(order("٣", "accepted"), order("9" * 30, "accepted"), trades=("oanda|٣",))
    assert place_of(made, "oanda") == Place(0, 0)
    assert msgspec.structs.asdict(Place(1, 0)) == {"known_id": 1, "from_id": 0}
