"""Questions about markets, asked over REST or the WebSocket API: rules, books, trades, candles, tickers.

Owns their parameters and answers.  Nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from connectors.binance.sandbox import wire
from connectors.binance.sandbox.errors import ApiError, Json, illegal, invalid_symbol, missing
from connectors.binance.sandbox.params import Params, integer
from connectors.binance.sandbox.settings import RateLimits
from connectors.local.exchange import Exchange
from connectors.local.records import Market
from connectors.local.tape import Candle, filled
from engine.events import Side

_MS_NS = 1_000_000
_SYMBOL = re.compile(r"[A-Z0-9-_.]{1,20}")
_MOST_LEVELS = 5_000
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1_000, 50), (_MOST_LEVELS, 250))


class Queries:
    """``book_id`` gives a symbol's newest update id, with everything told that happened before."""

    most_klines = 1_000
    """In one answer."""

    def __init__(self, exchange: Exchange, limits: RateLimits | None, book_id: Callable[[str], int]) -> None:
        self._exchange = exchange
        self._limits = limits or RateLimits()
        self.book_id = book_id
        self.markets = {wire.venue_symbol(symbol): market for symbol, market in exchange.markets.items()}

    # --- which --------------------------------------------------------------------------------------------------------

    def market(self, params: Params) -> Market:
        """Of the parameter ``symbol``.  Raises ``ApiError``."""
        name = params.get("symbol", "")
        if not name:
            raise missing("symbol")
        if _SYMBOL.fullmatch(name) is None:
            raise illegal("symbol", "^[A-Z0-9-_.]{1,20}$")
        market = self.markets.get(name)
        if market is None:
            raise invalid_symbol()
        return market

    def _named(self, params: Params) -> list[Market]:
        """Of ``symbol`` or ``symbols``; all without either."""
        if "symbol" in params:
            return [self.market(params)]
        if "symbols" not in params:
            return list(self.markets.values())
        try:
            names = msgspec.json.decode(params["symbols"], type=list[str])
        except msgspec.MsgspecError:
            raise illegal("symbols", '^\\["[A-Z0-9-_.]{1,20}"...\\]$') from None
        return [self.market({"symbol": name}) for name in names]

    # --- answers ------------------------------------------------------------------------------------------------------

    def time(self, _: Params, now_ns: int) -> Json:
        return {"serverTime": now_ns // _MS_NS}

    def exchange_info(self, params: Params, now_ns: int) -> Json:
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
             "limit": self._limits.weight_per_min},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10,
             "limit": self._limits.orders_per_10s},
        ]  # fmt: skip
        rows = [wire.rules(market) for market in self._named(params)]
        return {
            "timezone": "UTC",
            "serverTime": now_ns // _MS_NS,
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": rows,
        }

    def depth(self, params: Params, _: int) -> Json:
        market = self.market(params)
        limit = min(integer(params, "limit", 100, low=1), _MOST_LEVELS)
        last_id = self.book_id(market.product.symbol)
        engine = market.engine
        return {
            "lastUpdateId": last_id,
            "bids": wire.levels(engine.levels(Side.BUY, limit)),
            "asks": wire.levels(engine.levels(Side.SELL, limit)),
        }

    def trades(self, params: Params, _: int) -> list[Json]:
        limit = self.limit(params)
        return [wire.trade(each) for each in list(self.market(params).tape.trades)[-limit:]]

    def old_trades(self, params: Params, now_ns: int) -> list[Json]:
        """``historicalTrades``, from a number on."""
        if "fromId" not in params:
            return self.trades(params, now_ns)
        first, limit = integer(params, "fromId"), self.limit(params)
        return [wire.trade(each) for each in self.market(params).tape.since(first)][:limit]

    def agg_trades(self, params: Params, _: int) -> list[Json]:
        return [wire.agg_trade(group) for group in self.groups(params)]

    def groups(self, params: Params) -> list[wire.Agg]:
        """What ``aggTrades`` asks for."""
        tape, limit = self.market(params).tape, self.limit(params)
        from_ms, to_ms = integer(params, "startTime", 0), integer(params, "endTime", 1 << 62)
        groups = wire.aggregated(
            each for each in tape.since(integer(params, "fromId", 0)) if from_ms <= each.ts_ns // _MS_NS <= to_ms
        )
        older = "startTime" in params or "fromId" in params
        return groups[:limit] if older else groups[-limit:]

    def klines(self, params: Params, now_ns: int) -> list[list[Any]]:
        interval = params.get("interval", "")
        if not interval:
            raise missing("interval")
        if interval not in wire.INTERVALS_S:
            raise ApiError(-1120, "Invalid interval.")
        limit = self.limit(params, self.most_klines)
        from_ms, to_ms = integer(params, "startTime", 0), integer(params, "endTime", now_ns // _MS_NS)
        found = self.candles(self.market(params), interval, -(-from_ms // 1_000), min(to_ms, now_ns // _MS_NS) // 1_000)
        chosen = found[:limit] if "startTime" in params else found[-limit:]
        return [wire.kline(candle, interval) for candle in chosen]

    @staticmethod
    def candles(market: Market, interval: str, from_s: int, to_s: int) -> list[Candle]:
        """Those that begin within ``[from_s, to_s]``, oldest first; without holes where all have one length."""
        found = market.tape.candles(lambda second: wire.start_of(interval, second), from_s, to_s)
        if interval in ("1M", "1w"):
            return found
        return filled(found, wire.INTERVALS_S[interval], to_s)

    def day_ticker(self, params: Params, now_ns: int) -> Json | list[Json]:
        return self.one_or_all(params, lambda market: wire.day_ticker(market, now_ns))

    def price(self, params: Params, now_ns: int) -> Json | list[Json]:
        def one(market: Market) -> Json:
            told = wire.day_ticker(market, now_ns)
            return {"symbol": told["symbol"], "price": told["lastPrice"]}

        return self.one_or_all(params, one)

    def best(self, params: Params, _: int) -> Json | list[Json]:
        return self.one_or_all(params, wire.best)

    def average(self, params: Params, now_ns: int) -> Json:
        """Of five minutes, by volume."""
        market = self.market(params)
        now_s = now_ns // (_MS_NS * 1_000)
        minutes = market.tape.candles(lambda second: second, now_s - 300, now_s)
        volume = sum((minute.volume_qty for minute in minutes), market.product.lot_qty * 0)
        value = sum((minute.value for minute in minutes), market.product.lot_qty * 0)
        px = value / volume if volume else market.tape.last_px or market.product.start_px
        return {"mins": 5, "price": wire.number(px), "closeTime": now_ns // _MS_NS}

    def one_or_all(self, params: Params, view: Callable[[Market], Json]) -> Json | list[Json]:
        rows = [view(market) for market in self._named(params)]
        return rows[0] if "symbol" in params else rows

    @staticmethod
    def limit(params: Params, most: int = 1_000) -> int:
        """Of rows."""
        return min(integer(params, "limit", 500, low=1), most)


def depth_weight(params: Params) -> int:
    text = params.get("limit", "100")
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 100
    return next((weight for most, weight in _DEPTH_WEIGHTS if limit <= most), _DEPTH_WEIGHTS[-1][1])
