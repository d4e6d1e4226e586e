"""REST calls that are not orders, over one aiohttp session.

Owns the session, its timeouts, one retry of a GET whose token was refused, and the translation of transport failures
into ``VenueError``.  Does not decode bodies: callers know their types.
"""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from connectors.ws import default_ssl
from engine.errors import VenueError

Authorize = Callable[[str, str], dict[str, str]]
"""``authorize(method, path) -> headers``: called once per try, so each try can carry a fresh token."""

MAX_BODY_BYTES = 16 * 1024 * 1024


class Gets(Protocol):
    """What answers GETs: a ``RestClient``, or one that waits its turn first (``connectors.paced``)."""

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        """The body of a 2xx answer; anything else raises ``RestError``."""
        ...


class RestClient:
    """A venue's REST interface below ``base_url`` (``https://host/prefix``).

    ``get`` returns the body of a 2xx answer; every other outcome is a ``VenueError`` whose ``status`` attribute is the
    HTTP status, or 0 when there was no answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        authorize: Authorize | None = None,
        timeout_s: float = 10.0,
        ssl: ssl_module.SSLContext | None = None,
        user_agent: str = "kestrel",
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._path_prefix = urlsplit(self.base_url).path
        self._origin = self.base_url[: len(self.base_url) - len(self._path_prefix)]
        self._authorize = authorize
        self._timeout_s = timeout_s
        self._ssl = default_ssl(base_url, ssl)
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Create the session; calls before this or after ``stop`` raise ``VenueError``."""
        connector = aiohttp.TCPConnector(limit=8, ssl=self._ssl if self._ssl is not None else True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers={"User-Agent": self._user_agent},
        )

    async def stop(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        """GET ``base_url + path``.  A 401 is tried once more with a fresh token: some are spurious."""
        status, body, retry_after_s = await self._call("GET", path, params, auth=auth)
        if status == 401 and auth and self._authorize is not None:
            status, body, retry_after_s = await self._call("GET", path, params, auth=auth)
        if 200 <= status < 300:
            return body
        error = status_error("GET", self._path_prefix + path, status, body)
        error.retry_after_s = retry_after_s
        raise error

    async def _call(
        self, method: str, path: str, params: Sequence[tuple[str, str]], *, auth: bool
    ) -> tuple[int, bytes, int]:
        """Status, body and the seconds of a ``Retry-After`` (0 without one)."""
        if self._session is None:
            raise no_answer(f"{method} {path}", "the REST session is not open")
        full_path = self._path_prefix + path
        headers = self._authorize(method, full_path) if auth and self._authorize is not None else {}
        try:
            async with self._session.request(
                method, self._origin + full_path, params=list(params), headers=headers, allow_redirects=False
            ) as response:
                body = await response.content.read(MAX_BODY_BYTES + 1)
                while len(body) <= MAX_BODY_BYTES:
                    more = await response.content.read(MAX_BODY_BYTES + 1 - len(body))
                    if not more:
                        break
                    body += more
                if len(body) > MAX_BODY_BYTES:
                    raise no_answer(f"{method} {full_path}", f"answer larger than {MAX_BODY_BYTES} bytes")
                return response.status, body, _seconds(response.headers.get("Retry-After", ""))
        except TimeoutError as error:
            raise no_answer(f"{method} {self._origin}{full_path}", f"no answer in {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise no_answer(f"{method} {self._origin}{full_path}", str(error) or type(error).__name__) from error


class RestError(VenueError):
    """A REST call without a usable answer.  ``status`` is the HTTP status, 0 when none came."""

    def __init__(self, seen: str, *, expected: str = "", do: str = "", status: int = 0) -> None:
        super().__init__(seen, expected=expected, do=do)
        self.status = status
        self.retry_after_s = 0
        """How long the venue asks to wait before the next call; 0 when it does not say."""


def _seconds(retry_after: str) -> int:
    # A date is not read: what it means depends on whose clock is right.
    return int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10 else 0


def no_answer(what: str, why: str) -> RestError:
    return RestError(f"{what}: {why}", expected="an answer", do="check the address, the network and the venue's status")


def status_error(method: str, path: str, status: int, body: bytes) -> RestError:
    """One clear line for a refused call; the body is cut short, headers (they hold the token) are never shown."""
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    advice = {
        401: "check the API key, its portfolio and this machine's clock",
        403: "check the API key's permissions",
        404: "check the symbol or id",
        429: "slow down: the venue's rate limit was reached",
    }.get(status, "try again later" if status >= 500 else "")
    return RestError(f"{method} {path} answered {status}: {text}", expected="2xx", do=advice, status=status)
