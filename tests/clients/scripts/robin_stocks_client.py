"""How the script makes robin_stocks talk to a sandbox, and what it asks of it in one line.

The client has no address to set: an adapter in its session sends each request to the sandbox and says for which host it
was.  Its pauses of five seconds in a login pass on a clock of their own, a hundred times as fast.
"""

from __future__ import annotations

import io
import time
import types
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
import robin_stocks.robinhood as rs
from cases import eventually, operate
from robin_stocks.robinhood import authentication, helper

HOSTS = ("api", "nummus", "phoenix", "minerva", "bonfire")
_FASTER = 100.0


class Mounted(requests.adapters.HTTPAdapter):
    """``sent`` is every request: method, path, body, status."""

    def __init__(self, rest: str, authority: str = "") -> None:
        super().__init__()
        self.rest, self.authority = rest, authority
        self.sent: list[tuple[str, str, str, int]] = []

    def send(self, request: Any, **options: Any) -> Any:
        url = urlsplit(request.url)
        request.headers["X-Forwarded-Host"] = url.hostname
        request.url = self.rest + url.path + (f"?{url.query}" if url.query else "")
        options["timeout"] = 10
        if self.authority:
            options["verify"] = self.authority
        answer = super().send(request, **options)
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        self.sent.append((request.method, url.path, body, answer.status_code))
        return answer

    def posted(self, path: str) -> list[str]:
        """Bodies of the POSTs to a path, oldest first."""
        return [body for method, at, body, _ in self.sent if method == "POST" and at == path]


class Venue:
    """One sandbox and the client's one session with it."""

    def __init__(self, at: dict[str, Any], home: Path) -> None:
        self.at = at
        self.rest: str = at["rest"]
        self.home = home
        self.mounted = Mounted(self.rest, at.get("authority", ""))
        helper.SESSION.trust_env = False
        helper.SESSION.headers.pop("Authorization", None)
        helper.set_login_state(False)
        for host in HOSTS:
            helper.SESSION.mount(f"https://{host}.robinhood.com", self.mounted)
        self.said = io.StringIO()
        rs.set_output(self.said)
        authentication.time = types.SimpleNamespace(
            sleep=lambda seconds: time.sleep(seconds / _FASTER), time=lambda: time.monotonic() * _FASTER
        )

    def login(self, user: int = 0, **options: Any) -> Any:
        account = self.at["users"][user]
        given = {"store_session": True, "pickle_path": str(self.home), **options}
        return rs.login(account["username"], account["password"], **given)

    def act(self, name: str, **fields: Any) -> None:
        operate(self.rest, act=name, **fields)

    def pin(
        self, bid: str = "231.40", ask: str = "231.42", symbol: str = "AAPL", qty: str = "1000", **more: Any
    ) -> None:
        self.act("pin", symbol=symbol, bids=[[bid, qty]], asks=[[ask, qty]], **more)

    def state(self, order_id: str, state: str) -> dict[str, Any]:
        """The order, once it is in that state."""

        def there() -> dict[str, Any] | None:
            order: dict[str, Any] | None = rs.get_stock_order_info(order_id)  # None where a request failed
            return order if order and order["state"] == state else None

        found: dict[str, Any] = eventually(there)
        return found

    def option_state(self, order_id: str, state: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            order: dict[str, Any] | None = rs.get_option_order_info(order_id)
            return order if order and order["state"] == state else None

        found: dict[str, Any] = eventually(there)
        return found


def placed(reply: Any) -> dict[str, Any]:
    """An order that was taken."""
    assert isinstance(reply, dict), reply
    assert reply.get("id"), reply
    return reply


def main_venue(settings: dict[str, Any]) -> Venue:
    venue = Venue(settings["main"], Path(settings["home"]) / "main")
    venue.pin()
    assert venue.login()["access_token"]
    rs.cancel_all_stock_orders()
    return venue


def fields(body: str) -> dict[str, str]:
    """Of a form."""
    return dict(parse_qsl(body))
