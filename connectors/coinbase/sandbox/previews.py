"""What an order or an edit would cost if it were asked for now.  Changes nothing.

Owns the answers of ``/orders/preview`` and ``/orders/edit_preview``; what an edit may be is ``editing``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectors.coinbase.sandbox import editing, wire
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.records import ZERO, Market, OrderRecord, OrderSpec
from connectors.coinbase.sandbox.requests import OrderRefused, parse_order
from engine.events import Side

_STEP = Decimal("0.00000001")


def preview(exchange: Exchange, body: Mapping[str, Any], now_ns: int, preview_id: str) -> wire.Json:
    """Answer of POST /orders/preview: refusals are listed in ``errs``.  Raises ``BadRequest``."""
    errors: list[str] = []
    figures = _nothing()
    leverage = ""
    try:
        spec = parse_order(body, exchange.products, now_ns, needs_client_id=False)
        leverage = spec.leverage
        market = exchange.markets[spec.product_id]
        figures = _figures(exchange, spec, market)
        record = OrderRecord(order_id="preview", spec=spec, created_ns=now_ns)
        exchange.reserve(record, market)
        exchange.wallets.ledger.release(record.order_id)
    except OrderRefused as refusal:
        errors.append(refusal.preview)
    return figures | {
        "errs": errors,
        "warning": [],
        "is_max": False,
        "leverage": leverage,
        "long_leverage": "",
        "short_leverage": "",
        "preview_id": preview_id,
    }


def preview_edit(exchange: Exchange, body: Mapping[str, Any]) -> wire.Json:
    """Answer of POST /orders/edit_preview: what is left of the order at its new price."""
    errors: list[wire.Json] = []
    figures, average = _nothing(), ZERO
    try:
        record, spec = editing.read(exchange, body)
        market = exchange.markets[spec.product_id]
        editing.afford(exchange, record, spec)
        figures, average = _figures(exchange, spec, market), record.average_px
    except editing.EditRefused as refusal:
        errors.append(refusal.json())
    return figures | {"errors": errors, "average_filled_price": wire.number(average)}


def _nothing() -> wire.Json:
    names = ("order_total", "commission_total", "quote_size", "base_size", "slippage")
    return dict.fromkeys(names, "0") | {"best_bid": "", "best_ask": ""}


def _figures(exchange: Exchange, spec: OrderSpec, market: Market) -> wire.Json:
    rate = exchange.settings.taker_fee_rate
    best = market.engine.best()
    base, worst = exchange.expected(spec, market)
    if spec.limit_px is None:
        quote = market.engine.cost(spec.side, base) * market.instrument.multiplier
    else:
        quote = market.instrument.notional(base, spec.limit_px)
    commission = quote * rate
    slippage = ZERO
    if best is not None and worst:
        touch = best[2] if spec.side is Side.BUY else best[0]
        slippage = (abs(worst - touch) / touch).quantize(_STEP)
    return {
        "order_total": wire.number(quote + commission if spec.side is Side.BUY else quote - commission),
        "commission_total": wire.number(commission),
        "quote_size": wire.number(quote),
        "base_size": wire.number(base),
        "best_bid": "" if best is None else wire.number(best[0]),
        "best_ask": "" if best is None else wire.number(best[2]),
        "slippage": wire.number(slippage),
    }
