"""What was typed of a session that is to be started, by whichever command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
