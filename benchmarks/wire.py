"""Wire to wire on loopback: a ticker frame leaves another process, the order it causes arrives there.

Real on our side: WebSocket transport, feed, everything of ``rig``, the kept-alive HTTP order connections.  The
stopwatch is the other side's (``exchange_process``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.figures import Reading, Target, latency
from benchmarks.rig import ROOT, Rig, running, settle_memory
from connectors import picows_ws, ws
from connectors.coinbase.feed import CoinbaseFeed, subscription
from connectors.http import OnDone, OnLost, OrderChannel
from connectors.lag import LoopLag
from connectors.reconnect import Backoff
from engine.errors import KestrelError

WARM_UP = 800
COMPLETE_MISSING_MAX = 0.01
"""More ticks without an order than this, and the lane meets no target: latencies are of those that got one."""
MISSING_MAX = 0.5
"""Share of ticks that may stay without order.  On a quiet machine it is 0; on a busy one quotes are conflated after
5 ms of lag, and a tick that comes before the last order was answered makes none."""


class _LateWriter:
    """The gateway is made before the loop can open connections."""

    channel: OrderChannel

    def try_send(self, request: bytes, on_done: OnDone, on_lost: OnLost) -> bool:
        return self.channel.try_send(request, on_done, on_lost)


@contextlib.contextmanager
def _apart() -> Iterator[int | None]:
    """The exchange on a core of its own, ours on the others; gives the exchange's core, None where there is but one.

    The exchange spins while it waits for the order.  Left alone, the kernel wakes us on the core of whoever woke us,
    and the order then waits for the end of the exchange's time slice: 2 ms that no real venue would cost.
    """
    ours = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(ours) < 2:
        yield None
        return
    core = max(ours)
    os.sched_setaffinity(0, ours - {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, ours)


async def _measure(transport: str, ticks: int, per_second: int, rig: Rig, writer: _LateWriter, core: int | None) -> Any:
    """One run; the exchange's last line."""
    loop = asyncio.get_running_loop()
    exchange = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.exchange_process",
        *(() if core is None else (str(core),)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 << 20,
    )
    assert exchange.stdin is not None
    assert exchange.stdout is not None
    lag = LoopLag(loop)
    feed: CoinbaseFeed | None = None
    shadow = rig.shadow()
    beat: asyncio.TimerHandle | None = None

    def heartbeat() -> None:
        nonlocal beat
        beat = loop.call_later(0.1, heartbeat)
        rig.timer()

    try:
        port = int(json.loads(await exchange.stdout.readline())["port"])
        rng = random.Random(1)
        writer.channel = channel = OrderChannel("127.0.0.1", port, backoff=lambda: Backoff(rng), connections=4)
        rig.on_accepted = lambda: loop.call_soon(rig.fill_accepted)
        feed = CoinbaseFeed(
            f"ws://127.0.0.1:{port}",
            rig.protocol,
            subscriptions=lambda: [subscription("subscribe", "ticker", ["BTC-USD"])],
            publish=rig.publish,
            clock=rig.clock,
            connect=picows_ws.connect if transport == "picows" else ws.connect,
            backoff=Backoff(rng),
            lag_ns=lag,
            options=ws.WsOptions(),
        )
        await channel.start()
        feed.start()
        await feed.wait_up(10.0)
        heartbeat()
        shadow.start()
        settle_memory()
        exchange.stdin.write(json.dumps({"warm": WARM_UP, "ticks": ticks, "per_second": per_second}).encode() + b"\n")
        loop.call_later(WARM_UP / 1_000, rig.forget_stages)
        line = await asyncio.wait_for(exchange.stdout.readline(), 60.0 + 3.0 * ticks / per_second)
        if not line:
            raise KestrelError("the exchange process of the benchmark died")
        return {**json.loads(line), "conflated": feed.conflated, "shadow_ticks": shadow.ticks}
    finally:
        shadow.stop()
        if beat is not None:
            beat.cancel()
        if feed is not None:
            await feed.stop()
            await writer.channel.stop()
        lag.stop()
        exchange.stdin.close()
        if exchange.returncode is None:
            exchange.kill()
            await exchange.wait()


def _run(transport: str, ticks: int, per_second: int) -> tuple[dict[str, Any], list[tuple[str, float, float, int]]]:
    from uvloop import new_event_loop

    writer = _LateWriter()
    with (
        _apart() as core,
        running(writer, model=True) as rig,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        result = runner.run(_measure(transport, ticks, per_second, rig, writer, core))
        rig.check(tolerated=ticks // 100)
        return result, rig.stages()


def _lane(name: str, transport: str, *, quick: bool, per_second: int, targets: tuple[Target, ...]) -> list[Reading]:
    ticks = (1_200 if quick else 3_000) if per_second >= 1_000 else (200 if quick else 1_000)
    result, _ = _run(transport, ticks, per_second)
    samples = result["latencies_ns"]
    missing = ticks - len(samples)
    if missing > max(MISSING_MAX * ticks, 2):
        raise KestrelError(f"{missing} of {ticks} ticks came back without an order", expected="an order on every tick")
    notes = [f"{missing} of {ticks} ticks made no order: busy machine"] if missing else []
    if result["shadow_ticks"] and per_second < 1_000:
        notes.append(f"{result['shadow_ticks']:,} shadow ticks between them")
    return [
        latency(
            name,
            samples,
            per_second=float(per_second),
            targets=targets,
            note="; ".join(notes),
            incomplete=missing > COMPLETE_MISSING_MAX * ticks,
        )
    ]


def picows(quick: bool) -> list[Reading]:
    """Loopback, picows, CNN inline, 1,000 ticks/s."""
    targets = (Target("p50", 120), Target("p99", 300))
    return _lane("wire_picows", "picows", quick=quick, per_second=1_000, targets=targets)


def websockets(quick: bool) -> list[Reading]:
    """The same over the default library; no target of its own."""
    return _lane("wire_websockets", "websockets", quick=quick, per_second=1_000, targets=())


def picows_slow(quick: bool) -> list[Reading]:
    """Loopback, picows, CNN inline, 100 ticks/s, shadow ticks between them."""
    targets = (Target("p50", 300), Target("p99", 450))
    return _lane("wire_picows_100", "picows", quick=quick, per_second=100, targets=targets)


def profile(*, per_second: int) -> Sequence[str]:
    """How much of the way lies inside the process (the probe's stages) and how much in sockets and waking up."""
    result, stages = _run("picows", 1_800 if per_second >= 1_000 else 600, per_second)
    wire = latency("wire", result["latencies_ns"])
    lines = [f"{name:<14} p50 {p50:7.2f} us  p99 {p99:7.2f} us" for name, p50, p99, _ in stages]
    inside = next((p50 for name, p50, _, _ in stages if name == "tick_to_order"), 0.0)
    assert wire.p50 is not None
    lines.append(
        f"wire to wire p50 {wire.p50:.1f} us, of which {inside:.1f} us from our receive stamp to the end of the write; "
        f"the rest, {wire.p50 - inside:.1f} us, is the kernel's loopback, waking the process and picows"
    )
    return lines
