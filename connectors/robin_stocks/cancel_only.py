"""Every open order of one account, listed and cancelled: all that the watchdog can say to the private stock API.

Owns the requests that this takes (the login among them), their bytes, and a connection of its own.  It is loaded in the
watchdog's process, which never loads what can encode an order (``connectors.robin_stocks.orders``, ``calls``), nor the
unofficial client: whatever goes wrong there, no order comes of it.  Plain blocking calls, each bounded in time.

The watchdog logs in by itself, at the start of the session, as a device that is the same one each time: where the venue
wants that device approved, it does so while somebody is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from connectors.blocking import connection_to, read_answer, route_told
from connectors.robin_stocks.login_file import LoginFile, read_login
from connectors.route import Route
from engine.errors import VenueError

API: Final = "https://api.robinhood.com"
HOST_HEADER: Final = "X-Forwarded-Host"
TOKEN_PATH: Final = "/oauth2/token/"
STOCKS, OPTIONS = "/orders/", "/options/orders/"
DONE: Final = frozenset({"filled", "cancelled", "canceled", "rejected", "failed", "voided", "expired"})
"""Whatever else an order is, it may still fill."""
CLIENT_ID: Final = "c82SH0WZOsabOXGP2sxqcj34FxkvfnWRZBKlBjFS"
MAX_CANCELS: Final = 100
MAX_PAGES: Final = 200
OPEN_DAYS: Final = 100
_ID: Final = re.compile(r"(option:)?[0-9A-Za-z-]{1,64}", re.ASCII)
_OPTION: Final = "option:"
PLAIN: Final = Route()
T = TypeVar("T")


class _Order(msgspec.Struct):
    id: str
    state: str


class _Page(msgspec.Struct):
    results: list[_Order]
    next: str | None = None


class _Token(msgspec.Struct):
    access_token: str = ""
    mfa_required: bool = False
    verification_workflow: dict[str, Any] | None = None


def open_account(settings: Mapping[str, Any]) -> CancelOnly:
    """From plain values: ``rest_url`` (empty: the venue's own), ``key_file``, ``timeout_s``, and the route
    (``connectors.blocking.route_told``).  Raises ``ConfigError`` for a key file that is none."""
    return CancelOnly(
        str(settings.get("rest_url", "")),
        read_login(Path(str(settings["key_file"]))),
        timeout_s=float(settings["timeout_s"]),
        route=route_told(settings),
    )


class CancelOnly:
    """One customer: of several accounts the one that the login names, else what the venue lists by itself.

    Every call raises ``VenueError`` when its answer does not come, or is not understood.
    """

    def __init__(self, rest_url: str, login: LoginFile, *, timeout_s: float = 5.0, route: Route = PLAIN) -> None:
        self._base = rest_url.rstrip("/") or API
        self._login = login
        self._timeout_s = timeout_s
        self._route = route
        self._token = ""
        self._connection: http.client.HTTPConnection | None = None

    def open_orders(self) -> list[str]:
        """The venue's ids of all orders that may still fill, those of options with ``option:`` before them.  A listing
        cut short raises: missing is not none."""
        stocks = [order.id for order in self._listed(STOCKS) if order.state not in DONE]
        options = [_OPTION + order.id for order in self._listed(OPTIONS) if order.state not in DONE]
        return stocks + options

    def cancel(self, venue_order_ids: Sequence[str]) -> dict[str, str]:
        """Ask for at most ``MAX_CANCELS`` to be cancelled; id -> why it was not, empty where the venue took it."""
        said: dict[str, str] = {}
        for order_id in venue_order_ids[:MAX_CANCELS]:
            if _ID.fullmatch(order_id) is None:
                said[order_id] = "no id of an order"
                continue
            folder = OPTIONS if order_id.startswith(_OPTION) else STOCKS
            path = f"{folder}{order_id.removeprefix(_OPTION)}/cancel/"
            status, data = self._ask("POST", path)
            if 200 <= status < 300:
                said[order_id] = ""
            elif 400 <= status < 500 and status != 429:
                said[order_id] = _words(data) or f"HTTP {status}"
            elif any(not why for why in said.values()):
                said[order_id] = f"HTTP {status}"
            else:
                raise _refused("POST", path, status, data)
        return {order_id: said.get(order_id, "not asked") for order_id in venue_order_ids}

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    # --- listings -----------------------------------------------------------------------------------------------------

    def _listed(self, folder: str) -> Iterator[_Order]:
        since = (datetime.now(UTC) - timedelta(days=OPEN_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"{folder}?{quote('updated_at[gte]')}={since}"
        if self._login.account:
            path += f"&account_numbers={quote(self._login.account, safe='')}"
        for _ in range(MAX_PAGES):
            status, data = self._ask("GET", path)
            if status != 200:
                raise _refused("GET", folder, status, data)
            page = _read(data, _Page, folder)
            yield from page.results
            if not page.next:
                return
            url = urlsplit(page.next)
            if f"{url.scheme}://{url.netloc}" != API or url.path != folder:
                raise VenueError(f"{folder}: the next page is said to be elsewhere")
            path = f"{url.path}?{url.query}"
        raise VenueError(f"{folder}: the listing did not end after {MAX_PAGES} pages")

    # --- requests -----------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        """With a login, made anew once where the venue does not take it any more."""
        if not self._token:
            self._token = self._log_in()
        status, data = self._send(method, path)
        if status == 401:
            self._token = self._log_in()
            status, data = self._send(method, path)
        return status, data

    def _log_in(self) -> str:
        login = self._login
        form = {
            "client_id": CLIENT_ID,
            "grant_type": "password",
            "scope": "internal",
            "expires_in": "86400",
            "username": login.username,
            "password": login.password,
            "device_token": _device(login.username),
            "try_passkeys": "False",
            "token_request_path": "/login",
        }
        if login.mfa_secret:
            form["mfa_code"] = _code(login.mfa_secret)
        self._token = ""
        status, data = self._send("POST", TOKEN_PATH, urlencode(form).encode())
        if status != 200:
            raise VenueError(f"{TOKEN_PATH}: the login was refused: {_words(data) or f'HTTP {status}'}")
        token = _read(data, _Token, TOKEN_PATH)
        if token.access_token:
            return token.access_token
        wish = "a code" if token.mfa_required else "an approval in the app"
        raise VenueError(
            f"{TOKEN_PATH}: the login asks for {wish}",
            expected="a login",
            do="approve it, or watch by hand",
        )

    def _send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request on the connection that is kept; a dead one is made anew once: all of them may be repeated."""
        for again in (True, False):
            kept = self._connection is not None
            try:
                return self._exchange(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not (again and kept):
                    raise VenueError(f"{method} {path.partition('?')[0]}: {type(error).__name__}: {error}") from None
        raise AssertionError("unreachable")

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        until_s = time.monotonic() + self._timeout_s
        connection = self._connection = self._connection or connection_to(self._base, self._route, self._timeout_s)
        headers = {
            "User-Agent": "*",
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._base != API:
            headers[HOST_HEADER] = urlsplit(API).netloc
        connection.request(method, path, body if body is not None else b"" if method == "POST" else None, headers)
        response = connection.getresponse()
        return response.status, read_answer(response, until_s)


def _device(username: str) -> str:
    """The same for each login of the watchdog's: a device that was approved stays so."""
    digits = hashlib.sha256(f"kestrel watchdog/{username}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def _code(secret: str) -> str:
    try:
        import pyotp
    except ImportError:
        raise VenueError("the key file has an mfa_secret", expected="pyotp, of the extra robinhood") from None
    try:
        return str(pyotp.TOTP(secret).now())
    except ValueError:
        raise VenueError("the key file's mfa_secret makes no code", expected="base32 text") from None


def _read(data: bytes, kind: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # What the library says may quote what it could not read, and that may be a token.
        raise VenueError(f"{path}: unreadable answer") from None


def _words(data: bytes) -> str:
    """The venue's own sentence, of which a login's says nothing secret."""
    try:
        said = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""
    return str(said.get("detail", ""))[:200]


def _refused(method: str, path: str, status: int, data: bytes) -> VenueError:
    return VenueError(f"{method} {path.partition('?')[0]}: HTTP {status}: {_words(data)}".rstrip(": "))
