"""An order to the wire through the native connector: encode, sign, write to a kept-alive connection on loopback.

``order_wire`` is how orders leave: with a token (ES256) that was signed ahead.  ``order_wire_signed`` signs one for
each order, as it is when the pool of tokens is stale.  Answers come from this process between two orders and are not
timed.  No native connector signs with HMAC: venues that want it are traded through the library for many exchanges.
"""

from __future__ import annotations

import asyncio
import random
import time
from decimal import Decimal
from typing import Any, Final

from benchmarks.figures import Reading, Target, clock_cost_ns, latency
from benchmarks.market import NAME, VENUE
from benchmarks.rig import Rig, running, settle_memory
from benchmarks.wire import _LateWriter
from connectors.http import OrderChannel
from connectors.reconnect import Backoff
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.errors import KestrelError
from engine.events import Side

_BODY: Final = b'{"success":false,"error_response":{"error":"INVALID_LIMIT_PRICE"}}'
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
BOUND_US: Final = 30.0


class _Exchange(asyncio.Protocol):
    """Refuses every order at once: what is told of it ends there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if b"POST" in data:
            self._transport.write(_ANSWER)


async def _measure(rig: Rig, writer: _LateWriter, count: int, *, inline: bool) -> list[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Exchange, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writer.channel = channel = OrderChannel("127.0.0.1", port, backoff=lambda: Backoff(random.Random(1)), connections=2)
    await channel.start()
    gateway = rig.gateway
    answered: list[Any] = []
    gateway.publish = answered.append  # type: ignore[method-assign,assignment]  # nobody waits for it
    overhead_ns = clock_cost_ns()
    samples = []
    settle_memory()
    read = time.perf_counter_ns
    try:
        for number in range(count):
            now_ns = rig.clock.now_ns()
            wish = OrderIntent(
                *(now_ns, "bench", NAME, Side.BUY, Decimal("0.01"), OrderType.LIMIT),
                *(Decimal("60000.01"), TimeInForce.IOC),
                reason="bench",
            )
            order = NewOrder(now_ns, f"bench-{number}", VENUE, wish)
            if inline:
                gateway._order_token.made_ns = 0
            before = read()
            gateway.submit(order)
            samples.append(max(read() - before - overhead_ns, 0))
            while len(answered) <= number:
                await asyncio.sleep(0)
    finally:
        await channel.stop()
        server.close()
    if channel.refused or channel.lost or gateway.counters.submitted != count:
        raise KestrelError(f"{channel.refused} orders found no connection, {channel.lost} were lost")
    return samples


def run(quick: bool) -> list[Reading]:
    """Both ways of having a token."""
    from uvloop import new_event_loop

    count = 2_000 if quick else 20_000
    readings = []
    for name, inline, targets in (
        ("order_wire", False, (Target("p50", BOUND_US),)),
        ("order_wire_signed", True, ()),
    ):
        writer = _LateWriter()
        with (
            running(writer, model=False) as rig,
            asyncio.Runner(loop_factory=new_event_loop) as runner,
        ):
            samples = runner.run(_measure(rig, writer, count, inline=inline))
            readings.append(latency(name, samples, targets=targets))
    return readings
