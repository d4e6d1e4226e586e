"""What Kraken says of markets over REST: shapes of answers, numbers as text with a pair's decimals.

Owns shapes only.  Source: Kraken spot REST API, "Market data".
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from connectors.kraken.sandbox.naming import PairNames, asset_id
from connectors.local.records import Market
from connectors.local.settings import LocalSettings
from connectors.local.tape import Candle, PublicTrade

Json = dict[str, Any]
_NS = 1_000_000_000


def plain(value: Decimal, places: int) -> str:
    return f"{value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def seconds(ts_ns: int) -> float:
    """With microseconds, as the venue tells times."""
    return round(ts_ns / _NS, 6)


def asset_row(code: str, altname: str) -> Json:
    fiat = asset_id(code).startswith("Z")
    return {
        "aclass": "currency",
        "altname": altname,
        "decimals": 4 if fiat else 10,
        "display_decimals": 2 if fiat else 5,
        "status": "enabled",
    }


def pair_row(market: Market, names: PairNames, settings: LocalSettings) -> Json:
    product = market.product
    return {
        "altname": names.altname,
        "wsname": names.wsname,
        "aclass_base": "currency",
        "base": asset_id(product.base),
        "aclass_quote": "currency",
        "quote": asset_id(product.quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": names.px_decimals,
        "lot_decimals": names.qty_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, float(settings.taker_fee_rate * 100)]],
        "fees_maker": [[0, float(settings.maker_fee_rate * 100)]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": f"{product.min_qty:f}",
        "costmin": f"{product.min_notional:f}",
        "tick_size": f"{product.tick_px:f}",
        "status": "cancel_only" if market.halted else "online",
    }


def ticker_row(market: Market, names: PairNames, now_ns: int) -> Json:
    px, qty = names.px_decimals, names.qty_decimals
    day = market.tape.day(now_ns)
    start = market.product.start_px
    day = day or Candle(0, start, start, start, start)
    bid_px, bid_qty, ask_px, ask_qty = market.engine.best() or (Decimal(0),) * 4
    last_qty = market.tape.trades[-1].qty if market.tape.trades else Decimal(0)
    volume, mean = plain(day.volume_qty, 8), plain(day.mean_px, px)
    return {
        "a": [plain(ask_px, px), plain(ask_qty.to_integral_value(), 0), plain(ask_qty, 3)],
        "b": [plain(bid_px, px), plain(bid_qty.to_integral_value(), 0), plain(bid_qty, 3)],
        "c": [plain(day.close_px, px), plain(last_qty, qty)],
        "v": [volume, volume],
        "p": [mean, mean],
        "t": [day.trades, day.trades],
        "l": [plain(day.low_px, px)] * 2,
        "h": [plain(day.high_px, px)] * 2,
        "o": plain(day.open_px, px),
    }


def candle_row(candle: Candle, names: PairNames) -> list[Any]:
    px = names.px_decimals
    prices = [plain(each, px) for each in (candle.open_px, candle.high_px, candle.low_px, candle.close_px)]
    return [candle.start_s, *prices, plain(candle.mean_px, px), plain(candle.volume_qty, 8), candle.trades]


def trade_row(trade: PublicTrade, names: PairNames) -> list[Any]:
    side = "s" if trade.buyer_is_maker else "b"
    return [
        plain(trade.px, names.px_decimals),
        plain(trade.qty, names.qty_decimals),
        seconds(trade.ts_ns),
        side,
        "l",
        "",
        trade.number,
    ]


def level_rows(levels: Iterable[tuple[Decimal, Decimal]], names: PairNames, now_ns: int) -> list[list[Any]]:
    return [[plain(px, names.px_decimals), plain(qty, 3), now_ns // _NS] for px, qty in levels]
