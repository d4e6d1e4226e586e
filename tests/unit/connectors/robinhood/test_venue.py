"""The connector against its sandbox: both generations, every switch, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import EventLog
from connectors.robinhood import account, gateway
from connectors.robinhood import venue as connector_module
from connectors.robinhood.names import venue_name
from connectors.robinhood.sandbox.records import ACCOUNT, Execution
from connectors.robinhood.sandbox.settings import RateLimits, Switches
from connectors.robinhood.settings import RobinhoodSettings
from connectors.robinhood.venue import RobinhoodVenue
from engine.carried import CarriedOrder
from engine.commands import CancelOrder, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.errors import ConfigError, VenueError, WrongAccount
from engine.events import (
    AccountSettled,
    BalanceReported,
    CancelRejected,
    FeedDown,
    FeedUp,
    InstrumentDefined,
    InstrumentStatus,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderOutcomeUnknown,
    OrderRejected,
    Quote,
    Side,
    TradingStatus,
    VenueStatus,
)
from tests.support.robinhood import Client, running

D = Decimal
BTC = "BTC/USD@robinhood"
ELSEWHERE = "k20200101T000000-beef-"
QUICK: dict[str, Any] = {
    "quote_poll_s": 0.05,
    "order_poll_s": 0.1,
    "idle_poll_s": 0.2,
    "requests_per_minute": 100_000.0,
    "unknown_grace_s": 0.3,
    "backoff_base_s": 0.05,
    "backoff_cap_s": 0.1,
    "products_s": 0.0,
    "money": "play",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is as slow as the venue might be."""
    monkeypatch.setattr(account, "LISTING_LAG_S", 0.02)
    monkeypatch.setattr(account, "_LOOK_S", 0.1)
    monkeypatch.setattr("connectors.robinhood.watch.SHORTEST_S", 0.05)


class Clock:
    """The machine's, which a test may set forward."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    wall_ns = now_ns


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def new_order(client_id: str, kind: OrderType = OrderType.LIMIT, **fields: Any) -> NewOrder:
    given: dict[str, Any] = {"side": Side.BUY, "qty": D("0.1"), "limit_px": D("50000.00"), **fields}
    if kind is OrderType.MARKET:
        given["limit_px"] = None
    side, qty = given.pop("side"), given.pop("qty")
    intent = OrderIntent(time.time_ns(), "s", BTC, side, qty, kind, time_in_force=TimeInForce.GTC, **given)
    return NewOrder(time.time_ns(), client_id, "robinhood", intent)


class Session:
    """A connector, what it told, and the sandbox where the truth is."""

    def __init__(self, client: Client, venue: RobinhoodVenue, log: EventLog) -> None:
        self.client = client
        self.venue = venue
        self.log = log
        self.exchange = client.sandbox.exchange

    def submit(self, client_id: str, kind: OrderType = OrderType.LIMIT, **fields: Any) -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.submit(new_order(client_id, kind, **fields))

    def cancel(self, client_id: str) -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.cancel(CancelOrder(time.time_ns(), client_id, "robinhood", "", BTC))

    def of(self, client_id: str) -> list[Any]:
        return [event for event in self.log if getattr(event, "client_order_id", None) == client_id]

    def kinds(self, client_id: str) -> list[type]:
        return [type(event) for event in self.of(client_id)]

    async def heard(self, client_id: str, kind: type) -> Any:
        await until(lambda: kind in self.kinds(client_id))
        return next(event for event in self.of(client_id) if type(event) is kind)

    def filled(self, client_id: str) -> Decimal:
        return sum((event.qty for event in self.of(client_id) if type(event) is OrderFilled), D(0))

    async def settled(self) -> dict[str, Decimal]:
        """Balances as they are confirmed next."""
        before = len(self.log.of(AccountSettled))
        self.venue.confirm()
        await until(lambda: len(self.log.of(AccountSettled)) > before)
        return dict(self.log.of(AccountSettled)[-1].balances)

    def truth(self, currency: str) -> Decimal:
        return self.exchange.ledger.balance(ACCOUNT, currency).total


def connector(client: Client, log: EventLog, **options: Any) -> RobinhoodVenue:
    of_venue = {
        name: options.pop(name) for name in ("carried", "carried_balances", "identify", "rival") if name in options
    }
    given = {**QUICK, "rest_url": client.sandbox.url, "key_file": str(client.sandbox.key_file), **options}
    return RobinhoodVenue(RobinhoodSettings(**given), log, Clock(), **of_venue)


@asynccontextmanager
async def started(client: Client, **options: Any) -> AsyncIterator[Session]:
    log = EventLog()
    venue = connector(client, log, **options)
    await venue.start()
    try:
        yield Session(client, venue, log)
    finally:
        await venue.stop()


@asynccontextmanager
async def session(folder: Path, sandbox: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Session]:
    async with running(folder, **(sandbox or {})) as client, started(client, **options) as made:
        yield made


# --- a session ------------------------------------------------------------------------------------------------------

OTHERWISE = Switches(
    v2_partial_state="partially_filled",
    answers_before_matching=False,
    cancel_reply="plain",
    quote_times=True,
    executions_order="newest",
    buying_power_digits=2,
    duplicate_mode="reject",
)


@pytest.mark.parametrize(
    ("generation", "sandbox"),
    [
        ("v2", {}),
        ("v2", {"switches": OTHERWISE, "page_size": 1}),
        ("v2", {"pending_s": 0.2, "listing_lag_s": 0.3, "cancel_delay_s": 0.2}),
        ("v1", {}),
        ("v1", {"switches": OTHERWISE, "page_size": 1}),
        ("auto", {"switches": Switches(v2_access="forbidden")}),
    ],
)
async def test_a_session_however_the_venue_has_it(tmp_path: Path, generation: str, sandbox: dict[str, Any]) -> None:
    """A buy, an order that fills in part and is cancelled, a sale: the facts in order, and the venue's own money."""
    async with session(tmp_path, sandbox, generation=generation) as s:
        generation = "v1" if generation == "auto" else generation
        (defined,) = s.log.of(InstrumentDefined)
        assert defined.definition.taker_fee_rate == (D("0.0085") if generation == "v2" else 0)
        assert {event.stream for event in s.log.of(FeedUp)} == {"market", "user"}
        assert {event.currency: event.total for event in s.log.of(BalanceReported)} == {"BTC": 0, "USD": 100_000}
        quote = s.log.of(Quote)[-1]
        assert (quote.bid_px < 60000) == (generation == "v1")

        s.submit("buy", OrderType.MARKET, qty=D("0.2"))
        await until(lambda: s.filled("buy") == D("0.2"))
        assert s.kinds("buy")[0] is OrderAccepted
        fill = next(event for event in s.of("buy") if type(event) is OrderFilled)
        assert (fill.fee > 0) == (generation == "v2")

        s.submit("part", qty=D("0.3"), limit_px=D("60515.00") if generation == "v1" else D("60005.00"))
        await s.heard("part", OrderAccepted)
        await until(lambda: s.client.sandbox.exchange.open_orders)
        await until(lambda: all(one.state == "open" for one in s.exchange.open_orders.values()))
        s.exchange.trade("BTC-USD", Side.SELL, D("0.1"), D("59900"), time.time_ns())
        s.exchange.pin("BTC-USD", [(Side.BUY, D(59000), D(1)), (Side.SELL, D(61000), D(1))], time.time_ns())
        await until(lambda: s.filled("part") > 0)
        s.cancel("part")
        await s.heard("part", OrderCancelled)
        assert CancelRejected not in s.kinds("part")

        s.submit("sell", OrderType.MARKET, side=Side.SELL, qty=D("0.1"))
        await until(lambda: s.filled("sell") == D("0.1"))
        balances = await s.settled()
        assert balances["BTC"] == s.truth("BTC")
        assert abs(balances["USD"] - s.truth("USD")) < D("0.01")
        for event in s.log.of(OrderFilled):
            assert sum(one.trade_id == event.trade_id for one in s.log.of(OrderFilled)) == 1


async def test_v1_goes_without_a_time_in_force_where_it_is_refused(tmp_path: Path) -> None:
    """The first order is refused for it, and the next one is written without."""
    switches = {"switches": Switches(v1_time_in_force="reject")}
    async with session(tmp_path, switches, generation="v1") as s:
        s.submit("first")
        assert (await s.heard("first", OrderRejected)).reason == "unsupported"
        s.submit("next")
        await s.heard("next", OrderAccepted)


async def test_a_cancel_waits_for_the_id_of_its_order(tmp_path: Path) -> None:
    """Asked before the venue has answered: it leaves with the answer."""
    async with session(tmp_path, {"latency_ms": 100.0}) as s:
        s.submit("one")
        s.cancel("one")
        s.cancel("one")
        await s.heard("one", OrderCancelled)
        assert s.venue.gateway is not None
        assert s.venue.gateway.counters.cancels == 1
        s.cancel("one")
        s.cancel("none")
        assert [event.reason for event in s.log.of(CancelRejected)] == ["order_closed", "unknown_order"]


# --- money ----------------------------------------------------------------------------------------------------------


async def test_what_open_buys_bind_is_still_ours(tmp_path: Path) -> None:
    """The venue shows what is free: the total stays while an order waits, with a memory of it and at a new start."""
    async with running(tmp_path) as client:
        async with started(client) as s:
            s.submit("waits", qty=D("0.5"))
            s.submit("stops", OrderType.STOP, qty=D("0.1"), limit_px=None, trigger_px=D("70000.00"))
            await s.heard("waits", OrderAccepted)
            await s.heard("stops", OrderAccepted)
            await until(lambda: len(s.exchange.open_orders) == 2)
            assert (await s.settled())["USD"] == 100_000
        async with started(client) as s:
            found = s.log.of(OrderFound)
            assert [(one.side, one.qty) for one in sorted(found, key=lambda one: one.qty)] == [
                (Side.BUY, D("0.1")),
                (Side.BUY, D("0.5")),
            ]
            # The stop's reach is not told: what it binds beyond its price is missing.
            told = dict(s.log.of(AccountSettled)[-1].balances)["USD"]
            assert D(100_000) - D("360") <= told <= 100_000


@pytest.mark.fault("B8")
@pytest.mark.fault("C18")
async def test_trades_of_others_on_the_account_are_told(tmp_path: Path) -> None:
    """Found, filled and in the balances; what was there before the start is in those alone."""
    async with running(tmp_path) as client:
        await client.place("market", asset_quantity="0.2")
        async with started(client) as s:
            assert s.log.of(OrderFilled) == []
            _, made = await client.place("market", asset_quantity="0.3")
            await until(lambda: s.log.of(OrderFilled))
            assert [type(event) for event in s.of(made["client_order_id"])] == [OrderFound, OrderFilled]
            balances = await s.settled()
            assert (balances["BTC"], balances["USD"]) == (D("0.5"), s.truth("USD"))


@pytest.mark.fault("C18")
async def test_money_that_comes_or_goes_is_told_as_it_is(tmp_path: Path) -> None:
    """A deposit, and coins that are gone: a holding that is not listed any more is none."""
    async with session(tmp_path) as s:
        s.exchange.fund("BTC", D(2))
        s.exchange.fund("USD", D("12.34"))
        assert await s.settled() == {"BTC": D(2), "USD": D("100012.34")}
        s.exchange.fund("BTC", D(-2))
        assert (await s.settled())["BTC"] == 0


async def test_a_session_goes_on_where_the_last_one_was_killed(tmp_path: Path) -> None:
    """One order had filled in part, one had no answer, one was cancelled meanwhile: each is told to its end, once."""
    async with running(tmp_path) as client:
        log = EventLog()
        venue = connector(client, log)
        await venue.start()
        s = Session(client, venue, log)
        s.submit("part", qty=D("0.4"), limit_px=D("60005.00"))
        s.submit("gone")
        await s.heard("part", OrderAccepted)
        gone_id = (await s.heard("gone", OrderAccepted)).venue_order_id
        await client.operate("trade", symbol="BTC-USD", side="sell", price="60005", quantity="0.1")
        await until(lambda: s.filled("part") == D("0.1"))
        fill = next(event for event in s.of("part") if type(event) is OrderFilled)
        await venue.stop()
        await client.operate("trade", symbol="BTC-USD", side="sell", price="60005", quantity="0.3")
        await client.cancel(gone_id)
        await client.place("limit", name=venue_name("lost"), asset_quantity="0.1", limit_price="50000.00")
        carried = [
            CarriedOrder(
                new_order("part", qty=D("0.4"), limit_px=D("60005.00")),
                "partially_filled", fill.venue_order_id, D("0.1"), fill.px, (fill.trade_id,),
            ),
            CarriedOrder(new_order("gone"), "accepted", gone_id, D(0), D(0), ()),
            CarriedOrder(new_order("lost"), "unknown", "", D(0), D(0), ()),
            CarriedOrder(new_order("never"), "unknown", "", D(0), D(0), ()),
        ]  # fmt: skip
        usd = D(100_000) - fill.qty * fill.px - fill.fee
        async with started(client, carried=carried, carried_balances={"USD": usd, "BTC": D("0.1")}) as s:
            assert s.filled("part") == D("0.3")
            assert OrderCancelled in s.kinds("gone")
            assert s.kinds("lost") == [OrderAccepted]
            assert [event.reason for event in s.of("never")] == ["never_arrived"]
            assert s.log.of(OrderFound) == []
            balances = dict(s.log.of(AccountSettled)[-1].balances)
            assert (balances["BTC"], balances["USD"]) == (D("0.4"), s.truth("USD"))


async def test_another_daemon_on_the_account_is_refused(tmp_path: Path) -> None:
    """By the session that its order's UUID names; one of this machine's is not."""
    async with running(tmp_path) as client:
        name = venue_name(f"{ELSEWHERE}1")
        await client.place("limit", name=name, asset_quantity="0.1", limit_price="50000.00")
        log = EventLog()
        rival = connector(client, log, rival=lambda one: "elsewhere" if one.startswith(ELSEWHERE) else "")
        with pytest.raises(WrongAccount, match="elsewhere"):
            await rival.start()
        async with started(client) as s:
            assert [event.client_order_id for event in s.log.of(OrderFound)] == [f"{ELSEWHERE}1"]


# --- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.fault("C8")
async def test_a_key_that_is_refused_halts_the_venue_until_it_is_taken_again(tmp_path: Path) -> None:
    """Told as the venue's state; streams go down with it, and the account is confirmed before it goes on."""
    async with session(tmp_path) as s:
        await s.client.operate("expire_key")
        await until(lambda: s.log.of(VenueStatus))
        assert s.log.of(VenueStatus)[-1].status is TradingStatus.HALTED
        await until(lambda: {event.stream for event in s.log.of(FeedDown)} == {"market", "user"})
        before = len(s.log.of(AccountSettled))
        await s.client.operate("restore_key")
        await until(lambda: len(s.log.of(VenueStatus)) == 2)
        assert s.log.of(VenueStatus)[-1].status is TradingStatus.TRADING
        await until(lambda: len(s.log.of(AccountSettled)) > before)
        await until(lambda: len(s.log.of(FeedUp)) == 4)


@pytest.mark.fault("C9")
async def test_a_key_that_may_not_trade_shows_in_its_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two orders refused for it halt the venue; after a pause one may try again, and one that is taken ends it."""
    monkeypatch.setattr(connector_module, "FIRST_PAUSE_S", 0.3)
    monkeypatch.setattr(connector_module, "HOUSE_S", 0.05)
    async with session(tmp_path) as s:
        await s.client.operate("permit", can_trade=False)
        for name in ("one", "two"):
            s.submit(name)
            assert (await s.heard(name, OrderRejected)).reason == "permission_denied"
        await until(lambda: s.log.of(VenueStatus))
        assert s.log.of(VenueStatus)[-1].status is TradingStatus.HALTED
        await until(lambda: s.log.of(VenueStatus)[-1].status is TradingStatus.TRADING)
        s.submit("three")
        await until(lambda: s.log.of(VenueStatus)[-1].status is TradingStatus.HALTED)
        await s.client.operate("permit", can_trade=True)
        s.submit("four")
        await s.heard("four", OrderAccepted)
        await until(lambda: s.log.of(VenueStatus)[-1].status is TradingStatus.TRADING)


@pytest.mark.fault("C16")
async def test_a_clock_that_steps_by_an_hour_is_corrected(tmp_path: Path) -> None:
    """Signatures would be refused from then on: the venue's own time is in its answers, and trading goes on."""
    async with session(tmp_path) as s:
        Clock.ahead_ns = 3_600_000_000_000
        try:
            await until(lambda: s.venue.offset_ns < -3_500_000_000_000)
            s.submit("one")
            await s.heard("one", OrderAccepted)
            await s.settled()
        finally:
            Clock.ahead_ns = 0


@pytest.mark.fault("C10")
async def test_maintenance_is_outlasted(tmp_path: Path) -> None:
    """HTML on every question: both streams are down, then up again, and the account is confirmed."""
    async with session(tmp_path) as s:
        await s.client.operate("maintenance")
        await until(lambda: {event.stream for event in s.log.of(FeedDown)} == {"market", "user"})
        s.submit("one")
        await s.heard("one", OrderOutcomeUnknown)
        before = len(s.log.of(AccountSettled))
        await s.client.operate("maintenance", on=False)
        await until(lambda: len(s.log.of(AccountSettled)) > before)
        assert (await s.heard("one", OrderRejected)).reason == "never_arrived"
        assert s.venue.counts().reconnects == 1


@pytest.mark.fault("D9")
async def test_states_of_account_and_pair_are_seen(tmp_path: Path) -> None:
    """Sell-only: buys end here, sales leave; untradable and deactivated: halted, and open again with a confirmation."""
    async with session(tmp_path, products_s=0.1) as s:
        await s.client.operate("pair", symbol="BTC-USD", status="sellonly")
        await until(lambda: s.venue._directory is not None and s.venue._directory.sell_only(BTC))
        s.submit("buy")
        assert (await s.heard("buy", OrderRejected)).reason == "sell_only"
        s.submit("sell", OrderType.MARKET, side=Side.SELL)
        assert (await s.heard("sell", OrderRejected)).reason == "insufficient_funds"
        await s.client.operate("pair", symbol="BTC-USD", status="untradable")
        await until(lambda: s.log.of(InstrumentStatus)[-1].status is TradingStatus.HALTED)
        before = len(s.log.of(AccountSettled))
        await s.client.operate("pair", symbol="BTC-USD", status="tradable", quote_increment="0.1")
        await until(lambda: s.log.of(InstrumentStatus)[-1].status is TradingStatus.TRADING)
        assert s.log.of(InstrumentDefined)[-1].definition.tick_px == D("0.1")
        await until(lambda: len(s.log.of(AccountSettled)) > before)
        await s.client.operate("account", status="deactivated")
        s.venue.confirm()
        await until(lambda: s.log.of(VenueStatus))
        assert s.log.of(VenueStatus)[-1].status is TradingStatus.HALTED


@pytest.mark.fault("C7")
async def test_too_many_requests_slow_it_down_and_do_not_stop_it(tmp_path: Path) -> None:
    """The bucket is drained: polls pause, the cancel leaves first, and everything goes on."""
    limits = {"rate_limits": RateLimits(per_minute=1_200.0, burst=60)}
    async with session(tmp_path, limits, requests_per_minute=1_200.0, burst=60, quote_poll_s=0.2) as s:
        s.submit("one")
        await s.heard("one", OrderAccepted)
        await s.client.operate("drain")
        s.cancel("one")
        await s.heard("one", OrderCancelled)
        quotes = len(s.log.of(Quote))
        await until(lambda: len(s.log.of(Quote)) > quotes)
        assert s.venue.asker is not None


@pytest.mark.fault("B18")
async def test_a_cancel_is_tried_again_and_said_when_nothing_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two failures are outlasted, four are told; one that was acknowledged without effect is told as well."""
    monkeypatch.setattr(gateway, "EFFECT_NS", 200_000_000)
    monkeypatch.setattr(gateway, "RETRY_DELAY_S", 0.05)
    async with session(tmp_path, {"cancel_delay_s": 0.5}) as s:
        assert s.venue.gateway is not None
        s.venue.gateway._retry_delay_s = 0.05
        for name, status, times in (("one", 500, 2), ("two", 503, 4)):
            s.submit(name)
            await s.heard(name, OrderAccepted)
            await s.client.operate("answer", path="/cancel/", status=status, times=times)
            s.cancel(name)
            if name == "one":
                assert (await s.heard(name, CancelRejected)).reason == "not_effective"
                await s.heard(name, OrderCancelled)
            else:
                assert (await s.heard(name, CancelRejected)).reason == "http_503"
        s.submit("three")
        await s.heard("three", OrderAccepted)
        await s.client.operate("answer", path="/cancel/", status=404, body='{"errors":[{"detail":"Not found."}]}')
        s.cancel("three")
        assert (await s.heard("three", CancelRejected)).reason == "not_found"


@pytest.mark.fault("B14")
@pytest.mark.fault("C12")
async def test_answers_that_make_no_sense_are_no_evidence(tmp_path: Path) -> None:
    """A 201 of something else, of another order, of nothing: unknown, and found by the listing."""
    async with session(tmp_path) as s:
        other = (
            '{"id":"x","symbol":"BTC-USD","side":"buy","state":"open","client_order_id":"' + str(uuid.uuid4()) + '"}'
        )
        for name, body in (("one", "{}"), ("two", "[" * 50), ("three", other)):
            await s.client.operate("answer", path="/orders/", method="POST", status=201, body=body, apply="before")
            s.submit(name)
            await s.heard(name, OrderAccepted)
            assert s.kinds(name)[0] is OrderOutcomeUnknown
        for body in ("{}", '{"results":[1]}', '{"results":[],"next":"http://elsewhere/x"}', "<html>"):
            await s.client.operate("answer", path="/orders/", method="GET", status=200, body=body)
        await s.settled()


async def test_an_order_without_budget_or_pair_ends_here(tmp_path: Path) -> None:
    """Refused before the wire, with the reason."""
    async with session(tmp_path) as s:
        assert s.venue.gateway is not None
        s.submit("steps", qty=D("0.000000001"))
        s.submit("late", trailing_px=D(1))
        bad = new_order("where")
        import msgspec

        s.venue.gateway.submit(msgspec.structs.replace(bad, intent=msgspec.structs.replace(bad.intent, instrument="X")))
        s.venue.gateway.submit(msgspec.structs.replace(bad, intent=msgspec.structs.replace(bad.intent, qty="ten")))
        reasons = [event.reason for event in s.log.of(OrderRejected)]
        assert reasons == ["invalid_qty_precision", "unsupported", "unknown_instrument", "unencodable"]
        assert s.client.sandbox.rest.orders_received == 0
        assert s.venue.asker is not None
        s.venue.asker.budget.bucket.pause(2**62)
        s.submit("budget")
        assert s.log.of(OrderRejected)[-1].reason == "rate_limited"


@pytest.mark.fault("B11")
async def test_an_order_that_is_no_longer_listed_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates do not show it: those that rest are listed together, and the one that is gone is asked by its id."""
    monkeypatch.setattr("connectors.robinhood.watch.LOOK_AGAIN_NS", 300_000_000)
    async with session(tmp_path, order_poll_s=0.2) as s:
        for name in ("rests", "rests-too", "gone"):
            s.submit(name)
            await s.heard(name, OrderAccepted)
        gone = s.of("gone")[0].venue_order_id
        empty = '{"next":null,"previous":null,"results":[]}'
        await s.client.operate("answer", path="/orders/", method="GET", status=200, body=empty, times=4)
        s.exchange.cancel(gone, time.time_ns())
        s.exchange.orders[gone].updated_ns = 0  # and it will not be among what was updated either
        await s.heard("gone", OrderCancelled)
        assert s.kinds("rests") == s.kinds("rests-too") == [OrderAccepted]


@pytest.mark.fault("C15")
async def test_an_order_that_makes_no_sense_stops_entries_until_it_does(tmp_path: Path) -> None:
    """Filled by its sum, its execution missing for many looks: the account's stream is down, then it is mended."""
    async with session(tmp_path) as s:
        s.submit("one")
        record = s.exchange.orders[(await s.heard("one", OrderAccepted)).venue_order_id]
        record.filled_qty, record.updated_ns = D("0.1"), time.time_ns()
        await until(lambda: [event.stream for event in s.log.of(FeedDown)] == ["user"])
        assert "0.1 filled, 0 in its executions" in s.log.of(FeedDown)[0].reason
        before = len(s.log.of(AccountSettled))
        record.executions.append(Execution(D("50000.00"), D("0.1"), time.time_ns()))
        await until(lambda: s.filled("one") == D("0.1"))
        await until(lambda: s.log.of(FeedUp)[-1].ts_recv_ns > s.log.of(FeedDown)[0].ts_recv_ns)
        await until(lambda: len(s.log.of(AccountSettled)) > before)


# --- what it does not start with ------------------------------------------------------------------------------------


async def test_what_a_start_refuses_in_one_line(tmp_path: Path) -> None:
    """Unknown symbols with the nearest, keys and servers of the other money, an account that is not there, no key."""
    async with running(tmp_path) as client:
        log = EventLog()
        for options, error, words in (
            ({"symbols": ("BTX/USD",)}, VenueError, "did you mean BTC/USD"),
            ({"account_number": "other"}, VenueError, "none is other"),
            ({"money": "real"}, WrongAccount, "play money and real money"),
        ):
            venue = connector(client, log, **options)
            with pytest.raises(error, match=words):
                await venue.start()
            await venue.stop()
        with pytest.raises(ConfigError, match="key_file"):
            connector(client, log, key_file="")
        asked: list[str] = []

        def refuse(number: str) -> None:
            asked.append(number)
            raise WrongAccount("another account", expected="that one")

        with pytest.raises(WrongAccount):
            await connector(client, log, identify=refuse).start()
        assert asked == [client.sandbox.settings.account_number]
    with pytest.raises(VenueError, match=r"127\.0\.0\.1"):
        await connector(client, log).start()
    for wrong in ({"rest_url": "ftp://x"}, {"symbols": ("BTC/EUR",)}, {"generation": "v3"}, {"quote_poll_s": 0.0}):
        with pytest.raises(ConfigError):
            RobinhoodSettings(**{"key_file": "k", **wrong}).check()


async def test_a_word_that_a_generation_lacks_is_asked_once(tmp_path: Path) -> None:
    """The filter of lists may not know it: refused, left out, and the rest is read as before."""
    async with running(tmp_path) as client:
        refused = {"status": 400, "body": '{"errors":[{"detail":"not a choice","attr":"state"}]}'}
        for _ in range(3):  # each try of the start begins with the open ones, which must not be refused
            await client.operate("answer", path="/orders/", method="GET", **refused)
        log = EventLog()
        with pytest.raises(VenueError, match="400"):
            await connector(client, log).start()
        await client.operate("answers")
        async with started(client, idle_poll_s=60.0) as s:
            assert s.venue.watch is not None
            await until(lambda: s.venue.watch is not None and s.venue.watch.rounds)  # nobody else asks after this
            assert s.venue.watch._live_states == ["open", "pending", "partially_filled"]
            await client.operate("answer", path="/orders/", method="GET", late=True)
            await client.operate("answer", path="/orders/", method="GET", times=2, **refused)
            await s.venue.watch._read_live()
            assert s.venue.watch._live_states == ["open"]
            await s.settled()
