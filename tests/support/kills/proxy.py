"""A wire between daemon and exchange that can be cut, or made to lose what the exchange answers."""

from __future__ import annotations

import asyncio
import contextlib

CHUNK = 512
"""Small, so that a cut falls into messages."""
ORDER = b"/brokerage/orders HTTP"


class Proxy:
    """Passes bytes on between its own port and another one of this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._swallowing = False
        self._awaits_order = False
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def disturb(self, how: str) -> None:
        """``cut`` all connections now, or ``swallow`` for a moment whatever is told of the account, while the market
        is told on, and cut them then."""
        if how == "cut":
            self.cut()
            return
        self._swallowing = True
        asyncio.get_running_loop().call_later(SWALLOW_S, self.cut)

    def swallow_at_next_order(self) -> None:
        """As ``disturb`` does, in the moment in which a request for an order passes."""
        self._awaits_order = True

    def cut(self) -> None:
        self._swallowing = False
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        try:
            answers, there = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(there)
            first = await reader.read(CHUNK)
            there.write(first)
            is_market = first.startswith(b"GET /ws ")
            await asyncio.gather(
                self._pass_on(reader, there, answers=False), self._pass_on(answers, writer, answers=not is_market)
            )
        except OSError:
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if self._awaits_order and not answers and ORDER in data:
                    self._awaits_order = False
                    self.disturb("swallow")
                if not (answers and self._swallowing):
                    target.write(data)
                    await target.drain()
        target.transport.abort()


SWALLOW_S = 0.15
