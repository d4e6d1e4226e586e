"""Edits of open orders: which are allowed, why not, and the answer.

Owns the rules of ``/orders/edit``: only good-till-cancelled limit, stop-limit and bracket orders, sized in base units;
price and size are both read, and what is left out is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

from connectors.coinbase.sandbox import wire
from connectors.coinbase.sandbox.records import OPEN_STATES, ZERO, OrderRecord, OrderSpec
from connectors.coinbase.sandbox.requests import (
    UNKNOWN_PREVIEW,
    OrderRefused,
    check_base_size,
    check_price,
    check_quote_size,
)
from connectors.coinbase.sandbox.translate import book_refusal
from connectors.matching.orders import Opened, Refused
from engine.commands import OrderType
from engine.errors import RemoteProtocolError

if TYPE_CHECKING:
    from connectors.coinbase.sandbox.exchange import Exchange

_MOST_EDITS = 100
_EDITABLE = frozenset({"limit_limit_gtc", "stop_limit_stop_limit_gtc", "trigger_bracket_gtc"})
_STOPS = {"stop_limit_stop_limit_gtc": "stop_price", "trigger_bracket_gtc": "stop_trigger_price"}


class EditRefused(RemoteProtocolError):  # noqa: N818 - a verdict, not a defect
    """``edit_failure_reason`` and, where the order's rules speak, ``preview_failure_reason``."""

    def __init__(self, reason: str, preview: str = UNKNOWN_PREVIEW) -> None:
        super().__init__(reason)
        self.reason = reason
        self.preview = preview

    def json(self) -> wire.Json:
        return {"edit_failure_reason": self.reason, "preview_failure_reason": self.preview}


def edit(exchange: Exchange, body: Mapping[str, Any], now_ns: int) -> wire.Json:
    """Answer of POST /orders/edit."""
    try:
        record, spec = read(exchange, body)
        if exchange.settings.edit_lag_s:
            exchange.late_edits.take(record, body, now_ns)
        else:
            carry_out(exchange, record, spec, now_ns)
    except EditRefused as refusal:
        return {"success": False, "errors": [refusal.json()]}
    return {"success": True, "success_response": {"order_id": record.order_id}}


def carry_out(exchange: Exchange, record: OrderRecord, spec: OrderSpec, now_ns: int) -> None:
    """Raises ``EditRefused`` and leaves the order as it was."""
    try:
        replace(exchange, record, spec, now_ns)
    except OrderRefused as refusal:
        raise _rejected(refusal) from None
    assert spec.limit_px is not None
    assert spec.base_size is not None
    record.edits = (*record.edits, (spec.limit_px, spec.base_size, now_ns))[-_MOST_EDITS:]


class LateEdits:
    """Changes that were taken and wait for their time (``SandboxSettings.edit_lag_s``)."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._due: list[tuple[int, OrderRecord, Mapping[str, Any]]] = []

    def take(self, record: OrderRecord, body: Mapping[str, Any], now_ns: int) -> None:
        record.is_being_replaced = True
        self._tell(record, now_ns)
        self._due.append((now_ns + int(self._exchange.settings.edit_lag_s * 1e9), record, body))

    def expire(self, now_ns: int) -> None:
        """Carry out what is due.  What is not possible any more leaves the order as it is, and nobody is told why."""
        due = [one for one in self._due if one[0] <= now_ns]
        self._due = [one for one in self._due if one[0] > now_ns]
        for _, record, body in due:
            record.is_being_replaced = False
            try:
                carry_out(self._exchange, *read(self._exchange, body), now_ns)
            except EditRefused:
                if record.status in OPEN_STATES:
                    self._tell(record, now_ns)

    def _tell(self, record: OrderRecord, now_ns: int) -> None:
        self._exchange.touch(record)
        self._exchange.absorb(self._exchange.markets[record.spec.product_id], (), now_ns)


def replace(exchange: Exchange, record: OrderRecord, spec: OrderSpec, now_ns: int) -> None:
    """Other prices or another size for an open order, which keeps its id: what is left of it goes through the book
    again, behind what is there, unless only its size shrinks.  Raises ``OrderRefused`` and leaves it as it was.
    """
    market, before, ledger = exchange.markets[record.spec.product_id], record.spec, exchange.wallets.ledger
    ledger.release(record.order_id)
    record.spec = spec
    try:
        order = exchange.reserve(record, market)
    except OrderRefused:
        record.spec = before
        exchange.reserve(record, market, asked=False)
        raise
    assert before.base_size is not None
    assert spec.base_size is not None
    exchange.touch(record)
    if (spec.limit_px, spec.stop_px) == (before.limit_px, before.stop_px) and spec.base_size < before.base_size:
        market.engine.reduce(record.order_id, before.base_size - spec.base_size)
        exchange.absorb(market, (), now_ns)
        return
    market.engine.cancel(record.order_id, now_ns)
    outcomes = market.submit(order, now_ns)
    exchange.absorb(market, [one for one in outcomes if not isinstance(one, Opened | Refused)], now_ns)
    refusal = next((one for one in outcomes if isinstance(one, Refused)), None)
    if refusal is not None:
        exchange.fail(record, book_refusal(refusal.reason))
        exchange.absorb(market, (), now_ns)


def read(exchange: Exchange, body: Mapping[str, Any]) -> tuple[OrderRecord, OrderSpec]:
    """The order and what it would become.  Raises ``EditRefused``."""
    record = exchange.orders.get(str(body.get("order_id", "")))
    if record is None:
        raise EditRefused("ORDER_NOT_FOUND")
    if record.status not in OPEN_STATES or record.order_id not in exchange.open_orders:
        raise EditRefused("ONLY_OPEN_ORDERS_CAN_BE_EDITED")
    if record.is_being_replaced:
        raise EditRefused("ORDER_IS_ALREADY_BEING_REPLACED")
    spec = record.spec
    name, fields = next(iter(spec.configuration.items()))
    if name not in _EDITABLE:
        raise EditRefused("ONLY_LIMIT_ORDER_EDITS_SUPPORTED")
    if spec.base_size is None:
        raise EditRefused("SIZE_IN_QUOTE_EDITS_NOT_ALLOWED")
    if spec.kind is OrderType.BRACKET and record.trigger_status == "STOP_TRIGGERED":
        raise EditRefused("COMMANDER_REJECTED_EDIT_ORDER")
    size, px = _number(body, "size", "INVALID_EDITED_SIZE"), _number(body, "price", "INVALID_EDITED_PRICE")
    stop_px = spec.stop_px
    if body.get("stop_price") and name in _STOPS:
        stop_px = _number(body, "stop_price", "INVALID_EDITED_PRICE")
    if (size, px, stop_px) == (spec.base_size, spec.limit_px, spec.stop_px):
        raise EditRefused("EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST")
    if record.filled_qty and ZERO < size <= record.filled_qty:
        raise EditRefused("CANNOT_EDIT_TO_BELOW_FILLED_SIZE")
    product = exchange.markets[spec.product_id].product
    _check("INVALID_EDITED_PRICE", check_price, px, product)
    _check("INVALID_EDITED_SIZE", check_base_size, size, product)
    _check("INVALID_EDITED_SIZE", check_quote_size, size * px * spec.unit_size, product)
    if stop_px is not None:
        _check("INVALID_EDITED_PRICE", check_price, stop_px, product)
        if spec.kind is OrderType.BRACKET and (px - stop_px) * spec.side >= 0:
            raise EditRefused("INVALID_EDITED_PRICE", "PREVIEW_INVALID_BRACKET_PRICES")
    if spec.post_only:
        other = exchange.markets[spec.product_id].engine.best_px(spec.side.opposite)
        if other is not None and (px - other) * spec.side >= 0:
            raise EditRefused("INVALID_EDITED_PRICE", "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY")
    changed = {**fields, "base_size": wire.number(size), "limit_price": wire.number(px)}
    if stop_px is not None:
        changed[_STOPS[name]] = wire.number(stop_px)
    made = msgspec.structs.replace(spec, base_size=size, limit_px=px, stop_px=stop_px, configuration={name: changed})
    return record, made


def afford(exchange: Exchange, record: OrderRecord, spec: OrderSpec) -> None:
    """Whether the changed order could be paid for; holds are as before afterwards.  Raises ``EditRefused``."""
    market, before = exchange.markets[spec.product_id], record.spec
    exchange.wallets.ledger.release(record.order_id)
    record.spec = spec
    try:
        exchange.reserve(record, market)
    except OrderRefused as refusal:
        raise _rejected(refusal) from None
    else:
        exchange.wallets.ledger.release(record.order_id)
    finally:
        record.spec = before
        exchange.reserve(record, market, asked=False)


def _rejected(refusal: OrderRefused) -> EditRefused:
    return EditRefused("COMMANDER_REJECTED_EDIT_ORDER", refusal.preview)


def _check(reason: str, rule: Any, *arguments: Any) -> None:
    try:
        rule(*arguments)
    except OrderRefused as refusal:
        raise EditRefused(reason, refusal.preview) from None


def _number(body: Mapping[str, Any], name: str, reason: str) -> Decimal:
    """What is left out is zero, as the venue reads it."""
    raw = body.get(name)
    try:
        value = Decimal(str(raw)) if raw not in (None, "") else ZERO
    except InvalidOperation:
        value = ZERO
    if not value.is_finite() or value <= 0:
        raise EditRefused(reason)
    return value
