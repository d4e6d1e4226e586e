"""How the client's requests leave the worker: time-outs, one address for all hosts of a sandbox, and a record of each.

Owns the adapter that is mounted in the client's session.  The client hides what happened (it prints errors and returns
None); here every exchange is written down: whether it left, its status, how it failed.  Runs in the worker only, which
has ``requests``; nothing of it is imported by the session's process.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as RequestConnectionError
from requests.exceptions import ConnectTimeout, InvalidURL, SSLError

HOSTS = (
    "api.robinhood.com",
    "nummus.robinhood.com",
    "phoenix.robinhood.com",
    "minerva.robinhood.com",
    "bonfire.robinhood.com",
)
HOST_HEADER = "X-Forwarded-Host"
CONNECT_S = 5.0
MAX_BODY_BYTES = 16 << 20
_NOT_SENT = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")
"""What urllib3 calls a connection that never stood."""


class Exchange(msgspec.Struct):
    """One request.  ``status`` 0: no answer came; ``left`` False: it did not even leave."""

    method: str
    path: str
    status: int = 0
    left: bool = True
    error: str = ""
    body: bytes = b""
    retry_after_s: int = 0
    date_s: int = 0


class Route(HTTPAdapter):
    """``base`` is the sandbox's address, empty for the venue's own hosts.  ``record``: the newest call's exchanges.

    ``read_s`` bounds the wait for an answer: the client has no limit of its own for GET.  A POST is never redirected:
    what it did is unknown then.
    """

    def __init__(self, base: str, read_s: float, verify: str = "") -> None:
        super().__init__(max_retries=0)
        self.base = base.rstrip("/")
        self.read_s = read_s
        self.record: list[Exchange] = []
        self._verify = verify

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        exchange = Exchange(request.method or "", url.path)
        self.record.append(exchange)
        if url.scheme != "https" or url.hostname not in HOSTS:
            exchange.left, exchange.error = False, f"{url.hostname} is none of the venue's hosts"
            raise InvalidURL(exchange.error)
        if self.base:
            request.headers[HOST_HEADER] = url.hostname
            request.url = self.base + url.path + (f"?{url.query}" if url.query else "")
        options |= {"timeout": (CONNECT_S, self.read_s)}
        if self._verify:
            options["verify"] = self._verify
        try:
            response = super().send(request, **options)
            exchange.status = response.status_code
            exchange.body = _whole(response)
        except (requests.RequestException, OSError, ValueError) as error:
            exchange.status = 0
            exchange.left = not _never_left(error)
            exchange.error = type(error).__name__
            raise
        exchange.retry_after_s = _seconds(response.headers.get("Retry-After", ""))
        exchange.date_s = _date(response.headers.get("Date", ""))
        if response.is_redirect and request.method == "POST":
            exchange.error = f"redirected ({response.status_code})"
            raise RequestConnectionError(exchange.error)
        return response


def _whole(response: requests.Response) -> bytes:
    """The body, bounded.  Raises what reading raises."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise RequestConnectionError("an answer that is too long")
    return response.content


def _never_left(error: Exception) -> bool:
    if isinstance(error, ConnectTimeout | InvalidURL):
        return True
    if isinstance(error, SSLError):
        # Trust is settled before the first byte of a request.
        return "certificate" in str(error).lower()
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason).__name__ in _NOT_SENT


def _date(text: str) -> int:
    """``Sun, 22 Nov 2026 10:15:00 GMT`` as unix seconds, 0 for anything else."""
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0


def _seconds(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 6 else 0
