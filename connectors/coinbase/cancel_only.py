"""Every open order of one Coinbase account, listed and cancelled: all that the watchdog can say to the venue.

Owns the three requests that this takes, their bytes, and a connection of its own.  It is loaded in the watchdog's
process, which never loads what can encode an order (``connectors.coinbase.orders``, ``wire``): whatever goes wrong
there, no order comes of it.  Plain blocking calls, each bounded in time: that process has nothing else to do.

Source: Coinbase Advanced Trade API, REST reference (docs.cdp.coinbase.com/advanced-trade).
"""

from __future__ import annotations

import http.client
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from connectors.blocking import connection_to, read_answer, route_told
from connectors.coinbase.auth import Key
from connectors.route import Route
from engine.errors import VenueError

PREFIX: Final = "/api/v3/brokerage"
LIST_PATH: Final = f"{PREFIX}/orders/historical/batch"
CANCEL_PATH: Final = f"{PREFIX}/orders/batch_cancel"
TIME_PATH: Final = f"{PREFIX}/time"
LISTINGS: Final = (
    "order_status=PENDING&order_status=QUEUED&order_status=CANCEL_QUEUED&order_status=EDIT_QUEUED",
    "order_status=OPEN",
)
"""In this order: an order that is on its way from the first to the second while both are read is in the second.  The
venue does not combine OPEN with any other."""
MAX_CANCELS: Final = 100
MAX_PAGES: Final = 100

PLAIN: Final = Route()
"""The system's certificates, and the environment's proxy where there is one."""

T = TypeVar("T")


class _Order(msgspec.Struct):
    order_id: str


class _Orders(msgspec.Struct):
    orders: list[_Order]
    has_next: bool = False
    cursor: str = ""


class _Result(msgspec.Struct):
    success: bool
    order_id: str = ""
    failure_reason: str = ""


class _Results(msgspec.Struct):
    results: list[_Result]


class _Time(msgspec.Struct):
    epochMillis: int  # noqa: N815 -- the venue's spelling


def encode_cancels(venue_order_ids: Sequence[str]) -> bytes:
    """The JSON body of POST /orders/batch_cancel; at most ``MAX_CANCELS`` ids."""
    return msgspec.json.encode({"order_ids": list(venue_order_ids)})


def open_account(settings: Mapping[str, Any]) -> CancelOnly:
    """From plain values: ``rest_url``, ``key_file``, ``timeout_s``, and the route (``connectors.blocking.route_told``).

    Raises ``ConfigError`` for a key that is none.
    """
    return CancelOnly(
        str(settings["rest_url"]),
        Key.from_file(str(settings["key_file"])),
        timeout_s=float(settings["timeout_s"]),
        route=route_told(settings),
    )


class CancelOnly:
    """One account.  Every call raises ``VenueError`` when its answer does not come, or is not understood."""

    def __init__(self, rest_url: str, key: Key, *, timeout_s: float = 5.0, route: Route = PLAIN) -> None:
        self._rest_url = rest_url
        self._netloc = urlsplit(rest_url).netloc
        self._key = key
        self._timeout_s = timeout_s
        self._route = route
        self._offset_ns: int | None = None

    def open_orders(self) -> list[str]:
        """The venue's ids of all orders that may still fill.  A listing cut short raises: missing is not none."""
        found: dict[str, None] = {}
        for statuses in LISTINGS:
            cursor = ""
            for _ in range(MAX_PAGES):
                query = f"{statuses}&limit=1000" + (f"&cursor={cursor}" if cursor else "")
                page = self._ask("GET", LIST_PATH, _Orders, query=query)
                found.update(dict.fromkeys(order.order_id for order in page.orders))
                cursor = page.cursor
                if not page.has_next or not cursor:
                    break
            else:
                raise VenueError(f"the listing of open orders did not end after {MAX_PAGES} pages")
        return list(found)

    def cancel(self, venue_order_ids: Sequence[str]) -> dict[str, str]:
        """Ask for at most ``MAX_CANCELS`` to be cancelled; id -> why it was not, empty where the venue took it."""
        body = encode_cancels(venue_order_ids)
        answer = self._ask("POST", CANCEL_PATH, _Results, body=body)
        said = {one.order_id: "" if one.success else one.failure_reason or "refused" for one in answer.results}
        return {order_id: said.get(order_id, "not answered") for order_id in venue_order_ids}

    # --- one request ------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, kind: type[T], *, query: str = "", body: bytes = b"") -> T:
        offset_ns = self._venue_offset_ns()
        token = self._key.token(time.time_ns() + offset_ns, secrets.token_hex(32), f"{method} {self._netloc}{path}")
        return self._exchange(method, path, kind, query=query, body=body, token=token)

    def _venue_offset_ns(self) -> int:
        """The venue's clock minus ours; asked again after a token was refused."""
        if self._offset_ns is None:
            before_ns = time.time_ns()
            answer = self._exchange("GET", TIME_PATH, _Time)
            self._offset_ns = answer.epochMillis * 1_000_000 - (before_ns + time.time_ns()) // 2
        return self._offset_ns

    def _exchange(
        self, method: str, path: str, kind: type[T], *, query: str = "", body: bytes = b"", token: str = ""
    ) -> T:
        headers = {"User-Agent": "kestrel-watchdog", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body:
            headers["Content-Type"] = "application/json"
        until_s = time.monotonic() + self._timeout_s
        connection = None
        try:
            connection = connection_to(self._rest_url, self._route, self._timeout_s)
            connection.request(method, f"{path}?{query}" if query else path, body or None, headers)
            response = connection.getresponse()
            status, data = response.status, read_answer(response, until_s)
        except (OSError, http.client.HTTPException) as error:
            raise VenueError(f"{method} {path}: {type(error).__name__}: {error}") from None
        finally:
            if connection is not None:
                connection.close()
        if status == 401:
            self._offset_ns = None
        if status != 200:
            text = " ".join(data[:200].decode("utf-8", "replace").split())
            raise VenueError(f"{method} {path}: HTTP {status}: {text}")
        try:
            return msgspec.json.decode(data, type=kind, strict=False)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise VenueError(f"{method} {path}: unreadable answer: {error}") from None
