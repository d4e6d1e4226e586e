"""Entries that are no executions: taken back, set right, standing for another, and those that nobody can explain."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase.adjustments import Adjustments
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.wire import Fill
from engine.events import FillCorrected, InputEvent, OrderAccepted, OrderCancelled, OrderFilled
from tests.support.coinbase import BTC, TS_NS, fill
from tests.support.coinbase_settle import settling

D = Decimal


def entry(name: str, **fields: Any) -> Fill:
    return msgspec.json.decode(json.dumps(fill(name, **fields)), type=Fill, strict=False)


class Desk:
    """An order of ours whose first execution, of 0.4 at 100, is booked."""

    def __init__(self, claimed: str = "0.4") -> None:
        self.tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
        self.adjustments = Adjustments(self.tracker)
        self.listed = [entry("e1")]
        self.tracker.sent("c1", 1)
        self.claim("OPEN", claimed)
        self.tracker.book(self.listed[0], 9)

    def claim(self, status: str, filled: str) -> list[InputEvent]:
        return self.tracker.observe(
            client_order_id="c1", venue_order_id="v1", product_id="BTC-USD", status=status, filled_qty=filled,
            reason="", ts_event_ns=1, ts_recv_ns=1,
        )  # fmt: skip

    def take(self, name: str, kind: str, **fields: Any) -> list[InputEvent]:
        self.listed.append(entry(name, **{"trade_id": "t-e1", "trade_type": kind, **fields}))
        return [e for one in self.adjustments.news(self.listed) for e in self.adjustments.take(one, self.listed, 9)]

    @property
    def booked(self) -> Decimal:
        order = self.tracker.get("c1")
        assert order is not None
        return order.booked_qty


@pytest.mark.fault("B10")
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_an_execution_that_is_reversed_is_taken_back_once(side: str) -> None:
    """By the trade id that both have; whichever side the venue writes on it, and however often it is listed."""
    desk = Desk()
    (told,) = desk.take("e2", "REVERSAL", side=side)
    assert type(told) is FillCorrected
    assert (told.trade_id, told.side, told.qty, told.px, told.new_qty, told.new_fee) == ("e1", 1, D("0.4"), 100, 0, 0)
    assert (desk.booked, desk.tracker.moved) == (0, {"BTC": 0, "USD": 0})
    assert desk.adjustments.news(desk.listed) == []
    assert desk.tracker.book(desk.listed[0], 9) == []
    # The venue counts less now; the order goes on.
    assert desk.claim("OPEN", "0") == []
    assert [type(e) for e in desk.tracker.fills_read("v1", 9)] == []


@pytest.mark.fault("B10")
def test_an_order_that_ended_waits_for_its_other_executions_when_one_is_reversed() -> None:
    """1 is filled by the venue's word, 0.4 are listed and taken back: the 0.6 that are not listed yet come first."""
    desk = Desk(claimed="1")
    assert desk.claim("CANCELLED", "1") == []
    assert [type(e) for e in desk.take("e2", "REVERSAL")] == [FillCorrected]
    assert desk.tracker.fills_read("v1", 9) == []
    told = desk.tracker.book(entry("e3", size="0.6"), 9)
    assert [type(e) for e in told] == [OrderFilled]
    assert [type(e) for e in desk.tracker.fills_read("v1", 9, after_end=True)] == [OrderCancelled]


@pytest.mark.fault("B10")
def test_what_comes_in_place_of_a_reversed_execution_is_an_execution() -> None:
    """Both entries at once, listed newest first: the reversal is looked at before."""
    desk = Desk()
    desk.listed.insert(0, entry("e2", trade_id="t-e1", trade_type="REVERSAL"))
    told = desk.take("e3", "CORRECTION", price="90")
    assert [type(e) for e in told] == [FillCorrected, OrderFilled]
    assert (told[1].trade_id, told[1].qty, told[1].px) == ("e3", D("0.4"), 90)
    assert desk.booked == D("0.4")
    assert desk.tracker.moved == {"BTC": D("0.4"), "USD": D("-36.04")}


@pytest.mark.fault("B10")
def test_a_correction_alone_replaces_what_it_is_about() -> None:
    """The execution stands under its own name, with other values."""
    desk = Desk()
    (told,) = desk.take("e2", "CORRECTION", price="90", size="0.3")
    assert (told.trade_id, told.new_qty, told.new_px, told.new_fee) == ("e1", D("0.3"), 90, D("0.04"))
    assert (desk.booked, desk.tracker.moved) == (D("0.3"), {"BTC": D("0.3"), "USD": D("-27.04")})


@pytest.mark.fault("B10")
def test_an_entry_that_the_order_counts_is_an_execution_and_any_other_is_not() -> None:
    """0.6 are filled by the venue's word and 0.4 are listed: a synthetic 0.2 is the rest; the next one is nothing."""
    desk = Desk(claimed="0.6")
    (told,) = desk.take("e2", "SYNTHETIC", trade_id="t9", size="0.2")
    assert (type(told), told.trade_id, desk.booked) == (OrderFilled, "e2", D("0.6"))
    assert desk.take("e3", "SYNTHETIC", trade_id="t10", size="0.2") == []
    assert (desk.booked, desk.adjustments.log.unexplained) == (D("0.6"), 1)
    assert "SYNTHETIC entry e3" in desk.adjustments.log.last


@pytest.mark.parametrize(
    "fields",
    [
        {"trade_id": "other"},
        {"size": "0.1"},
        {"trade_type": "WITHDRAWN"},
        {"trade_type": "CORRECTION", "side": "UP"},
        {"trade_type": "CORRECTION", "size": "NaN"},
        {"size": "sNaN"},
        {"price": "sNaN"},
    ],
)
@pytest.mark.fault("C13")
def test_what_cannot_be_explained_is_not_booked(fields: dict[str, Any]) -> None:
    """Of another trade, of a part of it, with a word of tomorrow, or without sense: counted once."""
    desk = Desk()
    kind = fields.pop("trade_type", "REVERSAL")
    assert desk.take("e2", kind, **fields) == []
    assert (desk.booked, desk.adjustments.log.unexplained) == (D("0.4"), 1)
    assert desk.adjustments.news(desk.listed) == []


def test_an_adjustment_of_what_was_there_before_the_session_tells_nothing() -> None:
    """Somebody else's order, filled before the opening: its execution is part of the balances, and so is this."""
    tracker = OrderTracker("coinbase", {"BTC-USD": BTC}, since_ns=TS_NS + 1)
    tracker.observe(
        client_order_id="theirs", venue_order_id="v1", product_id="BTC-USD", status="OPEN", filled_qty="0.4",
        reason="", ts_event_ns=1, ts_recv_ns=1,
    )  # fmt: skip
    listed = [entry("e1"), entry("e2", trade_id="t-e1", trade_type="REVERSAL")]
    assert tracker.book(listed[0], 9) == []
    adjustments = Adjustments(tracker)
    assert adjustments.take(listed[1], listed, 9) == []
    assert (adjustments.log.taken_back, tracker.moved) == (1, {})


async def test_the_listing_of_an_order_is_read_whole_and_the_account_confirmed() -> None:
    """A recent listing names the adjustment alone: its order's entries are read, and then it is told, once."""
    async with settling(start=False) as bench:
        confirmations: list[str] = []
        bench.settler.on_doubt = lambda: confirmations.append("asked")
        bench.venue.fills = [fill("e2", trade_id="t-e1", trade_type="REVERSAL"), fill("e1")]
        bench.tracker.sent("c1", 1)
        bench.claim("v1", "c1", "0.4")
        await bench.settler.read_fills()
        assert [type(e) for e in bench.log] == [OrderAccepted, OrderFilled, FillCorrected]
        assert confirmations == ["asked"]
        await bench.settler.read_fills_of(["v1"])
        assert [type(e) for e in bench.log] == [OrderAccepted, OrderFilled, FillCorrected]
