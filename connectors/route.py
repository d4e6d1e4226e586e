"""How a venue is reached: straight or through a proxy, and whose certificates are believed.

Owns the choice of a proxy for an address and the way through it (HTTP ``CONNECT``, SOCKS 4 and 5); all our transports
dial by it.  Speaks no protocol beyond the proxy's.  A proxy's address may hold a password: errors show it without.

Without an explicit proxy the usual environment variables count, of either case: ``WSS_PROXY`` and ``WS_PROXY`` for
streams, ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY`` for all, ``NO_PROXY`` against them.  This machine itself is
never reached through a proxy of the environment.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl as ssl_module
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from engine.errors import ConfigError

STRAIGHT: Final = "none"
"""As ``proxy``: no proxy, whatever the environment says."""
SCHEMES: Final = ("http", "socks4", "socks5", "socks5h")
_VARIABLES: Final = {
    "wss": ("wss", "https", "all"),
    "ws": ("ws", "http", "all"),
    "https": ("https", "all"),
    "http": ("http", "all"),
}
_PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}
_PROXY_PORTS: Final = {"http": 8080, "socks4": 1080, "socks5": 1080}
_LONG_S: Final = 3600.0
"""The caller's own time-out comes first."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """``proxy``: empty for the environment's, ``none`` for none, else ``http://HOST:PORT``, ``socks4://`` or
    ``socks5://`` (``socks5h`` means the same: names are resolved by the proxy), with ``USER:PASSWORD@`` where it asks.
    ``ca_file``: certificates (PEM) that are believed instead of the system's; empty for those."""

    proxy: str = ""
    ca_file: str = ""

    def __repr__(self) -> str:
        return f"Route(proxy={shown(self.proxy)!r}, ca_file={self.ca_file!r})"

    def check(self, venue: str) -> None:
        """Raises ``ConfigError`` for a proxy that is none, or certificates that cannot be read."""
        if self.proxy and self.proxy != STRAIGHT:
            _checked(self.proxy, f"{venue} proxy")
        if self.ca_file:
            self.ssl("https://")

    def proxy_url(self, url: str) -> str:
        """The proxy through which ``url`` is reached; empty for none.

        Raises ``ConfigError`` for a proxy of the environment that cannot be used: to go straight instead would go
        around what somebody has set up.
        """
        if self.proxy:
            return "" if self.proxy == STRAIGHT else _checked(self.proxy, "proxy")
        parts = urlsplit(url)
        host = parts.hostname or ""
        if is_this_machine(host):
            return ""
        proxies = getproxies()
        for name in _VARIABLES.get(parts.scheme, ()):
            found = proxies.get(name, "")
            if found:
                if proxy_bypass(f"{host}:{parts.port or _PORTS[parts.scheme]}"):
                    return ""
                return _checked(found if "://" in found else f"http://{found}", f"{name.upper()}_PROXY")
        return ""

    def ssl(self, url: str) -> ssl_module.SSLContext | None:
        """The verifying context for ``wss``/``https`` addresses, None for plain ones.

        Raises ``ConfigError`` when ``ca_file`` cannot be read.
        """
        if not url.startswith(("wss://", "https://")):
            return None
        try:
            return ssl_module.create_default_context(cafile=self.ca_file or None)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            why = getattr(error, "strerror", "") or getattr(error, "reason", "") or type(error).__name__
            raise ConfigError(
                f"certificates {self.ca_file!r} cannot be read: {why}", expected="a file of certificates in PEM form"
            ) from None

    async def tunnel(self, url: str) -> socket.socket | None:
        """A connected socket to the host of ``url`` through its proxy; None where it is reached straight.

        Raises ``ConnectionError`` when the proxy does not let us through, or is none.
        """
        try:
            proxy = self.proxy_url(url)
        except ConfigError as error:
            raise ConnectionError(str(error)) from error
        if not proxy:
            return None
        from python_socks import ProxyError
        from python_socks.async_.asyncio import Proxy

        parts = urlsplit(url)
        try:
            return await Proxy.from_url(proxy).connect(
                parts.hostname or "", parts.port or _PORTS[parts.scheme], timeout=_LONG_S
            )
        except (ProxyError, OSError) as error:  # ProxyTimeoutError and ProxyConnectionError are OSErrors
            raise ConnectionError(f"proxy {shown(proxy)}: {error}") from error


def destination(sock: socket.socket | None, host: str, port: int) -> dict[str, Any]:
    """What ``create_connection`` is told of where to go: the socket of a tunnel, else host and port."""
    return {"host": host, "port": port} if sock is None else {"sock": sock}


def shown(proxy: str) -> str:
    """A proxy's address without user and password."""
    scheme, found, rest = proxy.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else proxy.rpartition("@")[2]


def _checked(proxy: str, what: str) -> str:
    """The address as the library takes it.  Raises ``ConfigError``."""
    try:
        parts = urlsplit(proxy)
        port = parts.port
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.path in ("", "/")
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{what} {shown(proxy)!r}", expected="http://HOST:PORT, socks4://HOST:PORT, socks5://HOST:PORT or none"
        )
    scheme = "socks5" if parts.scheme == "socks5h" else parts.scheme
    return f"{scheme}://{parts.netloc}" + ("" if port else f":{_PROXY_PORTS[scheme]}")


def is_this_machine(host: str) -> bool:
    """Whether a name or address is the loopback's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")
