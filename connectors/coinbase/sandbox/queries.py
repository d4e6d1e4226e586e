"""Reading the sandbox's state for the REST lists: filters, windows, pages.

Owns parameter parsing (repeated keys, ``True``/``False``, singular spellings) and paging.  Changes nothing.  Malformed
parameters raise ``BadRequest``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

from connectors.coinbase.sandbox import listings, wire
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.records import FillRecord, Market, OrderRecord
from connectors.coinbase.sandbox.tape import GRANULARITIES_S
from connectors.coinbase.sandbox.times import BadRequest, at, parse_time_ns
from engine.events import Side

MAX_CANDLES = 350
_MOST_LEVELS = 20_000


class Params:
    """Query parameters by name, every repetition kept."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def one(self, *names: str) -> str | None:
        """First non-empty value under any of the names."""
        return next((v for name in names for v in self._values.get(name, ()) if v), None)

    def many(self, *names: str) -> frozenset[str]:
        """All values; ``product_ids=A&product_ids=B``, ``product_ids=A,B`` and the singular spelling mean the same."""
        found = (v for name in names for raw in self._values.get(name, ()) for v in raw.split(","))
        return frozenset(v for v in found if v)

    def integer(self, name: str, default: int, most: int) -> int:
        """Between 1 and ``most``; more is cut to ``most`` as the venue does."""
        raw = self.one(name)
        if raw is None:
            return default
        if not raw.isdecimal() or len(raw) > 9:
            raise BadRequest(f"{name} must be a whole number")
        value = int(raw)
        return min(value, most) if value else default

    def positive(self, name: str) -> Decimal | None:
        raw = self.one(name)
        if raw is None:
            return None
        try:
            value = Decimal(raw)
        except InvalidOperation:
            value = Decimal(0)
        if not (value.is_finite() and value > 0):
            raise BadRequest(f"{name} must be a number above 0")
        return value

    def flag(self, name: str) -> bool:
        return (self.one(name) or "false").lower() == "true"

    def time_ns(self, *names: str) -> int | None:
        raw = self.one(*names)
        return None if raw is None else parse_time_ns(raw)


def market_of(exchange: Exchange, product_id: str) -> Market | None:
    """A product's market; books of USD and USDC are shared, so ``BTC-USDC`` answers as ``BTC-USD``."""
    market = exchange.markets.get(product_id)
    if market is None and product_id.endswith("-USDC"):
        market = exchange.markets.get(product_id.removesuffix("C"))
    return market if market is not None and market.product.listed else None


def products(exchange: Exchange, params: Params) -> wire.Json:
    wanted = params.many("product_ids", "product_id")
    kind = params.one("product_type")
    found = [market for market in exchange.markets.values() if market.product.listed]
    if kind not in {None, "UNKNOWN_PRODUCT_TYPE"}:
        found = [market for market in found if market.product.product_type == kind]
    if params.one("contract_expiry_type") not in {None, "UNKNOWN_CONTRACT_EXPIRY_TYPE", "EXPIRING"}:
        found = [market for market in found if market.product.future is None]
    if wanted:
        found = [market for market in found if market.product.product_id in wanted]
    offset = int(params.one("offset") or 0) if (params.one("offset") or "0").isdecimal() else 0
    page = found[offset : offset + params.integer("limit", 1_000, 1_000)]
    return {
        "products": [listings.product(market, created_ns=exchange.created_ns) for market in page],
        "num_products": len(found),
        "pagination": {"prev_cursor": "", "next_cursor": "", "has_next": False, "has_prev": False},
    }


def candles(market: Market, params: Params) -> wire.Json:
    name = params.one("granularity") or ""
    granularity_s = GRANULARITIES_S.get(name)
    if granularity_s is None:
        raise BadRequest(f"granularity must be one of {', '.join(GRANULARITIES_S)}")
    start_ns, end_ns = params.time_ns("start"), params.time_ns("end")
    if start_ns is None or end_ns is None or start_ns > end_ns:
        raise BadRequest("start and end are required unix seconds, start not after end")
    start_s, end_s = start_ns // 1_000_000_000, end_ns // 1_000_000_000
    if (end_s - start_s) // granularity_s > MAX_CANDLES:
        raise BadRequest(f"number of candles requested should be less than {MAX_CANDLES}")
    limit = params.integer("limit", MAX_CANDLES, MAX_CANDLES)
    found = market.tape.candles(granularity_s, start_s, end_s)
    return {"candles": [wire.candle(candle) for candle in found[:limit]]}


def trades(market: Market, params: Params) -> wire.Json:
    limit = params.integer("limit", 100, 1_000)
    start_ns, end_ns = params.time_ns("start"), params.time_ns("end")
    start_s = None if start_ns is None else start_ns // 1_000_000_000
    end_s = None if end_ns is None else end_ns // 1_000_000_000
    best = market.engine.best()
    product_id = market.product.label
    return {
        "trades": [wire.rest_trade(product_id, trade) for trade in market.tape.latest(limit, start_s, end_s)],
        "best_bid": "" if best is None else wire.number(best[0]),
        "best_ask": "" if best is None else wire.number(best[2]),
    }


def product_book(market: Market, params: Params, now_ns: int) -> wire.Json:
    depth = params.integer("limit", 500, 5_000)
    step = params.positive("aggregation_price_increment")
    bids, asks = (_levels(market, side, depth, step) for side in (Side.BUY, Side.SELL))
    last = market.tape.last_px
    made: wire.Json = {
        "pricebook": wire.pricebook(market.product.label, bids, asks, now_ns),
        "last": "" if last is None else wire.number(last),
        "mid_market": "",
        "spread_bps": "",
        "spread_absolute": "",
    }
    if bids and asks:
        mid, spread = (bids[0][0] + asks[0][0]) / 2, asks[0][0] - bids[0][0]
        made["mid_market"] = wire.number(mid)
        made["spread_bps"] = wire.number((spread / mid * 10_000).quantize(Decimal("0.0001")))
        made["spread_absolute"] = wire.number(spread)
    return made


def _levels(market: Market, side: Side, depth: int, step: Decimal | None) -> list[wire.Level]:
    """Best first; with a step, levels are put together at its multiples, away from the middle."""
    if step is None:
        return market.engine.levels(side, depth)
    rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
    found: dict[Decimal, Decimal] = {}
    for px, qty in market.engine.levels(side, _MOST_LEVELS):
        at_px = (px / step).to_integral_value(rounding) * step
        if at_px not in found and len(found) == depth:
            break
        found[at_px] = found.get(at_px, Decimal(0)) + qty
    return list(found.items())


def best_bid_ask(exchange: Exchange, params: Params, now_ns: int) -> wire.Json:
    wanted = params.many("product_ids", "product_id")
    books = []
    for product_id in sorted(wanted) if wanted else exchange.markets:
        market = market_of(exchange, product_id)
        if market is not None:
            bids, asks = market.engine.levels(Side.BUY, 1), market.engine.levels(Side.SELL, 1)
            books.append(wire.pricebook(market.product.label, bids, asks, now_ns))
    return {"pricebooks": books}


def accounts(exchange: Exchange, params: Params) -> wire.Json:
    limit = params.integer("limit", 49, 250)
    everything = list(exchange.wallets)
    first = _position(params.one("cursor"))
    page = everything[first : first + limit]
    has_next = first + limit < len(everything)
    return {
        "accounts": [account(exchange, wallet.uuid) for wallet in page],
        "has_next": has_next,
        "cursor": str(first + limit) if has_next else "",
        "size": len(page),
    }


def account(exchange: Exchange, uuid: str) -> wire.Json | None:
    wallet = exchange.wallets.find(uuid)
    if wallet is None:
        return None
    available, hold = exchange.wallets.amounts(wallet.currency)
    if wallet.currency == exchange.futures.currency and exchange.settings.futures_account == "apart":
        hold -= exchange.futures.bound()
    return wire.account(
        wallet.uuid,
        wallet.currency,
        available,
        hold,
        created_at=at(wallet.created_ns),
        updated_at=at(wallet.updated_ns),
        portfolio_id=exchange.portfolio_id,
    )


def order(exchange: Exchange, record: OrderRecord) -> wire.Json:
    return wire.order(record, user_id=exchange.user_id, portfolio_id=exchange.portfolio_id)


def list_orders(exchange: Exchange, params: Params, now_ns: int) -> wire.Json:
    """Newest first.  ``OPEN`` leaves out what is pending and may not be combined with other statuses."""
    lag_ns = int(exchange.settings.listing_lag_s * 1e9)
    statuses = params.many("order_status")
    if "OPEN" in statuses and len(statuses) > 1:
        raise BadRequest("order_status OPEN may not be combined with other statuses")
    source: Mapping[str, OrderRecord] = exchange.open_orders if statuses == {"OPEN"} else exchange.orders
    ids = params.many("order_ids", "order_id")
    chosen: Iterable[OrderRecord]
    if ids:
        found = [source[order_id] for order_id in ids if order_id in source]
        chosen = sorted(found, key=lambda record: -record.sequence)
    else:
        chosen = reversed(source.values())  # type: ignore[call-overload]
    wanted_products = params.many("product_ids", "product_id")
    sides = params.many("order_side")
    kinds = params.many("order_types", "order_type")
    forces = params.many("time_in_forces")
    start_ns, end_ns = params.time_ns("start_date"), params.time_ns("end_date")
    below = _below(params.one("cursor"))
    limit = params.integer("limit", 1_000, 1_000)
    page: list[OrderRecord] = []
    has_next = False
    kind = params.one("product_type")
    if params.one("contract_expiry_type") in {"EXPIRING", "PERPETUAL"}:
        # Contracts of the perpetual style are listed as expiring: nothing is perpetual here.
        kind = "FUTURE" if params.one("contract_expiry_type") == "EXPIRING" else "NONE"
    any_kind = kind in {None, "UNKNOWN_PRODUCT_TYPE"}
    assets = params.many("asset_filters")
    for record in chosen:
        spec = record.spec
        if below is not None and record.sequence >= below:
            continue
        if start_ns is not None and record.created_ns < start_ns:
            break
        if (
            (statuses and record.shown_status not in statuses)
            or (wanted_products and spec.product_id not in wanted_products)
            or not (any_kind or spec.product_type == kind)
            or (assets and exchange.markets[spec.product_id].instrument.base not in assets)
            or (lag_ns and record.created_ns > now_ns - lag_ns)
            or (sides and spec.side.name not in sides)
            or (kinds and wire.order_type(spec) not in kinds)
            or (forces and spec.time_in_force not in forces)
            or (end_ns is not None and record.created_ns >= end_ns)
        ):
            continue
        if len(page) == limit:
            has_next = True
            break
        page.append(record)
    return {
        "orders": [order(exchange, record) for record in page],
        "sequence": "0",
        "has_next": has_next,
        "cursor": str(page[-1].sequence) if has_next else "",
    }


def list_fills(exchange: Exchange, params: Params) -> wire.Json:
    """Newest first; an empty cursor ends the list."""
    ids = params.many("order_ids", "order_id")
    trade_ids = params.many("trade_ids")
    wanted_products = params.many("product_ids", "product_id")
    start_ns, end_ns = params.time_ns("start_sequence_timestamp"), params.time_ns("end_sequence_timestamp")
    chosen: Sequence[FillRecord]
    if ids:
        # ts_ns alone does not order fills of one match: the sort is stable over each order's own sequence.
        found = [fill for order_id in ids for fill in exchange.fills_of.get(order_id, ())]
        chosen = sorted(found, key=lambda fill: fill.listed_ns)
    else:
        chosen = exchange.fills
    after = params.one("cursor")
    limit = params.integer("limit", 100, 1_000)
    page: list[FillRecord] = []
    skipping = after is not None
    cursor = ""
    for fill in reversed(chosen):
        if skipping:
            skipping = fill.entry_id != after
            continue
        if (
            (trade_ids and fill.trade_id not in trade_ids)
            or (wanted_products and fill.product_id not in wanted_products)
            or (start_ns is not None and fill.listed_ns < start_ns)
            or (end_ns is not None and fill.listed_ns > end_ns)
        ):
            continue
        if len(page) == limit:
            cursor = page[-1].entry_id
            break
        page.append(fill)
    if skipping:
        raise BadRequest("cursor is not one of this list")
    made = [
        wire.fill(fill, user_id=exchange.user_id, portfolio_id=exchange.portfolio_id)
        for fill in page
        for _ in range(1 + exchange.executions.is_listed_twice)
    ]
    return {"fills": made, "cursor": cursor}


def transaction_summary(exchange: Exchange) -> wire.Json:
    settings = exchange.settings
    volume, fees = float(exchange.executions.traded_value), float(exchange.executions.fees_paid)
    return {
        "total_volume": volume,
        "total_fees": fees,
        "fee_tier": {
            "pricing_tier": "Sandbox",
            "usd_from": "0",
            "usd_to": "",
            "taker_fee_rate": wire.number(settings.taker_fee_rate),
            "maker_fee_rate": wire.number(settings.maker_fee_rate),
            "aop_from": "",
            "aop_to": "",
        },
        "margin_rate": None,
        "goods_and_services_tax": None,
        "advanced_trade_only_volume": volume,
        "advanced_trade_only_fees": fees,
        "coinbase_pro_volume": 0,
        "coinbase_pro_fees": 0,
        "total_balance": "",
        "has_promo_fee": False,
    }


def _position(cursor: str | None) -> int:
    if not cursor:
        return 0
    if not cursor.isdecimal() or len(cursor) > 9:
        raise BadRequest("cursor is not one of this list")
    return int(cursor)


def _below(cursor: str | None) -> int | None:
    return _position(cursor) or None
