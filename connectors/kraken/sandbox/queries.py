"""Questions about markets: time, assets, pairs, ticker, book, trades, candles.

Owns their parameters and answers.  Nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from connectors.kraken.sandbox import wire
from connectors.kraken.sandbox.errors import ApiError, invalid
from connectors.kraken.sandbox.naming import PairNames, alt_name, asset_id, pair_names
from connectors.kraken.sandbox.params import Params, integer
from connectors.kraken.sandbox.wire import Json
from connectors.local.exchange import Exchange
from connectors.local.operator import Door
from connectors.local.records import Market
from engine.events import Side

_NS = 1_000_000_000
_MOST_LEVELS = 500
_MOST_TRADES = 1_000
_MOST_CANDLES = 720
INTERVALS_MIN = (1, 5, 15, 30, 60, 240, 1_440, 10_080, 21_600)
_WEEK_MIN = 10_080
_MONDAY_S = 4 * 86_400


def start_of(minutes: int, second: int) -> int:
    """The first second of the candle that holds it."""
    shift_s = _MONDAY_S if minutes >= _WEEK_MIN else 0
    return (second - shift_s) // (60 * minutes) * 60 * minutes + shift_s


class Queries:
    def __init__(self, exchange: Exchange, door: Door) -> None:
        self._exchange = exchange
        self._door = door
        self.names = {symbol: pair_names(market.product) for symbol, market in exchange.markets.items()}
        self._symbols = {
            name: names.symbol
            for names in self.names.values()
            for name in (names.symbol, names.id, names.altname, names.wsname)
        }
        products = [market.product for market in exchange.markets.values()]
        held = [currency for currency, _ in exchange.settings.balances]
        codes = [code for product in products for code in (product.base, product.quote)]
        self.assets = list(dict.fromkeys([*codes, *held]))

    # --- which --------------------------------------------------------------------------------------------------------

    def market(self, name: str) -> tuple[Market, PairNames]:
        """Of a pair in any spelling.  Raises ``ApiError``."""
        symbol = self._symbols.get(name)
        if symbol is None:
            raise ApiError("EQuery:Unknown asset pair")
        return self._exchange.markets[symbol], self.names[symbol]

    def _named(self, params: Params) -> list[tuple[Market, PairNames]]:
        names = [name for name in params.get("pair", "").split(",") if name] or list(self.names)
        return [self.market(name) for name in names]

    # --- answers ------------------------------------------------------------------------------------------------------

    def table(self) -> dict[str, Callable[[Params, int], Any]]:
        """By the last part of the path."""
        return {
            "Time": self._time,
            "SystemStatus": self._status,
            "Assets": self._assets,
            "AssetPairs": self._pairs,
            "Ticker": self._ticker,
            "Depth": self._depth,
            "Trades": self._trades,
            "OHLC": self._candles,
        }

    @staticmethod
    def _time(_: Params, now_ns: int) -> Json:
        now = datetime.fromtimestamp(now_ns // _NS, UTC)
        return {"unixtime": now_ns // _NS, "rfc1123": now.strftime("%a, %d %b %y %H:%M:%S +0000")}

    def _status(self, _: Params, now_ns: int) -> Json:
        now = datetime.fromtimestamp(now_ns // _NS, UTC).isoformat().replace("+00:00", "Z")
        return {"status": "maintenance" if self._door.maintenance else "online", "timestamp": now}

    def _assets(self, params: Params, _: int) -> Json:
        rows = {asset_id(code): wire.asset_row(code, alt_name(code)) for code in self.assets}
        wanted = [name for name in params.get("asset", "").split(",") if name]
        if not wanted:
            return rows
        found = {key: row for key, row in rows.items() if {key, row["altname"]} & set(wanted)}
        if len(found) < len(wanted):
            raise ApiError("EQuery:Unknown asset")
        return found

    def _pairs(self, params: Params, _: int) -> Json:
        settings = self._exchange.settings
        return {names.id: wire.pair_row(market, names, settings) for market, names in self._named(params)}

    def _ticker(self, params: Params, now_ns: int) -> Json:
        return {names.id: wire.ticker_row(market, names, now_ns) for market, names in self._named(params)}

    def _depth(self, params: Params, now_ns: int) -> Json:
        market, names = self.market(params.get("pair", ""))
        count = integer(params, "count", 100, low=1, high=_MOST_LEVELS)
        bids, asks = (
            wire.level_rows(market.engine.levels(side, count), names, now_ns) for side in (Side.BUY, Side.SELL)
        )
        return {names.id: {"asks": asks, "bids": bids}}

    def _trades(self, params: Params, now_ns: int) -> Json:
        market, names = self.market(params.get("pair", ""))
        count = integer(params, "count", _MOST_TRADES, low=1, high=_MOST_TRADES)
        since_ns = integer(params, "since", 0, high=1 << 62)
        if since_ns < 1 << 40:
            since_ns *= _NS  # in seconds, as the newer documents have it
        found = [trade for trade in market.tape.trades if trade.ts_ns > since_ns]
        chosen = found[:count] if since_ns else found[-count:]
        last_ns = chosen[-1].ts_ns if chosen else since_ns or now_ns
        return {names.id: [wire.trade_row(trade, names) for trade in chosen], "last": f"{last_ns}"}

    def _candles(self, params: Params, now_ns: int) -> Json:
        market, names = self.market(params.get("pair", ""))
        minutes = integer(params, "interval", 1, high=1 << 20)
        if minutes not in INTERVALS_MIN:
            raise invalid("interval")
        since_s = integer(params, "since", -1, high=1 << 40)
        found = market.tape.candles(lambda second: start_of(minutes, second), 0, now_ns // _NS)
        chosen = [candle for candle in found if candle.start_s > since_s][-_MOST_CANDLES:]
        last_s = found[-2].start_s if len(found) > 1 else 0
        return {names.id: [wire.candle_row(candle, names) for candle in chosen], "last": last_s}
