"""What a session is put together from besides ``engine.session_options``: what only ``run.py`` can name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.core import TradingCore
from engine.events import InputEvent
from engine.ports import Clock, Probe, Publish, Recorder, Venue
from engine.runtime.succession import Left


class Warmer(Protocol):
    """Keeps what a tick needs at hand between ticks; see ``engine.runtime.shadow`` and ``polling``."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Companion(Protocol):
    """Works for a session while it trades, in a thread or a process of its own.  ``stop`` is called in any case, and
    returns soon.  ``status``: plain values, what ``status`` shows besides; asked each second."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def status(self) -> dict[str, Any]: ...


Tell = Callable[[Callable[[int], InputEvent]], None]
"""Has an event published, made with the time at which it is; from any thread.  Without effect after the end."""


class Worker(Protocol):
    """Computes off the loop what models say (``models.serving.worker``).

    ``start`` is given who takes the answers, the time that they are stamped with, and what has a function called in the
    loop's thread.  ``counts``: what became of what was asked.
    """

    def start(self, publish: Publish, now_ns: Callable[[], int], call_soon: Callable[..., Any]) -> None: ...

    def stop(self) -> None: ...

    @property
    def counts(self) -> dict[str, int]: ...


class Lag(Protocol):
    """How late the event loop is, ns: now, and at worst since the last time this was asked."""

    def __call__(self) -> int: ...

    def take_worst(self) -> int: ...


@dataclass(frozen=True)
class Parts:
    """What only ``run.py`` can name."""

    core: Callable[[Recorder, Probe, str], TradingCore]
    venue: Callable[
        [
            Publish,
            Clock,
            Callable[[], int],
            str,
            Path,
            Callable[[str], None],
            Left | None,
            Callable[[str], None] | None,
        ],
        Venue,
    ]
    """The last two: what the last session on the account left, and who is to be told which account it is."""
    lag: Callable[[asyncio.AbstractEventLoop], Lag]
    warmer: Callable[[Venue, TradingCore, Clock], Warmer | None]
    companions: Callable[[TradingCore, Tell], Sequence[Companion]] = lambda *_: ()
    worker: Worker | None = None
    """None where all models run in the loop's thread."""
