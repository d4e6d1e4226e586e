"""What the streams of a market say, of spot and of USD-M futures.

Owns the shapes in which the two differ, and what a change of a book is numbered by.  Source: Binance spot API and USD-M
futures API, "WebSocket market streams".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

from connectors.binance.sandbox import funding, futures, wire
from connectors.binance.sandbox.wire import Agg, Json
from connectors.binance.streams import SPOT, USDM
from connectors.local.records import Market
from connectors.local.tape import PublicTrade
from engine.events import Side

_MS_NS = 1_000_000


class Diff:
    """Changes of one book that a stream has not told yet: from the number ``first`` on, behind ``before``."""

    def __init__(self, first: int, before: int) -> None:
        self.first = first
        self.before = before
        self.levels: dict[tuple[Side, Decimal], Decimal] = {}

    def side(self, side: Side) -> list[tuple[Decimal, Decimal]]:
        return [(px, qty) for (which, px), qty in self.levels.items() if which is side]


class Messages(Protocol):
    """``number`` is the newest of the book; times are UTC milliseconds."""

    def quote(self, market: Market, number: int, now_ms: int) -> Json: ...

    def trade(self, market: Market, each: PublicTrade, now_ms: int) -> Json: ...

    def agg_trade(self, market: Market, group: Agg, now_ms: int) -> Json: ...

    def change(self, market: Market, diff: Diff, number: int, now_ms: int) -> Json: ...

    def partial(self, market: Market, depth: int, number: int, before: int, now_ms: int) -> Json: ...

    def day(self, market: Market, now_ns: int) -> Json:
        """What ``ticker`` is made of."""
        ...

    def ticker(self, day: Mapping[str, Any], now_ms: int, *, mini: bool) -> Json: ...


class SpotMessages:
    """Each change of a level is one number; a message covers ``U`` to ``u`` and the next begins at ``u + 1``."""

    def quote(self, market: Market, number: int, now_ms: int) -> Json:  # noqa: ARG002 - spot's has no time
        told = wire.best(market)
        return {
            "u": number, "s": told["symbol"], "b": told["bidPrice"], "B": told["bidQty"],
            "a": told["askPrice"], "A": told["askQty"],
        }  # fmt: skip

    def trade(self, market: Market, each: PublicTrade, now_ms: int) -> Json:
        return wire.trade_event(wire.venue_symbol(market.product.symbol), each, now_ms)

    def agg_trade(self, market: Market, group: Agg, now_ms: int) -> Json:
        symbol = wire.venue_symbol(market.product.symbol)
        return {"e": "aggTrade", "E": now_ms, "s": symbol, **wire.agg_trade(group)}

    def change(self, market: Market, diff: Diff, number: int, now_ms: int) -> Json:
        return {
            "e": "depthUpdate",
            "E": now_ms,
            "s": wire.venue_symbol(market.product.symbol),
            "U": diff.first,
            "u": number,
            "b": wire.levels(diff.side(Side.BUY)),
            "a": wire.levels(diff.side(Side.SELL)),
        }

    def partial(
        self, market: Market, depth: int, number: int, before: int, now_ms: int  # noqa: ARG002 - spot's has neither
    ) -> Json:  # fmt: skip
        return {
            "lastUpdateId": number,
            "bids": wire.levels(market.engine.levels(Side.BUY, depth)),
            "asks": wire.levels(market.engine.levels(Side.SELL, depth)),
        }

    def day(self, market: Market, now_ns: int) -> Json:
        return wire.day_ticker(market, now_ns)

    def ticker(self, day: Mapping[str, Any], now_ms: int, *, mini: bool) -> Json:
        return wire.ticker_event(day, now_ms, mini=mini)


class FuturesMessages:
    """Numbers run across symbols, so they have holes; ``pu`` is the ``u`` of the message before."""

    def quote(self, market: Market, number: int, now_ms: int) -> Json:
        told = futures.best(market, number, now_ms)
        return {
            "e": "bookTicker", "u": number, "s": told["symbol"], "b": told["bidPrice"], "B": told["bidQty"],
            "a": told["askPrice"], "A": told["askQty"], "T": now_ms, "E": now_ms,
        }  # fmt: skip

    def trade(self, market: Market, each: PublicTrade, now_ms: int) -> Json:
        product = market.product
        return {
            "e": "trade", "E": now_ms, "T": each.ts_ns // _MS_NS, "s": wire.venue_symbol(product.symbol),
            "t": each.number, "p": futures.price(product, each.px), "q": futures.size(product, each.qty),
            "X": "MARKET", "m": each.buyer_is_maker,
        }  # fmt: skip

    def agg_trade(self, market: Market, group: Agg, now_ms: int) -> Json:
        symbol = wire.venue_symbol(market.product.symbol)
        return {"e": "aggTrade", "E": now_ms, "s": symbol, **futures.agg_trade(market, group)}

    def change(self, market: Market, diff: Diff, number: int, now_ms: int) -> Json:
        sides = (diff.side(Side.BUY), diff.side(Side.SELL))
        return self._depth(market, diff.first, number, diff.before, now_ms, *sides)

    def partial(self, market: Market, depth: int, number: int, before: int, now_ms: int) -> Json:
        """The best levels, whole, in the form of a change."""
        sides = (market.engine.levels(side, depth) for side in (Side.BUY, Side.SELL))
        return self._depth(market, number, number, before, now_ms, *map(list, sides))

    @staticmethod
    def _depth(
        market: Market, first: int, number: int, before: int, now_ms: int,
        bids: list[tuple[Decimal, Decimal]], asks: list[tuple[Decimal, Decimal]],
    ) -> Json:  # fmt: skip
        return {
            "e": "depthUpdate",
            "E": now_ms,
            "T": now_ms,
            "s": wire.venue_symbol(market.product.symbol),
            "U": first,
            "u": number,
            "pu": before,
            "b": futures.levels(market, bids),
            "a": futures.levels(market, asks),
        }

    def day(self, market: Market, now_ns: int) -> Json:
        return futures.day_ticker(market, now_ns)

    def ticker(self, day: Mapping[str, Any], now_ms: int, *, mini: bool) -> Json:
        return wire.ticker_event(day, now_ms, mini=mini)

    @staticmethod
    def mark(market: Market, now_ns: int) -> Json:
        """``markPrice``: mark, index, funding rate, and when that is paid."""
        now = funding.mark(market, now_ns)
        return {
            "e": "markPriceUpdate",
            "E": now_ns // _MS_NS,
            "s": wire.venue_symbol(market.product.symbol),
            "p": wire.number(now.mark_px),
            "ap": wire.number(now.mark_px),
            "i": wire.number(now.index_px),
            "P": wire.number(now.settle_px),
            "r": wire.number(now.rate),
            "T": now.next_ms,
        }


MESSAGES: dict[str, Messages] = {SPOT: SpotMessages(), USDM: FuturesMessages()}
