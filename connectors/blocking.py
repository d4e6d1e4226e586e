"""Blocking HTTP connections by a route, for what runs beside the daemon and has no event loop: the watchdog's modules.

Owns how such a connection is opened and an answer is read.  Which proxy and whose certificates is
``connectors.route``'s; what is asked on it belongs to each venue's ``cancel_only``.
"""

from __future__ import annotations

import http.client
import socket
import ssl as ssl_module
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.route import Route, shown
from engine.errors import ConfigError

MAX_ANSWER_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 16


def route_told(settings: Mapping[str, Any]) -> Route:
    """The route in what a ``cancel_only`` module is told: ``proxy`` and ``ca_file``, empty as in ``Route``."""
    return Route(proxy=str(settings.get("proxy", "")), ca_file=str(settings.get("ca_file", "")))


def connection_to(url: str, route: Route, timeout_s: float) -> http.client.HTTPConnection:
    """Not connected yet; the first request does it, and raises ``OSError`` where it cannot."""
    parts = urlsplit(url)
    try:
        context, proxy = route.ssl(url), route.proxy_url(url)
    except ConfigError as error:
        raise ConnectionError(str(error)) from None
    default = 443 if context is not None else 80
    return _Connection(parts.hostname or "", parts.port or default, proxy, context, timeout_s)


def read_answer(response: http.client.HTTPResponse, until_s: float) -> bytes:
    """The whole body, until ``until_s`` (``time.monotonic``).  Bounded in size, and in time however slowly it drips.

    Raises ``OSError`` and ``http.client.HTTPException``.
    """
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES or time.monotonic() > until_s:
            raise http.client.HTTPException("an answer that does not end")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # reading to the end is not enough for the connection to take another request
    return b"".join(chunks)


class _Connection(http.client.HTTPConnection):
    """As the library's own, but for how it gets its socket."""

    def __init__(
        self, host: str, port: int, proxy: str, context: ssl_module.SSLContext | None, timeout_s: float
    ) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self.default_port = 80 if context is None else 443  # left out of the header Host
        self._proxy = proxy
        self._context = context
        self._timeout_s = timeout_s

    def connect(self) -> None:
        sock = self._through() if self._proxy else socket.create_connection((self.host, self.port), self._timeout_s)
        sock.settimeout(self._timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            try:
                sock = self._context.wrap_socket(sock, server_hostname=self.host)
            except BaseException:
                sock.close()
                raise
        self.sock = sock

    def _through(self) -> socket.socket:
        from python_socks import ProxyError
        from python_socks.sync import Proxy

        try:
            made: socket.socket = Proxy.from_url(self._proxy).connect(self.host, self.port, timeout=self._timeout_s)
        except (ProxyError, OSError) as error:
            raise ConnectionError(f"proxy {shown(self._proxy)}: {error}") from None
        return made
