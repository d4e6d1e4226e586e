"""What a currency counts for while prices move: by a core, and by the rates alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.continuity import take
from engine.core import TradingCore
from engine.instruments import AssetClass
from engine.rates import Rates
from tests.support.core import BTC, MemoryRecorder, build_core, quote, spot

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
