"""The wire half of a tick's path without a socket: what a shadow tick uses to keep decoder and encoder warm.

Parses with a protocol of its own and encodes through the gateway's own ``encode``; changes nothing in either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from connectors.coinbase.wire import format_time
from engine.commands import NewOrder
from engine.events import InputEvent, Quote


class CoinbaseShadow:
    """``labels`` maps a canonical instrument to the product id its market data is labelled with."""

    def __init__(self, venue: str, labels: Mapping[str, str], gateway: CoinbaseGateway) -> None:
        products = {label: (instrument,) for instrument, label in labels.items()}
        self._labels = dict(labels)
        self._protocol = CoinbaseMarketProtocol(venue, products, ("ticker",))
        self._gateway = gateway
        self._sequence = 0

    def decode(self, quote: Quote) -> Sequence[InputEvent]:
        """The quote as a ticker frame, parsed."""
        frame = (
            b'{"channel":"ticker","client_id":"","timestamp":"%b","sequence_num":%d,"events":[{"type":"update",'
            b'"tickers":[{"type":"ticker","product_id":"%b","price":"%b","best_bid":"%b","best_bid_quantity":"%b",'
            b'"best_ask":"%b","best_ask_quantity":"%b"}]}]}'
            % (
                format_time(quote.ts_event_ns).encode(),
                self._sequence,
                self._labels[quote.instrument].encode(),
                repr(quote.bid_px).encode(),
                repr(quote.bid_px).encode(),
                repr(quote.bid_qty).encode(),
                repr(quote.ask_px).encode(),
                repr(quote.ask_qty).encode(),
            )
        )
        self._sequence += 1
        return self._protocol.receive_frame(frame, quote.ts_recv_ns)

    def encode(self, order: NewOrder) -> bytes:
        """The request that ``submit`` would have written."""
        return self._gateway.encode(order, self._labels[order.intent.instrument])
