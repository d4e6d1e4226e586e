"""Which of this machine's processors run what: one belongs to the loop, the others to all that stands beside it.

Owns the affinities of this process's threads and of the processes it starts.  A loop that may run anywhere shares a
processor with threads and children of its own as soon as there are more of them than processors, and waits for their
turns to end: three milliseconds each (``docs/decisions/0048-the-loop-may-have-a-processor.md``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from engine.errors import ConfigError

CORES_VARIABLE: Final = "KESTREL_CORES"
"""For the processes that are started: how many processors all of them and the loop have together."""
_TASKS: Final = "/proc/self/task"
_CALLER: Final = "0"
"""The calling thread."""


class _Claim:
    """``home``: the loop's processor; ``beside``: all others; ``loop``: its thread, empty while it claims nothing;
    ``placed``: threads that were sent aside."""

    def __init__(self) -> None:
        self.drop()

    def drop(self) -> None:
        self.home: frozenset[int] = frozenset()
        self.beside: frozenset[int] = frozenset()
        self.loop = ""
        self.placed: set[str] = set()


_claim = _Claim()
"""Affinities are this process's, and so is this."""


def check_claim(cpu: int | None) -> frozenset[int]:
    """The processors of the calling thread.  Raises ``ConfigError`` where ``cpu`` is none of them, or the only one."""
    usable = _usable()
    if cpu is not None and cpu not in usable:
        raise ConfigError(
            f"engine.cpu is {cpu}, which is no processor of this process",
            expected=f"one of {', '.join(map(str, sorted(usable)))}" if usable else "Linux",
            do="leave engine.cpu out",
        )
    if cpu is not None and len(usable) < 2:
        raise ConfigError("engine.cpu needs a second processor, and this process has one", do="leave engine.cpu out")
    return usable


@contextmanager
def loop_on(cpu: int | None) -> Iterator[None]:
    """The calling thread has the processor ``cpu`` to itself meanwhile; None changes nothing.

    Raises ``ConfigError`` where there is no such processor for us, or no other one beside it.
    """
    if cpu is None:
        yield
        return
    before = check_claim(cpu)
    _claim.home, _claim.beside, _claim.loop = frozenset({cpu}), before - {cpu}, _this_thread()
    os.environ[CORES_VARIABLE] = str(len(before))
    try:
        send_aside()
        os.sched_setaffinity(0, _claim.home)
        yield
    finally:
        del os.environ[CORES_VARIABLE]
        _claim.drop()
        _place(os.listdir(_TASKS), before)


@contextmanager
def beside() -> Iterator[None]:
    """Threads and processes that are started within run on the other processors, where the loop has one to itself."""
    if not _claim.loop or _usable() != _claim.home:
        yield  # they take after this thread, which is beside it already
        return
    _place([_CALLER], _claim.beside)
    try:
        yield
    finally:
        _place([_CALLER], _claim.home)


def step_aside() -> None:
    """The calling thread, which the loop's has started, goes to the other processors."""
    if _claim.loop:
        _place([_CALLER], _claim.beside)


def send_aside() -> None:
    """Threads that libraries have started meanwhile, from the loop's thread, go to the other processors.

    Cheap enough to be called each second.
    """
    if not _claim.loop or _this_thread() != _claim.loop:
        return
    now = set(os.listdir(_TASKS))
    _place(now - _claim.placed - {_claim.loop}, _claim.beside)
    _claim.placed = now


def usable_count() -> int:
    """Processors that the loop and all that stands beside it have together."""
    told = os.environ.get(CORES_VARIABLE, "")
    return int(told) if told.isdigit() else max(1, len(_usable()))


def _this_thread() -> str:
    return os.readlink("/proc/thread-self").rpartition("/")[2]


def _usable() -> frozenset[int]:
    with suppress(OSError, AttributeError):  # not on every system
        return frozenset(os.sched_getaffinity(0))
    return frozenset()


def _place(threads: Iterable[str], cpus: frozenset[int]) -> None:
    for thread in threads:
        with suppress(OSError):  # it has ended meanwhile, or these processors were taken away: it runs where it may
            os.sched_setaffinity(int(thread), cpus)
