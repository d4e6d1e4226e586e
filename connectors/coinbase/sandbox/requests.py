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

from connectors.coinbase.sandbox.records import OrderSpec, Slicing
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
    "market_market_fok": (OrderType.MARKET, "FILL_OR_KILL"),
    "twap_limit_gtd": (OrderType.LIMIT, "GOOD_UNTIL_DATE_TIME"),
    "sor_limit_ioc": (OrderType.LIMIT, "IMMEDIATE_OR_CANCEL"),
    "limit_limit_gtc": (OrderType.LIMIT, "GOOD_UNTIL_CANCELLED"),
    "limit_limit_gtd": (OrderType.LIMIT, "GOOD_UNTIL_DATE_TIME"),
    "limit_limit_fok": (OrderType.LIMIT, "FILL_OR_KILL"),
    "stop_limit_stop_limit_gtc": (OrderType.STOP_LIMIT, "GOOD_UNTIL_CANCELLED"),
    "stop_limit_stop_limit_gtd": (OrderType.STOP_LIMIT, "GOOD_UNTIL_DATE_TIME"),
    "trigger_bracket_gtc": (OrderType.BRACKET, "GOOD_UNTIL_CANCELLED"),
    "trigger_bracket_gtd": (OrderType.BRACKET, "GOOD_UNTIL_DATE_TIME"),
}
_OF_CONTRACTS = frozenset({"market_market_fok"})
_MOST_SLICES = 1_000
_NS = 1_000_000_000


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
    _check_open(product)
    outer = body.get("order_configuration")
    if not isinstance(outer, Mapping) or len(outer) != 1:
        raise BadRequest("order_configuration must be an object with exactly one member")
    name, fields = next(iter(outer.items()))
    known = CONFIGURATIONS.get(name)
    if known is None or (name in _OF_CONTRACTS and product.future is None):
        raise OrderRefused(
            "UNSUPPORTED_ORDER_CONFIGURATION",
            "PREVIEW_INVALID_ORDER_CONFIG",
            f"order configuration {name} is not supported for {product.product_id}",
        )
    if not isinstance(fields, Mapping):
        raise BadRequest(f"order_configuration.{name} must be an object")
    kind, time_in_force = known
    _check_kind(product, kind, post_only=_flag(fields.get("post_only", False)))
    base_size, quote_size, limit_px = _amounts(name, fields, product, kind)
    stop_px, stop_up = None, None
    if kind is OrderType.STOP_LIMIT:
        stop_px, stop_up = _stop(fields, product, side, limit_px)
    elif kind is OrderType.BRACKET:
        stop_px, stop_up = _bracket_stop(fields, product, side, limit_px)
    post_only = _flag(fields.get("post_only", False)) if name.startswith("limit_limit_gt") else False
    expire_ns = _end_time(fields, now_ns) if time_in_force == "GOOD_UNTIL_DATE_TIME" else None
    leverage, margin_type = _margin(body, product)
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
        product_type=product.product_type,
        leverage=leverage,
        margin_type=margin_type,
        attached=_attached(body, product, side, kind),
        slicing=_slicing(fields, expire_ns, now_ns) if name == "twap_limit_gtd" else None,
        unit_size=unit_size(product),
    )


def _margin(body: Mapping[str, Any], product: SandboxProduct) -> tuple[str, str]:
    """Leverage and margin type: words about contracts, which a pair of currencies does not have."""
    leverage = _number(body, "leverage")
    margin_type = body.get("margin_type") or ("UNKNOWN_MARGIN_TYPE" if product.future is None else "CROSS")
    most = Decimal(1) if product.future is None else product.future.max_leverage
    if leverage is not None and not 1 <= leverage <= most:
        raise OrderRefused("INVALID_LEVERAGE", UNKNOWN_PREVIEW, f"leverage {leverage} is not between 1 and {most}")
    if margin_type not in {"CROSS", "ISOLATED", "UNKNOWN_MARGIN_TYPE"}:
        raise OrderRefused("INVALID_MARGIN_TYPE", UNKNOWN_PREVIEW, "margin_type must be CROSS or ISOLATED")
    return "" if leverage is None else f"{leverage:f}", str(margin_type)


def _attached(
    body: Mapping[str, Any], product: SandboxProduct, side: Side, kind: OrderType
) -> dict[str, dict[str, Any]] | None:
    """The bracket that is to follow this order; its prices are checked now, its size comes with the fills."""
    outer = body.get("attached_order_configuration")
    if outer is None:
        return None
    if not isinstance(outer, Mapping) or len(outer) != 1:
        raise BadRequest("attached_order_configuration must be an object with exactly one member")
    name, fields = next(iter(outer.items()))
    if name not in {"trigger_bracket_gtc", "trigger_bracket_gtd"} or not isinstance(fields, Mapping):
        raise BadRequest("only a trigger_bracket can be attached to an order")
    if kind is OrderType.BRACKET:
        raise OrderRefused(
            "BRACKET_ORDER_NOT_SUPPORTED", UNKNOWN_PREVIEW, "nothing can be attached to a bracket: it is an exit"
        )
    limit_px = _number(fields, "limit_price")
    if limit_px is not None:
        check_price(limit_px, product)
    _bracket_stop(fields, product, side.opposite, limit_px)
    return {str(name): dict(fields)}


def _slicing(fields: Mapping[str, Any], expire_ns: int | None, now_ns: int) -> Slicing:
    count, width = _number(fields, "number_buckets"), str(fields.get("bucket_duration", "")).removesuffix("s")
    if count is None or count % 1 or not 1 <= count <= _MOST_SLICES or not _NUMBER.fullmatch(width):
        raise BadRequest(
            f"twap_limit_gtd needs number_buckets from 1 to {_MOST_SLICES} and bucket_duration such as 60s"
        )
    assert expire_ns is not None
    start_ns = max(now_ns, parse_time_ns(fields["start_time"]) if fields.get("start_time") else now_ns)
    every_ns = int(Decimal(width) * _NS)
    if every_ns <= 0 or start_ns + int(count - 1) * every_ns > expire_ns:
        raise BadRequest("the buckets of twap_limit_gtd do not fit between start_time and end_time")
    return Slicing(start_ns, every_ns, int(count))


def _check_open(product: SandboxProduct) -> None:
    if product.future is not None and not product.future.session_open:
        raise OrderRefused("INVALID_FCM_TRADING_SESSION", UNKNOWN_PREVIEW, f"{product.product_id} is not in session")
    if product.status != "online" or product.trading_disabled or product.cancel_only:
        said = "cancel_only" if product.cancel_only else product.status if product.status != "online" else "disabled"
        raise OrderRefused("ORDER_ENTRY_DISABLED", UNKNOWN_PREVIEW, f"{product.product_id} is {said}")


def _check_kind(product: SandboxProduct, kind: OrderType, *, post_only: bool) -> None:
    only = "post_only" if product.post_only and not post_only else ""
    if product.limit_only and kind is not OrderType.LIMIT:
        only = "limit_only"
    if only:
        raise OrderRefused("ORDER_ENTRY_DISABLED", UNKNOWN_PREVIEW, f"{product.product_id} is {only}")


def _amounts(
    name: str, fields: Mapping[str, Any], product: SandboxProduct, kind: OrderType
) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """``(base_size, quote_size, limit_px)``; exactly one size."""
    base_size = _number(fields, "base_size")
    quote_size = _number(fields, "quote_size")
    limit_px = _number(fields, "limit_price")
    sized_in_quote = name in {"market_market_ioc", "sor_limit_ioc"} and product.future is None
    if kind is OrderType.BRACKET and quote_size is not None:
        raise _bracket_refusal("QUOTE_SIZE_NOT_ALLOWED_FOR_BRACKET", "a bracket is sized in base_size")
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
        check_quote_size(base_size * limit_px * unit_size(product), product)
    return base_size, quote_size, limit_px


def unit_size(product: SandboxProduct) -> Decimal:
    """Units of the base that a size of one is."""
    return Decimal(1) if product.future is None else product.future.contract_size


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


def _bracket_stop(
    fields: Mapping[str, Any], product: SandboxProduct, side: Side, limit_px: Decimal | None
) -> tuple[Decimal, bool]:
    stop_px = _number(fields, "stop_trigger_price")
    if stop_px is None or limit_px is None:
        raise BadRequest("a bracket needs stop_trigger_price and limit_price")
    check_price(stop_px, product)
    if (limit_px - stop_px) * side >= 0:
        where = "below" if side is Side.BUY else "above"
        text = f"the limit price {limit_px} of a {side.name} bracket is not {where} its stop trigger {stop_px}"
        raise _bracket_refusal("INVALID_BRACKET_PRICES", text)
    return stop_px, side is Side.BUY


def check_bracket_market(spec: OrderSpec, last_px: Decimal | None) -> None:
    """The market has to stand between the two prices of a bracket.  Raises ``OrderRefused``."""
    assert spec.limit_px is not None
    assert spec.stop_px is not None
    if last_px is None:
        raise _bracket_refusal("MISSING_MARKET_TRADE_DATA", f"{spec.product_id} has not traded yet")
    if (spec.limit_px - last_px) * spec.side >= 0:
        text = f"limit price {spec.limit_px} is on the wrong side of the last trade {last_px}"
        raise _bracket_refusal("INVALID_BRACKET_LIMIT_PRICE", text)
    if (spec.stop_px - last_px) * spec.side <= 0:
        text = f"stop trigger price {spec.stop_px} is on the wrong side of the last trade {last_px}"
        raise _bracket_refusal("INVALID_BRACKET_STOP_TRIGGER_PRICE", text)


def _bracket_refusal(error: str, message: str) -> OrderRefused:
    return OrderRefused(error, f"PREVIEW_{error}", message)


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
