"""The check of orders that belong together, on the records of one bracket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from engine.commands import GroupIntent, GroupOpened, NewOrderWithExits, OrderIntent, OrderType, TimeInForce
from engine.events import Liquidity, OrderAttached, OrderFilled, Side
from engine.runtime.simulation.grouped import GroupChecks

BTC = "BTC/USD@coinbase"
GROUP, ENTRY, EXIT = "k-g1", "k-1", "k-1-x"
SIZE = Decimal("0.06")
BEYOND = Decimal("0.09")


class Venue:
    """What the venue holds: nothing open, and ``overfilled`` as it is set."""

    def __init__(self, *overfilled: str) -> None:
        self.overfilled = frozenset(overfilled)

    def open_orders(self) -> Mapping[str, Decimal]:
        return {}

    def exits_of(self, entry: str) -> Sequence[str]:
        return ["v-2"] if entry == ENTRY else []


def _wish(side: Side, order_type: OrderType, **prices: Decimal) -> OrderIntent:
    parent_id = GROUP if side is Side.BUY else ""
    return OrderIntent(1, "s", BTC, side, SIZE, order_type, None, TimeInForce.GTC, parent_id=parent_id, **prices)


def _fill(name: str, venue_id: str, side: Side, qty: Decimal) -> OrderFilled:
    trade_id = f"t-{venue_id}-{qty}"
    px = Decimal(100)
    return OrderFilled(
        2, 2, "coinbase", name, venue_id, trade_id, BTC, side, qty, px, Decimal(0), "USD", Liquidity.TAKER
    )


def _broken_by(venue: Venue) -> list[str]:
    """What is found where the exit that the venue made has filled more than was told of the entry."""
    found: list[str] = []
    checks = GroupChecks(venue, lambda invariant, _text: found.append(invariant), lambda _now_ns: False)
    entry = _wish(Side.BUY, OrderType.MARKET)
    stop = _wish(Side.SELL, OrderType.STOP, trigger_px=Decimal(90))
    checks.recorded(GroupOpened(1, GROUP, GroupIntent(1, "s", (stop,), entry)))
    checks.recorded(NewOrderWithExits(1, ENTRY, "coinbase", entry, Decimal(110), Decimal(90)))
    checks.recorded(_fill(ENTRY, "v-1", Side.BUY, SIZE))
    checks.recorded(
        OrderAttached(2, 2, "coinbase", EXIT, "v-2", ENTRY, BTC, Side.SELL, SIZE, Decimal(110), Decimal(90))
    )
    checks.recorded(_fill(EXIT, "v-2", Side.SELL, BEYOND))
    return found


def test_an_exit_that_closes_more_than_its_entry_has_filled_is_found() -> None:
    assert _broken_by(Venue()) == ["B12"]


def test_the_exit_of_an_entry_that_the_venue_executed_beyond_its_size_may_be_told_first() -> None:
    assert _broken_by(Venue(ENTRY, "v-1")) == []


def test_another_order_beyond_its_size_excuses_nothing() -> None:
    assert _broken_by(Venue("k-9", "v-9")) == ["B12"]
