"""A loop that polls never waits, serves timers and sockets all the same, and sleeps again afterwards."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from engine.runtime.polling import BusyPoll


class Turns:
    """Counts turns of a loop by a callback of its own that follows each one; ``at``: what is done in one of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.poll = BusyPoll(loop)
        self.count = 0
        self.at: dict[int, Callable[[], Any]] = {}
        start = self.poll.start

        def counted() -> None:
            self.count += 1
            self.at.pop(self.count, lambda: None)()
            start()

        self.poll.start = counted  # type: ignore[method-assign]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_polling_loop_turns_without_anything_to_do_and_serves_timers_and_sockets(new_loop: Callable[[], Any]) -> None:
    """A twentieth turn comes although nothing happens, a tenth while a byte is waited for, which that turn sends; a
    timer is served; after ``stop`` a sleep adds no turn."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        turns = Turns(loop)
        idle = asyncio.Event()
        turns.at[20] = idle.set
        turns.poll.start()
        await idle.wait()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            turns.at[turns.count + 10] = lambda: theirs.send(b"x")
            assert await loop.sock_recv(ours, 1) == b"x"
        await asyncio.sleep(0.001)
        turns.poll.stop()
        stopped = turns.count
        await asyncio.sleep(0.02)
        assert turns.count == stopped
        turns.poll.stop()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
