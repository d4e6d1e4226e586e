"""What the venue's people adjust of an execution: money, order and listing say the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase.sandbox.queries import Params, list_fills
from connectors.coinbase.sandbox.times import BadRequest, at
from tests.unit.connectors.coinbase.sandbox.test_exchange import NOW_NS, TAKER, Venue

LATER_NS = NOW_NS + 60_000_000_000


def bought() -> tuple[Venue, Any]:
    """One BTC at 101 on 2000 USD."""
    venue = Venue(balances=(("USD", Decimal(2_000)),))
    return venue, venue.order(venue.limit("BUY", 101, 1))


def adjust(venue: Venue, kind: str, px: int = 1, qty: int = 1, *, alone: bool = False) -> None:
    entry = venue.exchange.fills[0].entry_id
    venue.exchange.executions.adjust(entry, kind, LATER_NS, px=Decimal(px), qty=Decimal(qty), alone=alone)


def amounts(venue: Venue) -> tuple[Decimal, Decimal]:
    return sum(venue.exchange.wallets.amounts("USD")), sum(venue.exchange.wallets.amounts("BTC"))  # type: ignore[return-value]


def test_an_execution_taken_back_leaves_the_money_as_it_was() -> None:
    """The entry names the trade and is listed now; the order counts nothing any more, and the stream tells it."""
    venue, record = bought()
    assert amounts(venue) == (2_000 - 101 * (1 + TAKER), 1)
    venue.exchange.drain()
    adjust(venue, "REVERSAL")
    assert amounts(venue) == (2_000, 0)
    assert (record.filled_qty, record.filled_value, record.fees) == (0, 0, 0)
    assert venue.exchange.drain().orders[-1]["cumulative_quantity"] == "0"
    newest, oldest = list_fills(venue.exchange, Params(()))["fills"]
    assert (newest["trade_type"], newest["trade_id"]) == ("REVERSAL", oldest["trade_id"])
    assert (newest["trade_time"], newest["sequence_timestamp"]) == (oldest["trade_time"], at(LATER_NS))
    recent = list_fills(venue.exchange, Params([("start_sequence_timestamp", at(LATER_NS))]))["fills"]
    assert [one["trade_type"] for one in recent] == ["REVERSAL"]


@pytest.mark.parametrize("alone", [False, True])
def test_an_execution_set_right_costs_what_it_says(alone: bool) -> None:
    """At 100 instead of 101, with an entry that takes the first back or without."""
    venue, record = bought()
    adjust(venue, "CORRECTION", 100, alone=alone)
    assert amounts(venue) == (2_000 - 100 * (1 + TAKER), 1)
    assert record.filled_value == 100
    kinds = [fill.trade_type for fill in venue.exchange.fills]
    assert kinds == ["FILL", "CORRECTION"] if alone else ["FILL", "REVERSAL", "CORRECTION"]


def test_one_is_added_and_what_cannot_be_adjusted_is_refused() -> None:
    """Half a coin at 100 more; unknown entries and kinds change nothing."""
    venue, record = bought()
    before = amounts(venue)
    for entry, kind in (("x", "REVERSAL"), (venue.exchange.fills[0].entry_id, "FILL")):
        with pytest.raises(BadRequest):
            venue.exchange.executions.adjust(entry, kind, LATER_NS, px=Decimal(1), qty=Decimal(1), alone=False)
    assert amounts(venue) == before
    adjust(venue, "SYNTHETIC", 100)
    assert amounts(venue) == (before[0] - 100 * (1 + TAKER), 2)
    assert record.filled_qty == 2
