"""Orders that this session did not send: of others on the account, and of an earlier session."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec import structs

from connectors.coinbase.tracker import OrderTracker
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import InputEvent, OrderAccepted, OrderCancelled, OrderFilled, OrderFound, Side
from tests.support.coinbase import BTC, TS_NS
from tests.support.coinbase_tracker import book, kinds, listed, observe, tracker


@pytest.mark.fault("B8")
def test_fills_from_before_the_session_of_foreign_orders_are_not_told_again() -> None:
    """The balances read at the start contain them; a fill after the start is told, ours is told always."""
    t = tracker(since_ns=TS_NS)
    observe(t, "OPEN", "0.8", client_order_id="by-hand")
    assert book(t, "old", trade_time="2026-11-20T14:03:06Z") == []
    assert kinds(book(t, "new", trade_time="2026-11-20T14:03:08Z")) == [OrderFilled]
    t.sent("c2", 1)
    observe(t, "OPEN", "0.4", client_order_id="c2", venue_order_id="v2")
    assert kinds(book(t, "ours", order_id="v2", trade_time="2026-11-20T14:03:06Z")) == [OrderFilled]


def test_before_the_balances_are_read_no_foreign_fill_is_told() -> None:
    """It is part of what will be read; afterwards fills from that moment on are told, and one of the doubtful time is
    noted."""
    t = tracker()
    observe(t, "OPEN", "1", client_order_id="by-hand")
    assert book(t, "early", trade_time="2026-11-20T14:03:08Z") == []
    t.open(TS_NS, (TS_NS - 500_000_000, TS_NS + 500_000_000))
    assert kinds(book(t, "later", trade_time="2026-11-20T14:03:08Z")) == [OrderFilled]
    assert t.doubtful == ""
    assert kinds(book(t, "between", trade_time="2026-11-20T14:03:07.2Z")) == [OrderFilled]
    assert "fill between" in t.doubtful


def test_a_fill_of_ours_while_the_balances_are_read_is_no_doubt() -> None:
    """Nothing of ours was sent before they were read."""
    t = tracker()
    t.open(TS_NS, (TS_NS - 500_000_000, TS_NS + 500_000_000))
    t.sent("c1", 1)
    observe(t, "OPEN", "1")
    book(t, "e1")
    assert t.doubtful == ""


def test_orders_in_other_products_are_none_of_ours() -> None:
    """No event, nothing kept open."""
    t = tracker()
    assert observe(t, "OPEN", "1", product_id="DOGE-USD", client_order_id="x", venue_order_id="vx") == []
    assert t.open_orders() == []


def found(t: OrderTracker, filled: str = "0.4", name: str = "by-hand") -> list[InputEvent]:
    return t.find(name, "v9", BTC, "SELL", Decimal(2), Decimal(filled), Decimal(70_000), 9)


@pytest.mark.fault("B8")
def test_a_strangers_order_before_the_opening_is_told_once_and_its_fills_so_far_never() -> None:
    """They are part of the balances; what is filled of it afterwards is told."""
    t = tracker()
    assert not t.strangers
    observe(t, "OPEN", "0.4", client_order_id="by-hand", venue_order_id="v9")
    assert t.strangers
    (event,) = found(t)
    assert isinstance(event, OrderFound)
    assert (event.client_order_id, event.side, event.qty, event.filled_qty) == ("by-hand", Side.SELL, 2, Decimal("0.4"))
    assert found(t) == []
    assert t.take_wanted() == []
    t.open(TS_NS, (0, 0))
    assert kinds(observe(t, "OPEN", "0.9", client_order_id="by-hand", venue_order_id="v9")) == []
    assert t.take_wanted() == ["v9"]
    assert kinds(book(t, "e9", "0.5", order_id="v9")) == [OrderFilled]


@pytest.mark.fault("B8")
def test_a_strangers_order_that_fills_up_while_the_account_is_read_ends() -> None:
    """After its listing and before the balances: those fills are never told; it is told again, as filled."""
    t = tracker()
    observe(t, "OPEN", "0.4", client_order_id="by-hand", venue_order_id="v9")
    (first,) = found(t)
    t.open(2**62, (0, 0))
    assert kinds(observe(t, "FILLED", "2", client_order_id="by-hand", venue_order_id="v9")) == []
    entries = [
        listed(name, size=size, order_id="v9", trade_time=f"2026-11-19T0{hour}:00:00Z")
        for hour, (name, size) in enumerate((("e8", "0.4"), ("e9", "1.6")))
    ]
    t.recall(entries)
    again, end = (event for one in entries for event in t.book(one, 7))
    assert type(end) is OrderCancelled, "what was told of it before it was found would not fill it"
    assert again == structs.replace(first, ts_event_ns=7, ts_recv_ns=7, filled_qty=Decimal(2))
    assert t.open_orders() == []


@pytest.mark.fault("B8")
def test_what_was_counted_when_it_was_found_is_not_counted_once_more() -> None:
    """An entry of before comes by a listing of the account's fills, before or after one that came since."""
    t = tracker()
    observe(t, "OPEN", "0.4", client_order_id="by-hand", venue_order_id="v9")
    found(t)
    old = listed("e8", order_id="v9", trade_time="2026-11-19T01:00:00Z")
    assert t.book(old, 7) == []
    t.open(TS_NS, (0, 0))
    assert kinds(book(t, "e9", "0.5", order_id="v9")) == [OrderFilled]
    t.recall([old, listed("e9", size="0.5", order_id="v9")])
    assert t.book(old, 7) == []
    assert t.get("by-hand").booked_qty == Decimal("0.9")  # type: ignore[union-attr]


@pytest.mark.fault("B8")
def test_after_the_opening_what_was_told_of_it_is_what_is_filled() -> None:
    """A fill came first and was told as one without an order; the listing then names the order."""
    t = tracker()
    t.open(TS_NS, (0, 0))
    observe(t, "OPEN", "0.4", client_order_id="by-hand", venue_order_id="v9")
    assert kinds(book(t, "e9", "0.4", order_id="v9")) == [OrderFilled]
    (event,) = found(t)
    assert isinstance(event, OrderFound)
    assert event.filled_qty == Decimal("0.4")


@pytest.mark.fault("B8")
def test_every_resting_order_is_followed_by_its_version_until_it_ends() -> None:
    """Ours as it was sent, a stranger's as it was found: either may be changed by hand."""
    t = tracker()
    limit = OrderIntent(1, "s", BTC, Side.BUY, Decimal(2), OrderType.LIMIT, Decimal(99), TimeInForce.GTC)
    at_once = OrderIntent(1, "s", BTC, Side.BUY, Decimal(2), OrderType.LIMIT, Decimal(99), TimeInForce.IOC)
    for name, intent in (("c1", limit), ("c2", at_once), ("c3", limit)):
        t.sent(name, 1, intent)
        observe(t, "FILLED" if name == "c3" else "OPEN", "2" if name == "c3" else "0", client_order_id=name,
                venue_order_id=f"v{name}")  # fmt: skip
    found(t)
    assert [t.versions.is_known(one) for one in ("vc1", "vc2", "vc3", "v9")] == [True, False, False, True]
    observe(t, "CANCELLED", client_order_id="c1", venue_order_id="vc1")
    assert kinds(t.fills_read("vc1", 9, after_end=True)) == [OrderCancelled]
    assert not t.versions.is_known("vc1")


def test_an_order_of_ours_is_no_strangers() -> None:
    """Nor is one that has ended, or has a side that is none."""
    t = tracker()
    t.sent("c1", 1)
    assert t.find("c1", "v1", BTC, "BUY", Decimal(1), Decimal(0), None, 9) == []
    observe(t, "CANCELLED", client_order_id="by-hand", venue_order_id="v9")
    assert found(t) == []
    assert t.find("x", "v3", BTC, "SIDEWAYS", Decimal(1), Decimal(0), None, 9) == []


@pytest.mark.fault("A4")
def test_an_adopted_orders_booked_fills_are_not_told_again() -> None:
    """Two of its three fills were booked by the session before; the third is told, and so is its end."""
    t = tracker()
    t.adopt("c1", "v1", Decimal("0.8"), ("e1", "e2"), ended=False)
    assert t.is_unresolved("c1")
    assert kinds(observe(t, "FILLED", "1.2")) == [OrderAccepted]
    assert t.is_unresolved("c1")
    assert kinds(book(t, "e1") + book(t, "e2")) == []
    assert kinds(book(t, "e3")) == [OrderFilled]
    assert not t.is_unresolved("c1")
    assert t.get("c1").closed  # type: ignore[union-attr]


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("carried", "told"), [((), ["e3"]), (("e3",), []), (("e2",), ["e3"])])
def test_what_was_filled_before_an_order_was_found_is_not_told_by_the_session_after(
    carried: tuple[str, ...], told: list[str]
) -> None:
    """Half filled when it was found, with no ids; then perhaps filled further.  The oldest entries are those."""
    t = tracker()
    entries = [listed(name, trade_time=f"2026-11-19T01:00:0{n}Z") for n, name in enumerate(("e1", "e2", "e3"))]
    filled = Decimal("0.8") if "e3" not in carried else Decimal("1.2")  # each is 0.4
    t.adopt("hand", "v1", filled, carried, ended=False)
    t.recall(entries)
    assert [event.trade_id for one in entries for event in t.book(one, 1) if type(event) is OrderFilled] == told


def test_what_an_earlier_session_counted_is_not_told_while_its_listing_lags() -> None:
    """The fills of the order were read and none was listed yet: the account's listing shows one a moment later.
    Whether it was counted is known when the order's own are read again, which is asked for."""
    t = tracker()
    t.adopt("hand", "v1", Decimal("0.4"), (), ended=True, of_others=True)
    t.recall([])
    assert book(t, "e1") == []
    assert t.take_wanted() == ["v1"]
    t.recall([listed("e1"), listed("e2")])
    assert book(t, "e1") == []
    assert kinds(book(t, "e2")) == [OrderFilled]
    assert t.take_wanted() == []


def test_of_an_order_whose_entries_are_all_known_every_other_one_is_told() -> None:
    """One of two was on record; the other one was lost with the power, or came since."""
    t = tracker()
    entries = [listed(name, trade_time=f"2026-11-19T01:00:0{n}Z") for n, name in enumerate(("e1", "e2"))]
    t.adopt("c1", "v1", Decimal("0.4"), ("e2",), ended=False)
    t.recall(entries)
    t.recall(entries)
    assert [event.trade_id for one in entries for event in t.book(one, 1) if type(event) is OrderFilled] == ["e1"]


def test_an_adopted_order_that_had_ended_still_takes_a_late_fill() -> None:
    """It is resolved from the start, and a fill nobody has booked is told."""
    t = tracker()
    t.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=True)
    assert (t.is_unresolved("c1"), t.open_orders()) == (False, [])
    assert kinds(book(t, "e2")) == [OrderFilled]


@pytest.mark.fault("B16")
@pytest.mark.parametrize("venue_order_id", ["", "v1"])
def test_an_adopted_order_that_was_given_up_lives_where_it_shows_itself(venue_order_id: str) -> None:
    """The session before said that it never arrived, or that its record is gone."""
    t = tracker()
    t.adopt("c1", venue_order_id, Decimal(0), (), ended=True, rejected=True)
    assert (t.is_unresolved("c1"), t.open_orders()) == (False, [])
    assert kinds(observe(t, "FAILED")) == []
    assert kinds(observe(t, "OPEN")) == [OrderAccepted]
    assert [order.client_order_id for order in t.open_orders()] == ["c1"]
    assert kinds(observe(t, "CANCELLED")) in ([], [OrderCancelled])


@pytest.mark.fault("B9")
def test_an_adopted_order_of_what_is_not_traded_any_more_has_its_fills_told() -> None:
    """Else its outcome would never be known; in anything else that is not traded, fills say nothing."""
    t = OrderTracker("coinbase", {"ETH-USD": "ETH/USD@coinbase"})
    t.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=False, instrument=BTC)
    observe(t, "FILLED", "0.8")
    assert t.is_unresolved("c1")
    told = book(t, "e2")[0]
    assert isinstance(told, OrderFilled)
    assert (told.instrument, told.fee_currency) == (BTC, "USD")
    assert not t.is_unresolved("c1")
    t.sent("c2", 1)
    t.accepted("c2", "v2", 2)
    assert book(t, "e3", order_id="v2") == []


@pytest.mark.parametrize("ended", [False, True])
def test_what_an_earlier_session_told_before_it_found_the_order_is_not_told_again(ended: bool) -> None:
    """Of two that it told one had been filled by the time that the order was found: no id of them is the order's."""
    t = tracker()
    entries = [listed(name, trade_time=f"2026-11-19T01:00:0{n}Z") for n, name in enumerate(("e1", "e2", "e3"))]
    t.know(["e1", "e2"])
    t.adopt("hand", "v1", Decimal("0.4"), (), ended=ended, of_others=True, instrument=BTC)
    t.recall(entries)
    events = [event for one in entries for event in t.book(one, 1)]
    assert [event.trade_id for event in events if type(event) is OrderFilled] == ["e3"]
    assert kinds(observe(t, "FILLED", "1.2")) == ([] if ended else [OrderCancelled])
    assert not t.is_unresolved("hand")


@pytest.mark.parametrize("earlier", ["2026-11-19T01:00:00Z", "2026-11-19T01:00:00.5Z"])
def test_the_oldest_entries_are_those_of_the_earliest_time_however_it_is_spelt(earlier: str) -> None:
    """Without the zeros at its end a time is shorter than a later one, and no text sorts as it."""
    t = tracker()
    t.adopt("hand", "v1", Decimal("0.4"), (), ended=False, of_others=True)
    entries = [listed("e1", trade_time=earlier), listed("e2", trade_time="2026-11-19T01:00:00.51Z")]
    t.recall(entries)
    assert [event.trade_id for one in entries for event in t.book(one, 1) if type(event) is OrderFilled] == ["e2"]
