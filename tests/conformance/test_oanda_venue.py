"""Sessions on an OANDA account, over real sockets: what is told, and what our books make of it.

The exchange is the sandbox with a market that stands still; what others do there is done by another client.
"""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.oanda import access, rules
from connectors.oanda.sandbox.settings import ACCOUNT_ID, AccountSettings
from connectors.oanda.sandbox.times import weekday_of_roll
from connectors.oanda.sandbox.views import charged_days
from engine.commands import OrderType, TimeInForce
from engine.events import (
    FeedDown,
    FeedUp,
    FundingSettled,
    InstrumentDefined,
    InstrumentStatus,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderOutcomeUnknown,
    OrderRejected,
    PositionReported,
    Quote,
    RateReported,
    Side,
    TradingStatus,
    VenueStatus,
)
from tests.support.oanda_session import EUR, JPY, D, exchange, pin, session, until

RESTING: dict[str, Any] = {
    "order_type": OrderType.LIMIT, "limit_px": D("1.00000"), "time_in_force": TimeInForce.GTC
}  # fmt: skip


async def test_a_session_begins_with_what_is_there(tmp_path: Path) -> None:
    """Instruments with their digits, rates, positions, orders of others, balances, prices; the account is confirmed
    before its stream is told to be up."""
    async with exchange() as client:
        await client.order(units="300")
        await client.order("LIMIT", units="-5", price="1.20000")
        async with session(client, tmp_path, symbols=("EUR/USD", "USD/JPY")) as one:
            defined = {event.definition.id: event.definition for event in one.log.of(InstrumentDefined)}
            assert (defined[EUR].tick_px, defined[JPY].tick_px) == (D("0.00001"), D("0.001"))
            assert [event.currency for event in one.log.of(RateReported)] == ["JPY"]
            begun = one.log.of(PositionReported)[:2]
            assert {event.instrument: event.qty for event in begun} == {EUR: D(300), JPY: D(0)}
            (found,) = one.log.of(OrderFound)
            assert (found.side, found.qty, found.limit_px) == (Side.SELL, D(5), D("1.2"))
            (settled,) = one.settled()
            assert dict(settled.balances) == {"USD": D("100000.0000"), "JPY": D(0)}
            ups = one.log.of(FeedUp)
            assert [event.stream for event in ups] == ["user", "market"]
            assert one.log.index(settled) < one.log.index(ups[0])
            quote = next(event for event in one.log.of(Quote) if event.instrument == EUR)
            assert (quote.bid_px, quote.ask_px) == (1.084, 1.0841)
            assert one.venue.counts().reconnects == 0
            assert one.venue.shadow() is not None


async def test_orders_of_each_kind_reach_their_end_and_the_books_agree(tmp_path: Path) -> None:
    """Market, limit that fills, limit that rests and is cancelled, all or nothing, until a date, reduce only."""
    async with exchange() as client, session(client, tmp_path, reconcile_s=1.0) as one:
        one.submit("market", "100")
        one.submit("touch", "50", order_type=OrderType.LIMIT, limit_px=D("1.0841"), time_in_force=TimeInForce.IOC)
        await one.told("market", OrderFilled)
        await one.told("touch", OrderFilled)
        one.submit("rests", "10", **RESTING)
        await one.told("rests", OrderAccepted)
        one.cancel("rests")
        await one.told("rests", OrderCancelled)
        one.submit("whole", "3000000", order_type=OrderType.LIMIT, limit_px=D("1.0841"),
                   time_in_force=TimeInForce.FOK)  # fmt: skip
        await one.told("whole", OrderCancelled)
        soon_ns = one.sent["market"].ts_ns + 700_000_000
        one.submit("dated", "10", **RESTING | {"time_in_force": TimeInForce.GTD, "expire_ns": soon_ns})
        await one.told("dated", OrderAccepted)
        one.submit("close", "500", side=Side.SELL, reduce_only=True)
        await one.told("close", OrderCancelled)
        client.sandbox.exchange.advance(soon_ns + 1)
        await one.told("dated", OrderExpired)
        assert one.kinds("close")[:2] == ["OrderAccepted", "OrderFilled"]
        assert one.books.qty() == 0
        await until(lambda: one.books.cash() == client.sandbox.exchange.accounts[ACCOUNT_ID].balance)
        assert one.books.refused == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"qty": "0.5"}, "invalid_qty_precision"),
        ({"qty": "200000000"}, "above_maximum"),
        ({"instrument": "EUR/CHF@oanda"}, "unknown_instrument"),
        (RESTING | {"limit_px": D("1.000001")}, "invalid_px_precision"),
        (RESTING | {"post_only": True}, "unsupported"),
        (RESTING | {"time_in_force": TimeInForce.GTD, "expire_ns": 1}, "expiry_in_past"),
    ],
)
async def test_what_can_be_known_is_refused_before_the_wire(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    """Each has its word, and no request leaves."""
    async with exchange() as client, session(client, tmp_path) as one:
        one.submit("a", **fields)
        assert [event.reason for event in one.of("a")] == [reason]
        assert client.sandbox.rest.orders_received == 0


async def test_what_only_the_venue_can_know_is_told_in_its_words(tmp_path: Path) -> None:
    """Margin: the order is taken and dies; the venue's own word is in the event."""
    poor = AccountSettings(balance=Decimal(100))
    async with exchange(accounts=(poor,)) as client, session(client, tmp_path) as one:
        one.submit("a", "900000")
        await one.told("a", OrderCancelled)
        assert one.of("a")[-1].reason == "INSUFFICIENT_MARGIN"


async def test_a_closed_market_takes_no_market_order_and_opens_through_a_confirmation(tmp_path: Path) -> None:
    """Halted: a market order is refused here, one that waits is taken; open again, the account is confirmed."""
    async with exchange() as client, session(client, tmp_path) as one:
        await client.operate("halt", instrument="EUR_USD")
        await until(lambda: one.log.of(InstrumentStatus)[-1].status is TradingStatus.HALTED)
        one.submit("now")
        assert [event.reason for event in one.of("now")] == ["trading_halted"]
        one.submit("later", **RESTING)
        await one.told("later", OrderAccepted)
        confirmed = len(one.settled())
        await client.operate("open", instrument="EUR_USD")
        await until(lambda: len(one.settled()) > confirmed)


@pytest.mark.fault("C10")
async def test_a_session_that_starts_while_the_market_is_closed_waits_for_its_open(tmp_path: Path) -> None:
    """Prices of the close are told and the market is halted; open, it trades after a confirmation."""
    async with exchange() as client:
        await client.operate("halt", instrument="EUR_USD")
        async with session(client, tmp_path) as one:
            assert _status_of(one, EUR) is TradingStatus.HALTED
            one.submit("early")
            assert [event.reason for event in one.of("early")] == ["trading_halted"]
            confirmed = len(one.settled())
            await client.operate("open", instrument="EUR_USD")
            await until(lambda: _status_of(one, EUR) is TradingStatus.TRADING and len(one.settled()) > confirmed)
            one.submit("now")
            await one.told("now", OrderFilled)


@pytest.mark.fault("B14")
@pytest.mark.parametrize("apply", ["before", "no"])
async def test_an_order_without_an_answer_is_found_or_never_arrived(tmp_path: Path, apply: str) -> None:
    """The answer is lost; the order was carried out or not, and the account's transactions say which.  No second one
    is sent."""
    async with exchange() as client, session(client, tmp_path) as one:
        await client.operate("mute", kind="transactions")
        await client.operate("answer", path="/orders", status=504, apply=apply)
        one.submit("a")
        await one.told("a", OrderOutcomeUnknown)
        if apply == "before":
            await one.told("a", OrderFilled)
            assert one.kinds("a") == ["OrderOutcomeUnknown", "OrderAccepted", "OrderFilled"]
        else:
            await one.told("a", OrderRejected)
            assert one.of("a")[-1].reason == "never_arrived"
        assert client.sandbox.rest.orders_received == (apply == "before")


async def test_streams_that_break_come_back_and_nothing_is_lost(tmp_path: Path) -> None:
    """An order rests, all streams are cut, it fills meanwhile: told after the reconnection, then confirmed."""
    async with exchange() as client, session(client, tmp_path) as one:
        one.submit("rests", "10", **RESTING)
        await one.told("rests", OrderAccepted)
        confirmed = len(one.settled())
        await client.operate("expire_key")
        await client.operate("disconnect")
        await until(lambda: {event.stream for event in one.log.of(FeedDown)} == {"user", "market"})
        await pin(client, "0.99000", "0.99990")
        await client.operate("restore_key")
        await one.told("rests", OrderFilled)
        await until(lambda: len(one.settled()) > confirmed)
        assert one.books.qty() == 10
        await until(lambda: one.venue.counts().reconnects >= 2)


async def test_a_gap_in_the_transactions_is_read_and_the_account_stays_proved(tmp_path: Path) -> None:
    """The stream says nothing, others trade, and a line of nonsense stands between: REST tells what it missed."""
    async with exchange() as client, session(client, tmp_path) as one:
        await client.operate("mute", kind="transactions")
        for units in ("10", "20", "-5"):
            await client.order(units=units)
        await client.operate("unmute", kind="transactions")
        await client.operate("say", text="{nonsense")
        await client.order(units="1")
        await until(lambda: one.books.qty() == 26)
        confirmed = len(one.settled())
        one.venue.confirm()
        await until(lambda: len(one.settled()) > confirmed)


async def test_what_cannot_be_read_is_made_good_by_the_next_confirmation(tmp_path: Path) -> None:
    """A transaction has a price that is no number: the position that it made is booked as the venue has it, then the
    order that it ended is not waited for.  The other way round an exit would be sent again, for what it had closed."""
    async with exchange() as client, session(client, tmp_path) as one:
        one.submit("rests", "10", **RESTING)
        await one.told("rests", OrderAccepted)
        log = client.sandbox.exchange.accounts[ACCOUNT_ID].log
        listeners, log.listeners = log.listeners, []
        await pin(client, "0.99000", "0.99990")
        log.listeners = listeners
        broken = log.get(log.last)
        assert broken is not None
        assert broken.body["type"] == "ORDER_FILL"
        broken.body["price"] = "NaN"
        await one.told("rests", OrderCancelled)
        await until(lambda: one.books.qty() == 10)
        assert [event.qty for event in one.books.moved] == [D(10)]
        told = [event for event in one.log if type(event) in (PositionReported, OrderCancelled)]
        ended = next(at for at, event in enumerate(told) if type(event) is OrderCancelled)
        assert [e.qty for e in told[:ended] if type(e) is PositionReported and e.instrument == EUR][-1] == 10


async def test_money_that_moves_without_an_execution_is_confirmed_at_once(tmp_path: Path) -> None:
    """Interest and a payment: the books have the venue's balance, positions stay."""
    async with exchange() as client, session(client, tmp_path) as one:
        one.submit("a", "100000")
        await one.told("a", OrderFilled)
        await client.operate("financing")
        await client.operate("fund", amount="250")
        account = client.sandbox.exchange.accounts[ACCOUNT_ID]
        await until(lambda: one.books.cash() == account.balance)
        assert account.balance == D(100_250) + account.financing  # a Sunday's is nothing


async def test_interest_is_booked_once_over_sessions(tmp_path: Path) -> None:
    """Told as it is charged, and by the next session what was charged while nobody listened; none is an adjustment."""
    async with exchange() as client:
        sandbox, account = client.sandbox.exchange, client.sandbox.exchange.accounts[ACCOUNT_ID]
        day_ns = 86_400 * 10**9
        weekdays = [
            at for at in (time.time_ns() + n * day_ns for n in range(1, 8)) if charged_days(weekday_of_roll(at))
        ]
        async with session(client, tmp_path) as first:
            first.submit("a", "100000")
            await first.told("a", OrderFilled)
            sandbox.charge_financing(weekdays[0])
            await until(lambda: first.log.of(FundingSettled))
            await until(lambda: first.books.cash() == account.balance)
            left = first.leaves()
        sandbox.charge_financing(weekdays[1])
        async with session(client, tmp_path, left) as second:
            told = [*first.log.of(FundingSettled), *second.log.of(FundingSettled)]
            assert len({event.funding_id for event in told}) == len(told) == 2
            assert sum(event.amount for event in told) == account.financing
            assert second.books.cash() == account.balance
            assert second.books.portfolio.position(EUR).funding == account.financing
            assert first.books.adjusted == second.books.adjusted == []


@pytest.mark.fault("D9")
async def test_rules_that_change_hold_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read again after a refusal that speaks of them, and from time to time: a larger minimum is told and held before
    the wire.  An instrument that is not listed any more is halted until it is again; an empty list says nothing."""
    monkeypatch.setattr(rules, "SOON_S", 0.02)
    async with exchange() as client, session(client, tmp_path, products_s=0.05) as one:
        markets = client.sandbox.exchange.markets.by_name
        before = markets["EUR_USD"].rules
        markets["EUR_USD"].rules = msgspec.structs.replace(before, minimum_units=D(200))
        one.submit("small", "100")
        await one.told("small", OrderRejected)
        await until(lambda: one.log.of(InstrumentDefined)[-1].definition.min_qty == 200)
        sent = client.sandbox.exchange.accounts[ACCOUNT_ID].log.last
        one.submit("again", "100")
        assert one.of("again")[-1].reason == "below_minimum"
        assert client.sandbox.exchange.accounts[ACCOUNT_ID].log.last == sent
        gone = markets.pop("EUR_USD")
        await until(lambda: _status_of(one, EUR) is TradingStatus.HALTED)
        markets["EUR_USD"] = gone
        await until(lambda: _status_of(one, EUR) is TradingStatus.TRADING)
        assert _status_of(one, JPY) is TradingStatus.TRADING
        await client.operate("answer", path="/instruments", status=200, body='{"instruments":[]}', times=3)
        await until(lambda: "lists no instrument" in caplog.text)
        assert _status_of(one, EUR) is TradingStatus.TRADING


def _status_of(one: Any, instrument: str) -> TradingStatus:
    told: list[InstrumentStatus] = [event for event in one.log.of(InstrumentStatus) if event.instrument == instrument]
    return told[-1].status


async def test_an_account_with_hedging_has_one_position_too(tmp_path: Path) -> None:
    """By default such an account would open a second trade against the first; asked for, it reduces."""
    both_sides = AccountSettings(hedging=True, fifo=False)
    async with exchange(accounts=(both_sides,)) as client, session(client, tmp_path) as one:
        one.submit("long", "100")
        await one.told("long", OrderFilled)
        one.submit("less", "40", side=Side.SELL)
        await one.told("less", OrderFilled)
        assert client.sandbox.exchange.accounts[ACCOUNT_ID].units_of("EUR_USD") == (60, 0)
        assert one.books.qty() == 60


async def test_trades_that_are_closed_by_force_are_booked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The market falls until half of the margin is not covered any more: what the venue closes is told as executions
    of somebody else's orders, and the call before it is said aloud."""
    poor = AccountSettings(balance=Decimal(2_000))
    async with exchange(accounts=(poor,)) as client, session(client, tmp_path) as one:
        one.submit("a", "90000")
        await one.told("a", OrderFilled)
        account = client.sandbox.exchange.accounts[ACCOUNT_ID]
        for seconds, bid in ((1, "1.08000"), (2, "1.07000")):
            await pin(client, bid, f"{D(bid) + D('0.00010')}")
            client.sandbox.exchange.advance(time.time_ns() + seconds * 10**9)
        await until(lambda: one.books.qty() == 0)
        forced = [event for event in one.log.of(OrderFilled) if event.client_order_id != "a"]
        assert [(event.side, event.qty) for event in forced] == [(Side.SELL, 90_000)]
        one.venue.confirm()
        await until(lambda: one.books.cash() == account.balance)
        assert "margin call" in caplog.text


@pytest.mark.fault("C8")
async def test_a_token_that_is_refused_halts_the_venue_until_it_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two orders are answered 401; taken again, the account is confirmed."""
    monkeypatch.setattr(access, "FIRST_PAUSE_S", 0.1)
    async with exchange() as client, session(client, tmp_path) as one:
        await client.operate("expire_key")
        for name in ("a", "b"):
            one.submit(name)
            await one.told(name, OrderRejected)
        assert {event.reason for name in ("a", "b") for event in one.of(name)} == {"unauthorized"}
        await until(lambda: one.log.of(VenueStatus))
        confirmed = len(one.settled())
        await client.operate("restore_key")
        await until(lambda: one.log.of(VenueStatus)[-1].status is TradingStatus.TRADING)
        await until(lambda: len(one.settled()) > confirmed)
        one.submit("c")
        await one.told("c", OrderFilled)


@pytest.mark.fault("B18")
async def test_half_a_bracket_is_asked_away_until_it_is_gone(tmp_path: Path) -> None:
    """One of the two is cancelled by hand, and the venue does not take our cancel of the other one six times, which is
    more than one that somebody waits for is tried: the bracket ends all the same."""
    bracket = {"order_type": OrderType.BRACKET, "limit_px": D("1.09"), "trigger_px": D("1.07")}
    fields = {"side": Side.SELL, "reduce_only": True, "time_in_force": TimeInForce.GTC, **bracket}
    async with exchange() as client, session(client, tmp_path) as one:
        one.submit("held")
        await one.told("held", OrderFilled)
        one.submit("b", **fields)
        await one.told("b", OrderAccepted)
        account = client.sandbox.exchange.accounts[ACCOUNT_ID]
        target, stop = account.pending
        await client.operate("answer", path=f"/{target}/cancel", status=503, apply="no", times=6)
        await client.ask(f"/orders/{stop}/cancel", method="PUT")
        await one.told("b", OrderCancelled)
        assert not account.pending
        assert one.books.qty() == 100
