"""The venue's JSON objects, built from the sandbox's records.

Owns field names, spellings and number forms of REST replies and WebSocket events.  Every price, size and amount is a
plain decimal string (never an exponent).  Holds no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from connectors.coinbase.sandbox.records import OPEN_STATES, FillRecord, Market, OrderRecord, OrderSpec
from connectors.coinbase.sandbox.tape import Candle, PublicTrade
from connectors.coinbase.sandbox.times import at
from engine.commands import OrderType
from engine.events import Side

Json = dict[str, Any]
Level = tuple[Decimal, Decimal]

NO_TIME = "0001-01-01T00:00:00Z"
SNAPSHOT_TIME = "1970-01-01T00:00:00Z"


def number(value: Decimal) -> str:
    """``Decimal("1E+2")`` -> ``"100"``; trailing zeros after the point are dropped."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


# --- products, prices -----------------------------------------------------------------------------------------------


def last_price(market: Market) -> Decimal:
    """Last trade; without one (a market of quotes only) the middle of the book, else the starting price."""
    if market.tape.last_px is not None:
        return market.tape.last_px
    best = market.engine.best()
    return market.product.start_px if best is None else (best[0] + best[2]) / 2


def candle(entry: Candle) -> Json:
    return {
        "start": str(entry.start_s),
        "low": number(entry.low_px),
        "high": number(entry.high_px),
        "open": number(entry.open_px),
        "close": number(entry.close_px),
        "volume": number(entry.volume_qty),
    }


def trade(product_id: str, entry: PublicTrade) -> Json:
    return {
        "trade_id": entry.trade_id,
        "product_id": product_id,
        "price": number(entry.px),
        "size": number(entry.qty),
        "time": at(entry.ts_ns),
        "side": entry.maker_side,
    }


def rest_trade(product_id: str, entry: PublicTrade) -> Json:
    return {**trade(product_id, entry), "bid": "", "ask": "", "exchange": "CBE"}


def pricebook(product_id: str, bids: Sequence[Level], asks: Sequence[Level], now_ns: int) -> Json:
    return {
        "product_id": product_id,
        "bids": [{"price": number(px), "size": number(qty)} for px, qty in bids],
        "asks": [{"price": number(px), "size": number(qty)} for px, qty in asks],
        "time": at(now_ns),
    }


def ticker(market: Market, *, with_quote: bool = True) -> Json:
    """One ticker; the best bid and ask are left out of ``ticker_batch``."""
    tape = market.tape
    high, low, _ = tape.day()
    made: Json = {
        "type": "ticker",
        "product_id": market.product.product_id,
        "price": number(last_price(market)),
        "volume_24_h": number(tape.volume_24h),
        "low_24_h": number(low),
        "high_24_h": number(high),
        "low_52_w": number(low),
        "high_52_w": number(high),
        "price_percent_chg_24_h": number(tape.change_24h_percent()),
    }
    best = market.engine.best() if with_quote else None
    if best is not None:
        made["best_bid"] = number(best[0])
        made["best_bid_quantity"] = number(best[1])
        made["best_ask"] = number(best[2])
        made["best_ask_quantity"] = number(best[3])
    return made


def level_change(side: Side, px: Decimal, qty: Decimal, event_time: str) -> Json:
    return {
        "side": "bid" if side is Side.BUY else "offer",
        "event_time": event_time,
        "price_level": number(px),
        "new_quantity": number(qty),
    }


# --- orders and fills -----------------------------------------------------------------------------------------------

_ORDER_TYPES = {
    OrderType.MARKET: ("MARKET", "Market"),
    OrderType.LIMIT: ("LIMIT", "Limit"),
    OrderType.STOP_LIMIT: ("STOP_LIMIT", "Stop Limit"),
    OrderType.BRACKET: ("BRACKET", "Bracket"),
}


def order_type(spec: OrderSpec) -> str:
    """As REST spells it."""
    return "TWAP" if spec.slicing is not None else _ORDER_TYPES[spec.kind][0]


_EXPIRY_TYPES = {"SPOT": "UNKNOWN_CONTRACT_EXPIRY_TYPE", "FUTURE": "EXPIRING"}
_RISK_MANAGERS = {"SPOT": "UNKNOWN_RISK_MANAGEMENT_TYPE", "FUTURE": "MANAGED_BY_FCM"}


def order(record: OrderRecord, *, user_id: str, portfolio_id: str) -> Json:
    """The REST order object."""
    spec = record.spec
    return {
        "order_id": record.order_id,
        "product_id": spec.product_id,
        "user_id": user_id,
        "order_configuration": spec.configuration,
        "side": spec.side.name,
        "client_order_id": spec.client_order_id,
        "status": record.shown_status,
        "time_in_force": spec.time_in_force,
        "created_time": at(record.created_ns),
        "completion_percentage": number(record.completion_percentage.quantize(Decimal("0.01"))),
        "filled_size": number(record.filled_qty),
        "average_filled_price": number(record.average_px),
        "fee": "",
        "number_of_fills": str(record.fill_count),
        "filled_value": number(record.filled_value),
        "pending_cancel": False,
        "size_in_quote": spec.quote_size is not None,
        "total_fees": number(record.fees),
        "size_inclusive_of_fees": spec.quote_size is not None,
        "total_value_after_fees": number(record.value_after_fees),
        "trigger_status": record.trigger_status,
        "order_type": order_type(spec),
        "reject_reason": record.reject_reason,
        "settled": record.status == "FILLED",
        "product_type": spec.product_type,
        "reject_message": record.reject_message,
        "cancel_message": record.cancel_message,
        "order_placement_source": "RETAIL_ADVANCED",
        "outstanding_hold_amount": number(record.hold_left),
        "is_liquidation": record.is_liquidation,
        "last_fill_time": at(record.last_fill_ns) if record.last_fill_ns else None,
        "edit_history": [
            {"price": number(px), "size": number(size), "replace_accept_timestamp": at(when_ns)}
            for px, size, when_ns in record.edits
        ],
        "leverage": spec.leverage,
        "margin_type": spec.margin_type,
        "retail_portfolio_id": portfolio_id,
        "originating_order_id": record.originating_order_id if record.names_entry else "",
        "attached_order_id": record.attached_order_id if record.names_exit else "",
        "attached_order_configuration": spec.attached,
    }


def user_order(record: OrderRecord, *, portfolio_id: str) -> Json:
    """The user channel's order: cumulative amounts, booleans as text."""
    spec = record.spec
    return {
        "order_id": record.order_id,
        "client_order_id": spec.client_order_id,
        "product_id": spec.product_id,
        "order_side": spec.side.name,
        "order_type": "TWAP" if spec.slicing is not None else _ORDER_TYPES[spec.kind][1],
        "status": record.shown_status,
        "cumulative_quantity": number(record.filled_qty),
        "leaves_quantity": number(record.leaves_qty),
        "avg_price": number(record.average_px),
        "total_fees": number(record.fees),
        "filled_value": number(record.filled_value),
        "number_of_fills": str(record.fill_count),
        "completion_percentage": number(record.completion_percentage.quantize(Decimal("0.01"))),
        "limit_price": "" if spec.limit_px is None else number(spec.limit_px),
        "stop_price": "" if spec.stop_px is None else number(spec.stop_px),
        "time_in_force": spec.time_in_force,
        "creation_time": at(record.created_ns),
        "cancel_reason": record.cancel_message,
        "reject_reason": record.reject_reason,
        "product_type": spec.product_type,
        "trigger_status": record.trigger_status,
        "outstanding_hold_amount": number(record.hold_left),
        "total_value_after_fees": number(record.value_after_fees),
        "post_only": "true" if spec.post_only else "false",
        "contract_expiry_type": _EXPIRY_TYPES[spec.product_type],
        "risk_managed_by": _RISK_MANAGERS[spec.product_type],
        "retail_portfolio_id": portfolio_id,
        "end_time": NO_TIME if spec.expire_ns is None else at(spec.expire_ns),
        "start_time": NO_TIME,
    }


def fill(record: FillRecord, *, user_id: str, portfolio_id: str) -> Json:
    return {
        "entry_id": record.entry_id,
        "trade_id": record.trade_id,
        "order_id": record.order_id,
        "trade_time": at(record.ts_ns),
        "trade_type": record.trade_type,
        "price": number(record.px),
        "size": number(record.qty),
        "commission": number(record.commission),
        "product_id": record.product_id,
        "sequence_timestamp": at(record.listed_ns),
        "liquidity_indicator": "MAKER" if record.maker else "TAKER",
        "size_in_quote": False,
        "user_id": user_id,
        "side": record.side.name,
        "retail_portfolio_id": portfolio_id,
    }


def accepted(record: OrderRecord) -> Json:
    spec = record.spec
    return {
        "success": True,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "order_id": record.order_id,
        "success_response": {
            "order_id": record.order_id,
            "product_id": spec.product_id,
            "side": spec.side.name,
            "client_order_id": spec.client_order_id,
            "attached_order_id": record.attached_order_id if record.names_exit else "",
        },
        "order_configuration": spec.configuration,
    }


def refused(error: str, preview: str, message: str, configuration: object) -> Json:
    return {
        "success": False,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "order_id": "",
        "error_response": {
            "error": error,
            "message": message,
            "error_details": "",
            "preview_failure_reason": preview,
            "new_order_failure_reason": "UNKNOWN_FAILURE_REASON",
        },
        "order_configuration": configuration,
    }


def account(uuid: str, currency: str, available: Decimal, hold: Decimal, **when: Any) -> Json:
    """``when`` holds created_at, updated_at (text) and portfolio_id."""
    fiat = currency in {"USD", "EUR", "GBP"}
    return {
        "uuid": uuid,
        "name": f"{currency} Wallet",
        "currency": currency,
        "available_balance": {"value": number(available), "currency": currency},
        "default": True,
        "active": True,
        "created_at": when["created_at"],
        "updated_at": when["updated_at"],
        "deleted_at": None,
        "type": "ACCOUNT_TYPE_FIAT" if fiat else "ACCOUNT_TYPE_CRYPTO",
        "ready": True,
        "hold": {"value": number(hold), "currency": currency},
        "retail_portfolio_id": when["portfolio_id"],
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }


def is_open(record: OrderRecord) -> bool:
    return record.status in OPEN_STATES
