"""Perpetuals through the library: their market, with orders on paper; what they are refused for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.load import load
from config.venue_kind import Opening
from config.venue_registry import kind_of
from config.venues import MarketOnPaper
from connectors.ccxt_venue.markets import TICK_SIZE, make_instrument, nearest
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.fakes import EventLog
from engine.commands import NewOrder, OrderIntent, OrderType
from engine.errors import ConfigError, VenueError
from engine.events import BalanceReported, FeedUp, InstrumentDefined, OrderFilled, Quote, Side, Trade
from engine.instruments import AssetClass
from engine.runtime.clocks import SystemClock
from tests.support.local_venues import binance_usdm

D = Decimal
SWAP: dict[str, Any] = {
    "symbol": "BTC/USDT:USDT", "id": "BTCUSDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap",
    "swap": True, "contract": True, "linear": True, "inverse": False, "contractSize": 0.001, "active": True,
    "precision": {"amount": 1, "price": 0.1}, "limits": {"amount": {"min": 1}, "cost": {"min": 5}},
}  # fmt: skip


def _settings(symbol: str, **more: Any) -> Any:
    given = {"venue.name": "ccxt:binance", "venue.feed": "live", "venue.symbols": [symbol], "paper.latency_ms": 0}
    return load((), env={}, overrides={**given, **more})


async def test_a_short_sale_on_paper_meets_the_perpetuals_market() -> None:
    """At the local server of futures: defined as what was foreseen, prices and trades by its streams; a sale of what
    nobody has fills at the bid."""
    settings, log, clock = _settings("BTC/USDT:USDT"), EventLog(), SystemClock()
    async with binance_usdm(step_ms=10.0, rate_per_s=200.0) as client:
        said = {"rest": client.venue.url, "ws": f"{client.venue.ws_url}/ws"}
        kind = kind_of(settings)
        paper = MarketOnPaper(kind, settings, log, clock, lambda: 0, said, "t", lambda _: (0, 0))
        try:
            await paper.start()
            assert {event.stream for event in log.of(FeedUp)} == {"market", "user"}
            (listed,) = [event.definition for event in log.of(InstrumentDefined)]
            (foreseen,) = kind.foresee(settings)
            for name in ("id", "asset_class", "base", "quote", "settlement", "multiplier", "can_short", "margin_rate"):
                assert getattr(foreseen, name) == getattr(listed, name), name
            assert (listed.asset_class, listed.tick_px) == (AssetClass.PERPETUAL, D("0.1"))
            assert [event.currency for event in log.of(BalanceReported)] == ["USDT"]
            async with asyncio.timeout(30):
                while not (log.of(Quote) and log.of(Trade)):
                    await asyncio.sleep(0.005)
            now_ns = clock.now_ns()
            wish = OrderIntent(now_ns, "s", listed.id, Side.SELL, D("0.01"), OrderType.MARKET)
            (gateway,) = paper.gateways
            gateway.submit(NewOrder(now_ns, "c1", settings.venue.name, wish))
            async with asyncio.timeout(30):
                while not log.of(OrderFilled):
                    paper.settle()
                    await asyncio.sleep(0.005)
            (fill,) = log.of(OrderFilled)
            assert float(fill.px) in {quote.bid_px for quote in log.of(Quote)}
        finally:
            await paper.stop()


def test_a_contract_is_so_many_units() -> None:
    """Sizes are in contracts; what one is worth is the multiplier."""
    made = make_instrument("ccxt_okx", "BTC/USDT:USDT", SWAP, TICK_SIZE, default_fee_rate=D(0))
    assert (made.multiplier, made.lot_qty, made.can_short) == (D("0.001"), D(1), True)
    assert made.notional(D(10), D(60_000)) == D(600)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"linear": False, "inverse": True}, "is a inverse market"),
        ({"swap": False, "future": True, "type": "future"}, "is a future market"),
        ({"contractSize": None}, "is a swap market"),
    ],
)
def test_what_is_no_such_perpetual_is_refused(changes: Mapping[str, Any], said: str) -> None:
    """Paid in what it is of, ending one day, or of no size."""
    with pytest.raises(VenueError, match=said):
        make_instrument("ccxt_okx", "BTC/USDT:USDT", {**SWAP, **changes}, TICK_SIZE, default_fee_rate=D(0))


def test_contracts_with_an_account_are_refused(tmp_path: Path) -> None:
    """Before anything is asked: margin and positions are not followed; other contracts not even watched."""
    for symbol in ("BTC/USD:BTC", "BTC/USDT:USDT-261225", "BTC/USD:BTC-261225-90000-C"):
        with pytest.raises(ConfigError, match=r"expected BASE/QUOTE of a spot market, BASE/QUOTE:QUOTE of a perpetual"):
            CcxtSettings(exchange="binance", symbols=(symbol,)).check()
    settings = _settings("BTC/USDT:USDT", **{"venue.key_file": str(tmp_path / "k.json")})
    opening = Opening(EventLog(), SystemClock(), lambda: 0, lambda _: (0, 0), money="real")
    with pytest.raises(ConfigError, match=r"a contract, with orders at the exchange; expected spot markets"):
        kind_of(settings).connect(settings, {}, opening)
    kind_of(settings).watch(settings, {}, opening)


def test_the_nearest_of_its_kind_are_named() -> None:
    """A wrong perpetual is not answered with spot markets."""
    markets = {"BTC/USDT": {"spot": True}, "BTC/USDT:USDT": {"swap": True}}
    assert nearest(markets, "BTX/USDT:USDT") == "did you mean BTC/USDT:USDT?"
    assert nearest(markets, "BTX/USDT") == "did you mean BTC/USDT?"
