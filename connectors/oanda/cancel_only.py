"""Every open entry order of one OANDA account, listed and cancelled: all that the watchdog can say to the venue.

Owns the three requests that this takes, their bytes, and a connection of its own.  It is loaded in the watchdog's
process, which never loads what can encode an order (``connectors.oanda.orders``, ``wire``): whatever goes wrong there,
no order comes of it.  Plain blocking calls, each bounded in time: that process has nothing else to do.

Exits that hang on a trade (take-profit, stop-loss, trailing and guaranteed stop) are left alone, ours as well: they can
only close that trade, and to take one away would add risk.  A stop of its own is an order like any other, and goes.

Source: OANDA v20 REST API, order endpoints (developer.oanda.com/rest-live-v20/order-ep).
"""

from __future__ import annotations

import contextlib
import http.client
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from connectors.blocking import connection_to, read_answer, route_told
from connectors.oanda.tokens import read_token
from connectors.route import Route
from engine.errors import VenueError

PLAIN: Final = Route()
"""The system's certificates, and the environment's proxy where there is one."""
ENTRIES: Final = frozenset({"LIMIT", "STOP", "MARKET_IF_TOUCHED", "MARKET"})
MAX_CANCELS: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)

T = TypeVar("T")


class _Order(msgspec.Struct):
    id: str
    type: str = ""


class _Orders(msgspec.Struct):
    orders: list[_Order]


class _Account(msgspec.Struct):
    id: str


class _Accounts(msgspec.Struct):
    accounts: list[_Account]


class _Cancelled(msgspec.Struct):
    """What both a cancel and its refusal may say."""

    errorCode: str = ""  # noqa: N815 -- the venue's spelling


def open_account(settings: Mapping[str, Any]) -> CancelOnly:
    """From plain values: ``rest_url``, ``key_file``, ``account``, ``timeout_s``, and the route
    (``connectors.blocking.route_told``).  Raises ``ConfigError`` for a token file that is none."""
    return CancelOnly(
        str(settings["rest_url"]),
        read_token(str(settings["key_file"])),
        account=str(settings.get("account", "")),
        timeout_s=float(settings["timeout_s"]),
        route=route_told(settings),
    )


def pending_path(account: str) -> str:
    return f"/v3/accounts/{account}/pendingOrders"


def cancel_path(account: str, order_id: str) -> str:
    return f"/v3/accounts/{account}/orders/{order_id}/cancel"


class CancelOnly:
    """One account; ``account`` empty is the token's first.  Every call raises ``VenueError`` when its answer does not
    come, or is not understood."""

    def __init__(
        self, rest_url: str, token: str, *, account: str = "", timeout_s: float = 5.0, route: Route = PLAIN
    ) -> None:
        self._rest_url = rest_url
        self._route = route
        self._headers = {
            "User-Agent": "kestrel-watchdog",
            "Accept": "application/json",
            "Authorization": f"Bearer {token}",
        }
        self._account = account
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def open_orders(self) -> list[str]:
        """The venue's ids of all orders that hang on no trade and may still fill."""
        path = pending_path(self._which())
        status, data = self._ask("GET", path)
        if status != 200:
            raise _refused("GET", path, status, data)
        return [order.id for order in _read(data, _Orders, path).orders if order.type in ENTRIES]

    def cancel(self, venue_order_ids: Sequence[str]) -> dict[str, str]:
        """Ask for at most ``MAX_CANCELS`` to be cancelled; id -> why it was not, empty where the venue took it."""
        said: dict[str, str] = {}
        for order_id in venue_order_ids[:MAX_CANCELS]:
            if _NUMBER.fullmatch(order_id) is None:
                said[order_id] = "no number of an order"
                continue
            path = cancel_path(self._which(), order_id)
            status, data = self._ask("PUT", path)
            if status == 200:
                said[order_id] = ""
            elif status == 404:
                said[order_id] = _read(data, _Cancelled, path).errorCode or "not found"
            elif not any(not why for why in said.values()):
                raise _refused("PUT", path, status, data)
            else:
                said[order_id] = f"HTTP {status}"
        return {order_id: said.get(order_id, "not asked") for order_id in venue_order_ids}

    # --- one request ------------------------------------------------------------------------------------------------

    def _which(self) -> str:
        if not self._account:
            status, data = self._ask("GET", "/v3/accounts")
            if status != 200:
                raise _refused("GET", "/v3/accounts", status, data)
            accounts = _read(data, _Accounts, "/v3/accounts").accounts
            if not accounts:
                raise VenueError("the token has no account")
            self._account = accounts[0].id
        return self._account

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        """One request on the connection that is kept; a dead one is made anew once: both requests may be repeated."""
        for again in (True, False):
            kept = self._connection is not None
            try:
                return self._exchange(method, path)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not (again and kept):
                    raise VenueError(f"{method} {path}: {type(error).__name__}: {error}") from None
        raise AssertionError("unreachable")

    def _exchange(self, method: str, path: str) -> tuple[int, bytes]:
        until_s = time.monotonic() + self._timeout_s
        connection = self._connection = self._connection or connection_to(self._rest_url, self._route, self._timeout_s)
        connection.request(method, path, b"" if method == "PUT" else None, self._headers)
        response = connection.getresponse()
        return response.status, read_answer(response, until_s)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _read(data: bytes, kind: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise VenueError(f"{path}: unreadable answer: {error}") from None


def _refused(method: str, path: str, status: int, data: bytes) -> VenueError:
    text = " ".join(data[:200].decode("utf-8", "replace").split())
    return VenueError(f"{method} {path}: HTTP {status}: {text}")
