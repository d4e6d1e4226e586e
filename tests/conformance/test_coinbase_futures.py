"""Contracts of the Coinbase sandbox through the connector and the core's books, over real sockets: margin, funding,
sessions, expiry, and what others do to the account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.coinbase import margin, products
from connectors.coinbase.sandbox import queries
from connectors.coinbase.sandbox.queries import Params
from connectors.coinbase.sandbox.server import serve
from connectors.coinbase.sandbox.settings import DEFAULT_PRODUCTS, FUTURES, SandboxSettings
from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.matching.orders import BookOrder
from engine.carried import CarriedOrder
from engine.commands import OrderType, TimeInForce
from engine.events import (
    AccountSettled,
    Bar,
    FundingSettled,
    InstrumentDefined,
    InstrumentStatus,
    OrderFilled,
    OrderRejected,
    PositionReported,
    Quote,
    SessionScheduled,
    Side,
    TradingStatus,
)
from engine.instruments import AssetClass
from engine.portfolio import Portfolio
from tests.support.coinbase_account import D, Hand, One, session
from tests.support.coinbase_sandbox import STILL_MS
from tests.support.waiting import until

PERPETUAL = "BIP-20DEC30-CDE"
SYMBOL = f"{PERPETUAL}/USD"
ID = f"{SYMBOL}@coinbase"
BOTH = {"symbols": ("BTC/USD", SYMBOL)}
MARKET: dict[str, Any] = {
    "instrument": ID, "order_type": OrderType.MARKET, "limit_px": None, "time_in_force": TimeInForce.IOC,
}  # fmt: skip


@asynccontextmanager
async def exchange(tmp_path: Path, **options: Any) -> AsyncIterator[Hand]:
    given: dict[str, Any] = {"warmup_s": 2.0, "step_ms": STILL_MS, "products": (*DEFAULT_PRODUCTS, *FUTURES)}
    settings = SandboxSettings(**{"key_file": tmp_path / "key.json", **given, **options})
    sandbox = await serve(settings)
    await asyncio.sleep(0.1)  # its market takes a last step
    try:
        yield Hand(sandbox)
    finally:
        await sandbox.stop()


def contracts(hand: Hand, product_id: str = PERPETUAL) -> Decimal:
    market = hand.exchange.markets[product_id]
    return hand.exchange.wallets.ledger.position(ACCOUNT, market.instrument).qty


def trade(hand: Hand, client: str, side: str, count: str, product_id: str = PERPETUAL) -> None:
    """An order at market that no session of ours has sent."""
    body = {"client_order_id": client, "product_id": product_id, "side": side}
    body |= {"order_configuration": {"market_market_ioc": {"base_size": count}}}  # type: ignore[dict-item]
    assert hand.exchange.place(body, time.time_ns())["success"]
    hand.sandbox.hub.pump()


def positions(one: One) -> list[Decimal]:
    return [event.qty for event in one.log.of(PositionReported) if event.instrument == ID]


def books(one: One) -> Portfolio:
    """The account by what was told, in the order in which it was; what each confirmation found is booked."""
    portfolio = Portfolio("USD")

    def mark(name: str) -> Decimal | None:
        return None

    for event in list(one.log):
        if isinstance(event, InstrumentDefined):
            portfolio.define(event.definition)
        elif isinstance(event, PositionReported):
            if portfolio.knows_position(event.instrument):
                portfolio.adjust_position(event.instrument, event.qty, event.avg_px, mark)
            else:
                portfolio.report_position(event.instrument, event.qty, event.avg_px)
        elif isinstance(event, OrderFilled):
            portfolio.apply_fill(event, "s")
        elif isinstance(event, FundingSettled):
            portfolio.apply_funding(event)
        elif isinstance(event, AccountSettled):
            for currency, total in event.balances:
                if portfolio.balance("coinbase", currency) is None:
                    portfolio.report_balance("coinbase", currency, total)
                elif portfolio.balance("coinbase", currency) != total:
                    portfolio.adjust_balance("coinbase", currency, total, mark)
    return portfolio


def dollars(hand: Hand) -> Decimal:
    return hand.totals()["USD"]


async def confirmed(one: One) -> AccountSettled:
    before = len(one.settled())
    one.venue.confirm()
    await until(lambda: len(one.settled()) > before)
    return one.settled()[-1]


@pytest.mark.fault("C18")
async def test_a_position_from_its_opening_to_its_end(tmp_path: Path) -> None:
    """One that was there before is told; three are bought, four sold, and margin, profit and fees are those of the
    exchange to the last digit, without an adjustment.  The last one is closed by force: a fill of somebody else's."""
    async with exchange(tmp_path) as hand:
        trade(hand, "by-hand", "BUY", "2")
        async with session(hand, **BOTH) as one:
            definition = next(e.definition for e in one.log.of(InstrumentDefined) if e.definition.id == ID)
            assert (definition.multiplier, definition.base) == (D("0.01"), "BTC")
            assert (definition.asset_class, definition.can_short) == (AssetClass.PERPETUAL, True)
            assert definition.margin_rate == D("0.25")
            assert positions(one) == [2]
            assert any(quote.instrument == ID for quote in one.log.of(Quote))
            one.submit("more", side=Side.BUY, qty=D(3), **MARKET)
            await until(lambda: sum(e.qty for e in one.of("more") if type(e) is OrderFilled) == 3)
            one.submit("less", side=Side.SELL, qty=D(4), **MARKET)
            await until(lambda: sum(e.qty for e in one.of("less") if type(e) is OrderFilled) == 4)
            hand.exchange.futures._liquidate([hand.exchange.markets[PERPETUAL]], time.time_ns())
            hand.sandbox.hub.pump()
            await until(lambda: one.of("liquidation-0") and type(one.of("liquidation-0")[-1]) is OrderFilled)
            own = books(one)
            assert (own.qty(ID), own.balance("coinbase", "USD")) == (0, dollars(hand))
            settled = await confirmed(one)
            assert dict(settled.balances)["USD"] == dollars(hand)
            assert positions(one)[-1] == 0


@pytest.mark.fault("C18")
async def test_what_moves_the_futures_account_without_a_fill_is_found_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Funding takes dollars, and a contract goes: the stream tells of both, and the account is confirmed by itself."""
    monkeypatch.setattr(margin, "STILL_S", 0.2)
    async with exchange(tmp_path) as hand:
        trade(hand, "by-hand", "BUY", "100")
        async with session(hand, **BOTH) as one:
            market = hand.exchange.markets[PERPETUAL]
            paid = hand.exchange.futures.fund(market, time.time_ns(), D("0.001"))
            await until(lambda: dict(one.settled()[-1].balances)["USD"] == dollars(hand))
            assert books(one).balance("coinbase", "USD") == dollars(hand)
            assert f"{(-paid).normalize():f} dollars came without an execution" in caplog.text
            assert one.log.of(FundingSettled) == []  # not what its rate makes of the position: something else
            funded = hand.exchange.futures.fund(market, time.time_ns())
            await until(lambda: one.log.of(FundingSettled))
            (funding,) = one.log.of(FundingSettled)
            assert (funding.instrument, funding.currency, funding.amount) == (ID, "USD", -funded)
            await until(lambda: dict(one.settled()[-1].balances)["USD"] == dollars(hand))
            hand.exchange.futures.fund(market, time.time_ns())
            await until(lambda: len(one.log.of(FundingSettled)) == 2)
            assert len({event.funding_id for event in one.log.of(FundingSettled)}) == 2, (
                "two payments, whatever the hour"
            )
            await until(lambda: dict(one.settled()[-1].balances)["USD"] == dollars(hand))
            hand.exchange.futures._expire(market, time.time_ns())
            hand.exchange.touch(next(iter(hand.exchange.orders.values())))
            hand.exchange.absorb(market, (), time.time_ns())
            hand.sandbox.hub.pump()
            await until(lambda: positions(one)[-1] == 0)
            own = books(one)
            assert (own.qty(ID), own.balance("coinbase", "USD")) == (0, dollars(hand))


@pytest.mark.fault("F13")
async def test_funding_is_told_once_whichever_session_hears_of_it(tmp_path: Path) -> None:
    """What one session was told the next one is not; one payment while nobody listened is the next one's; several at
    once are more than the rates foretell, and a balance that the venue tells otherwise."""
    async with exchange(tmp_path) as hand:
        trade(hand, "by-hand", "BUY", "100")
        market = hand.exchange.markets[PERPETUAL]
        told: list[list[Decimal]] = []
        held = {"USD": dollars(hand)}
        for payments in (1, 0, 3):
            paid = sum((hand.exchange.futures.fund(market, time.time_ns()) for _ in range(payments)), D(0))
            async with session(hand, parts={"carried_balances": held}, **BOTH) as one:
                settled = one.settled()[-1]
                told.append([event.amount for event in one.log.of(FundingSettled)])
                assert told[-1] == ([-paid] if payments == 1 else [])
                held = {"USD": dict(settled.balances)["USD"]}
                assert held["USD"] == dollars(hand)


@pytest.mark.fault("D10")
async def test_sessions_close_and_contracts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed session halts the contract and not the pair; orders are refused by name; one that expired is gone."""
    monkeypatch.setattr(products, "SESSIONS_S", 0.1)
    monkeypatch.setattr(products, "SOON_S", 0.05)
    async with exchange(tmp_path) as hand, session(hand, **BOTH) as one:
        market = hand.exchange.markets[PERPETUAL]
        assert market.product.future is not None
        shut = msgspec.structs.replace(market.product.future, session_open=False)
        open_one = market.product
        hand.exchange.relist(msgspec.structs.replace(market.product, future=shut), time.time_ns())
        await until(lambda: _states(one)[-1] is TradingStatus.HALTED)
        one.submit("late", side=Side.BUY, qty=D(1), **MARKET)
        await until(lambda: OrderRejected in one.kinds("late"))
        assert one.of("late")[-1].reason == "trading_halted"
        closes_ns = (time.time_ns() // 10**9 + 3600) * 10**9
        early = msgspec.structs.replace(open_one.future, session_closes_ns=closes_ns, funding_rate=None)
        hand.exchange.relist(msgspec.structs.replace(open_one, future=early), time.time_ns())
        await until(lambda: _states(one)[-1] is TradingStatus.TRADING)
        await until(lambda: one.log.of(SessionScheduled))
        scheduled = one.log.of(SessionScheduled)[-1]
        assert (scheduled.instrument, scheduled.closes_ns, scheduled.source) == (ID, closes_ns, "venue")
        hand.exchange.relist(open_one, time.time_ns())  # around the clock: the venue says no end any more
        await until(lambda: one.log.of(SessionScheduled)[-1].closes_ns == 0)
        hand.exchange.futures._expire(market, time.time_ns())
        await until(lambda: _states(one)[-1] is TradingStatus.HALTED)
        assert {e.status for e in one.log.of(InstrumentStatus) if e.instrument != ID} == {TradingStatus.TRADING}


@pytest.mark.fault("C10")
async def test_a_session_that_is_over_is_not_open_again_because_its_listing_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while after the close that it has named the venue lists the contract as open: it stays closed until that
    was said for long enough, or the venue names a later close."""
    monkeypatch.setattr(products, "SESSIONS_S", 0.05)
    monkeypatch.setattr(products, "SOON_S", 0.05)
    monkeypatch.setattr(products, "LATE_NS", 500_000_000)

    def schedule(hand: Hand, closes_ns: int) -> None:
        product = hand.exchange.markets[PERPETUAL].product
        assert product.future is not None
        terms = msgspec.structs.replace(product.future, session_closes_ns=closes_ns, funding_rate=None)
        hand.exchange.relist(msgspec.structs.replace(product, future=terms), time.time_ns())

    async with exchange(tmp_path) as hand, session(hand, **BOTH) as one:
        closes_ns = (time.time_ns() // 10**9 + 2) * 10**9
        schedule(hand, closes_ns)
        await until(lambda: one.log.of(SessionScheduled))
        await until(lambda: len(one.log.of(SessionScheduled)) == 2)
        assert [event.closes_ns for event in one.log.of(SessionScheduled)] == [closes_ns, 0]
        assert one.log.of(SessionScheduled)[1].ts_recv_ns >= closes_ns + 500_000_000
        assert _states(one) == [TradingStatus.TRADING]


def _states(one: One) -> list[TradingStatus]:
    return [event.status for event in one.log.of(InstrumentStatus) if event.instrument == ID]


@pytest.mark.fault("A4")
async def test_a_session_goes_on_with_the_contracts_of_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An order rests, fills in between, and is told in the second session; contracts that it does not trade are said
    in the log."""
    async with exchange(tmp_path) as hand:
        async with session(hand, **BOTH) as first:
            bid = hand.exchange.markets[PERPETUAL].engine.best()
            assert bid is not None
            first.submit("rests", instrument=ID, side=Side.BUY, qty=D(2), limit_px=bid[0])
            await first.accepted("rests")
            carried: list[CarriedOrder] = [first.carries("rests")]
        fill_whole(hand, "rests")
        trade(hand, "other", "SELL", "1", "BIT-27DEC30-CDE")
        async with session(hand, carried, **BOTH) as second:
            assert sum(e.qty for e in second.of("rests") if type(e) is OrderFilled) == 2
            assert positions(second) == [2]
            assert contracts(hand) == 2
            assert "holds contracts of BIT-27DEC30-CDE" in caplog.text


def fill_whole(hand: Hand, client: str) -> None:
    """Somebody sells into it and whatever stands before it."""
    market, order = hand.exchange.markets[PERPETUAL], hand.exchange.orders[hand.order_id(client)]
    taker = BookOrder(
        "taker", "other", Side.SELL, OrderType.LIMIT, D(10_000), order.spec.limit_px, time_in_force=TimeInForce.IOC
    )
    hand.exchange.absorb(market, market.engine.submit(taker, time.time_ns()), time.time_ns())
    hand.sandbox.hub.pump()
    assert order.status == "FILLED"


async def test_an_exit_at_market_cannot_become_a_position_on_the_other_side(tmp_path: Path) -> None:
    """Somebody has closed two of three contracts by the time it arrives: the venue refuses to close more than there
    are, where an order of three would have sold two short.  A smaller one closes what is left."""
    async with exchange(tmp_path) as hand:
        trade(hand, "by-hand", "BUY", "3")
        async with session(hand, **BOTH) as one:
            trade(hand, "theirs", "SELL", "2")
            one.submit("exit", side=Side.SELL, qty=D(3), reduce_only=True, **MARKET)
            await until(lambda: OrderRejected in one.kinds("exit"))
            assert contracts(hand) == 1
            one.submit("again", side=Side.SELL, qty=D(1), reduce_only=True, **MARKET)
            await until(lambda: OrderFilled in one.kinds("again"))
            (sold,) = [event for event in one.of("again") if type(event) is OrderFilled]
            assert (sold.side, sold.qty, contracts(hand)) == (Side.SELL, 1, 0)


async def test_a_contract_without_a_pair_its_candles_and_a_part_of_the_dollars(tmp_path: Path) -> None:
    """Alone, with the candle channel and batched tickers: the first price is judged by the newest candle.  Where the
    list of accounts shows those dollars alone that no contract binds, the summary's are told, in cents."""
    channels = ("heartbeats", "ticker", "ticker_batch", "candles", "status")
    async with exchange(tmp_path, futures_account="apart", warmup_s=130.0, rate_per_s=5.0) as hand:
        trade(hand, "by-hand", "BUY", "200")
        accounts = queries.accounts(hand.exchange, Params(()))["accounts"]
        listed = next(D(one["available_balance"]["value"]) for one in accounts if one["currency"] == "USD")
        assert dollars(hand) - listed > 10_000
        async with session(hand, symbols=(SYMBOL,), channels=channels) as one:
            assert {bar.instrument for bar in one.log.of(Bar)} == {ID}
            assert abs(dict(one.settled()[-1].balances)["USD"] - dollars(hand)) <= D("0.005")
            assert positions(one) == [200]
