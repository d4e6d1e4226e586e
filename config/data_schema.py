"""Settings of stored market data.

Owns the section ``data`` and those that belong to it; ``config.schema`` puts them together.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from config.sections import FilePath, Section
from engine.quality.tolerances import Tolerances

_MS_NS = 1_000_000


class DataSettings(Section):
    catalogue: FilePath = Field(default=Path("var/catalogue"), description="folder of stored market data")
    record: bool = Field(default=False, description="store the market of each session there, by a process of its own")


class QualitySettings(Section):
    """Tolerances of the quality gate; ``docs/quality.md`` has the formulas and what real markets measure."""

    outlier_z: float = Field(
        default=30.0, gt=0, le=1e9, description="a price change of more robust standard deviations is suspect ..."
    )
    outlier_bps: float = Field(default=25.0, gt=0, le=1e9, description="... if it is also larger than this, bps")
    confirm_ms: int = Field(
        default=60_000, ge=1, le=86_400_000, description="within which a second tick near a suspect one confirms it, ms"
    )
    confirm_run: int = Field(
        default=5, ge=2, le=1000, description="suspect ticks in a row of which the last is believed"
    )
    future_ms: int = Field(
        default=1_000, ge=1, le=86_400_000, description="ahead of our clock, after the venue's offset, ms"
    )
    stale_ms: int = Field(
        default=10_000, ge=1, le=86_400_000, description="behind our clock, after the venue's offset, ms"
    )
    late_ms: int = Field(
        default=1_000,
        ge=1,
        le=86_400_000,
        description="older than the newest event of its stream, ms; not below future_ms",
    )
    clock_offset_max_ms: int = Field(
        default=5_000, ge=1, le=86_400_000, description="largest offset of the venue's clock that is learned, ms"
    )
    volume_z: float = Field(
        default=1_000.0,
        gt=0,
        le=1e9,
        description="a larger volume, in robust standard deviations, is counted as a spike",
    )
    volume_ratio: float = Field(
        default=1_000.0, gt=0, le=1e9, description="times the largest recent volume: more than that is held back"
    )

    @model_validator(mode="after")
    def _late_enough(self) -> QualitySettings:
        if self.late_ms < self.future_ms:
            raise ValueError("late_ms of at least future_ms: else an early event makes those behind it late")
        return self

    def tolerances(self) -> Tolerances:
        """As the gate takes them."""
        return Tolerances(
            outlier_z=self.outlier_z,
            outlier_bps=self.outlier_bps,
            confirm_ns=self.confirm_ms * _MS_NS,
            confirm_run=self.confirm_run,
            future_ns=self.future_ms * _MS_NS,
            stale_ns=self.stale_ms * _MS_NS,
            late_ns=self.late_ms * _MS_NS,
            clock_offset_ns_max=self.clock_offset_max_ms * _MS_NS,
            volume_z=self.volume_z,
            volume_ratio=self.volume_ratio,
        )
