"""The wire half of a path without a socket: what is encoded is what would be sent, what is decoded what was told."""

from __future__ import annotations

from pathlib import Path

from connectors.oanda.protocol import PriceProtocol
from connectors.oanda.shadow import OandaShadow
from engine.commands import NewOrder, OrderIntent, OrderType
from engine.events import Quote, Side
from tests.support.oanda_session import EUR, D, exchange, session


async def test_a_quote_comes_back_and_an_order_has_its_bytes(tmp_path: Path) -> None:
    """Of a venue that is started; nothing is sent."""
    async with exchange() as client, session(client, tmp_path) as one:
        shadow = one.venue.shadow()
        assert isinstance(shadow, OandaShadow)
        quote = Quote(1_795_183_387_000_000_123, 9, EUR, 1.084, 250000.5, 1.0841, 1e6)
        assert list(shadow.decode(quote)) == [quote]
        intent = OrderIntent(1, "s", EUR, Side.SELL, D(250), OrderType.MARKET)
        head, _, body = shadow.encode(NewOrder(1, "c-1", "oanda", intent)).partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v3/accounts/101-004-1000001-001/orders HTTP/1.1\r\n")
        assert b'"units":"-250"' in body
        assert int(head.rpartition(b": ")[2]) == len(body)
        assert client.sandbox.rest.orders_received == 0


def test_a_market_that_was_never_told_of_is_not_closed() -> None:
    """Only what the venue says of it counts."""
    protocol = PriceProtocol("oanda", {"EUR_USD": EUR})
    assert not protocol.is_closed(EUR)
    protocol.receive_frame(b'{"type":"PRICE","instrument":"EUR_USD","time":"","tradeable":false}\n', 1)
    assert protocol.is_closed(EUR)
