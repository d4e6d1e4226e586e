"""What was typed of a session that is to be started, by whichever command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from engine.errors import ConfigError

SecondsOption = Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="stop after so long")]
NameOption = Annotated[str, typer.Option(help="name of the session folder (default: made from the time)")]
ReportOption = Annotated[bool, typer.Option(help="write report.html at the end")]
VenueTruthOption = Annotated[
    bool, typer.Option("--venue-truth", help="go on from what the venue says alone, not from the last session")
]


def check_seconds(seconds: float | None) -> None:
    """What ``--for`` was given.  Raises ``ConfigError``."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise ConfigError(f"--for {seconds}", expected="a positive number of seconds")


@dataclass(frozen=True)
class SessionPlan:
    """``mode`` record: it only watches; ``only_check``: it ends where the first order would leave.

    ``speed`` of recorded files: a factor of their pace, or max.  ``seconds``: stop after so long.  ``session``: name of
    its folder, empty: made from the time.  ``venue_truth``: go on from what the venue says alone.
    """

    mode: Literal["paper", "live", "record"] = "paper"
    speed: float | Literal["max"] = "max"
    seconds: float | None = None
    session: str = ""
    report: bool = True
    venue_truth: bool = False
    as_json: bool = False
    only_check: bool = False

    @property
    def live(self) -> bool:
        return self.mode == "live"
