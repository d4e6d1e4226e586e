"""Which requests there are: the same ones over REST and over the WebSocket API, with their weights.

Owns the tables.  Source: Binance spot API and USD-M futures API, weights as listed there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from connectors.binance.sandbox.account import Account
from connectors.binance.sandbox.futures_queries import FuturesQueries, klines_weight
from connectors.binance.sandbox.futures_queries import depth_weight as futures_depth_weight
from connectors.binance.sandbox.params import Params
from connectors.binance.sandbox.queries import Queries, depth_weight

CarryOut = Callable[[Params, int], Any]


class Route(msgspec.Struct, frozen=True):
    """``signed``: needs a key and a signature; ``trades``: and the permission to trade; ``orders``: makes one."""

    carry_out: CarryOut
    weight: Callable[[Params], int]
    signed: bool = False
    trades: bool = False
    orders: bool = False


def _flat(weight: int) -> Callable[[Params], int]:
    return lambda _: weight


def _by_symbol(one: int, every: int) -> Callable[[Params], int]:
    return lambda params: one if "symbol" in params else every


def tables(queries: Queries, account: Account) -> tuple[dict[tuple[str, str], Route], dict[str, Route]]:
    """``(by method and path, by the name of the WebSocket API)``"""
    rest: dict[tuple[str, str], Route] = {}
    ws: dict[str, Route] = {}

    def add(path: str, name: str, route: Route, method: str = "GET") -> None:
        rest[method, path if path.startswith("/sapi") else f"/api/v3/{path}"] = route
        if name:
            ws[name] = route

    def public(path: str, name: str, carry_out: CarryOut, weight: Callable[[Params], int]) -> None:
        add(path, name, Route(carry_out, weight))

    def private(path: str, name: str, carry_out: CarryOut, weight: Callable[[Params], int]) -> None:
        add(path, name, Route(carry_out, weight, signed=True))

    def trading(method: str, path: str, name: str, carry_out: CarryOut, *, orders: bool = False) -> None:
        add(path, name, Route(carry_out, _flat(1), signed=True, trades=True, orders=orders), method)

    public("ping", "ping", lambda *_: {}, _flat(1))
    public("time", "time", queries.time, _flat(1))
    public("exchangeInfo", "exchangeInfo", queries.exchange_info, _flat(20))
    public("depth", "depth", queries.depth, depth_weight)
    public("trades", "trades.recent", queries.trades, _flat(25))
    public("historicalTrades", "trades.historical", queries.old_trades, _flat(25))
    public("aggTrades", "trades.aggregate", queries.agg_trades, _flat(4))
    public("klines", "klines", queries.klines, _flat(2))
    public("uiKlines", "uiKlines", queries.klines, _flat(2))
    public("avgPrice", "avgPrice", queries.average, _flat(2))
    public("ticker/24hr", "ticker.24hr", queries.day_ticker, _by_symbol(2, 80))
    public("ticker/price", "ticker.price", queries.price, _by_symbol(2, 4))
    public("ticker/bookTicker", "ticker.book", queries.best, _by_symbol(2, 4))
    private("account", "account.status", account.account, _flat(20))
    private("order", "order.status", account.order, _flat(4))
    private("openOrders", "openOrders.status", account.open_orders, _by_symbol(6, 80))
    private("allOrders", "allOrders", account.all_orders, _flat(20))
    private("myTrades", "myTrades", account.my_trades, _flat(20))
    private("/sapi/v1/capital/config/getall", "", account.coins, _flat(10))
    private("/sapi/v1/asset/tradeFee", "", account.fees, _flat(1))
    for pairs in ("allPairs", "isolated/allPairs"):
        private(f"/sapi/v1/margin/{pairs}", "", lambda *_: [], _flat(1))  # nothing is lent here
    trading("POST", "order", "order.place", account.place, orders=True)
    trading("POST", "order/test", "order.test", account.test)
    trading("DELETE", "order", "order.cancel", account.cancel)
    trading("DELETE", "openOrders", "openOrders.cancelAll", account.cancel_all)
    trading("POST", "order/cancelReplace", "order.cancelReplace", account.cancel_replace, orders=True)
    return rest, ws


def futures_table(queries: FuturesQueries) -> dict[tuple[str, str], Route]:
    """By method and path: the market of USD-M futures alone."""
    found: dict[tuple[str, str], Route] = {}

    def public(path: str, carry_out: CarryOut, weight: Callable[[Params], int], version: int = 1) -> None:
        found["GET", f"/fapi/v{version}/{path}"] = Route(carry_out, weight)

    public("ping", lambda *_: {}, _flat(1))
    public("time", queries.time, _flat(1))
    public("exchangeInfo", queries.exchange_info, _flat(1))
    public("depth", queries.depth, futures_depth_weight)
    public("trades", queries.trades, _flat(5))
    public("historicalTrades", queries.old_trades, _flat(20))
    public("aggTrades", queries.agg_trades, _flat(20))
    public("klines", queries.klines, klines_weight)
    public("ticker/24hr", queries.day_ticker, _by_symbol(1, 40))
    for version in (1, 2):
        public("ticker/price", queries.price, _by_symbol(1, 2), version)
    public("ticker/bookTicker", queries.best, _by_symbol(2, 5))
    public("premiumIndex", queries.premium, _by_symbol(1, 10))
    public("fundingRate", queries.funding_rates, _flat(1))
    public("fundingInfo", queries.funding_info, _flat(1))
    return found
