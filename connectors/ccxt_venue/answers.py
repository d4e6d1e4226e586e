"""Orders, executions and balances as the library tells them, read into values that can be relied on.

Owns which of its fields are believed: ids, status, filled quantity; of executions all.  An order's ``amount`` and
``remaining`` are not believed (the stream of one exchange tells what is filled there), nor is a result of
``create_order`` more than an id.  What makes no sense is None and counted by the caller.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from connectors.ccxt_venue.exact import exact, mapping, nanoseconds, positive, text
from engine.events import Liquidity, Side

OPEN, CLOSED, CANCELED, EXPIRED, REJECTED = "open", "closed", "canceled", "expired", "rejected"
ENDS: Final = frozenset({CLOSED, CANCELED, EXPIRED, REJECTED})
LIVE: Final = frozenset({OPEN, "canceling"})


class SeenOrder(msgspec.Struct, frozen=True):
    """``status`` is the library's word, empty for none; ``filled_qty`` None where it is not told."""

    venue_order_id: str
    told_id: str
    """The client's name of it, as the exchange tells it."""
    symbol: str
    status: str
    side: Side | None
    qty: Decimal | None
    filled_qty: Decimal | None
    limit_px: Decimal | None
    ts_event_ns: int
    reason: str = ""
    created_ns: int = 0


class SeenFill(msgspec.Struct, frozen=True):
    """``trade_id`` is unique within the account: exchanges number a trade once for both of its orders."""

    trade_id: str
    venue_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    px: Decimal
    fee: Decimal
    fee_currency: str
    liquidity: Liquidity
    ts_event_ns: int


class SeenBalance(msgspec.Struct, frozen=True):
    currency: str
    total: Decimal
    available: Decimal


def read_order(found: object, recv_ns: int) -> SeenOrder | None:
    """None for what names no order."""
    order = mapping(found)
    venue_order_id = text(order.get("id"))
    if not venue_order_id:
        return None
    filled = exact(order.get("filled"))
    return SeenOrder(
        venue_order_id=venue_order_id,
        told_id=text(order.get("clientOrderId")),
        symbol=text(order.get("symbol")),
        status=text(order.get("status"), 40),
        side=_side(order.get("side")),
        qty=positive(order.get("amount")),
        filled_qty=filled if filled is not None and filled >= 0 else None,
        limit_px=positive(order.get("price")),
        ts_event_ns=nanoseconds(order.get("lastUpdateTimestamp") or order.get("timestamp"), recv_ns),
        reason=_reason(mapping(order.get("info"))),
        created_ns=nanoseconds(order.get("timestamp"), 0),
    )


def read_orders(found: object, recv_ns: int) -> list[SeenOrder]:
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | dict):
        return []
    return [seen for each in found if (seen := read_order(each, recv_ns)) is not None]


def read_fills(found: object, recv_ns: int) -> tuple[list[SeenFill], int]:
    """In the listing's order; and how many rows could not be read.

    Where an exchange numbers no executions, they are numbered by what they are and how often the same stands there.
    """
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | dict):
        return [], 0
    fills: list[SeenFill] = []
    unreadable = 0
    seen: dict[str, int] = {}
    for each in found:
        fill = _read_fill(mapping(each), recv_ns, seen)
        if fill is None:
            unreadable += 1
        else:
            fills.append(fill)
    return fills, unreadable


def _read_fill(trade: dict[str, object], recv_ns: int, seen: dict[str, int]) -> SeenFill | None:
    order_id = text(trade.get("order"))
    side = _side(trade.get("side"))
    qty, px = positive(trade.get("amount")), positive(trade.get("price"))
    if not order_id or side is None or qty is None or px is None:
        return None
    number = text(trade.get("id"))
    if not number:
        alike = f"{text(trade.get('timestamp'))}-{px:f}-{qty:f}"
        seen[order_id + alike] = count = seen.get(order_id + alike, 0) + 1
        number = f"{alike}-{count}"
    symbol = text(trade.get("symbol"))
    fee = _fee(trade)
    if fee is None:
        return None
    cost, currency = fee
    return SeenFill(
        trade_id=f"{order_id}:{number}",
        venue_order_id=order_id,
        symbol=symbol,
        side=side,
        qty=qty,
        px=px,
        fee=cost,
        fee_currency=currency or symbol.partition("/")[2].partition(":")[0],
        liquidity=_LIQUIDITY.get(text(trade.get("takerOrMaker")), Liquidity.UNKNOWN),
        ts_event_ns=nanoseconds(trade.get("timestamp"), recv_ns),
    )


def _fee(trade: dict[str, object]) -> tuple[Decimal, str] | None:
    """What was paid, 0 where nothing is told: the account's next confirmation tells what it was.  None for nonsense."""
    fees = trade.get("fees")
    rows = [mapping(trade.get("fee")), *(mapping(each) for each in (fees if isinstance(fees, list) else []))]
    for row in rows:
        if row.get("cost") is not None:
            cost = exact(row.get("cost"))
            return None if cost is None else (cost, text(row.get("currency"), 12).upper())
    return Decimal(0), ""


def read_balances(found: object) -> list[SeenBalance] | None:
    """None for an answer that is none; a currency without a total is an error, as nothing is not zero."""
    balances = mapping(found)
    totals, free = balances.get("total"), mapping(balances.get("free"))
    if not isinstance(totals, dict):
        return None
    read: list[SeenBalance] = []
    for currency, value in totals.items():
        total = exact(value)
        name = text(currency, 24)
        if total is None or not name:
            return None
        available = exact(free.get(currency))
        read.append(SeenBalance(name, total, total if available is None else available))
    return sorted(read, key=lambda one: one.currency)


_LIQUIDITY: Final = {"maker": Liquidity.MAKER, "taker": Liquidity.TAKER}
_REASONS: Final = ("reject_message", "reject_reason", "cancel_message", "reason", "rejectReason", "cancel_reason")


def _reason(info: dict[str, object]) -> str:
    """The exchange's own words, where it has any; placeholders such as ``REJECT_REASON_UNSPECIFIED`` are none."""
    for name in _REASONS:
        said = text(info.get(name), 120)
        if said and not said.upper().endswith("UNSPECIFIED"):
            return said
    return ""


def _side(value: object) -> Side | None:
    return Side.BUY if value == "buy" else Side.SELL if value == "sell" else None
