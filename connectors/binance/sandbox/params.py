"""Parameters of requests: read from query and body, and what a signature is over.

Owns their reading.  Source: Binance spot API, "General information on endpoints".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl

from connectors.binance.sandbox.errors import ApiError, illegal, missing

Params = dict[str, str]
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_DIGITS = 8


def payload_of(query: str, body: str) -> str:
    """What a request's signature is over: query and body one behind the other, without the signature itself."""
    return "".join(_unsigned(text) for text in (query, body))


def _unsigned(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def params_of(query: str, body: str) -> Params:
    """Of query and body.  Raises ``ApiError`` for one that is there twice."""
    found: Params = {}
    for name, value in parse_qsl(f"{query}&{body}" if body else query, keep_blank_values=True):
        if name in found:
            raise ApiError(-1101, f"Too many parameters; duplicate values for parameter '{name[:40]}' detected.")
        found[name] = value
    return found


def integer(params: Mapping[str, str], name: str, default: int | None = None, *, low: int = 0) -> int:
    """Raises ``ApiError``: absent without a default, or no number."""
    text = params.get(name, "")
    if not text and default is not None:
        return default
    if not text:
        raise missing(name)
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) < low:
        raise illegal(name, "^[0-9]{1,20}$")
    return int(text)


def amount(params: Mapping[str, str], name: str) -> Decimal | None:
    """A price or size of at most eight decimals; None when it is not there.  Raises ``ApiError``."""
    text = params.get(name, "")
    if not text:
        return None
    try:
        value = Decimal(text) if _DECIMAL.fullmatch(text) else None
    except InvalidOperation:
        value = None
    if value is None:
        raise illegal(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
    if value != value.quantize(Decimal(1).scaleb(-_DIGITS)):
        raise ApiError(-1111, f"Parameter '{name}' has too much precision.")
    return value
