"""What many streams cost one core, and whether connections that come and go leave memory behind.

``streams_*``: 100 streams of 50 messages a second, each on a connection of its own and all on one, over both libraries
for WebSockets: transport, parser and the hand to the bus.  The figure is our own processor time, the kernel's share
included, over the time that passed.  ``memory_reconnects``: the same feed over connections that the other side drops.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import subprocess
import sys
import time
from typing import Any, Final

from benchmarks.figures import Reading, Target
from benchmarks.memory import resident_mb
from benchmarks.rig import ROOT
from benchmarks.wire import _apart
from connectors import picows_ws, ws
from connectors.binance.feed import BinanceFeed
from connectors.binance.protocol import BinanceMarketProtocol
from connectors.reconnect import Backoff
from engine.errors import KestrelError
from engine.events import InputEvent, Quote
from engine.runtime.clocks import SystemClock

STREAMS: Final = 100
PER_SECOND: Final = 50
MISSING_MAX: Final = 0.02
CONNECT: Final = {"picows": picows_ws.connect, "websockets": ws.connect}
BOUND_PERCENT: Final = {"picows": 12, "websockets": 30}


class _Counter:
    def __init__(self) -> None:
        self.quotes = 0

    def __call__(self, event: InputEvent) -> None:
        if type(event) is Quote:
            self.quotes += 1


def _feed(port: int, symbols: list[str], transport: str, publish: Any, backoff: Backoff) -> BinanceFeed:
    protocol = BinanceMarketProtocol(
        "binance_spot",
        {symbol: (f"{symbol}@binance_spot",) for symbol in symbols},
        [f"{symbol.lower()}@bookTicker" for symbol in symbols],
    )
    return BinanceFeed(
        f"ws://127.0.0.1:{port}/stream",
        protocol,
        ask_books=lambda _feed: None,
        publish=publish,
        clock=SystemClock(),
        connect=CONNECT[transport],
        backoff=backoff,
        lag_ns=lambda: 0,
        options=ws.WsOptions(),
    )


@contextlib.asynccontextmanager
async def _exchange(*arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.stream_process", *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process, int(json.loads(await process.stdout.readline())["port"])  # type: ignore[union-attr]
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _measure(transport: str, connections: int, seconds: float, core: int | None) -> Reading:
    symbols = [f"C{number:02}USDT" for number in range(STREAMS)]
    each = STREAMS // connections
    counter = _Counter()
    async with _exchange() as (process, port):
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        feeds = [
            _feed(port, symbols[at : at + each], transport, counter, Backoff(random.Random(at)))
            for at in range(0, STREAMS, each)
        ]
        try:
            for feed in feeds:
                feed.start()
            for feed in feeds:
                await feed.wait_up(10.0)
            gc.collect()
            told = {"streams": STREAMS, "per_second": PER_SECOND, "seconds": seconds}
            process.stdin.write(json.dumps(told).encode() + b"\n")
            begin_s, used_s = time.perf_counter(), time.process_time()
            line = await process.stdout.readline()
            wall_s, used_s = time.perf_counter() - begin_s, time.process_time() - used_s
            if not line:
                raise KestrelError("the exchange process of the benchmark died")
            await asyncio.sleep(0.1)
            sent = json.loads(line)["sent"]
            if counter.quotes < sent * (1 - MISSING_MAX):
                raise KestrelError(f"{counter.quotes:,} quotes of {sent:,} messages", expected="one of each")
        finally:
            await asyncio.gather(*(feed.stop() for feed in feeds))
    many = connections > 1
    rate = sent / wall_s
    return Reading(
        f"streams_{transport}" + ("" if many else "_combined"),
        value=100.0 * used_s / wall_s,
        unit="% of a core",
        per_second=rate,
        asked_per_second=STREAMS * PER_SECOND,
        n=counter.quotes,
        targets=(Target("value", BOUND_PERCENT[transport]),) if many else (),
        note=f"{1e6 * used_s / counter.quotes:.1f} us a message, {rate:,.0f} messages a second",
        # At another pace the share is of another load.
        incomplete=rate < 0.9 * STREAMS * PER_SECOND,
    )


def run(quick: bool) -> list[Reading]:
    """Both libraries, each stream on a connection of its own and all on one."""
    from uvloop import new_event_loop

    readings = []
    for transport in CONNECT:
        for connections in (STREAMS, 1):
            with _apart() as core, asyncio.Runner(loop_factory=new_event_loop) as runner:
                readings.append(runner.run(_measure(transport, connections, 2.0 if quick else 8.0, core)))
    return readings


# --- memory -----------------------------------------------------------------------------------------------------------


async def _reconnect(transport: str, first: int, last: int) -> dict[str, float]:
    counter = _Counter()
    marks: dict[str, float] = {}
    async with _exchange("0.0005") as (_, port):
        backoff = Backoff(random.Random(1), base_s=0.0005, cap_s=0.0005, budget_per_minute=1_000_000)
        feed = _feed(port, ["BTCUSDT"], transport, counter, backoff)
        feed.start()
        try:
            for count in (first, last):
                while feed.connections < count:
                    await asyncio.sleep(0.05)
                gc.collect()
                marks[str(count)] = resident_mb()
                marks[f"tasks {count}"] = len(asyncio.all_tasks())
        finally:
            await feed.stop()
    return marks


def reconnects(quick: bool) -> list[Reading]:
    """An hour of reconnects, at the most that a feed's budget allows (12 a minute), is 720."""
    first, last = (100, 400) if quick else (720, 2_160)
    readings = []
    for transport in CONNECT:
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.streams", transport, str(first), str(last)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if ran.returncode:
            raise KestrelError(f"memory_reconnects: {ran.stderr.strip().splitlines()[-1]}")
        marks = json.loads(ran.stdout)
        readings.append(
            Reading(
                f"memory_reconnects_{transport}",
                n=last,
                value=marks[str(last)] - marks[str(first)],
                unit="MB",
                targets=(Target("value", 1.0),),
                note=f"{marks[str(first)]:.1f} MB after {first:,} connections, {marks[str(last)]:.1f} MB after "
                f"{last:,}; tasks {marks[f'tasks {first}']:.0f} and {marks[f'tasks {last}']:.0f}",
            )
        )
    return readings


if __name__ == "__main__":
    from uvloop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as own:
        print(json.dumps(own.run(_reconnect(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
