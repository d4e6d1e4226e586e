"""REST calls that are not orders, over one aiohttp session.

Owns the session, its timeouts, one retry of a GET whose token was refused, the change to another address of the venue,
and the translation of transport failures into ``VenueError``.  Does not decode bodies: callers know their types.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from connectors.endpoints import Endpoints
from connectors.route import Route
from connectors.ws import default_ssl
from engine.errors import VenueError

Authorize = Callable[[str, str], dict[str, str]]
"""``authorize(method, path) -> headers``: called once per try, so each try can carry a fresh token."""

OnAnswer = Callable[[int, Mapping[str, str]], None]
"""``on_answer(status, headers)``: any complete answer, before ``get`` returns or raises; names in any case."""

MAX_BODY_BYTES = 16 * 1024 * 1024


class Gets(Protocol):
    """What answers GETs: a ``RestClient``, or one that waits its turn first (``connectors.paced``)."""

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        """The body of a 2xx answer; anything else raises ``RestError``."""
        ...


class RestClient:
    """A venue's REST interface below ``base_url`` (``https://host/prefix``).

    ``get`` returns the body of a 2xx answer; every other outcome is a ``VenueError`` whose ``status`` attribute is the
    HTTP status, or 0 when there was no answer.  With several addresses a call that was not answered, or with 500 and
    above, is a failure of its address (``Endpoints``); when that moves on, the call is repeated there.

    Raises ``ConfigError`` when the route's certificates cannot be read.
    """

    def __init__(
        self,
        base_url: str | Endpoints,
        *,
        authorize: Authorize | None = None,
        timeout_s: float = 10.0,
        ssl: ssl_module.SSLContext | None = None,
        user_agent: str = "kestrel",
        route: Route | None = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        self.endpoints = base_url if isinstance(base_url, Endpoints) else Endpoints((base_url,))
        self._use(self.endpoints.urls[0])
        self._authorize = authorize
        self._timeout_s = timeout_s
        self._route = route or Route()
        self._ssl = default_ssl(self.base_url, ssl, self._route)
        self._user_agent = user_agent
        self._on_answer = on_answer
        self._session: aiohttp.ClientSession | None = None

    def _use(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._path_prefix = urlsplit(self.base_url).path
        self._origin = self.base_url[: len(self.base_url) - len(self._path_prefix)]

    async def start(self) -> None:
        """Create the session; calls before this or after ``stop`` raise ``VenueError``.

        Raises ``ConfigError`` for a proxy of the environment that is none.
        """
        self._session = aiohttp.ClientSession(
            connector=make_connector(self.base_url, self._route, self._ssl),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers={"User-Agent": self._user_agent},
        )

    async def stop(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        """GET ``base_url + path``.  A 401 is tried once more with a fresh token: some are spurious."""
        if len(self.endpoints) == 1:
            return await self._get(path, params, auth=auth)
        loop = asyncio.get_running_loop()
        for left in reversed(range(len(self.endpoints))):
            self._use(self.endpoints.current(loop.time()))
            try:
                body = await self._get(path, params, auth=auth)
            except RestError as error:
                if 0 < error.status < 500:
                    self.endpoints.succeeded()
                    raise
                if not self.endpoints.failed(loop.time()) or not left:
                    raise
            else:
                self.endpoints.succeeded()
                return body
        raise AssertionError("the last try returns or raises")

    async def _get(self, path: str, params: Sequence[tuple[str, str]], *, auth: bool) -> bytes:
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
                if self._on_answer is not None:
                    self._on_answer(response.status, response.headers)
                return response.status, body, _seconds(response.headers.get("Retry-After", ""))
        except TimeoutError as error:
            raise no_answer(f"{method} {self._origin}{full_path}", f"no answer in {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise no_answer(f"{method} {self._origin}{full_path}", str(error) or type(error).__name__) from error


def make_connector(url: str, route: Route, ssl: ssl_module.SSLContext | None, limit: int = 8) -> aiohttp.TCPConnector:
    """How a session of the library reaches ``url``.  Raises ``ConfigError`` for a proxy of the environment that is
    none."""
    trusted = ssl if ssl is not None else True
    if route.proxy_url(url):
        return _Tunnels(route, limit=limit, ssl=trusted)
    return aiohttp.TCPConnector(limit=limit, ssl=trusted)


class _Tunnels(aiohttp.TCPConnector):
    """Connections through a proxy, as all our transports make them.  The library's own way knows no SOCKS, and asks a
    proxy for plain http in another form."""

    def __init__(self, route: Route, **options: Any) -> None:
        super().__init__(resolver=_Unresolved(), use_dns_cache=False, **options)
        self._route = route

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: Any,  # noqa: ARG002 -- the library's signature, this one and client_error
        req: Any,
        timeout: Any,
        client_error: Any = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Any:
        sock = await self._route.tunnel(str(req.url))
        return await self._wrap_existing_connection(*args, req=req, timeout=timeout, sock=sock, **kwargs)


class _Unresolved(AbstractResolver):
    """Names are the proxy's to resolve."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=host, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is open."""


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
        403: "check the API key's permissions, its list of addresses, and whether the venue serves this place",
        451: "the venue does not serve this place",
        404: "check the symbol or id",
        418: "wait: the venue has shut this address out for going on after it said to slow down",
        429: "slow down: the venue's rate limit was reached",
    }.get(status, "try again later" if status >= 500 else "")
    return RestError(f"{method} {path} answered {status}: {text}", expected="2xx", do=advice, status=status)
