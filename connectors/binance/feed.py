"""One connection to Binance's market streams: what of ``connectors.stream_feed`` is Binance's own.

Owns when a connection is given up for the sake of the venue, and that books are asked for.  Which streams share a
connection is ``venue``'s.

The venue reads five messages a second (ten on futures) and ends a connection that sends more; it pings every 20 s
(three minutes on futures), which the transport answers; it ends each connection after 24 hours, and says so ten minutes
before where it can (``serverShutdown``).  Another connection takes over before that, and nothing is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from connectors.binance.protocol import BinanceMarketProtocol
from connectors.endpoints import Endpoints
from connectors.stream_feed import StreamFeed
from connectors.ws import WsHandle

SEND_GAP_S: Final = 0.25
"""Between two messages of ours."""


class BinanceFeed(StreamFeed):
    """``ask_books`` is called when the protocol wants snapshots; other options are those of ``StreamFeed``."""

    protocol: BinanceMarketProtocol

    def __init__(
        self,
        url: str | Endpoints,
        protocol: BinanceMarketProtocol,
        *,
        ask_books: Callable[[BinanceFeed], None],
        **options: Any,
    ) -> None:
        super().__init__(
            url,
            protocol,
            subscriptions=protocol.subscriptions,
            probe=protocol.probe,
            send_gap_s=SEND_GAP_S,
            **options,
        )
        self._ask_books = ask_books

    def _tend(self, handle: WsHandle) -> None:
        if self.protocol.reconnect_wanted:
            self.protocol.reconnect_wanted = False
            handle.close("the venue tells less than was subscribed")
        elif self.protocol.ends_soon:
            self.protocol.ends_soon = False
            self._renew_at_s = 0.0
        elif self.protocol.snapshots_wanted:
            self._ask_books(self)

    def _begin_overlap(self) -> bool:
        self.protocol.overlap.begin()
        return True

    def _is_overlap_complete(self) -> bool:
        return self.protocol.is_answered

    def _end_overlap(self) -> None:
        self.protocol.overlap.end()
        self.protocol.last_error = ""

    def _missing(self) -> Sequence[str]:
        return sorted(self.protocol.wanted - self.protocol.confirmed)
