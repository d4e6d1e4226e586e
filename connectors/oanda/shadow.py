"""The wire half of a tick's path without a socket: what a shadow tick uses to keep decoder and encoder warm.

Parses with a protocol of its own and encodes through the gateway's own code; changes nothing in either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.oanda.gateway import OandaGateway
from connectors.oanda.protocol import PriceProtocol
from connectors.oanda.wire import format_time
from engine.commands import NewOrder
from engine.events import InputEvent, Quote


class OandaShadow:
    """``names`` maps a canonical instrument to the venue's name."""

    def __init__(self, venue: str, names: Mapping[str, str], gateway: OandaGateway) -> None:
        self._names = dict(names)
        self._protocol = PriceProtocol(venue, {name: instrument for instrument, name in names.items()})
        self._gateway = gateway

    def decode(self, quote: Quote) -> Sequence[InputEvent]:
        """The quote as a line of the price stream, parsed."""
        line = (
            b'{"type":"PRICE","instrument":"%b","time":"%b","tradeable":true,'
            b'"bids":[{"price":"%b","liquidity":%b}],"asks":[{"price":"%b","liquidity":%b}]}\n'
            % (
                self._names[quote.instrument].encode(),
                format_time(quote.ts_event_ns).encode(),
                repr(quote.bid_px).encode(),
                repr(quote.bid_qty).encode(),
                repr(quote.ask_px).encode(),
                repr(quote.ask_qty).encode(),
            )
        )
        return [made for made in self._protocol.receive_frame(line, quote.ts_recv_ns) if type(made) is Quote]

    def encode(self, order: NewOrder) -> bytes:
        """The request that ``submit`` would have written."""
        return self._gateway.shadow_request(order)
