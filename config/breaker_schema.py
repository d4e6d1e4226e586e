"""Settings of the breaker: when a model is not asked any more, and what then becomes of those who trade on it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.sections import Section
from engine.seats import ServingRules


class BreakerSettings(Section):
    failures_max: int = Field(
        default=10, ge=0, le=1_000_000, description="late or failed predictions in a row, then it is broken; 0: never"
    )
    pause_s: float = Field(default=30.0, gt=0, le=86_400, description="until one row is tried again, s")
    fallback: Literal["hold", "flat", "older"] = Field(
        default="hold",
        description="while the champion does not serve: keep what is held, close what its strategies hold, or have the "
        "champion before predict",
    )

    def rules(self) -> ServingRules:
        return ServingRules(self.failures_max, int(self.pause_s * 1e9), self.fallback)
