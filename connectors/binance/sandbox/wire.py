"""What Binance says of markets: shapes of messages and answers, numbers as text of eight decimals.

Owns shapes only.  Source: Binance spot API, "Market data endpoints" and "WebSocket market streams".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.local.records import Market
from connectors.local.tape import Candle, PublicTrade

Json = dict[str, Any]
Agg = list[PublicTrade]
"""Trades of one order at one price."""
_MS_NS = 1_000_000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_MONDAY_S = 4 * _DAY_S
INTERVALS_S = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800,
    "1h": _HOUR_S, "2h": 2 * _HOUR_S, "4h": 4 * _HOUR_S, "6h": 6 * _HOUR_S, "8h": 8 * _HOUR_S, "12h": 12 * _HOUR_S,
    "1d": _DAY_S, "3d": 3 * _DAY_S, "1w": 7 * _DAY_S, "1M": 31 * _DAY_S,
}  # fmt: skip
"""Length; a month's is its longest.  One second is an interval of the venue's that is not kept here."""
ORDER_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]


def number(value: Decimal) -> str:
    """``0.00100000``"""
    return f"{value:.8f}"


def venue_symbol(symbol: str) -> str:
    """``BTC/USDT`` is ``BTCUSDT``."""
    return symbol.replace("/", "")


def start_of(interval: str, second: int) -> int:
    """The first second of the candle that holds it."""
    if interval == "1M":
        return int(datetime.fromtimestamp(second, UTC).replace(day=1, hour=0, minute=0, second=0).timestamp())
    step_s = INTERVALS_S[interval]
    shift_s = _MONDAY_S if interval == "1w" else 0
    return (second - shift_s) // step_s * step_s + shift_s


def end_ms(interval: str, start_s: int) -> int:
    """The last millisecond of the candle that begins then."""
    return start_of(interval, start_s + INTERVALS_S[interval] + (_DAY_S if interval == "1M" else 0)) * 1_000 - 1


def rules(market: Market) -> Json:
    """A row of exchangeInfo."""
    product = market.product
    steps = {"minQty": number(product.min_qty), "maxQty": number(product.max_qty), "stepSize": number(product.lot_qty)}
    far_px = number(product.tick_px * 100_000_000)
    return {
        "symbol": venue_symbol(product.symbol),
        "status": "BREAK" if market.halted else "TRADING",
        "baseAsset": product.base,
        "baseAssetPrecision": 8,
        "quoteAsset": product.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ORDER_TYPES,
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": number(product.tick_px), "maxPrice": far_px,
             "tickSize": number(product.tick_px)},
            {"filterType": "LOT_SIZE", **steps},
            {"filterType": "MARKET_LOT_SIZE", **steps, "stepSize": number(Decimal(0))},
            {"filterType": "NOTIONAL", "minNotional": number(product.min_notional), "applyMinToMarket": True,
             "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_TAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER"],
    }  # fmt: skip


# --- trades -----------------------------------------------------------------------------------------------------------


def trade(each: PublicTrade) -> Json:
    """A row of ``GET trades``."""
    return {
        "id": each.number,
        "price": number(each.px),
        "qty": number(each.qty),
        "quoteQty": number(each.px * each.qty),
        "time": each.ts_ns // _MS_NS,
        "isBuyerMaker": each.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregated(trades: Iterable[PublicTrade]) -> list[Agg]:
    """Neighbours that one order took at one price, together.  Numbers of such groups have holes here: a group is
    numbered by its first trade."""
    found: list[Agg] = []
    for each in trades:
        last = found[-1][-1] if found else None
        if last is not None and (last.ts_ns, last.px, last.buyer_is_maker) == (
            each.ts_ns,
            each.px,
            each.buyer_is_maker,
        ):
            found[-1].append(each)
        else:
            found.append([each])
    return found


def agg_trade(group: Agg) -> Json:
    """A row of ``GET aggTrades``, and with ``e``, ``E`` and ``s`` the message of the stream."""
    first = group[0]
    return {
        "a": first.number,
        "p": number(first.px),
        "q": number(sum((each.qty for each in group), Decimal(0))),
        "f": first.number,
        "l": group[-1].number,
        "T": first.ts_ns // _MS_NS,
        "m": first.buyer_is_maker,
        "M": True,
    }


def trade_event(symbol: str, each: PublicTrade, now_ms: int) -> Json:
    return {
        "e": "trade",
        "E": now_ms,
        "s": symbol,
        "t": each.number,
        "p": number(each.px),
        "q": number(each.qty),
        "T": each.ts_ns // _MS_NS,
        "m": each.buyer_is_maker,
        "M": True,
    }


# --- candles and days -------------------------------------------------------------------------------------------------


def kline(candle: Candle, interval: str) -> list[Any]:
    """A row of ``GET klines``."""
    return [
        candle.start_s * 1_000,
        number(candle.open_px),
        number(candle.high_px),
        number(candle.low_px),
        number(candle.close_px),
        number(candle.volume_qty),
        end_ms(interval, candle.start_s),
        number(candle.value),
        candle.trades,
        number(candle.taken_qty),
        number(candle.taken_value),
        "0",
    ]


def kline_event(symbol: str, candle: Candle, interval: str, now_ms: int, *, finished: bool) -> Json:
    k = {
        "t": candle.start_s * 1_000,
        "T": end_ms(interval, candle.start_s),
        "s": symbol,
        "i": interval,
        "f": candle.first,
        "L": candle.last,
        "o": number(candle.open_px),
        "c": number(candle.close_px),
        "h": number(candle.high_px),
        "l": number(candle.low_px),
        "v": number(candle.volume_qty),
        "n": candle.trades,
        "x": finished,
        "q": number(candle.value),
        "V": number(candle.taken_qty),
        "Q": number(candle.taken_value),
        "B": "0",
    }
    return {"e": "kline", "E": now_ms, "s": symbol, "k": k}


def day_ticker(market: Market, now_ns: int) -> Json:
    """A row of ``GET ticker/24hr``."""
    day = market.tape.day(now_ns) or _no_day(market)
    bid_px, bid_qty, ask_px, ask_qty = market.engine.best() or (Decimal(0),) * 4
    change = day.close_px - day.open_px
    return {
        "symbol": venue_symbol(market.product.symbol),
        "priceChange": number(change),
        "priceChangePercent": f"{change / day.open_px * 100:.3f}",
        "weightedAvgPrice": number(day.mean_px),
        "prevClosePrice": number(day.open_px),
        "lastPrice": number(day.close_px),
        "lastQty": number(market.tape.trades[-1].qty if market.tape.trades else Decimal(0)),
        "bidPrice": number(bid_px),
        "bidQty": number(bid_qty),
        "askPrice": number(ask_px),
        "askQty": number(ask_qty),
        "openPrice": number(day.open_px),
        "highPrice": number(day.high_px),
        "lowPrice": number(day.low_px),
        "volume": number(day.volume_qty),
        "quoteVolume": number(day.value),
        "openTime": now_ns // _MS_NS - _DAY_S * 1_000,
        "closeTime": now_ns // _MS_NS,
        "firstId": day.first,
        "lastId": day.last,
        "count": day.trades,
    }


_TICKER = {
    "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice", "c": "lastPrice",
    "Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty", "o": "openPrice", "h": "highPrice",
    "l": "lowPrice", "v": "volume", "q": "quoteVolume", "O": "openTime", "C": "closeTime", "F": "firstId",
    "L": "lastId", "n": "count",
}  # fmt: skip
_MINI = ("c", "o", "h", "l", "v", "q")


def ticker_event(told: Mapping[str, Any], now_ms: int, *, mini: bool) -> Json:
    """The streams' way to say ``day_ticker``."""
    letters = _MINI if mini else tuple(_TICKER)
    name = "24hrMiniTicker" if mini else "24hrTicker"
    # Futures tell no side of the book in it, nor the close before.
    said = {letter: told[_TICKER[letter]] for letter in letters if _TICKER[letter] in told}
    return {"e": name, "E": now_ms, "s": told["symbol"], **said}


def _no_day(market: Market) -> Candle:
    px = market.product.start_px
    return Candle(0, px, px, px, px)


# --- books ------------------------------------------------------------------------------------------------------------


def levels(found: Iterable[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[number(px), number(qty)] for px, qty in found]


def best(market: Market) -> Json:
    """A row of ``GET ticker/bookTicker``."""
    bid_px, bid_qty, ask_px, ask_qty = market.engine.best() or (Decimal(0),) * 4
    return {
        "symbol": venue_symbol(market.product.symbol),
        "bidPrice": number(bid_px),
        "bidQty": number(bid_qty),
        "askPrice": number(ask_px),
        "askQty": number(ask_qty),
    }
