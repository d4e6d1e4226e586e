"""Plain values by which a session is run, and looked at before: what the runtime is told of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

CONFIRM_S: Final = 120.0
"""Longest wait for the account to be confirmed whole: an order of unknown outcome is looked for a quarter of a minute,
and a listing that leaves a currency out is asked for again."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of section ``watchdog``, s.  ``only_looks``: of a session that only checks, which is not halted
    either, and of which nothing is cancelled."""

    stuck_s: float = 5.0
    start_s: float = 180.0
    halt_s: float = 2.0
    on_death: Literal["cancel", "halt", "keep"] = "cancel"
    give_up_s: float = 3600.0
    only_looks: bool = False


@dataclass(frozen=True)
class WatchdogPlan:
    """Plain values: which cancel-only module, what it is told, and the settings of section ``watchdog``."""

    venue: str
    settings: dict[str, Any]
    rules: Rules


@dataclass(frozen=True)
class ObserverPlan:
    """``command`` starts it; the session's folder and our process id are put behind.  ``restarts_max``: how often it is
    started again in a session.  ``at_work``: which version was at work there when it died; empty for none.
    ``is_wanted``: whether there is anything to watch by now; it is quick, and never raises."""

    command: Sequence[str]
    restarts_max: int
    at_work: Callable[[Path], str] = lambda _: ""
    is_wanted: Callable[[], bool] = lambda: True


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
    self_check_s: int = 10
    """How often the session samples its own invariants, s."""
    only_check: bool = False
    """Go as far as the confirmed account, send nothing, and end there."""


@dataclass(frozen=True)
class Place:
    """Where a session would run.  ``config`` is the redacted configuration that it would record.

    ``account`` is empty where it ends with the session; ``approval`` None where nobody has to approve, ``approving``
    says that somebody has to.
    """

    sessions: Path
    logs: Path | None
    code_root: Path
    config: dict[str, Any]
    own_code: Sequence[Path]
    account: str
    currency: str
    approval: Path | None
    approving: bool
    segment_mb: int
    fsync: str
    metrics_host: str
    metrics_port: int | Literal["auto"]
    venue_truth: bool = False
    """What earlier sessions on the account left does not count."""
