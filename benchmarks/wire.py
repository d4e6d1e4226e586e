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
from typing import Any, cast

from benchmarks.figures import Reading, Target, latency, median_of_sent
from benchmarks.in_process import stage_lines
from benchmarks.rig import ROOT, Rig, running, settle_memory
from benchmarks.strategy import EveryTick
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
"""Share of ticks that may stay without order.  Two causes: quotes are conflated after 5 ms of lag, and a tick that
comes before the last order was answered makes none.  Both strike where the machine was slow: percentiles of the ticks
that made an order leave out slow moments, so the page gives the median of all that were sent beside them."""


CONFLATED = "conflated after 5 ms of lag"
UNANSWERED = "came before the last order was answered"
REFUSED = "found no free connection"


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


def _without_order(rig: Rig, feed: CoinbaseFeed) -> dict[str, int]:
    """Ticks so far that made no order, by cause."""
    (slot,) = rig.core.slots
    return {
        CONFLATED: feed.conflated,
        UNANSWERED: cast(EveryTick, slot.strategy).passed,
        REFUSED: sum(rig.core.counters.venue_rejected.values()),
    }


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
        before = {}

        def warm() -> None:
            rig.forget_stages()
            before.update(_without_order(rig, feed))

        loop.call_later(WARM_UP / 1_000, warm)
        line = await asyncio.wait_for(exchange.stdout.readline(), 60.0 + 3.0 * ticks / per_second)
        if not line:
            raise KestrelError("the exchange process of the benchmark died")
        lost = {why: count - before.get(why, 0) for why, count in _without_order(rig, feed).items()}
        return {**json.loads(line), "lost": lost, "shadow_ticks": shadow.ticks}
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


def _run(transport: str, ticks: int, per_second: int) -> tuple[dict[str, Any], list[str]]:
    """What the exchange says at the end, and the stages as text."""
    from uvloop import new_event_loop

    writer = _LateWriter()
    with (
        _apart() as core,
        running(writer, model=True) as rig,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        result = runner.run(_measure(transport, ticks, per_second, rig, writer, core))
        rig.check(tolerated=ticks // 100)
        result["tick_to_order_us"] = rig.probe.tick_to_order.percentile(0.5) / 1e3
        return result, stage_lines(rig)


def _lane(name: str, transport: str, *, quick: bool, per_second: int, targets: tuple[Target, ...]) -> list[Reading]:
    ticks = (1_200 if quick else 3_000) if per_second >= 1_000 else (200 if quick else 1_000)
    result, _ = _run(transport, ticks, per_second)
    samples = result["latencies_ns"]
    missing = ticks - len(samples)
    if missing > max(MISSING_MAX * ticks, 2):
        raise KestrelError(f"{missing} of {ticks} ticks came back without an order", expected="an order on every tick")
    lost = {}
    rest = missing
    for why, count in [*result["lost"].items(), ("for another cause", missing)]:
        # The counts are of this end and begin about a tick apart from the exchange's.
        if (part := min(count, rest)) > 0:
            lost[why] = part
            rest -= part
    note = ""
    if result["shadow_ticks"] and per_second < 1_000:
        note = f"{result['shadow_ticks']:,} shadow ticks between {ticks:,}"
    return [
        latency(
            name,
            samples,
            per_second=result["per_second"],
            asked_per_second=per_second,
            targets=targets,
            note=note,
            sent=ticks,
            missing=lost,
            p50_of_sent=median_of_sent(samples, ticks),
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


def profile(name: str) -> Sequence[str]:
    """How much of the way lies inside the process (the probe's stages) and how much in sockets and waking up."""
    per_second, ticks = (100, 600) if name.endswith("_100") else (1_000, 1_800)
    result, stages = _run("picows", ticks, per_second)
    wire = latency("wire", result["latencies_ns"])
    lines = [f"{wire.n:,} of {ticks:,} ticks made an order:", *stages]
    assert wire.p50 is not None
    inside = result["tick_to_order_us"]
    lines.append(
        f"wire to wire p50 {wire.p50:.1f} us, of which {inside:.1f} us from our receive stamp to the end of the write; "
        f"the rest, {wire.p50 - inside:.1f} us, is the kernel's loopback, waking the process and picows"
    )
    return lines
