"""The smallest order that a venue is asked about, and what its answer comes to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from config.doctor_preview import previewed, smallest_buy
from connectors.coinbase.previews import Preview
from engine.commands import OrderIntent, OrderType
from engine.errors import VenueError
from engine.events import InputEvent, InstrumentDefined, InstrumentStatus, Quote, Side, TradingStatus
from engine.findings import Skipped, Warned
from tests.support.core import spot

D = Decimal
BTC = spot()


class Venue:
    """Answers by what it is given, in turn."""

    def __init__(self, *answers: Preview | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[OrderIntent] = []

    async def preview(self, intent: OrderIntent) -> Preview:
        self.asked.append(intent)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def told(*instruments: Any, status: TradingStatus = TradingStatus.TRADING, px: float = 60_000.0) -> list[InputEvent]:
    events: list[InputEvent] = []
    for one in instruments or (BTC,):
        events += [InstrumentDefined(1, 1, one), InstrumentStatus(1, 1, one.id, status)]
        if px:
            events.append(Quote(1, 1, one.id, px - 1, 1.0, px, 1.0))
    return events


def taken(total: str = "1.06", fee: str = "0.01") -> Preview:
    return Preview((), (), D(total), D(fee))


@pytest.mark.parametrize(
    ("rules", "px", "qty"),
    [
        ({"min_qty": "0.0001", "min_notional": "0"}, "60000", "0.0001"),
        ({"min_qty": "0.00000001", "min_notional": "1"}, "60000", "0.00001750"),
        ({"min_qty": "0.00000001", "min_notional": "10", "lot_qty": "0.001"}, "61234.55", "0.001"),
    ],
)
def test_the_smallest_order_is_worth_the_smallest_notional_and_lies_on_the_grid(
    rules: dict[str, str], px: str, qty: str
) -> None:
    changed = {"lot_qty": "0.00000001", **rules}
    one = msgspec.structs.replace(BTC, **{name: D(value) for name, value in changed.items()})
    made = smallest_buy(one, D(px), 7)
    assert (made.order_type, made.side, made.qty) == (OrderType.MARKET, Side.BUY, D(qty))


async def test_what_it_would_cost_is_told() -> None:
    venue = Venue(taken())
    said = await previewed(venue, told(), 7)
    assert said.endswith(f"{BTC.id} at market would cost 1.06 {BTC.quote}, 0.01 of it fees")
    assert [one.instrument for one in venue.asked] == [BTC.id]


async def test_refusals_and_missing_answers_are_remarks() -> None:
    """In the venue's order of instruments; the others are asked all the same."""
    others = [msgspec.structs.replace(BTC, id=f"{base}/USD@coinbase", base=base) for base in ("ETH", "SOL")]
    venue = Venue(Preview(("insufficient_funds",), (), None, None), VenueError("HTTP 503"), taken())
    with pytest.raises(Warned) as error:
        await previewed(venue, told(BTC, *others), 7)
    assert "would be refused: insufficient_funds; " in error.value.seen
    assert "HTTP 503; " in error.value.seen
    assert error.value.seen.endswith("0.01 of it fees")


async def test_nothing_is_asked_of_what_does_not_trade_or_has_no_price() -> None:
    """And of a venue without previews."""
    for venue, events, said in (
        (object(), told(), "no previews"),
        (Venue(), told(status=TradingStatus.HALTED), "nothing trades"),
        (Venue(), told(px=0.0), "no price"),
    ):
        with pytest.raises(Skipped, match=said):
            await previewed(venue, events, 7)
