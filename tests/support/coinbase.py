"""Coinbase messages for tests, built by hand from the venue's documented shapes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side

TS = "2026-11-20T14:03:07.123456789Z"
TS_NS = 1_795_183_387_123_456_789
BTC = "BTC/USD@coinbase"


def frame(channel: str, seq: int, *events: Any, ts: str = TS) -> bytes:
    message = {"channel": channel, "client_id": "", "timestamp": ts, "sequence_num": seq, "events": list(events)}
    return json.dumps(message, separators=(",", ":")).encode()


def ticker(seq: int, bid: str = "100.01", ask: str = "100.03", product: str = "BTC-USD", **more: str) -> bytes:
    fields = {
        "type": "ticker",
        "product_id": product,
        "price": "100.02",
        "volume_24_h": "1200.5",
        "best_bid": bid,
        "best_bid_quantity": "0.5",
        "best_ask": ask,
        "best_ask_quantity": "0.4",
        **more,
    }
    return frame("ticker", seq, {"type": "update", "tickers": [fields]})


def trade(trade_id: str, side: str = "BUY", px: str = "100", product: str = "BTC-USD") -> dict[str, str]:
    return {"trade_id": trade_id, "product_id": product, "price": px, "size": "0.01", "side": side, "time": TS}


def trades(seq: int, *items: dict[str, str], kind: str = "update") -> bytes:
    return frame("market_trades", seq, {"type": kind, "trades": list(items)})


def levels(seq: int, *updates: tuple[str, str, str], kind: str = "update", product: str = "BTC-USD") -> bytes:
    items = [{"side": s, "event_time": TS, "price_level": p, "new_quantity": q} for s, p, q in updates]
    return frame("l2_data", seq, {"type": kind, "product_id": product, "updates": items})


def ack(seq: int, **channels: list[str]) -> bytes:
    return frame("subscriptions", seq, {"subscriptions": channels})


def heartbeat(seq: int, counter: int | str = 1) -> bytes:
    return frame("heartbeats", seq, {"current_time": "2026-11-20 14:03:07", "heartbeat_counter": counter})


def user_order(order_id: str = "v1", client: str = "c1", status: str = "OPEN", filled: str = "0", **more: Any) -> Any:
    return {
        "order_id": order_id,
        "client_order_id": client,
        "product_id": "BTC-USD",
        "order_side": "BUY",
        "status": status,
        "cumulative_quantity": filled,
        "leaves_quantity": "1",
        "cancel_reason": "",
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "post_only": "false",
        **more,
    }


def user(seq: int, *orders: Any, kind: str = "update") -> bytes:
    positions = {"perpetual_futures_positions": [], "expiring_futures_positions": []}
    return frame("user", seq, {"type": kind, "orders": list(orders), "positions": positions})


def fill(entry: str = "e1", order_id: str = "v1", size: str = "0.4", px: str = "100", **more: Any) -> dict[str, Any]:
    return {
        "entry_id": entry,
        "trade_id": "t-" + entry,
        "order_id": order_id,
        "trade_time": TS,
        "trade_type": "FILL",
        "price": px,
        "size": size,
        "commission": "0.04",
        "product_id": "BTC-USD",
        "liquidity_indicator": "TAKER",
        "size_in_quote": False,
        "side": "BUY",
        **more,
    }


def new_order(client: str = "c1", **fields: Any) -> NewOrder:
    defaults: dict[str, Any] = {
        "ts_ns": TS_NS,
        "strategy": "s",
        "instrument": BTC,
        "side": Side.BUY,
        "qty": Decimal("0.001"),
        "order_type": OrderType.LIMIT,
        "limit_px": Decimal("60000"),
        "time_in_force": TimeInForce.GTC,
    }
    return NewOrder(TS_NS, client, "coinbase", OrderIntent(**{**defaults, **fields}))


def accepted_answer(order_id: str = "v1", client: str = "c1") -> bytes:
    success = {"order_id": order_id, "product_id": "BTC-USD", "side": "BUY", "client_order_id": client}
    return json.dumps({"success": True, "success_response": success, "order_configuration": {}}).encode()


def refused_answer(error: str, preview: str = "", message: str = "no") -> bytes:
    response = {"error": error, "message": message, "error_details": "", "preview_failure_reason": preview}
    return json.dumps({"success": False, "error_response": response}).encode()
