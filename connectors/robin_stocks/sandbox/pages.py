"""A request as it arrived, and lists in pages: how the venue hands out what is longer than one answer.

Owns cursors.  What is listed is ``api``'s.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from connectors.robin_stocks.sandbox.errors import Json, detail
from connectors.robin_stocks.sandbox.records import API, NUMMUS, Order

API_HOST, COIN_HOST = "api.robinhood.com", "nummus.robinhood.com"
HOSTS = (API_HOST, COIN_HOST, "phoenix.robinhood.com", "minerva.robinhood.com", "bonfire.robinhood.com")


class Request(msgspec.Struct, frozen=True):
    """``form`` is what the body said, of a form or of JSON."""

    host: str
    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, Any]
    authorization: str
    now_ns: int


def page(request: Request, rows: Sequence[Json], *, size: int = 1_000) -> Json:
    """A list that does not change while it is read."""
    start = _cursor(request) or 0
    end = start + size
    return {
        "next": _next(request, end) if end < len(rows) else None,
        "previous": None,
        "results": list(rows[start:end]),
    }


def order_page(request: Request, orders: Sequence[Order], size: int, *, with_ref: bool) -> Json:
    """Newest first, from the one that the cursor names: what is new meanwhile moves nobody to another page."""
    before = _cursor(request)
    left = [order for order in orders if before is None or order.seq < before]
    shown = left[:size]
    return {
        "next": _next(request, shown[-1].seq) if len(left) > size else None,
        "previous": None,
        "results": [order.json(with_ref=with_ref) for order in shown],
    }


def _cursor(request: Request) -> int | None:
    raw = request.query.get("cursor")
    if not raw:
        return None
    try:
        return max(0, int(b64decode(raw.encode(), validate=True)))
    except (BadBase64, ValueError, UnicodeEncodeError):
        raise detail(404, "Invalid cursor") from None


def _next(request: Request, mark: int) -> str:
    """The venue's own address, whatever host stands in for it."""
    query = {name: value for name, value in request.query.items() if name != "cursor"}
    host = NUMMUS if request.host == COIN_HOST else API
    return f"{host}{request.path}?{urlencode({**query, 'cursor': b64encode(str(mark).encode()).decode()})}"
