"""The whole venue without a network: markets, chains, coins, customers, their orders, and the passing of time.

Owns how these are put together and stepped.  Pure: time and tokens are given.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

import msgspec

from connectors.robin_stocks.sandbox.account import Account, Contract, Holding
from connectors.robin_stocks.sandbox.charts import Chart
from connectors.robin_stocks.sandbox.desk import Desk
from connectors.robin_stocks.sandbox.login import Login
from connectors.robin_stocks.sandbox.market import Market, flow_shape
from connectors.robin_stocks.sandbox.options import Options
from connectors.robin_stocks.sandbox.requests import Reader
from connectors.robin_stocks.sandbox.settings import SandboxSettings, SandboxStock
from connectors.robin_stocks.sandbox.times import MarketHours
from engine.instruments import AssetClass

COIN = "BTC"
COIN_START_PX = Decimal("94250.00")


class Listed(msgspec.Struct):
    """A stock that is listed, the market behind it and its bars."""

    id: str
    rules: SandboxStock
    market: Market
    chart: Chart
    previous_close: Decimal


class Exchange:
    """``accounts`` by number, ``stocks`` by ticker.  ``token`` makes texts that nobody can guess."""

    def __init__(self, settings: SandboxSettings, now_ns: int, token: Callable[[], str]) -> None:
        self.settings = settings
        self.hours = MarketHours(always=settings.hours == "always")
        self.stocks = {stock.symbol: self._list(stock, now_ns) for stock in settings.stocks}
        self.by_id = {listed.id: listed for listed in self.stocks.values()}
        self.coin = Market(COIN, tick_px=Decimal("0.01"), lot_qty=Decimal("0.00000001"), asset_class=AssetClass.SPOT)
        self.coin_id = str(uuid5(NAMESPACE_URL, f"kestrel/coin/{COIN}"))
        self.coin.live(
            COIN_START_PX, flow_shape(settings.rate_per_s, 2.0, 0.8, 20_000.0, settings.speed), settings.seed
        )
        self.options = Options(settings.stocks, self.hours, now_ns, self.spot)
        self.accounts: dict[str, Account] = {}
        for each in settings.accounts:
            account = self.accounts[each.account_number] = Account(each, self.options.contracts, settings.max_orders)
            for symbol, shares in each.holdings.items():
                market = self.stocks[symbol].market
                account.holdings[symbol] = Holding(market, shares, self.stocks[symbol].rules.start_px, now_ns)
        self.desk = Desk(settings, self.hours, now_ns)
        ids = {symbol: listed.id for symbol, listed in self.stocks.items()}
        markets = {symbol: listed.market for symbol, listed in self.stocks.items()}
        self.reader = Reader(self.desk, self.options, markets, ids)
        self.login = Login(settings, self.accounts, token)
        self._settled: set[str] = set()

    def _list(self, stock: SandboxStock, now_ns: int) -> Listed:
        settings = self.settings
        market = Market(stock.symbol, tick_px=stock.tick_px, lot_qty=Decimal(1), takes_parts=stock.fractional)
        shape = flow_shape(
            settings.rate_per_s, stock.spread_bps, stock.volatility_bps, stock.order_notional, settings.speed
        )
        market.live(stock.start_px, shape, settings.seed)
        instrument_id = str(uuid5(NAMESPACE_URL, f"kestrel/stock/{stock.symbol}"))
        chart = Chart(market.instrument, stock.start_px, self.hours, settings.seed, now_ns)
        return Listed(instrument_id, stock, market, chart, stock.start_px)

    def spot(self, symbol: str) -> Decimal | None:
        """The middle of a stock's quote."""
        quote = self.stocks[symbol].market.quote
        return None if quote is None else quote.mid

    def is_open(self, now_ns: int) -> bool:
        """Whether anything trades now: the market stands still outside of all its hours."""
        return self.hours.session(now_ns) != "closed"

    def open_books(self, now_ns: int) -> None:
        """First quotes, also where the venue is closed: a market has a last price then too."""
        for listed in self.stocks.values():
            listed.market.step(now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass until ``now_ns``."""
        if self.is_open(now_ns):
            for listed in self.stocks.values():
                listed.market.step(now_ns)
                if listed.market.last_px is not None:
                    listed.chart.add(now_ns, listed.market.last_px, listed.market.volume)
            self.options.step(now_ns)
        self.coin.step(now_ns)
        self.look(now_ns)
        for contract in self.options.contracts.values():
            if contract.expires_ns <= now_ns and contract.id not in self._settled:
                self._settled.add(contract.id)
                self._settle(contract)

    def look(self, now_ns: int) -> None:
        """Orders that are due act."""
        self.desk.step(self.accounts.values(), now_ns)

    def _settle(self, contract: Contract) -> None:
        """A contract has ended: what it is worth is paid in cash (the venue delivers shares; unverified)."""
        worth = self.options.intrinsic(contract)
        for account in self.accounts.values():
            holding = account.holdings.pop(contract.id, None)
            if holding is not None:
                account.cash += holding.qty * worth * holding.market.multiplier
