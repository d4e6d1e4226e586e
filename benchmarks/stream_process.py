"""The other end of the lanes ``streams_*`` and ``memory_reconnects``: best prices out over many WebSockets.

A process of its own, started by ``streams`` and spoken to in JSON lines: it prints ``{"port": ...}``, confirms what is
subscribed, and after a line ``{"per_second": ..., "seconds": ..., "streams": ...}`` sends every stream that many
messages a second for so long, the streams one after the other and not in one burst, prints ``{"sent": ...}`` and ends.
With ``drop_after`` as its argument it drops each connection that long after it was confirmed, and sends nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, ClassVar

from benchmarks.exchange_process import _text_frame, _upgrade

VARIANTS = 64


def frames_of(symbol: str) -> list[bytes]:
    """Best prices as Binance spot writes them, wrapped by their stream; no two are equal."""
    return [
        _text_frame(
            b'{"stream":"%b@bookTicker","data":{"u":%d,"s":"%b","b":"%d.63000000","B":"3.%d0000000",'
            b'"a":"%d.64000000","A":"1.54698000"}}'
            % (symbol.lower().encode(), 400_900_217 + i, symbol.encode(), 61_837 + i, 1 + i % 9, 61_837 + i)
        )
        for i in range(VARIANTS)
    ]


class Exchange(asyncio.Protocol):
    """One connection."""

    made: ClassVar[list[Exchange]] = []
    drop_after_s: ClassVar[float] = 0.0

    def __init__(self) -> None:
        self.names: list[str] = []
        self._pending = b""
        self._open = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.made.append(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.made.remove(self)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        if not self._open:
            if b"\r\n\r\n" not in self._pending:
                return
            self._transport.write(_upgrade(self._pending))
            self._pending, self._open = b"", True
            return
        message = _unmasked(self._pending)
        if message is None:
            return
        self._pending = b""
        asked = json.loads(message)
        if asked.get("method") == "SUBSCRIBE":
            self.names = asked["params"]
            self.write(_text_frame(b'{"result":null,"id":%d}' % asked["id"]))
            if self.drop_after_s:
                asyncio.get_running_loop().call_later(self.drop_after_s, self._transport.abort)

    def write(self, data: bytes) -> None:
        self._transport.write(data)


def _unmasked(data: bytes) -> bytes | None:
    """The payload of one text frame of a client; None while it is not complete, and for a frame of another kind."""
    if len(data) < 6 or data[0] & 15 != 1:
        return None
    size, at = data[1] & 127, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
    mask, body = data[at : at + 4], data[at + 4 : at + 4 + size]
    return bytes(each ^ mask[i & 3] for i, each in enumerate(body)) if len(body) == size else None


async def _send(streams: int, per_second: int, seconds: float) -> int:
    """Every stream at its pace; what the machine was late for is not caught up in a burst."""
    plan = [
        (exchange, frames_of(name.partition("@")[0].upper())) for exchange in Exchange.made for name in exchange.names
    ]
    assert len(plan) == streams, f"{len(plan)} of {streams} streams are subscribed"
    gap_s = 1.0 / (streams * per_second)
    sent = 0
    due_s = begin_s = time.perf_counter()
    while due_s - begin_s < seconds:
        exchange, frames = plan[sent % streams]
        exchange.write(frames[sent // streams % VARIANTS])
        sent += 1
        now_s = time.perf_counter()
        due_s = max(due_s + gap_s, now_s - gap_s)
        if due_s > now_s:
            await asyncio.sleep(due_s - now_s if due_s - now_s > 1e-3 else 0)
    return sent


async def main() -> None:
    loop = asyncio.get_running_loop()
    Exchange.drop_after_s = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    server = await loop.create_server(Exchange, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    line = await loop.run_in_executor(None, sys.stdin.readline)
    if not line or Exchange.drop_after_s:
        return
    sent = await _send(**json.loads(line))
    print(json.dumps({"sent": sent}), flush=True)


if __name__ == "__main__":
    from uvloop import run

    run(main())
