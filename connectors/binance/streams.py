"""The names of Binance's streams: what they carry, where they are served, and the messages that ask for them.

Owns names only.  What comes back is ``protocol``'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from connectors.binance.wire import encode_json

SPOT: Final = "binance_spot"
USDM: Final = "binance_usdm"

NAMES_PER_REQUEST: Final = 100
"""Of streams; the venue reads few messages a second and none that is too long."""
STREAMS_MAX: Final = {SPOT: 1024, USDM: 200}
"""On one connection."""

_NAME: Final = re.compile(
    r"(?P<symbol>[^@!]*)(?:@|!)"
    r"(?P<kind>bookTicker|aggTrade|trade|kline_\w+|markPrice|forceOrder|depth(?P<levels>5|10|20)?)"
    r"(?:@[0-9a-z]+)?"
)
_HIGH_FREQUENCY: Final = frozenset({"bookTicker", "depth", "partial", "rpiDepth"})


LIST_ID: Final = 1_000_000
LIST: Final = encode_json({"method": "LIST_SUBSCRIPTIONS", "id": LIST_ID})
"""Answered with ``{"result":["btcusdt@trade"],"id":1000000}``."""


def split_name(stream: str) -> tuple[str, str]:
    """``btcusdt@depth@100ms`` as ``("BTCUSDT", "depth")``; both empty for a name that is none of ours.

    Kinds are ``bookTicker trade aggTrade depth partial kline markPrice forceOrder``; ``partial`` is a book of a few
    levels, told whole each time.
    """
    found = _NAME.fullmatch(stream)
    if found is None:
        return "", ""
    kind = "partial" if found["levels"] else found["kind"].partition("_")[0]
    return found["symbol"].upper(), kind


def route(venue: str, stream: str) -> str:
    """The path under which futures serve a stream: ``/public`` books and best prices, ``/market`` the rest.

    Spot serves all at one address: empty.  Source: USD-M futures, "WebSocket market streams", routed endpoints.
    """
    if venue != USDM:
        return ""
    return "/public" if split_name(stream)[1] in _HIGH_FREQUENCY else "/market"


def requests(method: str, streams: Sequence[str], first_id: int = 1) -> list[tuple[int, tuple[str, ...], bytes]]:
    """Messages that ``SUBSCRIBE`` or ``UNSUBSCRIBE``: id, streams, bytes of each; ids count up from ``first_id``."""
    made = []
    for number, start in enumerate(range(0, len(streams), NAMES_PER_REQUEST)):
        names = tuple(streams[start : start + NAMES_PER_REQUEST])
        message = {"method": method, "params": names, "id": first_id + number}
        made.append((first_id + number, names, encode_json(message)))
    return made


def stream_names(symbols: Iterable[str], kinds: Iterable[str]) -> tuple[str, ...]:
    """``("BTCUSDT",)`` and ``("bookTicker", "depth@100ms")`` as ``btcusdt@bookTicker`` and ``btcusdt@depth@100ms``."""
    kinds = tuple(kinds)
    return tuple(f"{symbol.lower()}@{kind}" for symbol in symbols for kind in kinds)
