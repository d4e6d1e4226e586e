"""Every open order of one Robinhood account, listed and cancelled: all that the watchdog can say to the venue.

Owns the requests that this takes and a connection for each.  It is loaded in the watchdog's process, which never loads
what can encode an order (``connectors.robinhood.orders``): whatever goes wrong there, no order comes of it.  Plain
blocking calls, each bounded in time: that process has nothing else to do.

Source: Robinhood Crypto Trading API (docs.robinhood.com/crypto/trading).
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from connectors.blocking import connection_to, read_answer, route_told
from connectors.robinhood.auth import NS_PER_S, Key
from connectors.route import Route
from engine.errors import VenueError

STATES: Final = {"v1": ("open", "partially_filled"), "v2": ("pending", "open", "partially_filled")}
"""In this order: an order that is on its way from one to the next while they are read is in the later one."""
MAX_PAGES: Final = 100
PLAIN: Final = Route()
"""The system's certificates, and the environment's proxy where there is one."""

T = TypeVar("T")


class _Order(msgspec.Struct):
    id: str


class _Orders(msgspec.Struct):
    results: list[_Order]
    next: str | None = None


class _Account(msgspec.Struct):
    account_number: str


class _Accounts(msgspec.Struct):
    results: list[_Account]


class _StatusError(VenueError):
    status = 0


def open_account(settings: Mapping[str, Any]) -> CancelOnly:
    """From plain values: ``rest_url``, ``key_file``, ``timeout_s``, where they are named ``generation`` and
    ``account_number``, and the route (``connectors.blocking.route_told``).

    Raises ``ConfigError`` for a key that is none.
    """
    return CancelOnly(
        str(settings["rest_url"]),
        Key.from_file(str(settings["key_file"])),
        timeout_s=float(settings["timeout_s"]),
        generation=str(settings.get("generation", "auto")),
        account_number=str(settings.get("account_number", "")),
        route=route_told(settings),
    )


class CancelOnly:
    """One account.  Every call raises ``VenueError`` when its answer does not come, or is not understood."""

    def __init__(
        self,
        rest_url: str,
        key: Key,
        *,
        timeout_s: float = 5.0,
        generation: str = "auto",
        account_number: str = "",
        route: Route = PLAIN,
    ) -> None:
        self._rest_url = rest_url
        self._route = route
        self._key = key
        self._timeout_s = timeout_s
        self._generation = generation
        self._account_number = account_number
        self._offset_ns = 0

    def open_orders(self) -> list[str]:
        """The venue's ids of all orders that may still fill.  A listing cut short raises: missing is not none."""
        found: dict[str, None] = {}
        self._choose_generation()
        for state in STATES[self._generation]:
            target = f"{self._root}/orders/?{self._account()}state={state}"
            try:
                self._list(target, found)
            except _StatusError as error:
                if error.status != 400 or state == "open":  # a generation may lack a word
                    raise
        return list(found)

    def _list(self, target: str, found: dict[str, None]) -> None:
        for _ in range(MAX_PAGES):
            page = self._ask("GET", target, _Orders)
            found.update(dict.fromkeys(order.id for order in page.results))
            if not page.next:
                return
            parts = urlsplit(page.next)
            if not parts.path.startswith("/api/"):
                raise VenueError(f"the next page is at {page.next[:80]!r}", expected="a page of the same interface")
            target = f"{parts.path}?{parts.query}"
        raise VenueError(f"the listing of open orders did not end after {MAX_PAGES} pages")

    def cancel(self, venue_order_ids: Sequence[str]) -> dict[str, str]:
        """Ask for these to be cancelled; id -> why it was not, empty where the venue took it."""
        said: dict[str, str] = {}
        self._choose_generation()
        for order_id in venue_order_ids:
            query = self._account().rstrip("&")
            target = f"{self._root}/orders/{quote(order_id, safe='')}/cancel/" + (f"?{query}" if query else "")
            try:
                self._exchange("POST", target)
                said[order_id] = ""
            except VenueError as error:
                said[order_id] = str(error)
        return said

    def _choose_generation(self) -> None:
        """``auto`` is v2 where the key may use it, as the connector has it."""
        if self._generation != "auto":
            return
        try:
            self._exchange("GET", "/api/v2/crypto/trading/accounts/")
        except _StatusError as error:
            if error.status not in (403, 404):
                raise
            self._generation = "v1"
        else:
            self._generation = "v2"

    @property
    def _root(self) -> str:
        return f"/api/{self._generation}/crypto/trading"

    def _account(self) -> str:
        """The part of a query that v2 wants; the account of the key where none is named."""
        if self._generation == "v1":
            return ""
        if not self._account_number:
            accounts = self._ask("GET", f"{self._root}/accounts/", _Accounts).results
            if len(accounts) != 1:
                raise VenueError(f"the key has {len(accounts)} accounts", expected="one, or its number in the settings")
            self._account_number = accounts[0].account_number
        return f"account_number={quote(self._account_number, safe='')}&"

    # --- one request --------------------------------------------------------------------------------------------------

    def _ask(self, method: str, target: str, kind: type[T]) -> T:
        data = self._exchange(method, target)
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise VenueError(f"{method} {target.partition('?')[0]}: unreadable answer: {error}") from None

    def _exchange(self, method: str, target: str) -> bytes:
        """The body of a 2xx answer.  A 401 is tried once more with the venue's own clock."""
        status, data = self._send(method, target)
        if status == 401:
            status, data = self._send(method, target)
        if not 200 <= status < 300:
            text = " ".join(data[:200].decode("utf-8", "replace").split())
            error = _StatusError(f"{method} {target.partition('?')[0]}: HTTP {status}: {text}")
            error.status = status
            raise error
        return data

    def _send(self, method: str, target: str) -> tuple[int, bytes]:
        headers = {"User-Agent": "kestrel-watchdog", "Accept": "application/json"}
        headers |= self._key.headers(time.time_ns() + self._offset_ns, method, target)
        until_s = time.monotonic() + self._timeout_s
        connection = None
        try:
            connection = connection_to(self._rest_url, self._route, self._timeout_s)
            connection.request(method, target, None, headers)
            response = connection.getresponse()
            self._compare_clocks(response.getheader("Date", ""))
            return response.status, read_answer(response, until_s)
        except (OSError, http.client.HTTPException) as error:
            what = target.partition("?")[0]
            raise VenueError(f"{method} {what}: {type(error).__name__}: {error}") from None
        finally:
            if connection is not None:
                connection.close()

    def _compare_clocks(self, date: str) -> None:
        """``Date`` has whole seconds: what is less than two is no difference."""
        try:
            told_ns = int(parsedate_to_datetime(date).timestamp()) * NS_PER_S + NS_PER_S // 2
        except (TypeError, ValueError, OverflowError):
            return
        offset_ns = told_ns - time.time_ns()
        self._offset_ns = offset_ns if abs(offset_ns) > 2 * NS_PER_S else 0
