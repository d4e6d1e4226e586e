"""Where the library sends what, for a server on this machine: every address of a class is replaced, known or not.

Owns the rewriting.  A class has a dozen addresses, named differently in each, and one that is forgotten goes out to the
real exchange; so all of them are led here, by what they are: HTTP keeps its path, streams go to one of two.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_PRIVATE: Final = ("private", "user", "ws-api", "trading", "papi", "contract")


def redirected(urls: Any, *, rest: str, ws_market: str, ws_user: str, name: str = "") -> Any:
    """``urls['api']`` of a class, with every address replaced.  ``name``: the keys on the way to it."""
    if isinstance(urls, Mapping):
        return {
            key: redirected(value, rest=rest, ws_market=ws_market, ws_user=ws_user, name=f"{name}.{key}".lower())
            for key, value in urls.items()
        }
    if not isinstance(urls, str):
        return urls
    parts = urlsplit(urls)
    if parts.scheme in ("ws", "wss"):
        return ws_user if any(word in name for word in _PRIVATE) else ws_market
    return rest.rstrip("/") + parts.path


def outside(urls: Any, hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")) -> list[str]:
    """Addresses of a class that are not of this machine."""
    if isinstance(urls, Mapping):
        return [each for value in urls.values() for each in outside(value, hosts)]
    if not isinstance(urls, str) or "://" not in urls:
        return []
    return [] if urlsplit(urls).hostname in hosts else [urls]
