"""One Coinbase stream kept alive: what of ``connectors.stream_feed`` is Coinbase's own.

Owns how a subscription is spelled, when a gap is mended by a new one, and which error ends a stream.  The user stream
is the same feed with another protocol and another list of subscriptions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from connectors.coinbase.protocol import StreamProtocol
from connectors.coinbase.wire import encode_json
from connectors.endpoints import Endpoints
from connectors.stream_feed import StreamFeed
from connectors.ws import WsHandle

RESYNC_EVERY_S = 5.0
"""A new snapshot is asked for at most this often: a stream that gaps all the time must not be hammered as well."""


def subscription(kind: str, channel: str, products: Sequence[str], token: str = "") -> bytes:
    """``{"type":"subscribe","channel":"level2","product_ids":["BTC-USD"],"jwt":"..."}``: one channel per message."""
    message: dict[str, object] = {"type": kind, "channel": channel}
    if products:
        message["product_ids"] = list(products)
    if token:
        message["jwt"] = token
    return encode_json(message)


class CoinbaseFeed(StreamFeed):
    """``resync`` is called with the connection when the protocol wants the state told anew, at most every
    ``RESYNC_EVERY_S``; the other options are those of ``StreamFeed``."""

    protocol: StreamProtocol

    def __init__(
        self,
        url: str | Endpoints,
        protocol: StreamProtocol,
        *,
        resync: Callable[[WsHandle], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, protocol, **options)
        self._resync = resync
        self._last_resync_s = float("-inf")

    def _tend(self, handle: WsHandle) -> None:
        now_s = asyncio.get_running_loop().time()
        if self.protocol.resync_wanted and self._resync is not None and now_s - self._last_resync_s > RESYNC_EVERY_S:
            self._last_resync_s = now_s
            self.protocol.resync_wanted = False
            self._resync(handle)

    def _tend_due_s(self) -> float:
        if self.protocol.up and self.protocol.resync_wanted:
            return self._last_resync_s + RESYNC_EVERY_S
        return float("inf")

    def _is_fatal(self, error: str) -> bool:
        return "authentica" in error.lower()

    def _missing(self) -> Sequence[str]:
        return sorted({channel for channel, _ in self.protocol.wanted - self.protocol.confirmed})
