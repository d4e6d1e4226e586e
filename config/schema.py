"""Every setting: its name, type, default and meaning.

Owns the shape of the configuration.  Where values come from (files, environment, command line) is ``config.load``;
secrets are ``config.secrets`` and are no part of it.  The descriptions below are what ``config init`` writes into a
starter file and what ``docs/configuration.md`` lists.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

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
from config.sections import FilePath, Section
from config.supervision_schema import ShutdownSettings, WatchdogSettings
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
CURRENCY_PATTERN: Final = r"^[A-Z0-9]{2,12}$"
SYMBOL_PATTERN: Final = r"^[A-Z0-9.\-]+/[A-Z0-9]+(:[A-Z0-9.\-]+)?$"


def _url(value: str) -> str:
    """Plain http and ws carry keys and orders unprotected: they are for this machine only."""
    parts = urlsplit(value)
    if parts.scheme not in ("https", "wss", "http", "ws") or not parts.hostname:
        raise ValueError("a URL such as https://host or wss://host")
    if parts.username or parts.password:
        raise ValueError("a URL without user name and password")
    if parts.scheme in ("http", "ws") and not _is_loopback(parts.hostname):
        raise ValueError("https or wss for any other machine than this one")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Url = Annotated[str, AfterValidator(_url)]
Currency = Annotated[str, Field(pattern=CURRENCY_PATTERN)]
Symbol = Annotated[str, Field(pattern=SYMBOL_PATTERN)]
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[Decimal, Field(gt=0)]
NotNegative = Annotated[Decimal, Field(ge=0)]


def _ccxt_name(value: str) -> str:
    """``ccxt:kraken`` as it stands in instrument ids: ``ccxt_kraken``."""
    name = value.replace("ccxt:", "ccxt_", 1)
    if not re.fullmatch(r"ccxt_[a-z][a-z0-9]{1,30}", name):
        raise ValueError("ccxt:EXCHANGE")
    return name


class SessionSettings(Section):
    directory: FilePath = Field(
        default=Path("var/sessions"), description="folder that holds one folder for each session"
    )
    approved: FilePath | None = Field(
        default=None,
        description="file of config approve: nothing else than what it approves trades; empty: not asked on paper",
    )


class VenueSettings(Section):
    name: (
        Literal["coinbase", "binance_spot", "binance_usdm", "oanda", "robin_stocks", "robinhood"]
        | Annotated[str, AfterValidator(_ccxt_name)]
    ) = Field(default="coinbase", description="venue to trade on")
    feed: Literal["sandbox", "live", "replay"] = Field(default="sandbox", description="where the market comes from")
    symbols: list[Symbol] = Field(
        default=["BTC/USD", "ETH/USD"],
        min_length=1,
        description="what to trade; feed replay takes it from the files instead",
    )
    channels: list[
        Literal["heartbeats", "ticker", "ticker_batch", "market_trades", "level2", "candles", "status", "funding"]
    ] = Field(default=["heartbeats", "ticker", "market_trades"], description="market data channels to subscribe")
    transport: Literal["websockets", "picows"] = Field(default="websockets", description="WebSocket library")
    rest_url: Url | None = Field(default=None, description="empty: the venue's own, or the sandbox's")
    ws_market_url: Url | None = Field(default=None, description="empty: the venue's own, or the sandbox's")
    ws_user_url: Url | None = Field(default=None, description="empty: the venue's own, or the sandbox's")
    stream_url: Url | None = Field(
        default=None, description="of venues that stream over HTTP (OANDA); empty: the venue's own, or the sandbox's"
    )
    account: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="where a key opens several (OANDA); empty: the first",
    )
    rest_fallbacks: list[Url] = Field(
        default=[],
        description="addresses that serve the same as rest_url, taken in order when it fails; of Binance and ccxt",
    )
    ws_market_fallbacks: list[Url] = Field(
        default=[], description="the same for ws_market_url; back to the first after five minutes, at a reconnection"
    )
    proxy: str = Field(
        default="",
        description="http://, socks4:// or socks5://HOST:PORT; none; empty: as the environment says (HTTPS_PROXY ...)",
    )
    ca_file: FilePath | None = Field(
        default=None, description="certificates (PEM) to believe; empty: those of the system, or of SSL_CERT_FILE"
    )
    key_file: FilePath | None = Field(
        default=None, description="API key file as the venue gives it, mode 600; the sandbox's own"
    )
    order_connections: int = Field(default=4, ge=1, le=64, description="kept-alive connections for orders")
    request_timeout_ms: int = Field(
        default=5000, ge=100, le=60_000, description="then an order's outcome is unknown, ms"
    )
    external_orders: Literal["adopt", "reduce"] = Field(
        default="adopt", description="orders of others on the account: counted like ours, or also no new risk"
    )
    reconcile_s: float = Field(
        default=300.0, ge=1, le=86_400, description="how often the account is compared with the books, s"
    )
    attach_exits: bool = Field(
        default=False, description="brackets leave with their entry where the venue places them itself (Coinbase, spot)"
    )
    edit_orders: bool = Field(
        default=False, description="orders are changed in place where the venue does that (Coinbase: limit orders, gtc)"
    )
    guaranteed_stops: bool = Field(
        default=False,
        description="stops at market that close a trade are the venue's guaranteed ones, for a premium (OANDA only)",
    )
    products_s: float = Field(
        default=60.0, ge=1, le=86_400, description="how often rules and states of the instruments are read again, s"
    )

    @field_validator("name", mode="before")
    @classmethod
    def _spot_is_meant(cls, value: Any) -> Any:
        return "binance_spot" if value == "binance" else value

    @model_validator(mode="after")
    def _distinct(self) -> VenueSettings:
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("each symbol once")
        return self


class SandboxSettings(Section):
    seed: int = Field(default=7, ge=0, description="of the synthetic market")
    port: Port = Field(default=0, description="0: any free port")
    speed: float = Field(default=1.0, gt=0, description="market seconds per second")
    rate_per_s: float = Field(
        default=100.0,
        gt=0,
        le=10_000,
        description="orders and cancels of the synthetic market, each product, per second",
    )
    history_s: float = Field(default=60.0, ge=0, le=3_600, description="market made before the start, s")
    balances: dict[Currency, NotNegative] = Field(
        default={"USD": Decimal(100_000)}, description="of the default account"
    )
    products: dict[Symbol, Positive] = Field(
        default={},
        description="symbols that it makes up besides those it has, with the price at which each starts",
    )


class PaperSettings(Section):
    balances: dict[Currency, NotNegative] = Field(
        default={"USD": Decimal(100_000)},
        description="at the start at each venue, where fills are made in process (feeds live and replay)",
    )
    latency_ms: float = Field(default=5.0, ge=0, le=60_000, description="from sending an order to its arrival, ms")
    maker_fee_bps: NotNegative | None = Field(
        default=None, description="empty: the instrument's own rate, bps of notional"
    )
    taker_fee_bps: NotNegative | None = Field(
        default=None, description="empty: the instrument's own rate, bps of notional"
    )
    assumed_quote_notional: Positive = Field(
        default=Decimal(100_000),
        description="worth of the size at the best price where the feed gives none, quote currency",
    )


class PortfolioSettings(Section):
    currency: Currency = Field(default="USD", description="in which equity and limits are counted")
    rates: dict[Currency, Positive] = Field(
        default={"USDT": Decimal(1), "USDC": Decimal(1)},
        description="worth of one unit in the portfolio's currency, at start; the default is for dollars only",
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
    timer_ms: int = Field(default=100, ge=1, le=60_000, description="heartbeat of everything timed, ms")
    shadow_tick: bool = Field(default=True, description="keep caches warm with ticks that go nowhere")
    shadow_interval_ms: int = Field(default=1, ge=1, le=1000, description="between shadow ticks, ms")
    uvloop: bool = Field(default=True, description="use it where it is installed")
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
