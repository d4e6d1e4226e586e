"""Requests by REST go to another address of the exchange when one fails: orders only where nothing of them has left.

Owns which address the library's object uses, and what is certain about a request that failed.  A request is made again
at the next address in one case alone: no connection to the one before came about, so not a byte of it has left.
Whatever else goes wrong (an answer that does not come, a connection that breaks) is raised as it is, counts against
the address, and the next request goes elsewhere; what became of an order is then found out (``settle``), never tried
again.

Only the library knows an exchange's addresses; those that are given stand for the one that its signed requests go to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.ccxt_venue.errors import is_rate_limit, names_of, words
from connectors.endpoints import Endpoints
from engine.errors import ConfigError

_SIGNED: Final = ("private", "rest", "spot", "trader", "public")
"""Where a class has the address of signed requests, by the key of its addresses."""

_log = logging.getLogger(__name__)


def home_of(urls: Any) -> str:
    """Scheme and host of the address that signed requests go to, as it is written there; empty where none is."""
    found = dict(_leaves(urls))
    for key in _SIGNED:
        for path, url in found.items():
            if key in path and url.startswith("http"):
                return "/".join(url.split("/")[:3])
    return ""


def moved(urls: Any, home: str, origin: str) -> Any:
    """``urls`` with every address below ``home`` at ``origin`` instead."""
    if isinstance(urls, Mapping):
        return {key: moved(value, home, origin) for key, value in urls.items()}
    if isinstance(urls, str) and (urls == home or urls.startswith(f"{home}/")):
        return origin.rstrip("/") + urls[len(home) :]
    return urls


def never_left(error: BaseException, url: str) -> bool:
    """Whether a request failed because no connection to the host of ``url`` came about.

    The library names what it broke on as the cause.  A connection to another host, such as a proxy's or that of a
    redirection, proves nothing.
    """
    behind = error.__cause__
    if behind is None or "ClientConnectorError" not in names_of(behind):
        return False
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (getattr(behind, "host", None), getattr(behind, "port", None)) == (parts.hostname, port)


class Failover:
    """Of one object ``ex`` of the library, whose ``fetch2`` it takes the place of.

    ``fallbacks`` are tried in the order given, the exchange's own address first and again after five minutes
    (``Endpoints``).
    """

    def __init__(self, ex: Any, fallbacks: Sequence[str], *, now_s: Callable[[], float]) -> None:
        """Raises ``ConfigError`` where the exchange's own address is not known, and for one of its test network."""
        own = ex.urls["api"]
        home = home_of(own)
        if not home:
            raise ConfigError(
                f"venue.rest_fallbacks with ccxt:{ex.id}, of which no one address for signed requests is known",
                expected="none",
                do="leave it out",
            )
        self._ex = ex
        test_hosts = {self._host(url) for _, url in _leaves(ex.urls.get("test"))} - {self._host(home)}
        for origin in fallbacks:
            if self._host(origin) in test_hosts:
                raise ConfigError(
                    f"venue.rest_fallbacks has {urlsplit(origin).hostname}, where ccxt:{ex.id} tests",
                    expected="another address of the same accounts",
                    do="leave it out: its orders are not those of the exchange",
                )
        self.resent = 0
        """Requests that were made at another address because they had not left."""
        self._now_s = now_s
        self._fetch = ex.fetch2
        self._urls = {home: own} | {origin: moved(own, home, origin) for origin in fallbacks}
        self._endpoints = Endpoints(list(self._urls), failures_max=1)
        ex.fetch2 = self.fetch2

    async def fetch2(self, *args: Any, **given: Any) -> Any:
        """The library's signed request, at the first address that can be reached; it is signed anew for each."""
        for left in reversed(range(len(self._endpoints))):
            origin = self._endpoints.current(self._now_s())
            self._ex.urls["api"] = self._urls[origin]
            try:
                found = await self._fetch(*args, **given)
            except asyncio.CancelledError:
                self._failed(origin, "no answer in time")
                raise
            except Exception as error:
                if "NetworkError" not in names_of(error) or is_rate_limit(error) or "InvalidNonce" in names_of(error):
                    self._endpoints.succeeded()  # it has answered
                    raise
                # While it waited for its turn another request may have changed the address.
                unreached = next((each for each in self._urls if never_left(error, self._written(each))), "")
                has_moved = self._failed(unreached or origin, words(error))
                if not has_moved or not left or not unreached:
                    raise
                self.resent += 1
            else:
                self._endpoints.succeeded()
                return found
        raise AssertionError("the last try returns or raises")

    def _host(self, url: str) -> str | None:
        return urlsplit(self._written(url)).hostname

    def _written(self, origin: str) -> str:
        return origin.replace("{hostname}", getattr(self._ex, "hostname", None) or "")

    def _failed(self, origin: str, why: str) -> bool:
        """True when another address than ``origin`` is to be used from now on."""
        if self._endpoints.current(self._now_s()) != origin:
            return True  # another request has found out before
        has_moved = self._endpoints.failed(self._now_s())
        if has_moved:
            _log.warning(
                "%s: %s: %s; requests go to %s", self._ex.id, origin, why, self._endpoints.current(self._now_s())
            )
        return has_moved


def _leaves(urls: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(urls, Mapping):
        for key, value in urls.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(urls, str):
        yield path, urls
