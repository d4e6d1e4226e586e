"""Edits, attached brackets and time-sliced orders on a book whose every order is known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase.sandbox import editing, previews, wire
from connectors.coinbase.sandbox.times import BadRequest
from engine.events import Side
from tests.unit.connectors.coinbase.sandbox.test_exchange import NOW_NS, Venue

SECOND_NS = 1_000_000_000
FEE = Decimal("1.006")
BRACKET = {"trigger_bracket_gtc": {"limit_price": "110", "stop_trigger_price": "90"}}


@pytest.fixture
def venue() -> Venue:
    return Venue()


def edit(venue: Venue, record: Any, size: str, price: str, **more: str) -> dict[str, Any]:
    body = {"order_id": record.order_id, "size": size, "price": price, **more}
    return editing.edit(venue.exchange, body, venue.now_ns)


def reason(answer: dict[str, Any]) -> str:
    assert answer["success"] is False
    return answer["errors"][0]["edit_failure_reason"]  # type: ignore[no-any-return]


def test_a_smaller_size_keeps_its_place_and_gives_its_hold_back(venue: Venue) -> None:
    """Somebody queues behind; after the edit the order still fills first, and only its rest is held."""
    record = venue.order(venue.limit("BUY", 98, "1"))
    venue.others(Side.BUY, 98, 5)
    assert edit(venue, record, "0.5", "98")["success"]
    assert venue.money("USD")[1] == Decimal("49") * FEE
    assert venue.market.engine.ahead_qty(record.order_id) == 1, "who was there before, and nobody else"
    venue.others(Side.SELL, 98, "2.5")
    assert (record.status, record.filled_qty) == ("FILLED", Decimal("0.5"))


def test_another_price_goes_to_the_back_and_may_trade_at_once(venue: Venue) -> None:
    """Moved to a price where somebody waits, then across the spread: a taker's fill under the same id."""
    record = venue.order(venue.limit("BUY", 97, "1"))
    assert edit(venue, record, "1", "98")["success"]
    assert venue.market.engine.ahead_qty(record.order_id) == 1
    assert edit(venue, record, "2", "101")["success"]
    assert (record.status, record.filled_qty, record.average_px) == ("OPEN", 1, 101)
    assert [wire.number(px) for px, _, _ in record.edits] == ["98", "101"]
    assert venue.money("USD")[1] == 101 * FEE, "the rest rests at its new price"
    assert reason(edit(venue, record, "1", "101")) == "CANNOT_EDIT_TO_BELOW_FILLED_SIZE"


def test_a_change_is_carried_out_when_its_time_has_come() -> None:
    """Until then the order trades as it was, is shown as one that is being changed, and takes nothing else; one that is
    not possible any more leaves it as it is."""
    venue = Venue(edit_lag_s=2.0)
    record = venue.order(venue.limit("BUY", 100, "1"))
    assert edit(venue, record, "2", "99.5")["success"]
    assert (record.shown_status, record.spec.limit_px) == ("EDIT_QUEUED", 100)
    assert reason(edit(venue, record, "3", "99.5")) == "ORDER_IS_ALREADY_BEING_REPLACED"
    assert venue.exchange.cancel(record.order_id, NOW_NS)["failure_reason"] == "ORDER_IS_BEING_REPLACED"
    venue.others(Side.SELL, 100, "0.4")
    venue.exchange.expire(NOW_NS + 2 * SECOND_NS - 1)
    assert (record.spec.limit_px, record.filled_qty) == (100, Decimal("0.4"))
    venue.exchange.expire(NOW_NS + 2 * SECOND_NS)
    assert (record.shown_status, record.spec.limit_px, record.leaves_qty) == ("OPEN", Decimal("99.5"), Decimal("1.6"))
    assert edit(venue, record, "0.5", "99.5")["success"]
    venue.others(Side.SELL, "99.5", "1.2")
    venue.exchange.expire(NOW_NS + 9 * SECOND_NS)
    assert (record.shown_status, record.spec.base_size, len(record.edits)) == ("OPEN", 2, 1)
    assert venue.exchange.cancel(record.order_id, NOW_NS)["success"]


def test_an_edit_that_cannot_be_paid_changes_nothing(venue: Venue) -> None:
    """Refused, also as a preview; place, hold and size are those of before."""
    record = venue.order(venue.limit("BUY", 99, "2"))
    before = venue.money("USD"), venue.market.engine.ahead_qty(record.order_id)
    body = {"order_id": record.order_id, "size": "50", "price": "99"}
    assert previews.preview_edit(venue.exchange, body)["errors"][0]["preview_failure_reason"] == (
        "PREVIEW_INSUFFICIENT_FUND"
    )
    assert reason(edit(venue, record, "50", "99")) == "COMMANDER_REJECTED_EDIT_ORDER"
    assert (venue.money("USD"), venue.market.engine.ahead_qty(record.order_id)) == before
    assert record.edits == ()


def test_stops_brackets_and_post_only_orders_are_edited_by_their_own_rules(venue: Venue) -> None:
    """A stop's trigger moves with its limit; a bracket stays one; post-only never takes."""
    venue.others(Side.BUY, 101, "0.1")  # a last trade at 101
    stop = venue.limit(
        "BUY", 110, 1, "stop_limit_stop_limit_gtc", stop_price="105", stop_direction="STOP_DIRECTION_STOP_UP"
    )
    stop = venue.order(stop)
    assert edit(venue, stop, "1", "112", stop_price="106")["success"]
    assert (stop.spec.stop_px, stop.spec.limit_px, stop.trigger_status) == (106, 112, "STOP_PENDING")
    bracket = venue.order(venue.limit("SELL", 120, 1, "trigger_bracket_gtc", stop_trigger_price="90"))
    assert edit(venue, bracket, "1", "115")["success"]
    assert reason(edit(venue, bracket, "1", "80")) == "INVALID_EDITED_PRICE"
    quiet = venue.order(venue.limit("BUY", 90, "0.1", post_only=True))
    assert reason(edit(venue, quiet, "0.1", "103")) == "INVALID_EDITED_PRICE"
    market = venue.order(venue.place("BUY", market_market_ioc={"base_size": "0.1"}))
    assert reason(edit(venue, market, "1", "1")) == "ONLY_OPEN_ORDERS_CAN_BE_EDITED"


def test_a_post_only_order_is_accepted_and_then_fails_where_the_venue_does_so() -> None:
    """The other way of the switch: told PENDING and FAILED, nothing held, nothing traded."""
    venue = Venue(post_only_mode="fail")
    record = venue.order(venue.limit("BUY", 101, 1, post_only=True))
    assert (record.status, record.reject_reason) == ("FAILED", "INVALID_LIMIT_PRICE_POST_ONLY")
    assert venue.updates() == [("PENDING", "0"), ("FAILED", "0")]
    assert venue.money("USD") == (1_000, 0)
    assert venue.exchange.open_orders == {}


def attached(venue: Venue, name: str = "parent", **configuration: Any) -> Any:
    body = {
        "client_order_id": name,
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": configuration,
        "attached_order_configuration": BRACKET,
    }
    return venue.order(venue.exchange.place(body, NOW_NS))


def test_what_is_attached_comes_with_the_fills_and_for_as_much(venue: Venue) -> None:
    """Half filled and cancelled: the bracket sells half; never filled: there is none."""
    parent = attached(venue, limit_limit_gtc={"base_size": "2", "limit_price": "101"})
    assert parent.filled_qty == 1
    assert parent.attached_order_id not in venue.exchange.orders
    venue.exchange.cancel(parent.order_id, NOW_NS)
    child = venue.exchange.orders[parent.attached_order_id]
    assert (child.status, child.spec.base_size, child.originating_order_id) == ("OPEN", 1, parent.order_id)
    assert venue.money("BTC") == (2, 1)
    venue.exchange.cancel(child.order_id, NOW_NS)
    assert venue.money("BTC") == (3, 0)


def test_what_is_attached_fails_where_the_market_has_gone_past_it(venue: Venue) -> None:
    """The parent buys at 85, where the last trade is below the bracket's stop: FAILED under the promised id."""
    venue.others(Side.SELL, 85, 4)
    parent = attached(venue, limit_limit_gtc={"base_size": "0.5", "limit_price": "85"})
    child = venue.exchange.orders[parent.attached_order_id]
    assert (parent.status, child.status) == ("FILLED", "FAILED")
    assert child.reject_reason == "INVALID_BRACKET_STOP_TRIGGER_PRICE"
    assert venue.exchange.open_orders == {}
    assert venue.money("BTC") == (Decimal("2.5"), 0)
    assert venue.updates()[-1] == ("FAILED", "0")


def test_what_is_attached_may_come_with_the_first_fill_and_grow() -> None:
    """The other way of the switch: half of the entry filled, and half is for sale; the rest follows it."""
    venue = Venue(attached_when="fill")
    parent = attached(venue, limit_limit_gtc={"base_size": "2", "limit_price": "101"})
    child = venue.exchange.orders[parent.attached_order_id]
    assert (parent.status, child.status, child.spec.base_size) == ("OPEN", "OPEN", 1)
    venue.others(Side.SELL, 101, "0.5")
    assert (child.status, child.spec.base_size, venue.money("BTC")[1]) == ("OPEN", Decimal("1.5"), Decimal("1.5"))


def test_what_is_attached_stays_as_it_is_where_it_may_not_grow() -> None:
    """The venue's rules have changed meanwhile: it rests, is told as that, and can be cancelled."""
    venue = Venue(attached_when="fill")
    parent = attached(venue, limit_limit_gtc={"base_size": "2", "limit_price": "101"})
    child = venue.exchange.orders[parent.attached_order_id]
    products = venue.exchange.products
    products["BTC-USD"] = msgspec.structs.replace(products["BTC-USD"], base_increment=Decimal(1))
    venue.others(Side.SELL, 101, "0.5")
    assert (child.status, child.spec.base_size, venue.money("BTC")[1]) == ("OPEN", 1, 1)
    assert venue.exchange.cancel(child.order_id, NOW_NS)["success"]
    assert (child.status, venue.money("BTC")[1]) == ("CANCELLED", 0)


def test_what_is_attached_may_be_there_from_the_start_and_wait() -> None:
    """Told before its entry, as large as that; it cannot be cancelled until its entry has ended."""
    venue = Venue(attached_when="start")
    parent = attached(venue, limit_limit_gtc={"base_size": "2", "limit_price": "101"})
    child = venue.exchange.orders[parent.attached_order_id]
    assert (child.status, child.spec.base_size, venue.money("BTC")[1]) == ("PENDING", 2, 0)
    refused = venue.exchange.cancel(child.order_id, NOW_NS)
    assert refused["failure_reason"] == "CANNOT_CANCEL_ACTIVE_ATTACHED_ORDER"
    venue.exchange.cancel(parent.order_id, NOW_NS)
    assert (child.status, child.spec.base_size, venue.money("BTC")[1]) == ("OPEN", 1, 1)
    idle = attached(venue, limit_limit_gtc={"base_size": "1", "limit_price": "50"}, name="idle")
    waiting = venue.exchange.orders[idle.attached_order_id]
    venue.exchange.cancel(idle.order_id, NOW_NS)
    assert (waiting.status, waiting.filled_qty) == ("CANCELLED", 0)


def test_what_is_attached_may_come_late_without_a_name_and_without_saying_whose_it_is() -> None:
    venue = Venue(attached_lag_s=2.0, attached_names="entry", attached_client_id="none")
    parent = attached(venue, limit_limit_gtc={"base_size": "1", "limit_price": "101"})
    assert (parent.status, parent.attached_order_id in venue.exchange.orders) == ("FILLED", False)
    venue.exchange.expire(NOW_NS + 2 * SECOND_NS)
    told = wire.order(venue.exchange.orders[parent.attached_order_id], user_id="u", portfolio_id="p")
    assert (told["status"], told["client_order_id"], told["originating_order_id"]) == ("OPEN", "", "")
    assert wire.accepted(parent)["success_response"]["attached_order_id"] == told["order_id"]


def sliced(venue: Venue, count: str = "3", size: str = "1.5", end_s: int = 10) -> dict[str, Any]:
    fields = {
        "base_size": size,
        "limit_price": "102",
        "start_time": str(NOW_NS // SECOND_NS),
        "end_time": str(NOW_NS // SECOND_NS + end_s),
        "number_buckets": count,
        "bucket_size": "0.5",
        "bucket_duration": "2s",
    }
    return venue.place("BUY", twap_limit_gtd=fields)


def test_slices_trade_when_their_time_has_come_and_the_rest_expires(venue: Venue) -> None:
    """Three slices of 0.5 up to 102: 1 + 1 are there, so all fill; with less there, the rest expires."""
    record = venue.order(sliced(venue))
    venue.exchange.expire(NOW_NS)
    assert record.filled_qty == Decimal("0.5")
    venue.exchange.expire(NOW_NS + SECOND_NS)
    assert record.filled_qty == Decimal("0.5")
    venue.exchange.expire(NOW_NS + 4 * SECOND_NS)
    assert (record.status, record.filled_qty, record.fill_count) == ("FILLED", Decimal("1.5"), 3)
    assert venue.money("USD")[1] == 0
    venue.exchange.wallets.ledger.deposit("portfolio", "USD", Decimal(1_000))
    more = venue.order(sliced(venue, size="3"))
    for second in range(6):
        venue.exchange.expire(NOW_NS + second * SECOND_NS)
    assert (more.status, more.filled_qty) == ("EXPIRED", Decimal("0.5"))
    assert venue.money("USD")[1] == 0
    assert not venue.exchange.slices


def test_a_sliced_order_is_cancelled_between_its_slices(venue: Venue) -> None:
    """Its hold comes back and no further slice is sent; what does not fit its times is no request."""
    record = venue.order(sliced(venue))
    venue.exchange.expire(NOW_NS)
    assert venue.exchange.cancel(record.order_id, NOW_NS)["success"]
    venue.exchange.expire(NOW_NS + 9 * SECOND_NS)
    assert (record.status, record.filled_qty) == ("CANCELLED", Decimal("0.5"))
    assert venue.money("USD")[1] == 0
    with pytest.raises(BadRequest, match="do not fit"):
        sliced(venue, count="9")
