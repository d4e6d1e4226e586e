"""Every setting: its name, type, default and meaning.

Owns the shape of the configuration.  Where values come from (files, environment, command line) is ``config.load``;
secrets are ``config.secrets`` and are no part of it.  The descriptions below are what ``config init`` writes into a
starter file and what ``docs/configuration.md`` lists.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    PrivateAttr,
    field_validator,
    model_validator,
)

from config.breaker_schema import BreakerSettings
from config.data_schema import ConsolidatedSettings, DataSettings, ExogenousSettings, QualitySettings
from config.features_schema import FeaturesSettings
from config.mixture_schema import MixtureSettings
from config.observer_schema import RolloutSettings, WatchSettings
from config.risk_schema import RiskSettings
from config.sections import Currency, FilePath, Port, Positive, Section
from config.supervision_schema import ShutdownSettings, WatchdogSettings
from config.venue_schema import PaperSettings, SandboxSettings, VenueSettings
from engine.stakes import GUARDIAN, OPERATOR
from models.shipped import DEFAULT, ENGINES, REGISTRY, bundles_folder
from models.shipped import Name as Provider

PROFILES: Final = ("paper", "development", "testing", "production")
REDACTED: Final = "**********"
_SENSITIVE: Final = re.compile(
    r"secret|token|passw|passphrase|credential|authorization|jwt|api_?key|private_?key", re.IGNORECASE
)
_RAW_KEY: Final = re.compile(r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)(?!=)")
"""32 or 64 bytes in base64: an Ed25519 key as venues give it."""
_USER_INFO: Final = re.compile(r"//[^/@\s]+@")
NAME_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"


class SessionSettings(Section):
    directory: FilePath = Field(
        default=Path("var/sessions"), description="folder that holds one folder for each session"
    )
    self_check_s: int = Field(
        default=10, ge=1, le=3_600, description="how often the daemon samples its own invariants, s"
    )
    approved: FilePath | None = Field(
        default=None,
        description="file of config approve: nothing else than what it approves trades; empty: not asked on paper",
    )


class PortfolioSettings(Section):
    currency: Currency = Field(default="USD", description="in which equity and limits are counted")
    rates: dict[Currency, Positive] = Field(
        default={"USDT": Decimal(1), "USDC": Decimal(1)},
        description="worth of one unit in the portfolio's currency, where no market of the session says it; "
        "the default is for dollars only",
    )


class StrategySettings(Section):
    name: str = Field(pattern=NAME_PATTERN, description="unique in a session")
    kind: str | None = Field(default=None, description="a built-in strategy: threshold, ema_cross")
    path: str | None = Field(default=None, description="your own: folder/file.py:Class")
    instruments: Literal["all"] | list[str] = Field(default="all", description="all, or ids such as BTC/USD@coinbase")
    model: str = Field(
        default="auto",
        min_length=1,
        description="auto (the champion, else a bundle that fits), none, a bundle's name, or NAME@VERSION",
    )
    params: dict[str, JsonValue] = Field(default={}, description="the strategy's own")

    @model_validator(mode="after")
    def _one_source(self) -> StrategySettings:
        if (self.kind is None) == (self.path is None):
            raise ValueError("either kind or path")
        return self


class ModelsSettings(Section):
    directory: Annotated[FilePath, AfterValidator(bundles_folder)] = Field(
        default=DEFAULT, validate_default=True, description="folder of model bundles; the default: else those that ship"
    )
    registry: FilePath = Field(
        default=REGISTRY, description="folder of versions and champions; a champion goes before the folder of bundles"
    )
    deadline_us: int = Field(
        default=1000, gt=0, description="a prediction that takes longer is late and not traded on, us"
    )
    providers: list[Provider] = Field(
        default=["cpu"], min_length=1, description="what computes, the first that can; cpu stands behind them all"
    )
    engines: FilePath = Field(default=ENGINES, description="folder of TensorRT engines: models verify NAME --build")
    same_answers_max: int = Field(
        default=100, ge=0, description="different windows in a row that may have the same answer, then it fails; 0: any"
    )
    schedule: Literal["auto", "inline", "worker"] = Field(
        default="auto",
        description="where models run: auto (over 50 us on a worker thread, if there is a second core), inline, worker",
    )
    by_step: list[str] = Field(
        default=[], description="recurrent bundles, by name, served row by row; their manifest has to allow it"
    )
    uncertainty: bool = Field(
        default=False,
        description="predictions carry the spread of each forecast, by the bundle's second graph: some passes more",
    )
    breaker: BreakerSettings = BreakerSettings()
    watch: WatchSettings = WatchSettings()
    rollout: RolloutSettings = RolloutSettings()


class JournalSettings(Section):
    fsync: Literal["interval", "never", "always"] = Field(
        default="interval", description="always: an order waits for the disk"
    )
    interval_ms: int = Field(default=50, ge=1, le=60_000, description="between syncs, ms")
    segment_mb: int = Field(default=64, ge=1, le=4096, description="size of one segment file, MB")


class MetricsSettings(Section):
    port: Literal["auto"] | Port = Field(default="auto", description="auto: 9464, or a free one")
    host: str = Field(default="127.0.0.1", min_length=1, description="address the metrics endpoint listens on")


class LogsSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least severity written")
    directory: FilePath | None = Field(default=None, description="empty: log/ in the session's folder")
    max_mb: int = Field(default=50, ge=1, description="size at which a log file rotates, MB")
    keep: int = Field(default=5, ge=1, le=1000, description="rotated files kept")


class EngineSettings(Section):
    timer_ms: int = Field(default=100, ge=1, le=5_000, description="heartbeat of everything timed, ms")
    shadow_tick: bool = Field(default=True, description="keep caches warm with ticks that go nowhere")
    shadow_interval_ms: int = Field(default=1, ge=1, le=1000, description="between shadow ticks, ms")
    uvloop: bool = Field(default=True, description="use it where it is installed")
    cpu: int | None = Field(
        default=None, ge=0, description="processor that the loop has to itself; what it starts runs on the others"
    )
    busy_poll: bool = Field(default=False, description="never sleep between events: wakes sooner, takes a whole core")
    conflate_lag_ms: float = Field(default=5.0, gt=0, description="lag beyond which superseded quotes are dropped, ms")
    clock_step_limit_ms: int = Field(default=50, ge=1, description="wall clock against monotonic clock, ms")


class SecretsSettings(Section):
    """Where secrets are looked up; never their values."""

    file: FilePath | None = Field(default=None, description="YAML or JSON map of names to values, mode 600")
    keyring: str | None = Field(default=None, description="service name in the system keyring")


class Settings(Section):
    """All settings of one daemon, checked.  Made by ``config.load.load``."""

    profile: Literal["paper", "development", "testing", "production"] = Field(
        default="paper", description="shipped settings that the files go over"
    )
    session: SessionSettings = SessionSettings()
    venue: VenueSettings = VenueSettings()
    sandbox: SandboxSettings = SandboxSettings()
    paper: PaperSettings = PaperSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    strategies: list[StrategySettings] = Field(
        default=[], description="what decides; each has its own state and positions"
    )
    models: ModelsSettings = Field(default_factory=ModelsSettings)
    mixtures: list[MixtureSettings] = Field(
        default=[], description="several bundles that serve as one model, by the name that strategies use"
    )
    features: FeaturesSettings = FeaturesSettings()
    risk: RiskSettings = RiskSettings()
    journal: JournalSettings = JournalSettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogsSettings = LogsSettings()
    engine: EngineSettings = EngineSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    data: DataSettings = DataSettings()
    exogenous: ExogenousSettings = ExogenousSettings()
    quality: QualitySettings = QualitySettings()
    consolidated: list[ConsolidatedSettings] = Field(
        default=[], description="prices over several venues; strategies take them as any instrument"
    )
    secrets: SecretsSettings = SecretsSettings()

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)
    _files: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("mixtures")
    @classmethod
    def _distinct_mixtures(cls, value: list[MixtureSettings]) -> list[MixtureSettings]:
        names = [mixture.name for mixture in value]
        if len({*names, "auto", "none"}) != len(names) + 2:
            raise ValueError("each mixture name once, and neither auto nor none")
        return value

    @field_validator("strategies")
    @classmethod
    def _distinct_names(cls, value: list[StrategySettings]) -> list[StrategySettings]:
        names = [strategy.name for strategy in value]
        if len(set(names)) != len(names):
            raise ValueError("each strategy name once")
        if OPERATOR in names:
            raise ValueError(f"another name than {OPERATOR}, which is for orders by hand")
        if GUARDIAN in names:
            raise ValueError(f"another name than {GUARDIAN}, which is risk's own (risk.guardian)")
        return value

    @field_validator("consolidated")
    @classmethod
    def _distinct_instruments(cls, value: list[ConsolidatedSettings]) -> list[ConsolidatedSettings]:
        if len({one.instrument for one in value}) != len(value):
            raise ValueError("each consolidated instrument once")
        return value

    def redacted(self) -> dict[str, Any]:
        """All settings as JSON-able values, with everything that looks like a secret blotted out."""
        plain: dict[str, Any] = redact(self.model_dump(mode="json"))
        return plain

    def digest(self) -> str:
        """sha256 (hex) of ``redacted`` in canonical JSON: names what decided, and gives no secret away."""
        text = json.dumps(self.redacted(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def sources(self) -> dict[str, str]:
        """Where each key that is not at its default was set, by dotted key."""
        return self._sources

    @property
    def files(self) -> dict[str, str]:
        """The files that were read, by absolute path, with the sha256 (hex) of each."""
        return self._files


def is_sensitive(key: str) -> bool:
    """Whether a key's name says that its value is a secret.  Names of files are none."""
    return bool(_SENSITIVE.search(key)) and not key.lower().endswith(("_file", "_path"))


def redact(value: Any, key: str = "") -> Any:
    """``value`` with what looks like a secret, by its key or its content, replaced."""
    if is_sensitive(key) and value is not None and not isinstance(value, Mapping | list):
        return REDACTED
    if isinstance(value, Mapping):
        return {
            str(name): redact(part, f"{key}.{name}" if is_sensitive(key) else str(name)) for name, part in value.items()
        }
    if isinstance(value, list):
        return [redact(part, key) for part in value]
    if isinstance(value, str):
        if "PRIVATE KEY" in value:
            return REDACTED
        return _USER_INFO.sub(f"//{REDACTED}@", _RAW_KEY.sub(REDACTED, value))
    return value
