"""What a currency counts for while prices move: by a core, and by the rates alone."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine import events as e
from engine.carried import Carried, decode_carried, encode_carried
from engine.commands import NewOrder, RiskState
from engine.continuity import take
from engine.core import TradingCore
from engine.instruments import AssetClass
from engine.portfolio import DAY_NS, Portfolio
from engine.rates import Rates
from engine.recovery import Recovery
from tests.support.core import BTC, MemoryRecorder, build_core, fill, intent, perpetual, quote, spot

D = Decimal
ETH_BTC = spot(
    id="ETH/BTC@coinbase", venue_symbol="ETH-BTC", base="ETH", quote="BTC", settlement="BTC", tick_px=D("0.00001")
)
EUR_USD = spot(
    id="EUR/USD@oanda",
    venue="oanda",
    venue_symbol="EUR_USD",
    base="EUR",
    asset_class=AssetClass.FX,
    tick_px=D("0.0001"),
)


def coins_at(rate: str, earlier: TradingCore | None = None, eth: str = "10") -> TradingCore:
    """An account of 1,000 dollars and 10 ETH, which are traded against BTC."""
    core = build_core(MemoryRecorder())
    if earlier is not None:
        core.on_event(e.StateCarried(3, 3, "before", 1, encode_carried(take(earlier, ""))))
    core.on_event(e.RateReported(3, 3, "BTC", D(rate)))
    for instrument in (spot(), ETH_BTC):
        core.on_event(e.InstrumentDefined(4, 4, instrument))
    if earlier is None:
        core.on_event(e.BalanceReported(5, 5, "coinbase", "USD", D(1000), D(1000)))
        core.on_event(e.BalanceReported(5, 5, "coinbase", "ETH", D(eth), D(eth)))
    core.on_event(e.AccountSettled(6, 6, "coinbase", (("USD", D(1000)), ("ETH", D(eth)), ("BTC", D(0)))))
    core.on_event(quote(7, 0.0499, 0.0501, instrument=ETH_BTC.id))
    core.on_event(e.Timer(8, 8, "tick"))
    return core


def test_a_market_says_what_a_currency_is_worth_as_soon_as_it_has_a_price() -> None:
    """The rate that was configured when the coin stood at 60,000 showed equity that a fall to 40,000 never touched."""
    core = coins_at("60000")
    assert core.view.equity() is None
    assert core.view.rate("BTC") is None  # so that nothing is entered on it either
    for bid_px in (40000.0, 39900.0):
        core.on_event(quote(9, bid_px, bid_px + 2))
        core.on_event(e.Timer(10, 10, "tick"))
        assert core.view.rate("BTC") == core.view.mark_px(BTC) == D(repr(bid_px)) + 1
        assert core.view.equity() == 1000 + 10 * D("0.05") * core.view.mark_px(BTC)


def test_an_old_configured_rate_is_no_peak_at_the_next_start() -> None:
    """Told as 60,000 again while the market stands at 40,000 as before: nothing was won, and then nothing is lost.
    What was paid in meanwhile counts at the price that was known last."""
    before = coins_at("60000")
    before.on_event(quote(9, 40000.0, 40000.01))
    before.on_event(e.Timer(10, 10, "tick"))
    peak = before.view.equity_peak()
    for eth in ("10", "12"):
        core = coins_at("60000", before, eth)
        core.on_event(quote(9, 40000.0, 40000.01))
        core.on_event(e.Timer(10, 10, "tick"))
        equity = core.view.equity()
        assert core.view.equity_peak() == equity == core.view.equity_day_start()
        assert abs(equity - peak - (D(eth) - 10) * D("0.05") * 40000) < D("0.01")


def test_without_a_market_a_rate_stands_as_it_was_told() -> None:
    rates = Rates("USD")
    rates.tell("EUR", D("1.1"), 5)
    rates.define(spot())
    assert not rates.follow(lambda _: D(2))
    assert (rates.rate("EUR"), rates.rate("BTC"), rates.believed("EUR")) == (D("1.1"), None, D("1.1"))
    assert [(name, told.ts_ns, market) for name, told, market in rates.each()] == [("EUR", 5, "")]


def test_what_a_venue_tells_after_its_markets_is_not_followed() -> None:
    """It converts at what it says, and says it again as it moves."""
    rates = Rates("USD")
    rates.define(EUR_USD)
    rates.tell("EUR", D("1.1"), 5)
    assert not rates.follow(lambda _: D(2))
    rates.define(EUR_USD)
    assert rates.rate("EUR") == D("1.1")


@pytest.mark.parametrize(
    ("own", "told", "markets", "rate"),
    [
        ("USD", {"EUR": "1"}, [("EUR", "USD")], "1.25"),
        ("EUR", {"USD": "1"}, [("EUR", "USD")], "0.8"),
        ("GBP", {"EUR": "1", "USD": "0.5"}, [("EUR", "USD")], "0.625"),
        ("USD", {"EUR": "1", "USDT": "0.5"}, [("EUR", "USDT"), ("EUR", "USD")], "1.25"),
        ("USD", {"EUR": "1", "USDT": "0.5"}, [("EUR", "USD"), ("EUR", "USDT")], "1.25"),
    ],
)
def test_a_market_either_way_round_or_through_a_third_currency(
    own: str, told: dict[str, str], markets: list[tuple[str, str]], rate: str
) -> None:
    """Straight into the portfolio's currency, where several say it.  A market that has no price changes nothing."""
    rates = Rates(own)
    for currency, worth in told.items():
        rates.tell(currency, D(worth), 5)
    for base, other in markets:
        rates.define(spot(id=f"{base}/{other}@x", base=base, quote=other, asset_class=AssetClass.FX))
    wanted = "USD" if own == "EUR" else "EUR"
    assert rates.rate(wanted) is None
    assert not rates.follow(lambda _: None)
    assert rates.believed(wanted, lambda _: D("1.25")) == D(rate)
    prices = {f"{base}/{other}@x": D("1.25") for base, other in markets}
    assert rates.follow(prices.get)
    assert rates.rate(wanted) == D(rate)
    assert not rates.follow(prices.get)
    assert not rates.follow(lambda _: D(0))
    assert rates.rate(wanted) == D(rate)


def test_a_contract_is_no_exchange_of_currencies() -> None:
    rates = Rates("USD")
    rates.tell("BTC", D(60000), 5)
    for changes in ({"asset_class": AssetClass.PERPETUAL}, {"inverse": True}, {"multiplier": D("0.01")}):
        rates.define(spot(**changes))
    assert not rates.follow(lambda _: D(2))
    assert rates.rate("BTC") == 60000


def test_markets_that_name_each_other_leave_one_currency_as_it_was_told() -> None:
    """Two venues quote the same two currencies, each in the other: neither would ever have a rate, and nothing would
    be entered for ever."""
    rates = Rates("USD")
    for currency in ("USDT", "USDC"):
        rates.tell(currency, D(1), 5)
    rates.define(spot(id="USDC/USDT@x", base="USDC", quote="USDT"))
    rates.define(spot(id="USDT/USDC@y", base="USDT", quote="USDC"))
    rates.follow(lambda _: D("0.9"))
    assert (rates.rate("USDT"), rates.rate("USDC")) == (1, D("0.9"))
    rates.define(spot(id="USDT/USD@y", base="USDT", quote="USD"))
    for _ in range(2):
        rates.follow(lambda _: D("0.9"))
    assert (rates.rate("USDT"), rates.rate("USDC")) == (D("0.9"), D("0.81"))


def test_an_old_configured_rate_is_no_peak_of_a_session_that_died() -> None:
    """Before it had kept anything: its records say what was configured after they have said what it went on from, and
    the account was flat again.  The next session halted for a fall that never was."""
    contract = perpetual(id="BTC/EUR@coinbase", quote="EUR", settlement="EUR")
    before = build_core(MemoryRecorder())
    opening: list[e.InputEvent] = [
        e.RateReported(3, 3, "EUR", D("1.2")),
        *[e.InstrumentDefined(4, 4, one) for one in (EUR_USD, contract)],
    ]
    told = e.AccountSettled(5, 5, "coinbase", (("EUR", D(1000)),))
    for event in (*opening, e.BalanceReported(5, 5, "coinbase", "EUR", D(1000), D(1000)), told):
        before.on_event(event)
    before.on_event(quote(6, 0.9999, 1.0001, instrument=EUR_USD.id))
    before.on_event(e.Timer(7, 7, "tick"))
    assert before.view.equity_peak() == 1000
    trades = []
    for side, trade in ((e.Side.BUY, "a"), (e.Side.SELL, "b")):
        wish = intent(side, instrument=contract.id)
        trades.append(fill(NewOrder(8, "k-1", "coinbase", wish), "1", "100", trade, ts_ns=8))
    recovery = Recovery("USD")
    recovery.take([e.StateCarried(3, 3, "before", 1, encode_carried(take(before, ""))), *opening, *trades])
    assert recovery.left().money.equity_peak == 1000


def test_a_trade_before_its_currency_has_a_price_is_a_win_by_the_rate_that_was_told() -> None:
    """Of 0.01 BTC, with fees of a thousandth of one: as dollars it was a loss, and some of those pause a strategy."""
    book = Portfolio("USD")
    book.set_rate("BTC", D(60000))
    for instrument in (spot(), ETH_BTC):
        book.define(instrument)
    book.report_balance("coinbase", "BTC", D(1))
    for side, px in ((e.Side.BUY, "0.05"), (e.Side.SELL, "0.06")):
        traded = fill(NewOrder(1, "k-1", "coinbase", intent(side, instrument=ETH_BTC.id)), "1", px, px, "0.001")
        book.apply_fill(msgspec.structs.replace(traded, fee_currency="BTC"), "s")
    assert book.rate("BTC") is None
    assert book.stakes.tallies["s"].losses == 0


def test_a_currency_that_becomes_a_symbols_coins_is_no_profit() -> None:
    """It came while nothing said its worth; the next session lists what is traded in it."""
    ether = spot(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH")
    before, book = Portfolio("USD"), Portfolio("USD")
    before.define(ether)
    before.report_balance("coinbase", "USD", D(1000))
    before.revalue(1, {}.get)
    before.report_balance("coinbase", "BTC", D(2))
    before.revalue(2, {}.get)
    assert before.equity is None
    book.restore(before.carried())
    for instrument in (ether, spot()):
        book.define(instrument)
    book.revalue(3, {}.get)
    book.revalue(4, {BTC: D(100)}.get)
    assert (book.equity, book.equity_day_start, book.equity_peak) == (1200, 1200, 1200)


def test_markets_by_which_money_is_counted_are_named() -> None:
    """Of what is there and of what is held, through a third currency too; a rate that nobody needs is nobody's."""
    book = Portfolio("USD")
    for currency in ("USDT", "USDC", "EUR"):
        book.set_rate(currency, D(1))
    contract = perpetual(id="BTC/EUR@z", venue="z", quote="EUR", settlement="EUR")
    listed = [
        spot(id=f"{one}/{other}@z", venue="z", base=one, quote=other)
        for one, other in (("USDC", "USDT"), ("USDT", "USD"))
    ]
    fx = spot(id="EUR/USDC@y", venue="y", base="EUR", quote="USDC", asset_class=AssetClass.FX)
    for instrument in (contract, *listed, fx):
        book.define(instrument)
    assert book.rate_markets() == []
    book.report_balance("y", "USDT", D(5))
    assert book.rate_markets() == ["USDT/USD@z"]
    bought = fill(NewOrder(1, "k-1", "z", intent(instrument=contract.id)), "1", "100", "t1")
    book.apply_fill(msgspec.structs.replace(bought, fee_currency="USD"), "s")
    assert book.rate_markets() == ["USDT/USD@z", "EUR/USDC@y", "USDC/USDT@z"]


def of_a_winner(rate: str = "60000", earlier: Portfolio | None = None) -> Portfolio:
    """Books of an account on which ETH is traded against BTC; without an earlier one "s" has won 0.01 BTC."""
    book = Portfolio("USD")
    if earlier is not None:
        money = decode_carried(
            encode_carried(Carried(1, (spot(), ETH_BTC), (), (), earlier.carried(), RiskState.ACTIVE, "", ()))
        ).money
        book.restore(money, (spot(), ETH_BTC))
    book.set_rate("BTC", D(rate))
    for instrument in (spot(), ETH_BTC):
        book.define(instrument)
    for currency in ("USD", "BTC", "ETH"):
        book.report_balance("coinbase", currency, D(1))
    if earlier is None:
        wins(book, "0.05", "0.06")
    return book


def wins(book: Portfolio, first: str, then: str) -> None:
    for side, px in ((e.Side.BUY, first), (e.Side.SELL, then)):
        traded = fill(NewOrder(1, "k-1", "coinbase", intent(side, instrument=ETH_BTC.id)), "1", px, px)
        book.apply_fill(traded, "s")


def test_what_a_strategy_won_before_is_no_result_of_a_day_on_which_its_currency_moves() -> None:
    """It won 0.01 BTC yesterday and holds nothing: BTC falls by a half, and it was stopped for a loss of 300 dollars.
    What it wins today counts."""
    book = of_a_winner()
    prices = {BTC: D(60000), ETH_BTC.id: D("0.05")}
    book.revalue(1, prices.get)
    book.revalue(DAY_NS, prices.get)
    for rate in (45000, 30000):
        book.set_rate("BTC", D(rate))
        prices[BTC] = D(rate)
        book.revalue(DAY_NS + 1, prices.get)
        assert book.stakes.tallies["s"].day == book.stakes.tallies["s"].day_low == 0
    wins(book, "0.04", "0.042")
    book.revalue(DAY_NS + 2, prices.get)
    assert book.stakes.tallies["s"].day == D("0.002") * 30000


def test_nor_where_it_moves_while_no_session_runs() -> None:
    """The same between two sessions of one day, over two restarts: the second one comes before anything has a price."""
    before = of_a_winner()
    before.revalue(1, {BTC: D(60000), ETH_BTC.id: D("0.05")}.get)
    before.revalue(DAY_NS, {BTC: D(60000), ETH_BTC.id: D("0.05")}.get)
    book = of_a_winner(earlier=of_a_winner(earlier=before))
    prices = {BTC: D(30000), ETH_BTC.id: D("0.05")}
    book.revalue(DAY_NS + 1, prices.get)
    assert book.stakes.tallies["s"].day == book.stakes.tallies["s"].day_low == 0
    wins(book, "0.04", "0.042")
    book.revalue(DAY_NS + 2, prices.get)
    assert book.stakes.tallies["s"].day == D("0.002") * 30000


def test_what_was_traded_before_a_kill_is_booked_at_the_rate_that_was_kept() -> None:
    """A state was kept between a purchase and the sale that won 0.001 BTC, and with it no rate: 60 dollars, and a fee
    of three, were a thousandth of one.  That is less than the purchase had cost, and losses pause a strategy."""
    core = coins_at("60000", eth="0")
    core.on_event(quote(9, 59999.99, 60000.01))
    core.on_event(e.Timer(10, 10, "tick"))
    core.on_event(quote(10, 59999.99, 60000.01))
    recovery, trades = Recovery("USD"), []
    for side, px in ((e.Side.BUY, "0.05"), (e.Side.SELL, "0.051")):
        order = NewOrder(11, f"k-{px}", "coinbase", intent(side, instrument=ETH_BTC.id))
        traded = msgspec.structs.replace(fill(order, "1", px, px, "0.00005"), fee_currency="BTC")
        trades.append((order, traded))
    (bought, purchase), (sold, sale) = trades
    core.orders.adopt(bought)
    core.on_event(purchase)
    kept = e.StateKept(12, 12, encode_carried(take(core, "")))
    recovery.take([kept, sold, sale])
    core.orders.adopt(sold)
    core.on_event(sale)
    left = recovery.left().money
    stakes = core.portfolio.stakes
    assert [one.fees for one in left.stakes.stakes if one.strategy] == [stakes.stake("s", ETH_BTC.id).fees] == [6]
    assert [one.losses for one in left.stakes.tallies] == [stakes.tallies["s"].losses] == [0]
    again = Recovery("USD")
    again.take([e.StateKept(13, 13, encode_carried(recovery.left()))])
    assert again.left().money.rates == left.rates == (("BTC", D(60000)),)
