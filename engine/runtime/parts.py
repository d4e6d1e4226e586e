"""What a session is put together from: plain values, and functions that make what only ``run.py`` can name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.core import TradingCore
from engine.events import InputEvent
from engine.ports import Clock, Probe, Publish, Recorder, Venue
from engine.runtime.observer_keeper import ObserverPlan
from engine.runtime.succession import Left
from engine.runtime.watchdog_keeper import WatchdogPlan


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
class Options:
    """Plain values of one session.  ``config`` is the redacted configuration as recorded in the header."""

    mode: Literal["paper", "live", "record"]
    root: Path
    code_root: Path
    config: dict[str, Any]
    session: str
    seed: int | None
    rates: Sequence[tuple[str, Any]]
    models: tuple[str, ...]
    feed: str
    data_time: bool
    start_ns: int
    """Time of the first event of a recording; 0 for a live feed."""
    fsync: Literal["interval", "never", "always"]
    fsync_interval_ms: int
    segment_mb: int
    metrics_host: str
    metrics_port: int | Literal["auto"]
    log_level: str
    log_folder: Path | None
    log_max_mb: int
    log_keep: int
    timer_ms: int
    clock_step_limit_ms: int
    cancel_timeout_s: float
    seconds: float | None
    as_json: bool
    report: bool
    busy_poll: bool = False
    account: str = ""
    """What is traded on outlives the session, and this names it; empty: an account that is made with the session."""
    venue_truth: bool = False
    """Go on from what the venue says alone, whatever the last session on the account left."""
    keep_s: float = 300.0
    """How often the state of such an account is put on record, s."""
    watchdog: WatchdogPlan | None = None
    """What looks after the orders of such an account when this process cannot; None: nobody does."""
    flatten_s: float | None = None
    """How long positions may take to be closed at the end, s; None: they are kept."""
    own_code: tuple[Path, ...] = ()
    """The user's own strategies."""
    approval: Path | None = None
    """The file that approves a build and a configuration; None: none is asked for."""
    files_read: Mapping[str, str] = field(default_factory=dict)
    """Configuration files -> sha256 (hex) of what was read of them."""
    record_to: Path | None = None
    """Catalogue in which the market is stored meanwhile; None: in none."""
    confirm_s: float | None = None
    """How long the account may take to be confirmed before anything trades, s; None: strategies wait for it."""
    observer: ObserverPlan | None = None
    """What watches the models; None: nobody does."""
    only_check: bool = False
    """Go as far as the confirmed account, send nothing, and end there."""


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
