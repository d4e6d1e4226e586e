"""The body of an order read and checked: which fields, which steps, which bounds.

Owns what makes an order well-formed and the field that each refusal names.  Money and the book are ``exchange``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, Final

from connectors.robinhood.sandbox.errors import NON_FIELD, invalid
from connectors.robinhood.sandbox.records import LIVES_NS, OrderSpec
from connectors.robinhood.sandbox.settings import SandboxPair, Switches
from engine.events import Side

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,20}(\.\d{1,20})?", re.ASCII)
_SIZES = ("asset_quantity", "quote_amount")
_FIELDS: Final[dict[str, frozenset[str]]] = {
    "market": frozenset({"asset_quantity"}),
    "limit": frozenset({*_SIZES, "limit_price", "time_in_force"}),
    "stop_loss": frozenset({*_SIZES, "stop_price", "time_in_force"}),
    "stop_limit": frozenset({*_SIZES, "limit_price", "stop_price", "time_in_force"}),
}


def parse_order(
    body: Mapping[str, Any], api: str, pairs: Mapping[str, SandboxPair], account_status: str, switches: Switches
) -> OrderSpec:
    """Raises ``ApiError`` 400 that names the field."""
    client_order_id = _text(body, "client_order_id")
    if _UUID.fullmatch(client_order_id) is None:
        raise invalid("client_order_id", "Must be a valid UUID.")
    side = {"buy": Side.BUY, "sell": Side.SELL}.get(_text(body, "side"))
    if side is None:
        raise invalid("side", f'"{body["side"]}" is not a valid choice.')
    kind = _text(body, "type")
    if kind not in _FIELDS:
        raise invalid("type", f'"{kind}" is not a valid choice.')
    pair = _pair(_text(body, "symbol"), pairs, side, account_status)
    key = f"{kind}_order_config"
    config = body.get(key)
    if not isinstance(config, dict):
        raise invalid(key, "This field is required.")
    for name in config:
        if name not in _FIELDS[kind]:
            raise invalid(f"{key}.{name}", "Unknown field.")
    given = [name for name in _SIZES if config.get(name) is not None]
    if len(given) != 1:
        raise invalid(f"{key}.asset_quantity", "Exactly one of asset_quantity and quote_amount is required.")
    limit_px = _price(config, key, "limit_price", pair) if "limit_price" in _FIELDS[kind] else None
    stop_px = _price(config, key, "stop_price", pair) if "stop_price" in _FIELDS[kind] else None
    reference_px = limit_px or stop_px
    if given == ["asset_quantity"]:
        qty = _number(config, key, "asset_quantity")
        if qty % pair.asset_increment:
            raise invalid(f"{key}.asset_quantity", f"Must be a multiple of {pair.asset_increment}.")
    else:
        assert reference_px is not None
        amount = _number(config, key, "quote_amount")
        lots = (amount / reference_px / pair.asset_increment).to_integral_value(ROUND_FLOOR)
        qty = lots * pair.asset_increment
    attr = f"{key}.{given[0]}"
    _check_size(attr, qty, reference_px, pair, api)
    return OrderSpec(
        api, client_order_id, pair.symbol, side, kind, qty, key, dict(config), limit_px, stop_px,
        _time_in_force(config, key, kind, api, switches),
    )  # fmt: skip


def _pair(symbol: str, pairs: Mapping[str, SandboxPair], side: Side, account_status: str) -> SandboxPair:
    pair = pairs.get(symbol)
    if pair is None:
        raise invalid("symbol", f"Invalid symbol {symbol[:40]}.")
    if pair.status == "untradable" or not pair.is_api_tradable:
        raise invalid("symbol", f"{symbol} is not tradable.")
    if account_status == "deactivated":
        raise invalid(NON_FIELD, "This account is deactivated.")
    if side is Side.BUY and (pair.status == "sellonly" or account_status == "sell_only"):
        raise invalid(NON_FIELD, "Only sell orders are accepted.")
    return pair


def _check_size(attr: str, qty: Decimal, reference_px: Decimal | None, pair: SandboxPair, api: str) -> None:
    if qty <= 0:
        raise invalid(attr, "Order is too small.")
    if qty > pair.max_order_size:
        raise invalid(attr, f"Must be at most {pair.max_order_size}.")
    if api == "v1" and qty < pair.min_order_size:
        raise invalid(attr, f"Must be at least {pair.min_order_size}.")
    if api == "v2" and reference_px is not None and qty * reference_px < pair.min_order_amount:
        raise invalid(attr, f"Order amount must be at least {pair.min_order_amount}.")


def _time_in_force(config: Mapping[str, Any], key: str, kind: str, api: str, switches: Switches) -> str:
    attr = f"{key}.time_in_force"
    given = config.get("time_in_force")
    if kind == "market":
        return "gtc"
    if given is None:
        if api == "v2":
            raise invalid(attr, "This field is required.")
        return "gtc"
    if api == "v1" and switches.v1_time_in_force == "reject":
        raise invalid(attr, "Unknown field.")
    if not isinstance(given, str) or given not in LIVES_NS:
        raise invalid(attr, "Not a valid choice.")
    return given


def _price(config: Mapping[str, Any], key: str, name: str, pair: SandboxPair) -> Decimal:
    if config.get(name) is None:
        raise invalid(f"{key}.{name}", "This field is required.")
    px = _number(config, key, name)
    if px <= 0 or px % pair.quote_increment:
        raise invalid(f"{key}.{name}", f"Must be a multiple of {pair.quote_increment}.")
    return px


def _number(config: Mapping[str, Any], key: str, name: str) -> Decimal:
    given = config[name]
    if not isinstance(given, str) or _NUMBER.fullmatch(given) is None:
        raise invalid(f"{key}.{name}", "A valid number is required.")
    try:
        return Decimal(given)
    except InvalidOperation:  # pragma: no cover - the pattern lets none of them pass
        raise invalid(f"{key}.{name}", "A valid number is required.") from None


def _text(body: Mapping[str, Any], name: str) -> str:
    given = body.get(name)
    if given is None:
        raise invalid(name, "This field is required.")
    if not isinstance(given, str):
        raise invalid(name, "Not a valid string.")
    return given
