"""What goes wrong on the way to the venue and back."""

from __future__ import annotations

import time
import uuid
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.robinhood import gateway
from connectors.robinhood import venue as connector_module
from connectors.robinhood.sandbox.records import Execution
from connectors.robinhood.sandbox.settings import RateLimits
from engine.commands import OrderType
from engine.events import (
    AccountSettled,
    CancelRejected,
    FeedDown,
    FeedUp,
    InstrumentDefined,
    InstrumentStatus,
    OrderAccepted,
    OrderCancelled,
    OrderOutcomeUnknown,
    OrderRejected,
    Quote,
    Side,
    TradingStatus,
    VenueStatus,
)
from tests.support.robinhood_venue import BTC, Clock, new_order, session
from tests.support.waiting import until

D = Decimal

pytestmark = pytest.mark.usefixtures("_quick")


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
