"""Time and money: interest at the roll, funds, hours, and books that always add up."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import ApiError, Rejection
from connectors.oanda.sandbox.exchange import Exchange
from connectors.oanda.sandbox.settings import AccountSettings, SandboxSettings
from connectors.oanda.sandbox.times import next_roll_ns
from tests.support.oanda import SECOND_NS, Venue


def test_interest_is_charged_at_seventeen_in_new_york() -> None:
    """10,000 EUR long for a night at -1 % a year: a thirtieth of a percent of a hundredth, told by trade."""
    venue = Venue()
    trade_id = venue.buy(10_000)["id"]
    venue.now_ns = next_roll_ns(venue.now_ns) - SECOND_NS
    venue.exchange.advance(venue.now_ns)
    assert venue.kinds()[-1] == "ORDER_FILL:MARKET_ORDER"
    venue.pass_time(1)
    told = venue.account.log.since(venue.account.log.last - 1)[0].body
    assert told["type"] == "DAILY_FINANCING"
    assert told["financing"] == "-0.2970"  # 10,841 USD / 365 / 100
    trades = told["positionFinancings"][0]["openTradeFinancings"]
    assert trades == [{"tradeID": trade_id, "financing": "-0.2970"}]
    assert venue.account.balance == Decimal("99999.7030")
    assert venue.account.find_trade(trade_id).financing == Decimal("-0.2970")


def test_the_venues_week_stops_trading() -> None:
    """Friday 16:59 New York until Sunday 17:05, and a pause each day; gold opens later."""
    venue = Venue(hours="venue")
    friday_ns = next_roll_ns(venue.now_ns)
    for after_s, expected in ((-120, True), (-60, False), (47 * 3_600, False), (48 * 3_600 + 301, True)):
        assert venue.exchange.markets.by_name["EUR_USD"].is_open(friday_ns + after_s * SECOND_NS) is expected
    gold = venue.exchange.markets.by_name["XAU_USD"]
    assert not gold.is_open(friday_ns + (48 * 3_600 + 301) * SECOND_NS)
    venue.now_ns = friday_ns
    venue.pass_time(1)
    assert venue.place("MARKET", units="1")["orderCancelTransaction"]["reason"] == "MARKET_HALTED"


def test_a_venue_that_starts_at_a_weekend_shows_its_close() -> None:
    """Prices that stand still and are not tradeable; with the week they live."""
    venue = Venue(hours="venue")
    opens_ns = next_roll_ns(venue.now_ns) + (48 * 3_600 + 301) * SECOND_NS
    exchange = Exchange(SandboxSettings(history_days=0, hours="venue"), opens_ns - 3_600 * SECOND_NS)
    market = exchange.markets.by_name["EUR_USD"]
    exchange.advance(opens_ns - 3_599 * SECOND_NS)
    closed = market.quote
    assert closed is not None
    exchange.advance(opens_ns - 60 * SECOND_NS)
    assert (market.quote, market.tradeable) == (closed, False)
    exchange.advance(opens_ns)
    exchange.advance(opens_ns + 10 * SECOND_NS)
    assert market.tradeable
    assert market.quote != closed


def test_money_comes_and_goes() -> None:
    """A withdrawal that the margin needs is refused."""
    venue = Venue()
    venue.exchange.transfer(venue.account, Decimal(-50_000), venue.now_ns)
    assert venue.account.balance == 50_000
    venue.buy(1_000_000)
    with pytest.raises(Rejection, match="INSUFFICIENT_FUNDS"):
        venue.exchange.transfer(venue.account, Decimal(-40_000), venue.now_ns)


def test_leverage_cannot_be_raised_into_a_closeout() -> None:
    """The rate is the account's where it is above the instrument's."""
    venue = Venue()
    venue.buy(1_000_000)
    with pytest.raises(Rejection, match="MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT"):
        venue.account.new_margin_rate(Decimal("0.5"))
    with pytest.raises(Rejection, match="MARGIN_RATE_INVALID"):
        venue.account.new_margin_rate(Decimal(0))
    venue.account.new_margin_rate(Decimal("0.05"))
    assert venue.account.worth().margin_used == Decimal("54202.5000")


def test_finished_orders_and_closed_trades_are_forgotten_in_turn() -> None:
    """Bounded like the log; what is open is never forgotten."""
    venue = Venue(max_transactions=100)
    waiting = venue.rest("LIMIT", units="1", price="1.0")
    for _ in range(150):
        venue.buy(1)
        venue.place("MARKET", units="-1")
        venue.quote("1.08400", "1.08410")
    account = venue.account
    assert len(account.orders) == 101
    assert len(account.trades) == 100
    assert waiting.number in account.orders
    assert account.log.last > 600
    with pytest.raises(ApiError) as caught:
        account.log.since(1)
    assert caught.value.status == 416


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hedging", [False, True])
def test_the_books_add_up(seed: int, hedging: bool) -> None:
    """Hundreds of drawn requests: balance, positions, ids and exits agree with the transactions alone."""
    draw = random.Random(seed)
    venue = Venue(accounts=(AccountSettings(hedging=hedging, fifo=not hedging, balance=Decimal(5_000)),))
    for _ in range(300):
        px = Decimal("1.08000") + draw.randrange(1_000) * Decimal("0.00001")
        act = draw.randrange(6)
        try:
            if act == 0:
                venue.quote(px, px + Decimal("0.00010"), units=draw.choice([500, 100_000]))
            elif act == 1:
                exits = {"stopLossOnFill": {"distance": "0.00300"}, "takeProfitOnFill": {"price": f"{px}"}}
                venue.place(
                    "MARKET",
                    units=str(draw.randrange(-30_000, 30_000)),
                    timeInForce=draw.choice(["FOK", "IOC"]),
                    positionFill=draw.choice(["DEFAULT", "REDUCE_FIRST", "REDUCE_ONLY", "OPEN_ONLY"]),
                    **(exits if draw.random() < 0.5 else {}),
                )
            elif act == 2:
                kind = draw.choice(["LIMIT", "STOP", "MARKET_IF_TOUCHED"])
                venue.place(kind, units=str(draw.randrange(-9_000, 9_000)), price=f"{px}")
            elif act == 3 and venue.account.pending:
                which = draw.choice(list(venue.account.pending))
                venue.exchange.desk.cancel(venue.account, str(which), venue.now_ns)
            elif act == 4 and venue.account.open_trades:
                which = draw.choice(list(venue.account.open_trades))
                venue.exchange.closing.trade(venue.account, str(which), {}, venue.now_ns)
            else:
                venue.pass_time(draw.random() * 3_600)
        except ApiError:
            pass
        _check(venue.account)
    assert venue.account.log.last > 100


def _check(account: Account) -> None:
    entries = account.log.between(1, account.log.last)
    assert [entry.number for entry in entries] == list(range(1, account.log.last + 1))
    bodies = [entry.body for entry in entries]
    moved = sum(Decimal(body["pl"]) - Decimal(body["guaranteedExecutionFee"]) for body in bodies if "pl" in body)
    charged = sum(Decimal(body["financing"]) for body in bodies if body["type"] == "DAILY_FINANCING")
    assert account.balance == account.settings.balance + moved + charged
    told = [Decimal(body["accountBalance"]) for body in bodies if "accountBalance" in body]
    assert told[-1] == account.balance
    units = sum((Decimal(body["units"]) for body in bodies if body["type"] == "ORDER_FILL"), Decimal(0))
    longs, shorts = account.units_of("EUR_USD")
    assert longs - shorts == units
    assert account.settings.hedging or not (longs and shorts)
    created = {body["id"] for body in bodies if body["type"].endswith("_ORDER")}
    ended = [body["orderID"] for body in bodies if body["type"] in ("ORDER_FILL", "ORDER_CANCEL")]
    assert len(ended) == len(set(ended))
    assert created - set(ended) == {order.id for order in account.pending.values()}
    exits = {order.number for trade in account.open_trades.values() for order in trade.exits.values()}
    assert exits == {order.number for order in account.pending.values() if order.spec.trade_id is not None}
