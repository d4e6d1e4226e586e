"""Settings of what looks after a daemon from outside, and of how a session ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.sections import Section


class WatchdogSettings(Section):
    """Of the process that cancels every open order when the daemon cannot: only where the account outlives the
    session."""

    enabled: bool = Field(default=True, description="start one beside a daemon whose account outlives the session")
    stuck_s: float = Field(default=5.0, ge=0.5, le=3_600, description="longest time without a heartbeat, s")
    start_s: float = Field(
        default=180.0, ge=1, le=3_600, description="the same while the session starts (models load then), s"
    )
    halt_s: float = Field(default=2.0, ge=0.5, le=3_600, description="longest time to obey a HALT file, s")
    on_death: Literal["cancel", "halt", "keep"] = Field(
        default="cancel",
        description="when the daemon dies by itself: cancel its open orders; halt, no start until resume as well; or "
        "keep them",
    )
    at_venue_s: float = Field(
        default=60.0,
        ge=0,
        le=3_600,
        description="after so long without us the venue itself cancels everything, where it has such a switch (ccxt "
        "alone) and on_death is not keep; 0: not asked, s",
    )
    give_up_s: float = Field(
        default=3_600.0, ge=1, le=86_400, description="longest time to try after a death while the venue is silent, s"
    )


class ShutdownSettings(Section):
    cancel_timeout_s: float = Field(default=5.0, gt=0, le=600, description="wait for open orders to be cancelled, s")
    positions: Literal["keep", "flatten"] = Field(
        default="keep", description="what the end of a session does about open positions: keep, or flatten (close them)"
    )
    flatten_timeout_s: float = Field(default=30.0, gt=0, le=600, description="wait for positions to be closed, s")
