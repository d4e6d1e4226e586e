"""Coinbase's record of orders, and what the stream and the listing of fills tell it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.tracker import OrderTracker
from engine.events import InputEvent
from tests.support.coinbase import BTC, TS_NS, fill


def tracker(**options: Any) -> OrderTracker:
    return OrderTracker("coinbase", {"BTC-USD": BTC}, **options)


def observe(t: OrderTracker, status: str, filled: str = "0", reason: str = "", **more: Any) -> list[InputEvent]:
    fields: dict[str, Any] = {"client_order_id": "c1", "venue_order_id": "v1", "product_id": "BTC-USD"}
    return t.observe(
        **{**fields, **more}, status=status, filled_qty=filled, reason=reason, ts_event_ns=TS_NS, ts_recv_ns=9
    )


def book(t: OrderTracker, entry: str = "e1", size: str = "0.4", **more: Any) -> list[InputEvent]:
    return t.book(msgspec.json.decode(json.dumps(fill(entry, size=size, **more)), type=wire.Fill, strict=False), 9)


def listed(entry: str, **more: Any) -> wire.Fill:
    return msgspec.json.decode(json.dumps(fill(entry, **{"size": "0.4", **more})), type=wire.Fill, strict=False)


def kinds(events: list[InputEvent]) -> list[type]:
    return [type(event) for event in events]
