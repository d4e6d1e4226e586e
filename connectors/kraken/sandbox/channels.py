"""The public channels: what each says at a subscription, at a change, and each second.

Owns the data of ``ticker trade book ohlc instrument``.  Who listens is ``streams``.  Source: Kraken WebSocket v2.
"""

from __future__ import annotations

from decimal import Decimal

from connectors.kraken.sandbox.books import ToldBook
from connectors.kraken.sandbox.naming import PairNames, alt_name, asset_id
from connectors.kraken.sandbox.queries import Queries, start_of
from connectors.kraken.sandbox.views import at, number
from connectors.kraken.sandbox.wire import Json
from connectors.local.exchange import Exchange
from connectors.local.records import Market
from connectors.local.tape import Candle, PublicTrade

_NS = 1_000_000_000
_PAST_TRADES = 50


class Channels:
    def __init__(self, exchange: Exchange, queries: Queries) -> None:
        self._markets = exchange.markets
        self._queries = queries
        self._books: dict[tuple[str, int], ToldBook] = {}

    def _of(self, symbol: str) -> tuple[Market, PairNames]:
        return self._markets[symbol], self._queries.names[symbol]

    def ticker(self, symbol: str, now_ns: int) -> list[Json]:
        market, names = self._of(symbol)
        px, qty = names.px_decimals, names.qty_decimals
        start = market.product.start_px
        day = market.tape.day(now_ns) or Candle(0, start, start, start, start)
        bid_px, bid_qty, ask_px, ask_qty = market.engine.best() or (Decimal(0),) * 4
        change = day.close_px - day.open_px
        return [
            {
                "symbol": symbol,
                "bid": number(bid_px, px),
                "bid_qty": number(bid_qty, qty),
                "ask": number(ask_px, px),
                "ask_qty": number(ask_qty, qty),
                "last": number(day.close_px, px),
                "volume": number(day.volume_qty, 8),
                "vwap": number(day.mean_px, px),
                "low": number(day.low_px, px),
                "high": number(day.high_px, px),
                "change": number(change, px),
                "change_pct": number(change / day.open_px * 100, 2),
                "timestamp": at(now_ns),
            }
        ]

    def trades(self, symbol: str, trades: list[PublicTrade]) -> list[Json]:
        names = self._queries.names[symbol]
        return [
            {
                "symbol": symbol,
                "side": "sell" if trade.buyer_is_maker else "buy",
                "price": number(trade.px, names.px_decimals),
                "qty": number(trade.qty, names.qty_decimals),
                "ord_type": "limit",
                "trade_id": trade.number,
                "timestamp": at(trade.ts_ns),
            }
            for trade in trades
        ]

    def past_trades(self, symbol: str) -> list[Json]:
        return self.trades(symbol, list(self._markets[symbol].tape.trades)[-_PAST_TRADES:])

    # --- books --------------------------------------------------------------------------------------------------------

    def book(self, symbol: str, depth: int) -> ToldBook:
        """The one of that depth, brought up by every ``book_update``.  Made here: nobody has listened to it."""
        told = self._books.get((symbol, depth))
        if told is None:
            told = self._books[symbol, depth] = ToldBook(*self._of(symbol), depth)
        return told

    def book_update(self, symbol: str, depth: int, now_ns: int) -> Json | None:
        return self.book(symbol, depth).update(now_ns)

    def forget_book(self, symbol: str, depth: int) -> None:
        """Nobody listens to it any more."""
        self._books.pop((symbol, depth), None)

    # --- candles and rules --------------------------------------------------------------------------------------------

    def candles(self, symbol: str, minutes: int, since_s: int, now_ns: int) -> list[Json]:
        """Those that begin at ``since_s`` or later, oldest first."""
        market, names = self._of(symbol)
        found = market.tape.candles(lambda second: start_of(minutes, second), since_s, now_ns // _NS)
        px = names.px_decimals
        return [
            {
                "symbol": symbol,
                "open": number(each.open_px, px),
                "high": number(each.high_px, px),
                "low": number(each.low_px, px),
                "close": number(each.close_px, px),
                "trades": each.trades,
                "volume": number(each.volume_qty, 8),
                "vwap": number(each.mean_px, px),
                "interval_begin": at(each.start_s * _NS),
                "interval": minutes,
                "timestamp": at(start_of(minutes, each.start_s + 60 * minutes) * _NS),
            }
            for each in found
        ]

    def instruments(self) -> Json:
        """The snapshot of channel ``instrument``: decimals that the checksum of a book needs, among others."""
        assets, pairs = [], []
        for code in self._queries.assets:
            fiat = asset_id(code).startswith("Z")
            precision, shown = (4, 2) if fiat else (10, 5)
            row = {"id": code, "status": "enabled", "precision": precision, "precision_display": shown}
            assets.append(
                {**row, "borrowable": False, "collateral_value": 1.0, "margin_rate": 0.0, "altname": alt_name(code)}
            )
        for symbol, market in self._markets.items():
            product, names = market.product, self._queries.names[symbol]
            pairs.append(
                {
                    "symbol": symbol,
                    "base": product.base,
                    "quote": product.quote,
                    "status": "cancel_only" if market.halted else "online",
                    "qty_precision": names.qty_decimals,
                    "qty_increment": number(product.lot_qty, names.qty_decimals),
                    "price_precision": names.px_decimals,
                    "price_increment": number(product.tick_px, names.px_decimals),
                    "cost_precision": 5,
                    "marginable": False,
                    "has_index": False,
                    "cost_min": number(product.min_notional, 5),
                    "qty_min": number(product.min_qty, 8),
                }
            )
        return {"assets": assets, "pairs": pairs}
