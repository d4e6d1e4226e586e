"""Orders that are taken and refused, each refusal by the field that it names: the venue without a server."""

from __future__ import annotations

import uuid
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.robinhood.sandbox.errors import ApiError
from connectors.robinhood.sandbox.exchange import Exchange
from connectors.robinhood.sandbox.records import ACCOUNT, LIVES_NS, OrderRecord
from connectors.robinhood.sandbox.requests import parse_order
from connectors.robinhood.sandbox.settings import DEFAULT_PAIRS, SandboxPair, SandboxSettings, Switches
from engine.events import Side

NOW_NS = 1_795_183_387_000_000_000
SECOND_NS = 1_000_000_000
UUID = "11111111-2222-4333-8444-555555555555"
UNTRADABLE = SandboxPair("OLD-USD", Decimal(10), status="untradable")
LEAVING = SandboxPair("SOLD-USD", Decimal(10), status="sellonly")


class Venue:
    """BTC-USD at 60000/60010, one each, more behind; 100,000 USD of ours."""

    def __init__(self, **settings: Any) -> None:
        pairs = (DEFAULT_PAIRS[0], UNTRADABLE, LEAVING)
        self.exchange = Exchange(
            SandboxSettings(pairs=pairs, cancel_delay_s=0.0, **settings), NOW_NS, new_id=lambda: str(uuid.uuid4())
        )
        self.now_ns = NOW_NS
        self.pin("60000", "60010")

    def pin(self, bid: str, ask: str) -> None:
        bid_px, ask_px = Decimal(bid), Decimal(ask)
        self.exchange.pin(
            "BTC-USD",
            [
                (Side.BUY, bid_px, Decimal(1)),
                (Side.BUY, bid_px - 100, Decimal(1)),
                (Side.SELL, ask_px, Decimal(1)),
                (Side.SELL, ask_px + 100, Decimal(1)),
            ],
            self.now_ns,
        )

    def pass_time(self, ns: int) -> None:
        self.now_ns += ns
        self.exchange.settle(self.now_ns)

    def body(self, kind: str = "limit", side: str = "buy", symbol: str = "BTC-USD", **config: Any) -> dict[str, Any]:
        return {
            "client_order_id": str(uuid.uuid4()),
            "side": side,
            "type": kind,
            "symbol": symbol,
            f"{kind}_order_config": config,
        }

    def place(self, kind: str = "limit", api: str = "v2", **fields: Any) -> OrderRecord:
        if kind != "market" and api == "v2":
            fields = {"time_in_force": "gtc", **fields}
        record, _ = self.exchange.place(self.body(kind, **fields), api, self.now_ns)
        return record

    def refused(self, body: dict[str, Any], api: str = "v2") -> tuple[int, str | None]:
        try:
            self.exchange.place(body, api, self.now_ns)
        except ApiError as error:
            return error.status, error.attr
        raise AssertionError("accepted")


LIMIT = {"asset_quantity": "0.1", "limit_price": "50000.00", "time_in_force": "gtc"}


@pytest.mark.parametrize(
    ("changes", "attr"),
    [
        ({"client_order_id": None}, "client_order_id"),
        ({"client_order_id": "k-17"}, "client_order_id"),
        ({"client_order_id": [1]}, "client_order_id"),
        ({"side": "long"}, "side"),
        ({"type": "trailing"}, "type"),
        ({"symbol": "XXX-USD"}, "symbol"),
        ({"symbol": "OLD-USD"}, "symbol"),
        ({"limit_order_config": None}, "limit_order_config"),
        ({"limit_order_config": {**LIMIT, "post_only": True}}, "limit_order_config.post_only"),
        ({"limit_order_config": {**LIMIT, "quote_amount": "100"}}, "limit_order_config.asset_quantity"),
        ({"limit_order_config": {**LIMIT, "asset_quantity": None}}, "limit_order_config.asset_quantity"),
        ({"limit_order_config": {**LIMIT, "asset_quantity": 0.1}}, "limit_order_config.asset_quantity"),
        ({"limit_order_config": {**LIMIT, "asset_quantity": "1e-1"}}, "limit_order_config.asset_quantity"),
        ({"limit_order_config": {**LIMIT, "asset_quantity": "0.000000001"}}, "limit_order_config.asset_quantity"),
        ({"limit_order_config": {**LIMIT, "asset_quantity": "0.00000001"}}, "limit_order_config.asset_quantity"),
        ({"limit_order_config": {**LIMIT, "asset_quantity": "21"}}, "limit_order_config.asset_quantity"),
        ({"limit_order_config": {**LIMIT, "limit_price": "50000.001"}}, "limit_order_config.limit_price"),
        ({"limit_order_config": {**LIMIT, "limit_price": None}}, "limit_order_config.limit_price"),
        ({"limit_order_config": {**LIMIT, "time_in_force": "ioc"}}, "limit_order_config.time_in_force"),
        ({"limit_order_config": {**LIMIT, "time_in_force": None}}, "limit_order_config.time_in_force"),
        ({"limit_order_config": {**LIMIT, "asset_quantity": "3"}}, "non_field_errors"),
    ],
)
def test_6_and_7_a_refusal_names_its_field(changes: dict[str, Any], attr: str) -> None:
    """One change of a good order each; nothing is held and no order exists."""
    venue = Venue()
    assert venue.refused({**venue.body(**LIMIT), **changes}) == (400, attr)
    assert venue.exchange.orders == {}
    assert venue.exchange.ledger.balance(ACCOUNT, "USD").available == 100_000


@pytest.mark.parametrize("time_in_force", list(LIVES_NS))
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("limit", {"limit_price": "50000.00"}),
        ("stop_loss", {"stop_price": "70000.00"}),
        ("stop_limit", {"stop_price": "70000.00", "limit_price": "70100.00"}),
    ],
)
def test_6_each_type_with_each_time_in_force(kind: str, config: dict[str, str], time_in_force: str) -> None:
    """In units and in money; the order waits, and ends with its day, week or month as canceled."""
    venue = Venue()
    record = venue.place(kind, asset_quantity="0.1", time_in_force=time_in_force, **config)
    in_money = venue.place(kind, quote_amount="5000", time_in_force=time_in_force, **config)
    assert in_money.spec.asset_qty <= Decimal(5000) / Decimal(50000)
    assert (record.state, in_money.state) == ("open", "open")
    life_ns = LIVES_NS[time_in_force]
    venue.pass_time((life_ns or 40 * 86_400 * SECOND_NS) - SECOND_NS)
    assert record.state == "open"
    venue.pass_time(2 * SECOND_NS)
    assert record.state == ("open" if life_ns is None else "canceled")


def test_6_stops_wait_for_their_price() -> None:
    """A trade at the stop's price makes them orders: one fills at market, one at its limit."""
    venue = Venue()
    stop = venue.place("stop_loss", asset_quantity="0.1", stop_price="60100.00")
    limited = venue.place("stop_limit", asset_quantity="0.1", stop_price="60100.00", limit_price="60050.00")
    assert (stop.state, stop.executions) == ("open", [])
    venue.exchange.trade("BTC-USD", Side.BUY, Decimal("1.2"), Decimal(60110), venue.now_ns)
    assert (stop.state, stop.executions[0].px) == ("filled", Decimal(60110))
    assert (limited.state, limited.executions) == ("open", [])
    venue.pin("60000", "60060")
    assert limited.state == "open"
    venue.exchange.trade("BTC-USD", Side.SELL, Decimal(5), Decimal(60050), venue.now_ns)
    assert limited.state == "filled"


@pytest.mark.parametrize(("mode", "is_taken"), [("accept", True), ("reject", False)])
def test_6_v1_with_and_without_a_time_in_force(mode: str, *, is_taken: bool) -> None:
    """A switch: it is not published alike everywhere whether v1 takes one; without it is always taken."""
    venue = Venue(switches=Switches(v1_time_in_force=mode))
    body = venue.body(**LIMIT)
    if is_taken:
        assert venue.exchange.place(body, "v1", venue.now_ns)[1]
    else:
        assert venue.refused(body, "v1") == (400, "limit_order_config.time_in_force")
    assert venue.place(api="v1", asset_quantity="0.1", limit_price="50000.00").state == "open"


def test_7_bounds_money_and_states_of_pair_and_account() -> None:
    """The smallest of v1 is in units, that of v2 in money; what may only be sold is not bought."""
    venue = Venue()
    small = venue.body(**{**LIMIT, "asset_quantity": "0.0000009"})
    assert venue.refused(small, "v1") == (400, "limit_order_config.asset_quantity")
    assert venue.exchange.place(small, "v2", venue.now_ns)[1]
    assert venue.refused(venue.body("market", side="sell", asset_quantity="0.1")) == (400, "non_field_errors")
    assert venue.refused(venue.body("market", symbol="SOLD-USD", asset_quantity="0.1")) == (400, "non_field_errors")
    for status, side in (("deactivated", "sell"), ("sell_only", "buy")):
        venue.exchange.account_status = status
        assert venue.refused(venue.body("market", side=side, asset_quantity="0.1")) == (400, "non_field_errors")
    venue.exchange.account_status, venue.exchange.is_api_tradable = "active", False
    assert venue.refused(venue.body("market", asset_quantity="0.1")) == (403, None)


def test_8_v1_pays_its_fee_in_the_price() -> None:
    """The same market: v2 fills at the book's price and is charged, v1 at one with the spread; both pay the same."""
    venue = Venue()
    second = venue.place("market", asset_quantity="0.5")
    paid_v2 = 100_000 - venue.exchange.ledger.balance(ACCOUNT, "USD").total
    first = venue.place("market", api="v1", asset_quantity="0.5")
    paid_v1 = 100_000 - paid_v2 - venue.exchange.ledger.balance(ACCOUNT, "USD").total
    assert (second.average_px(), second.fees) == (Decimal(60010), Decimal(30005) * Decimal("0.0085"))
    assert (first.average_px(), first.fees) == (Decimal(60010) * Decimal("1.0085"), 0)
    assert paid_v1 == paid_v2 == first.filled_value


def test_8_a_limit_of_v1_is_never_exceeded_by_its_spread() -> None:
    """A limit between the book's price and the price with the spread waits; one above both fills within it."""
    venue = Venue()
    waits = venue.place(api="v1", asset_quantity="0.1", limit_price="60100.00")
    fills = venue.place(api="v1", asset_quantity="0.1", limit_price="60600.00")
    assert (waits.state, fills.state) == ("open", "filled")
    assert fills.executions[0].px <= Decimal(60600)


def test_8_an_order_may_be_pending_first() -> None:
    """It meets the book when its time has come; cancelled before that it never does."""
    venue = Venue(pending_s=1.0)
    one = venue.place("market", asset_quantity="0.1")
    other = venue.place("market", asset_quantity="0.1")
    assert (one.state, one.state_in("v1", Switches())) == ("pending", "open")
    venue.exchange.cancel(other.order_id, venue.now_ns)
    venue.pass_time(SECOND_NS)
    assert (one.state, other.state) == ("filled", "canceled")
    assert venue.exchange.ledger.held(other.order_id) == 0


def test_8_a_market_order_beyond_the_book_is_filled_in_part_and_canceled() -> None:
    """What is left finds nobody."""
    venue = Venue()
    venue.exchange.fund("BTC", Decimal(5))
    record = venue.place("market", side="sell", asset_quantity="3")
    assert (record.state, record.filled_qty) == ("canceled", 2)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1", "60000.00"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_a_body_of_any_shape_is_an_order_or_a_refusal(data: st.DataObject) -> None:
    """Members of any JSON type in any place: nothing else than ``ApiError`` comes out."""
    kind = data.draw(st.sampled_from(["limit", "market", "stop_loss", "stop_limit"]))
    names = ("asset_quantity", "quote_amount", "limit_price", "stop_price", "time_in_force")
    config = {name: data.draw(ANY) for name in names if data.draw(st.booleans())}
    key = f"{kind}_order_config"
    body: dict[str, Any] = {"client_order_id": UUID, "side": "buy", "type": kind, "symbol": "BTC-USD", key: config}
    for name in list(body):
        if data.draw(st.integers(0, 7)) == 0:
            body[name] = data.draw(ANY)
    with suppress(ApiError):
        pairs = {"BTC-USD": DEFAULT_PAIRS[0]}
        spec = parse_order(body, data.draw(st.sampled_from(["v1", "v2"])), pairs, "active", Switches())
        assert 0 < spec.asset_qty <= DEFAULT_PAIRS[0].max_order_size
