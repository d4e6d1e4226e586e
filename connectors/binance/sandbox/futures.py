"""What Binance says of USD-M perpetuals by REST: shapes, with numbers cut at a symbol's own precision.

Owns shapes only; those that futures share with spot are in ``wire``.  Source: USD-M futures API, "Market data
endpoints".
"""

from __future__ import annotations

from decimal import Decimal

from connectors.binance.sandbox import wire
from connectors.binance.sandbox.funding import EVERY_S, Mark
from connectors.binance.sandbox.wire import Agg, Json, venue_symbol
from connectors.local.records import Market
from connectors.local.settings import SpotProduct
from connectors.local.tape import PublicTrade

NEVER_MS = 4_133_404_800_000
"""The delivery of a perpetual, by the venue's convention."""
_ONBOARD_MS = 1_569_398_400_000
ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)


def price(product: SpotProduct, value: Decimal) -> str:
    """``61234.50``: two decimals at least, as the venue has them."""
    return f"{value:.{max(_decimals(product.tick_px), 2)}f}"


def size(product: SpotProduct, value: Decimal) -> str:
    """``0.001``"""
    return f"{value:.{_decimals(product.lot_qty)}f}"


def levels(market: Market, found: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[price(market.product, px), size(market.product, qty)] for px, qty in found]


def rules(market: Market) -> Json:
    """A row of exchangeInfo."""
    product = market.product
    symbol, tick = venue_symbol(product.symbol), price(product, product.tick_px)
    steps = {"minQty": size(product, product.min_qty), "maxQty": size(product, product.max_qty),
             "stepSize": size(product, product.lot_qty)}  # fmt: skip
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": NEVER_MS,
        "onboardDate": _ONBOARD_MS,
        "status": "SETTLING" if market.halted else "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": product.base,
        "quoteAsset": product.quote,
        "marginAsset": product.quote,
        "pricePrecision": max(_decimals(product.tick_px), 2),
        "quantityPrecision": _decimals(product.lot_qty),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": price(product, product.tick_px * 10**8),
             "tickSize": tick},
            {"filterType": "LOT_SIZE", **steps},
            {"filterType": "MARKET_LOT_SIZE", **steps},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": f"{product.min_notional:f}"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
             "multiplierDecimal": "4"},
        ],
        "orderTypes": ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip


def asset(name: str) -> Json:
    return {"asset": name, "marginAvailable": True, "autoAssetExchange": "-10000"}


def trade(market: Market, each: PublicTrade) -> Json:
    """A row of ``GET trades``."""
    product = market.product
    return {
        "id": each.number,
        "price": price(product, each.px),
        "qty": size(product, each.qty),
        "quoteQty": price(product, each.px * each.qty),
        "time": each.ts_ns // 1_000_000,
        "isBuyerMaker": each.buyer_is_maker,
    }


def agg_trade(market: Market, group: Agg) -> Json:
    """A row of ``GET aggTrades``, and with ``e``, ``E`` and ``s`` the message of the stream."""
    told = wire.agg_trade(group)
    del told["M"]
    total = sum((each.qty for each in group), Decimal(0))
    return told | {"p": price(market.product, group[0].px), "q": size(market.product, total)}


def best(market: Market, book_id: int, now_ms: int) -> Json:
    """A row of ``GET ticker/bookTicker``."""
    product = market.product
    bid_px, bid_qty, ask_px, ask_qty = market.engine.best() or (Decimal(0),) * 4
    return {
        "symbol": venue_symbol(product.symbol),
        "bidPrice": price(product, bid_px),
        "bidQty": size(product, bid_qty),
        "askPrice": price(product, ask_px),
        "askQty": size(product, ask_qty),
        "time": now_ms,
        "lastUpdateId": book_id,
    }


def day_ticker(market: Market, now_ns: int) -> Json:
    """A row of ``GET ticker/24hr``: spot's, without the sides of the book and the close before."""
    told = wire.day_ticker(market, now_ns)
    return {name: value for name, value in told.items() if not name.startswith(("bid", "ask", "prevClose"))}


def premium(market: Market, now: Mark, now_ms: int) -> Json:
    """A row of ``GET premiumIndex``."""
    return {
        "symbol": venue_symbol(market.product.symbol),
        "markPrice": wire.number(now.mark_px),
        "indexPrice": wire.number(now.index_px),
        "estimatedSettlePrice": wire.number(now.settle_px),
        "lastFundingRate": wire.number(now.rate),
        "interestRate": "0.00010000",
        "nextFundingTime": now.next_ms,
        "time": now_ms,
    }


def paid(market: Market, at_ms: int, rate: Decimal, mark_px: Decimal) -> Json:
    """A row of ``GET fundingRate``."""
    return {
        "symbol": venue_symbol(market.product.symbol),
        "fundingTime": at_ms,
        "fundingRate": wire.number(rate),
        "markPrice": wire.number(mark_px),
    }


def funding_info(market: Market) -> Json:
    """A row of ``GET fundingInfo``."""
    return {
        "symbol": venue_symbol(market.product.symbol),
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": EVERY_S // 3_600,
        "disclaimer": False,
    }
