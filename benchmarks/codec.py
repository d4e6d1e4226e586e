"""Decoding a venue's ticker, encoding and decoding journal records, encoding a signed order: single calls."""

from __future__ import annotations

from decimal import Decimal

from benchmarks.figures import Reading, clock_cost_ns, latency, time_each
from benchmarks.market import NAME, PRODUCT, VENUE, Market
from benchmarks.rig import NullWriter, running
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from engine import codec
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Quote, Side

NOW_NS = 1_700_000_000_000_000_000


def run(quick: bool) -> list[Reading]:
    count = 10_000 if quick else 50_000
    overhead_ns = clock_cost_ns()
    market = Market()
    protocol = CoinbaseMarketProtocol(VENUE, {PRODUCT: (NAME,)}, ("ticker",))
    frames = [(market.ticker(NOW_NS + 1_000_000 * number), NOW_NS) for number in range(count)]
    quotes = [(quote,) for frame, at_ns in frames for quote in protocol.receive_frame(frame, at_ns)]
    protocol.reset()
    records = [(codec.encode(quote),) for (quote,) in quotes]
    assert isinstance(quotes[0][0], Quote)
    intent = OrderIntent(
        NOW_NS,
        "bench",
        NAME,
        Side.BUY,
        Decimal("0.01"),
        OrderType.LIMIT,
        Decimal("60000.01"),
        TimeInForce.IOC,
        reason="bench",
    )
    orders = [(NewOrder(NOW_NS, f"bench-{number}", VENUE, intent), PRODUCT) for number in range(count)]
    with running(NullWriter(), model=False) as rig:
        encode_order = rig.gateway.encode
        return [
            latency("codec_ticker_to_quote", time_each(protocol.receive_frame, frames, overhead_ns)),
            latency("codec_encode_quote", time_each(codec.encode, quotes, overhead_ns)),
            latency("codec_decode_quote", time_each(codec.decode, records, overhead_ns)),
            latency("codec_order_request", time_each(encode_order, orders, overhead_ns), note="token made ahead"),
        ]
