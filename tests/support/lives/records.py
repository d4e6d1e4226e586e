"""Orders and executions as the model keeps them, and how they look on the wire."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from connectors.coinbase.wire import format_time

ZERO = Decimal(0)
PRODUCT = "BTC-USD"
LIVE = frozenset({"PENDING", "OPEN"})
Json = dict[str, Any]


class Fill(msgspec.Struct, frozen=True):
    """``at_ns``: when it was executed; ``listed_ns``: from when on it is listed."""

    entry_id: str
    order_id: str
    qty: Decimal
    px: Decimal
    fee: Decimal
    side: str
    at_ns: int
    listed_ns: int


class Order(msgspec.Struct, eq=False):
    """``kind`` is the venue's name of its configuration; ``exit_id`` that of the exit which it brings with it."""

    order_id: str
    client_id: str
    side: str
    kind: str
    qty: Decimal
    px: Decimal
    made_ns: int
    status: str = "OPEN"
    filled_qty: Decimal = ZERO
    message: str = ""
    bracket: Json | None = None
    exit_id: str = ""
    entry_id: str = ""
    is_being_changed: bool = False
    is_being_cancelled: bool = False
    changes: list[Json] = []
    ours: bool = True
    last_fill_ns: int = 0

    @property
    def lives(self) -> bool:
        return self.status in LIVE

    @property
    def shown(self) -> str:
        if self.status != "OPEN":
            return self.status
        return "CANCEL_QUEUED" if self.is_being_cancelled else "EDIT_QUEUED" if self.is_being_changed else "OPEN"


def user_order(order: Order) -> Json:
    """Of the user stream."""
    left_qty = order.qty - order.filled_qty if order.lives else ZERO
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_id,
        "product_id": PRODUCT,
        "order_side": order.side,
        "status": order.shown,
        "cumulative_quantity": str(order.filled_qty),
        "leaves_quantity": str(left_qty),
        "limit_price": "" if order.kind == "market_market_ioc" else str(order.px),
        "cancel_reason": order.message,
    }


def record_of(order: Order, named_by: str) -> Json:
    """Of listings and look-ups; ``named_by``: which of an entry and its exit names the other."""
    fields: Json = {"base_size": str(order.qty)}
    if order.kind != "market_market_ioc":
        fields["limit_price"] = str(order.px)
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_id,
        "product_id": PRODUCT,
        "side": order.side,
        "status": order.shown,
        "filled_size": str(order.filled_qty),
        "cancel_message": order.message,
        "order_configuration": {order.kind: fields},
        "attached_order_id": order.exit_id if named_by != "exit" else "",
        "originating_order_id": order.entry_id if named_by != "entry" else "",
        "edit_history": list(order.changes),
    }


def fill_of(fill: Fill) -> Json:
    at, listed_at = format_time(fill.at_ns), format_time(fill.listed_ns)
    return {
        "entry_id": fill.entry_id,
        "trade_id": f"t-{fill.entry_id}",
        "order_id": fill.order_id,
        "trade_time": at,
        "sequence_timestamp": listed_at,
        "trade_type": "FILL",
        "price": str(fill.px),
        "size": str(fill.qty),
        "commission": str(fill.fee),
        "product_id": PRODUCT,
        "liquidity_indicator": "MAKER",
        "side": fill.side,
    }


def refusal(reason: str) -> Json:
    return {"success": False, "error_response": {"error": reason, "message": reason}}


def encode(answer: Json) -> bytes:
    return json.dumps(answer).encode()
