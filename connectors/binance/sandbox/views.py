"""How Binance shows an account: orders, fills, balances, and the events of the user's stream.

Owns shapes only.  Source: Binance spot API, "Trading endpoints", "Account endpoints", "User data stream".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from connectors.binance.sandbox.wire import number, venue_symbol
from connectors.local.records import Act, FillRecord, OrderEvent, OrderRecord
from connectors.local.settings import ZERO
from connectors.matching.ledger import Balance
from connectors.matching.orders import CloseReason
from engine.commands import OrderType
from engine.events import Side

Json = dict[str, Any]
_MS_NS = 1_000_000
_PREVENTION = "EXPIRE_TAKER"
_ENDED = {
    CloseReason.FILLED: "FILLED",
    CloseReason.CANCELLED: "CANCELED",
    CloseReason.REDUCED: "CANCELED",
    CloseReason.STP: "EXPIRED_IN_MATCH",
}


def status(record: OrderRecord) -> str:
    if record.reason is not None:
        return _ENDED.get(record.reason, "EXPIRED")
    if not record.filled_qty:
        return "NEW"
    return "FILLED" if record.filled_qty == record.spec.qty else "PARTIALLY_FILLED"


def _terms(record: OrderRecord) -> Json:
    """What is in every answer about an order."""
    spec = record.spec
    return {
        "price": number(spec.limit_px or ZERO),
        "origQty": number(spec.qty or record.filled_qty),
        "executedQty": number(record.filled_qty),
        "origQuoteOrderQty": number(spec.quote_qty or ZERO),
        "cummulativeQuoteQty": number(record.filled_value),
        "status": status(record),
        "timeInForce": spec.time_in_force.value.upper(),
        "type": spec.name,
        "side": spec.side.name,
        **({} if spec.trigger_px is None else {"stopPrice": number(spec.trigger_px)}),
        "selfTradePreventionMode": _PREVENTION,
    }


def _names(record: OrderRecord) -> Json:
    return {"symbol": venue_symbol(record.spec.symbol), "orderId": record.number, "orderListId": -1}


def order(record: OrderRecord) -> Json:
    """Answer of ``GET order`` and a row of the lists."""
    created_ms = record.created_ns // _MS_NS
    return {
        **_names(record),
        "clientOrderId": record.spec.client_id,
        **_terms(record),
        "stopPrice": number(record.spec.trigger_px or ZERO),
        "icebergQty": number(ZERO),
        "time": created_ms,
        "updateTime": record.updated_ns // _MS_NS,
        "isWorking": record.spec.trigger_px is None or record.triggered,
        "workingTime": created_ms if record.spec.trigger_px is None else -1,
    }


def placed(record: OrderRecord, fills: Iterable[FillRecord], kind: str) -> Json:
    """Answer of ``POST order`` as ``newOrderRespType`` wants it: ACK, RESULT or FULL."""
    at_ms = record.created_ns // _MS_NS
    made = {**_names(record), "clientOrderId": record.spec.client_id, "transactTime": at_ms}
    if kind == "ACK":
        return made
    made |= {**_terms(record), "workingTime": at_ms if record.spec.trigger_px is None else -1}
    if kind == "FULL":
        made["fills"] = [
            {
                "price": number(fill.px),
                "qty": number(fill.qty),
                "commission": number(fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.number,
            }
            for fill in fills
        ]
    return made


def cancelled(record: OrderRecord, cancel_id: str) -> Json:
    """Answer of ``DELETE order``."""
    return {
        **_names(record),
        "origClientOrderId": record.spec.client_id,
        "clientOrderId": cancel_id,
        "transactTime": record.updated_ns // _MS_NS,
        **_terms(record),
    }


def fill(each: FillRecord) -> Json:
    """A row of ``GET myTrades``."""
    spec = each.order.spec
    return {
        **_names(each.order),
        "id": each.number,
        "price": number(each.px),
        "qty": number(each.qty),
        "quoteQty": number(each.px * each.qty),
        "commission": number(each.fee),
        "commissionAsset": each.fee_asset,
        "time": each.ts_ns // _MS_NS,
        "isBuyer": spec.side is Side.BUY,
        "isMaker": each.maker,
        "isBestMatch": True,
    }


def balance(asset: str, found: Balance) -> Json:
    return {"asset": asset, "free": number(found.available), "locked": number(found.total - found.available)}


# --- the user's stream ------------------------------------------------------------------------------------------------

_ACTS = {Act.NEW: "NEW", Act.FILL: "TRADE", Act.TRIGGER: "NEW", Act.AMEND: "REPLACED"}


def reports(events: list[OrderEvent], now_ms: int) -> list[Json]:
    """``executionReport`` of each event that has one.  The venue tells the end of a filled order with its last fill."""
    last_fill = {event.order.number: place for place, event in enumerate(events) if event.act is Act.FILL}
    whole = {
        event.order.number for event in events if event.act is Act.END and event.order.reason is CloseReason.FILLED
    }
    made: list[Json] = []
    for place, event in enumerate(events):
        filled = event.act is Act.END and event.order.reason is CloseReason.FILLED
        if filled and event.order.number in last_fill:
            continue
        ends = event.order.number in whole and last_fill.get(event.order.number) == place
        made.append(_report(event, now_ms, state="FILLED" if ends else status(event.order)))
    return made


def _report(event: OrderEvent, now_ms: int, *, state: str) -> Json:
    record, spec, fill = event.order, event.order.spec, event.fill
    ended = event.act is Act.END
    cancelled_here = ended and state == "CANCELED"
    kind = ("CANCELED" if cancelled_here else "EXPIRED") if ended else _ACTS[event.act]
    px, qty = (fill.px, fill.qty) if fill is not None else (ZERO, ZERO)
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": venue_symbol(spec.symbol),
        "c": f"cancel-{record.number}" if cancelled_here else spec.client_id,
        "S": spec.side.name,
        "o": spec.name,
        "f": spec.time_in_force.value.upper(),
        "q": number(spec.qty or record.filled_qty),
        "p": number(spec.limit_px or ZERO),
        "P": number(spec.trigger_px or ZERO),
        "F": number(ZERO),
        "g": -1,
        "C": spec.client_id if cancelled_here else "",
        "x": kind,
        "X": state,
        "r": "NONE",
        "i": record.number,
        "l": number(qty),
        "z": number(record.filled_qty),
        "L": number(px),
        "n": number(fill.fee) if fill is not None else "0",
        "N": fill.fee_asset if fill is not None else None,
        "T": event.ts_ns // _MS_NS,
        "t": fill.number if fill is not None else -1,
        "w": state in ("NEW", "PARTIALLY_FILLED") and (spec.kind is OrderType.LIMIT or record.triggered),
        "m": fill is not None and fill.maker,
        "M": False,
        "O": record.created_ns // _MS_NS,
        "Z": number(record.filled_value),
        "Y": number(px * qty),
        "Q": number(spec.quote_qty or ZERO),
        "W": record.created_ns // _MS_NS,
        "V": _PREVENTION,
    }


def position_event(balances: list[tuple[str, Balance]], now_ms: int) -> Json:
    """``outboundAccountPosition``: the balances that may have changed."""
    rows = [{"a": asset, "f": number(b.available), "l": number(b.total - b.available)} for asset, b in balances]
    return {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}
