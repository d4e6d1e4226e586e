"""Settings of stored market data.

Owns the section ``data`` and those that belong to it; ``config.schema`` puts them together.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from config.sections import FilePath, Section
from engine.consolidated.definition import ConsolidatedDefinition
from engine.quality.tolerances import Tolerances
from engine.venues import CONSOLIDATED

_MS_NS = 1_000_000
_DAY_NS = 86_400_000_000_000


class DataSettings(Section):
    catalogue: FilePath = Field(default=Path("var/catalogue"), description="folder of stored market data")
    record: bool = Field(default=False, description="store the market of each session there, by a process of its own")


class ExogenousSettings(Section):
    """Published series for columns such as ``exogenous(CPI)``, from the catalogue, as of their publication."""

    series: list[str] = Field(default=[], description="names of series of data.catalogue to publish")
    history_days: float = Field(
        default=30.0,
        ge=0,
        le=36_500,
        description="of publications before the start, for features made of history, days",
    )
    renew_s: float = Field(default=60.0, ge=1, le=86_400, description="how often new publications are looked for, s")

    @property
    def history_ns(self) -> int:
        return int(self.history_days * _DAY_NS)


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
    blind_ms: int = Field(
        default=5_000,
        ge=1,
        le=86_400_000,
        description="after so long with refused times alone, stops and equity are shown the prices, ms",
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
            blind_ns=self.blind_ms * _MS_NS,
            volume_z=self.volume_z,
            volume_ratio=self.volume_ratio,
        )


class ConsolidatedSettings(Section):
    """One price over several venues; ``docs/aggregator.md`` has the rules."""

    instrument: str = Field(
        pattern=r"^[A-Z0-9.\-]+/[A-Z0-9]+$", description="such as BTC/USD; its id becomes BTC/USD@consolidated"
    )
    members: list[str] = Field(min_length=2, description="ids of the same thing on several venues: BTC/USD@coinbase")
    stale_ms: int = Field(
        default=5_000, ge=1, le=86_400_000, description="a venue whose last quote is older is out, ms"
    )
    wild_bps: float = Field(
        default=50.0, gt=0, lt=10_000, description="a venue farther from the others' median is out, bps"
    )
    band_bps: float = Field(
        default=500.0, gt=0, lt=10_000, description="farthest apart at first sight, bps; not below wild_bps"
    )
    equivalent: dict[str, str] = Field(default={}, description="currencies that count as another: {USDT: USD}")
    bar: str = Field(
        default="", pattern=r"^$|^[1-9]\d*(ms|s|m|h)$", description="length of its time bars (1s, 1m, 1h); empty: none"
    )

    @model_validator(mode="after")
    def _consistent(self) -> ConsolidatedSettings:
        if len(set(self.members)) != len(self.members):
            raise ValueError("each member once")
        if self.band_bps < self.wild_bps:
            raise ValueError("band_bps of at least wild_bps: else a venue could be in that never was let in")
        return self

    def definition(self) -> ConsolidatedDefinition:
        """As the core takes it.  Raises ``ConfigError`` for a member that is none."""
        return ConsolidatedDefinition(
            f"{self.instrument}@{CONSOLIDATED}",
            tuple(self.members),
            stale_ns=self.stale_ms * _MS_NS,
            wild_bps=self.wild_bps,
            band_bps=self.band_bps,
            equivalent=self.equivalent,
            bar_ns=_duration_ns(self.bar) if self.bar else 0,
        )


def _duration_ns(text: str) -> int:
    number = text.rstrip("mhs")
    return int(number) * {"ms": _MS_NS, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}[text.removeprefix(number)]
