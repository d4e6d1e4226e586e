"""An order request as it arrives, turned into an ``OrderSpec`` or refused with the venue's own reasons.

Owns shapes, precision and size rules.  Does not know balances, the book or other orders (``exchange``).  A request that
is not even shaped like an order is ``BadRequest`` (HTTP 400); one that the venue's rules forbid is ``OrderRefused``
(HTTP 200 with ``success: false``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectors.coinbase.sandbox.records import OrderSpec
from connectors.coinbase.sandbox.settings import SandboxProduct
from connectors.coinbase.sandbox.times import BadRequest, parse_time_ns
from engine.commands import OrderType
from engine.errors import RemoteProtocolError
from engine.events import Side

_NUMBER = re.compile(r"\d{1,15}(\.\d{1,20})?")

UNKNOWN_FAILURE = "UNKNOWN_FAILURE_REASON"
UNKNOWN_PREVIEW = "UNKNOWN_PREVIEW_FAILURE_REASON"


class OrderRefused(RemoteProtocolError):  # noqa: N818 - a verdict, not a defect
    """A business refusal: the values of ``error`` and ``preview_failure_reason`` and a sentence."""

    def __init__(self, error: str, preview: str, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.preview = preview
        self.message = message


CONFIGURATIONS: dict[str, tuple[OrderType, str]] = {
    "market_market_ioc": (OrderType.MARKET, "IMMEDIATE_OR_CANCEL"),
    "sor_limit_ioc": (OrderType.LIMIT, "IMMEDIATE_OR_CANCEL"),
    "limit_limit_gtc": (OrderType.LIMIT, "GOOD_UNTIL_CANCELLED"),
    "limit_limit_gtd": (OrderType.LIMIT, "GOOD_UNTIL_DATE_TIME"),
    "limit_limit_fok": (OrderType.LIMIT, "FILL_OR_KILL"),
    "stop_limit_stop_limit_gtc": (OrderType.STOP_LIMIT, "GOOD_UNTIL_CANCELLED"),
    "stop_limit_stop_limit_gtd": (OrderType.STOP_LIMIT, "GOOD_UNTIL_DATE_TIME"),
}


def parse_order(
    body: Mapping[str, Any], products: Mapping[str, SandboxProduct], now_ns: int, *, needs_client_id: bool = True
) -> OrderSpec:
    """Check one POST /orders (or preview) body.  Raises ``BadRequest`` or ``OrderRefused``."""
    client_order_id = body.get("client_order_id", "")
    if not isinstance(client_order_id, str) or len(client_order_id) > 128 or (needs_client_id and not client_order_id):
        raise BadRequest("client_order_id must be a string of 1 to 128 characters")
    product = products.get(str(body.get("product_id", "")))
    if product is None:
        raise OrderRefused("INVALID_PRODUCT_ID", "PREVIEW_INVALID_PRODUCT_ID", "unknown product_id")
    if body.get("side") not in {"BUY", "SELL"}:
        raise OrderRefused("INVALID_SIDE", "PREVIEW_INVALID_SIDE", "side must be BUY or SELL")
    side = Side[str(body["side"])]
    outer = body.get("order_configuration")
    if not isinstance(outer, Mapping) or len(outer) != 1:
        raise BadRequest("order_configuration must be an object with exactly one member")
    name, fields = next(iter(outer.items()))
    known = CONFIGURATIONS.get(name)
    if known is None:
        raise OrderRefused(
            "UNSUPPORTED_ORDER_CONFIGURATION",
            "PREVIEW_INVALID_ORDER_CONFIG",
            f"order configuration {name} is not supported for {product.product_id}",
        )
    if not isinstance(fields, Mapping):
        raise BadRequest(f"order_configuration.{name} must be an object")
    kind, time_in_force = known
    base_size, quote_size, limit_px = _amounts(name, fields, product, kind)
    stop_px, stop_up = _stop(fields, product, side, limit_px) if kind is OrderType.STOP_LIMIT else (None, None)
    post_only = _flag(fields.get("post_only", False)) if name.startswith("limit_limit_gt") else False
    expire_ns = _end_time(fields, now_ns) if time_in_force == "GOOD_UNTIL_DATE_TIME" else None
    return OrderSpec(
        client_order_id=client_order_id,
        product_id=product.product_id,
        side=side,
        kind=kind,
        time_in_force=time_in_force,
        configuration={name: dict(fields)},
        base_size=base_size,
        quote_size=quote_size,
        limit_px=limit_px,
        stop_px=stop_px,
        stop_up=stop_up,
        post_only=post_only,
        expire_ns=expire_ns,
    )


def _amounts(
    name: str, fields: Mapping[str, Any], product: SandboxProduct, kind: OrderType
) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """``(base_size, quote_size, limit_px)``; exactly one size."""
    base_size = _number(fields, "base_size")
    quote_size = _number(fields, "quote_size")
    limit_px = _number(fields, "limit_price")
    sized_in_quote = name in {"market_market_ioc", "sor_limit_ioc"}
    if (base_size is None) == (quote_size is None) or (quote_size is not None and not sized_in_quote):
        wanted = "exactly one of base_size and quote_size" if sized_in_quote else "base_size"
        raise BadRequest(f"order_configuration.{name} needs {wanted}")
    if kind is not OrderType.MARKET:
        if limit_px is None:
            raise BadRequest(f"order_configuration.{name} needs limit_price")
        check_price(limit_px, product)
    if base_size is not None:
        check_base_size(base_size, product)
    else:
        assert quote_size is not None
        if quote_size % product.quote_increment:
            raise OrderRefused(
                "INVALID_SIZE_PRECISION",
                "PREVIEW_INVALID_SIZE_PRECISION",
                f"quote_size {quote_size} is not a multiple of {product.quote_increment}",
            )
        check_quote_size(quote_size, product)
    if base_size is not None and limit_px is not None:
        check_quote_size(base_size * limit_px, product)
    return base_size, quote_size, limit_px


def check_price(px: Decimal, product: SandboxProduct) -> None:
    if px <= 0:
        raise OrderRefused("INVALID_LIMIT_PRICE", "PREVIEW_INVALID_LIMIT_PRICE", f"price {px} is not above 0")
    if px % product.price_increment:
        raise OrderRefused(
            "INVALID_PRICE_PRECISION",
            "PREVIEW_INVALID_PRICE_PRECISION",
            f"price {px} is not a multiple of {product.price_increment}",
        )


def check_base_size(size: Decimal, product: SandboxProduct) -> None:
    if size < product.base_min_size:
        raise OrderRefused(
            UNKNOWN_FAILURE,
            "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL",
            f"base_size {size} is below the minimum {product.base_min_size}",
        )
    if size % product.base_increment:
        raise OrderRefused(
            "INVALID_SIZE_PRECISION",
            "PREVIEW_INVALID_SIZE_PRECISION",
            f"base_size {size} is not a multiple of {product.base_increment}",
        )
    if size > product.base_max_size:
        raise OrderRefused(
            UNKNOWN_FAILURE,
            "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE",
            f"base_size {size} is above the maximum {product.base_max_size}",
        )


def check_quote_size(value: Decimal, product: SandboxProduct) -> None:
    """Notional bounds, in quote currency."""
    if value < product.quote_min_size:
        raise OrderRefused(
            UNKNOWN_FAILURE,
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
            f"order value {value} is below the minimum {product.quote_min_size}",
        )
    if value > product.quote_max_size:
        raise OrderRefused(
            UNKNOWN_FAILURE,
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE",
            f"order value {value} is above the maximum {product.quote_max_size}",
        )


def _stop(
    fields: Mapping[str, Any], product: SandboxProduct, side: Side, limit_px: Decimal | None
) -> tuple[Decimal, bool]:
    stop_px = _number(fields, "stop_price")
    direction = fields.get("stop_direction")
    if stop_px is None or limit_px is None:
        raise BadRequest("a stop-limit order needs stop_price and limit_price")
    check_price(stop_px, product)
    if direction not in {"STOP_DIRECTION_STOP_UP", "STOP_DIRECTION_STOP_DOWN"}:
        raise BadRequest("stop_direction must be STOP_DIRECTION_STOP_UP or STOP_DIRECTION_STOP_DOWN")
    stop_up = direction == "STOP_DIRECTION_STOP_UP"
    # A protective stop whose limit lies on the wrong side of its trigger could never fill where it fires.
    if side is Side.BUY and stop_up and stop_px > limit_px:
        raise OrderRefused(
            UNKNOWN_FAILURE,
            "PREVIEW_STOP_PRICE_ABOVE_LIMIT_PRICE",
            f"stop price {stop_px} of a buy is above its limit price {limit_px}",
        )
    if side is Side.SELL and not stop_up and stop_px < limit_px:
        raise OrderRefused(
            UNKNOWN_FAILURE,
            "PREVIEW_STOP_PRICE_BELOW_LIMIT_PRICE",
            f"stop price {stop_px} of a sell is below its limit price {limit_px}",
        )
    return stop_px, stop_up


def _end_time(fields: Mapping[str, Any], now_ns: int) -> int:
    raw = fields.get("end_time")
    if not raw:
        raise OrderRefused("GTD_ORDERS_MUST_HAVE_END_TIME", UNKNOWN_PREVIEW, "end_time is missing")
    end_ns = parse_time_ns(raw)
    if end_ns <= now_ns:
        raise OrderRefused("END_TIME_IS_IN_THE_PAST", UNKNOWN_PREVIEW, f"end_time {raw} is in the past")
    return end_ns


def _number(fields: Mapping[str, Any], name: str) -> Decimal | None:
    raw = fields.get(name)
    if raw is None or raw == "":
        return None
    text = raw if isinstance(raw, str) else str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else ""
    # No exponents, signs or NaN: the venue takes plain decimal strings only.
    if not _NUMBER.fullmatch(text):
        raise BadRequest(f"{name} must be a plain decimal string")
    return Decimal(text)


def _flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in {"true", "false", ""}:
        return raw.lower() == "true"
    raise BadRequest("post_only must be true or false")
