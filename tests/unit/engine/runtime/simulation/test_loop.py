"""Time that only timers move, and processes that end without a last word."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys

import pytest

from engine.runtime.simulation.loop import DeadlockError, SimulatedProcess, VirtualLoop, running_process


def test_hours_pass_at_once_and_in_order() -> None:
    """Two sleepers of different length: the loop's own clock says when each woke."""
    loop = VirtualLoop()
    woken: list[tuple[str, int]] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, round(loop.time())))

    async def main() -> None:
        await asyncio.gather(sleep("day", 86_400.0), sleep("hour", 3_600.0))

    loop.run_until_complete(main())
    loop.die()
    assert woken == [("hour", 3_600), ("day", 86_400)]


def test_a_killed_process_runs_nothing_more() -> None:
    """Killed while it sleeps inside ``try``: neither its next line, its ``finally`` nor its timer runs."""
    loop = VirtualLoop()
    seen: list[str] = []
    process = SimulatedProcess("p")

    async def victim() -> None:
        assert running_process() is process
        asyncio.get_running_loop().call_later(5.0, seen.append, "timer")
        try:
            seen.append("started")
            await asyncio.create_task(asyncio.sleep(10.0))
            seen.append("woken")
        finally:
            seen.append("finally")

    async def main() -> None:
        loop.spawn(process, victim())
        await asyncio.sleep(1.0)
        loop.kill(process)
        await asyncio.sleep(100.0)
        assert seen == ["started"]

    loop.run_until_complete(main())
    assert seen == ["started"]


def test_the_dead_are_buried_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while somebody holds its task, two ``finally`` blocks deep, each of which waits: nothing is left for the
    collector to complain of."""
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    loop = VirtualLoop()
    process = SimulatedProcess("p")
    seen: list[str] = []

    async def victim() -> None:
        try:
            try:
                await asyncio.sleep(10.0)
            finally:
                seen.append("inner")
                await asyncio.sleep(1.0)
        finally:
            seen.append("outer")
            await asyncio.sleep(1.0)

    async def main() -> asyncio.Task[None]:
        task = loop.spawn(process, victim())
        await asyncio.sleep(1.0)
        loop.kill(process)
        return task

    task = loop.run_until_complete(main())
    loop.die()
    assert seen == []
    loop.bury()
    assert seen == ["inner", "outer"]
    del task
    gc.collect()
    assert said == []


def test_the_buried_are_not_heard(caplog: pytest.LogCaptureFixture) -> None:
    """A server's handler logs the error that ending its inner coroutine raises: not while it is buried, and what is
    logged after that is."""
    loop = VirtualLoop()
    process = SimulatedProcess("p")

    async def handle() -> None:
        try:
            await asyncio.sleep(10.0)
        except BaseException:
            logging.getLogger("aiohttp.server").exception("Error handling request")
            raise

    async def main() -> None:
        task = loop.spawn(process, handle())
        await asyncio.sleep(1.0)
        loop.kill(process)
        del task

    loop.run_until_complete(main())
    loop.die()
    loop.bury()
    assert caplog.messages == []
    logging.getLogger("aiohttp.server").error("heard")
    assert caplog.messages == ["heard"]


def test_a_wait_that_nothing_can_end_is_told() -> None:
    loop = VirtualLoop()

    async def main() -> None:
        await loop.create_future()

    with pytest.raises(DeadlockError):
        loop.run_until_complete(main())
    loop.die()


def test_threads_are_refused() -> None:
    """A thread's end would come at no time that a seed decides."""
    loop = VirtualLoop()

    async def main() -> None:
        await asyncio.to_thread(len, "x")

    with pytest.raises(RuntimeError, match="in a thread"):
        loop.run_until_complete(main())
    loop.die()
