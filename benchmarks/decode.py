"""What the ``decode`` stage of a tick is made of: a ticker frame alone, and in the lanes with the rest around it.

The stage runs from the receive stamp to the bus.  Here its one large part, ``receive_frame``, is timed by itself in
each surrounding, beside the stage as the probe saw it in the same ticks; the rest of the stage is the stamp, the loop
over the frame's events and the way into the bus.  Before it, in a daemon, ``websockets`` takes the frame apart, which
the stage contains as well: ``frame_websockets``, and with the compression that a venue may offer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from benchmarks.figures import Reading, clock_cost_ns, latency, time_each
from benchmarks.in_process import PACE, hot, paced, warm_up
from benchmarks.rig import Market, NullWriter, Rig, running
from connectors import ws
from connectors.coinbase import market_wire
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from engine.errors import KestrelError
from engine.events import InputEvent

_read = time.perf_counter_ns
_TICKER = b'{"channel":"ticker",'


class _Timed:
    """The rig's protocol, with the time of each ticker frame kept."""

    def __init__(self, protocol: CoinbaseMarketProtocol, overhead_ns: int) -> None:
        self._protocol = protocol
        self._overhead_ns = overhead_ns
        self.samples: list[int] = []

    def receive_frame(self, frame: bytes, recv_ns: int) -> Sequence[InputEvent]:
        before = _read()
        events = self._protocol.receive_frame(frame, recv_ns)
        took_ns = _read() - before
        if frame.startswith(_TICKER):
            self.samples.append(max(took_ns - self._overhead_ns, 0))
        return events


def _frames(name: str, payloads: Sequence[bytes], overhead_ns: int, *, deflated: bool) -> Reading:
    """The library's parser, as ``connectors.ws`` drives it, on the bytes of one ticker after the other."""
    client = ClientProtocol(parse_uri("ws://venue/"), extensions=[ClientPerMessageDeflateFactory()], logger=ws.SILENT)
    factories = [ServerPerMessageDeflateFactory()] if deflated else None
    server = ServerProtocol(extensions=factories, logger=ws.SILENT)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    server.send_response(server.accept(cast(Request, request)))
    client.receive_data(b"".join(server.data_to_send()))
    client.events_received()
    sent = []
    for payload in payloads:
        server.send_text(payload)
        sent.append((b"".join(server.data_to_send()),))

    def take(data: bytes) -> None:
        client.receive_data(data)
        for event in client.events_received():
            if not isinstance(event, Frame):
                raise KestrelError("the benchmark's stream broke")

    samples = time_each(take, sent, overhead_ns)
    if client.parser_exc is not None or bool(client.extensions) is not deflated:
        raise KestrelError(f"{name}: the benchmark's stream broke: {client.parser_exc or 'other extensions'}")
    return latency(name, samples, note=f"{len(sent[-1][0])} bytes on the wire")


def run(quick: bool) -> list[Reading]:
    """The transport's share, ``decode_json`` and ``decode_frame`` alone, the latter in a tick: flat out, and paced."""
    ticks = 1_000 if quick else 4_000
    overhead_ns = clock_cost_ns()
    writer = NullWriter()
    readings = []
    with running(writer, model=True) as rig:
        market = Market()
        protocol = rig.market_protocol()
        frames = [market.ticker(rig.clock.now_ns()) for _ in range(ticks)]
        now_ns = rig.clock.now_ns()
        readings.append(_frames("frame_websockets", frames, overhead_ns, deflated=False))
        readings.append(_frames("frame_websockets_deflated", frames, overhead_ns, deflated=True))
        readings.append(
            latency("decode_json", time_each(market_wire.decode_ticker, [(f,) for f in frames], overhead_ns))
        )
        alone = time_each(protocol.receive_frame, [(frame, now_ns) for frame in frames], overhead_ns)
        readings.append(latency("decode_frame", alone))
        market = Market()
        warm_up(rig, market, writer)
        timed = _Timed(rig.protocol, overhead_ns)
        rig.protocol = cast(CoinbaseMarketProtocol, timed)
        hot(rig, market, writer, ticks)
        readings.append(latency("decode_frame_hot", timed.samples, note=_stage(rig)))
        timed.samples = []
        measured = paced(rig, market, writer, ticks, PACE)
        readings.append(
            latency(
                "decode_frame_paced",
                timed.samples,
                per_second=measured.per_second,
                asked_per_second=PACE,
                note=_stage(rig),
            )
        )
    return readings


def _stage(rig: Rig) -> str:
    """The whole stage in the same ticks, as the probe has it; the probe starts over."""
    p50 = next(p50 for name, p50, _, _ in rig.stages() if name == "decode")
    rig.forget_stages()
    return f"the whole stage of these ticks, trades included: p50 {p50:.1f} us"
