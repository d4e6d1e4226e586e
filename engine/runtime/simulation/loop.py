"""An event loop in which no time passes but the time that timers jump over, and in which a process can die.

Owns virtual time, the order of callbacks and who they belong to.  Connections are asked of a ``Network``; there are no
sockets, signals, threads or child processes.

Everything that runs belongs to a ``SimulatedProcess``, carried by the context in which callbacks are scheduled: tasks,
timers and connections made by a process's code inherit it.  ``kill`` does what ``kill -9`` does: from then on nothing
that belongs to the process runs, no ``finally`` included.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, Protocol, TypeVar
from weakref import WeakSet

T = TypeVar("T")

CALLBACK_S = 1e-6
"""What running one callback takes, so that no two of them see the same time."""
NESTED_MAX = 100
"""``finally`` blocks around each other in one task, at most."""
_owner: ContextVar[SimulatedProcess | None] = ContextVar("simulated_process", default=None)


class Network(Protocol):
    """Where connections come from."""

    async def connect(
        self, host: str, port: int, factory: Callable[[], asyncio.BaseProtocol]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Open a connection from the running process.  Raises ``OSError`` when nobody listens."""
        ...

    def vanish(self, process: SimulatedProcess) -> None:
        """The process died: its peers see their connections reset."""
        ...


class SimulatedProcess:
    """One process of the simulation.  ``alive`` is False once it was killed, ``runs`` also while it is frozen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = self.runs = True
        self.held: list[asyncio.Handle] = []
        """What would have run while it was frozen, in order."""
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()

    def __repr__(self) -> str:
        return f"SimulatedProcess({self.name}{'' if self.alive else ', dead'})"


def running_process() -> SimulatedProcess | None:
    """Whose code is running."""
    return _owner.get()


class Killed(BaseException):
    """Ends the call in which its process is killed; not an ``Exception``, so that nobody goes on."""


class DeadlockError(RuntimeError):
    """Nothing is left that could ever happen."""


class _Handle(asyncio.Handle):
    """Without asking for asyncio's debug mode: half of what making one costs, and there are hundreds an hour."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: VirtualLoop, context: Context | None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class _TimerHandle(asyncio.TimerHandle):
    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: VirtualLoop,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self._when = when
        self._scheduled = False


class VirtualLoop(asyncio.BaseEventLoop):
    """``time()`` starts at 0 and is exact to what timers ask for.  Same calls, same order, on every run."""

    def __init__(self, network: Network | None = None) -> None:
        super().__init__()
        self.network = network
        self.callbacks = 0
        self.errors: list[str] = []
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_made = 0
        self._timers_cancelled = 0
        self._sockets: dict[int, tuple[str, int]] = {}
        self._dead: list[object] = []
        self._processes: list[SimulatedProcess] = []
        self.set_exception_handler(self._on_exception)
        self.set_task_factory(_make_task)

    # --- time and callbacks -----------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Timers of one time run in the order in which they were made."""
        timer = _TimerHandle(when, callback, args, self, context)
        timer._scheduled = True
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle._scheduled:  # type: ignore[attr-defined]
            self._timers_cancelled += 1

    def _run_once(self) -> None:
        """Everything until somebody stops the loop: asyncio's own turn is one batch of callbacks."""
        while True:
            self._find_ready()
            self._run_ready()
            if self._stopping:  # type: ignore[attr-defined]
                return

    def _find_ready(self) -> None:
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        timers, pop = self._timers, heapq.heappop
        if self._timers_cancelled * 2 > len(timers) > 64:
            timers[:] = [entry for entry in timers if not entry[2]._cancelled]
            heapq.heapify(timers)
            self._timers_cancelled = 0
        while timers and timers[0][2]._cancelled:
            pop(timers)
            self._timers_cancelled -= 1
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise DeadlockError("no timer and no callback is left")
            self._now_s = max(self._now_s, timers[0][0])
        now_s = self._now_s
        while timers and timers[0][0] <= now_s:
            timer = pop(timers)[2]
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer._cancelled:
                self._timers_cancelled -= 1
            else:
                ready.append(timer)

    def _run_ready(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            context = handle._context
            owner = context.get(_owner)
            if owner is not None and not owner.runs:
                (owner.held if owner.alive else self._dead).append(handle)
                continue
            self.callbacks += 1
            self._now_s += CALLBACK_S
            try:
                context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler({"message": f"Exception in callback {handle!r}", "exception": error})

    def _process_events(self, event_list: object) -> None:
        """There are no sockets that could have any."""

    def _write_to_self(self) -> None:
        """There is no other thread that could be waited for."""

    def _on_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, task = context.get("exception"), context.get("future")
        # aiohttp's server (the venue's) trips over a connection that is lost before its first request is looked at.
        trips = isinstance(error, TypeError) and "coro=<RequestHandler.start()" in repr(task)
        if not trips and not isinstance(error, Killed):
            self.errors.append(f"{context.get('message')}: {type(error).__name__ if error else ''} {error or ''}")

    # --- processes --------------------------------------------------------------------------------------------------

    def spawn(self, process: SimulatedProcess, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``main`` as the first task of a process."""
        return self.within(process).run(self.create_task, main, name=process.name)

    def within(self, process: SimulatedProcess) -> Context:
        """A context in which everything belongs to ``process``."""
        self._processes.append(process)
        context = copy_context()
        context.run(_owner.set, process)
        return context

    def kill(self, process: SimulatedProcess) -> None:
        """Nothing of the process runs from now on; may be called from within it.

        Its tasks are kept until the loop is closed: dropping them would run their ``finally`` blocks.
        """
        process.alive = process.runs = False
        self._dead.extend(process.tasks)
        self._dead.extend(process.held)
        process.held.clear()
        if self.network is not None:
            self.network.vanish(process)

    def freeze(self, process: SimulatedProcess) -> None:
        """Nothing of the process runs until ``thaw``: its loop is blocked, or the machine sleeps."""
        process.runs = False

    def thaw(self, process: SimulatedProcess) -> None:
        process.runs = process.alive
        self._ready.extend(process.held)  # type: ignore[attr-defined]
        process.held.clear()

    def die(self) -> None:
        """The end of the simulation: whatever is left of it, alive or dead, is let go of and has no effect."""
        for process in self._processes:
            process.alive = process.runs = False
            process.held.clear()
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._dead.clear()
        self._ready.clear()  # type: ignore[attr-defined]
        self._timers.clear()
        self.close()

    def bury(self) -> None:
        """After ``die``: end the coroutines that somebody still holds.  Left to the collector, those that wait in a
        ``finally`` block would say that they ignored it, at a time that nobody decides.  Their last words reach nobody:
        a server logs what its handlers raise."""
        logged_above = logging.root.manager.disable
        logging.disable()
        try:
            for task in (task for process in self._processes for task in process.tasks):
                _end(task.get_coro())
        finally:
            logging.disable(logged_above)

    def _check_closed(self) -> None:
        """``finally`` blocks of the dead may schedule what they like."""

    # --- what code asks a loop for ------------------------------------------------------------------------------------

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        sock: Any = None,
        ssl: Any = None,
        **_options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        if ssl:
            raise OSError("the simulated network knows no TLS")
        if sock is not None:
            host, port = self._sockets.pop(id(sock))
            sock.close()
        assert host is not None
        assert port is not None
        assert self.network is not None
        return await self.network.connect(host, port, protocol_factory)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Remembers the address: the socket itself is never used."""
        self._sockets[id(sock)] = (address[0], address[1])

    async def create_unix_server(self, _factory: Any, path: Any = None, **_options: Any) -> Any:  # type: ignore[override]
        """Nobody calls: operators of a simulation publish events.  The path exists, as its owner expects."""
        with open(path, "wb"):
            pass
        return _NoServer()

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """No signals: a simulation stops its processes itself."""

    def remove_signal_handler(self, sig: int) -> bool:  # noqa: ARG002
        return True

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:  # type: ignore[override]  # noqa: ARG002
        raise RuntimeError(f"{func} in a thread: its end would come at no time that a seed decides")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Context | None = None) -> asyncio.Task[Any]:
    """A task that its process knows of while it runs."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    owner = _owner.get() if context is None else context.get(_owner)
    if owner is not None:
        owner.tasks.add(task)
    return task


class _NoServer:
    """What the owner of a server does with it at the end."""

    def close(self) -> None: ...


def _end(coroutine: Any) -> None:
    for _ in range(NESTED_MAX):
        try:
            coroutine.close()
        except RuntimeError:  # it waits for something else now, in the block around
            continue
        except KeyboardInterrupt:
            raise
        except BaseException:
            return
        return
