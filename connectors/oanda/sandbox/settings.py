"""What an OANDA sandbox is made of: instruments, accounts, limits, and the switches of what nobody has verified.

Owns the settings and their checks.  Where they come from (command line, files) is decided by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from connectors.local.start_prices import start_px_of
from connectors.oanda.sandbox.times import HOURS
from engine.errors import ConfigError

_ACCOUNT_ID = re.compile(r"\d{3}-\d{3}-\d{1,10}-\d{3}")
ACCOUNT_ID = "101-004-1000001-001"


class SandboxInstrument(msgspec.Struct, frozen=True):
    """One instrument and the market behind it.  Prices in quote currency, sizes in units, rates a year or a share.

    ``spread_bps``, ``volatility_bps`` (one second) and ``order_notional`` (quote currency) shape the synthetic market.
    ``guaranteed``: DISABLED, ALLOWED or REQUIRED stop-loss guarantee, at ``guaranteed_distance`` from the market or
    farther, for ``guaranteed_premium`` a unit.
    """

    name: str
    start_px: Decimal
    kind: str = "CURRENCY"
    display_precision: int = 5
    pip_location: int = -4
    units_precision: int = 0
    minimum_units: Decimal = Decimal(1)
    maximum_order_units: Decimal = Decimal(100_000_000)
    maximum_position: Decimal = Decimal(0)
    minimum_trailing: Decimal = Decimal("0.00050")
    maximum_trailing: Decimal = Decimal("1.00000")
    margin_rate: Decimal = Decimal("0.02")
    long_rate: Decimal = Decimal("-0.0100")
    short_rate: Decimal = Decimal("-0.0040")
    hours: str = "fx"
    spread_bps: float = 1.2
    volatility_bps: float = 0.25
    order_notional: float = 250_000.0
    guaranteed: str = "DISABLED"
    guaranteed_distance: Decimal = Decimal(0)
    guaranteed_premium: Decimal = Decimal(0)

    @property
    def base(self) -> str:
        return self.name.partition("_")[0]

    @property
    def quote(self) -> str:
        return self.name.partition("_")[2]

    @property
    def tick_px(self) -> Decimal:
        return Decimal(1).scaleb(-self.display_precision)

    @property
    def lot_qty(self) -> Decimal:
        return Decimal(1).scaleb(-self.units_precision)


_YEN = SandboxInstrument(
    "USD_JPY", Decimal("151.204"), display_precision=3, pip_location=-2,
    minimum_trailing=Decimal("0.050"), maximum_trailing=Decimal("100.000"), order_notional=40_000_000.0,
)  # fmt: skip
_GOLD = SandboxInstrument(
    "XAU_USD", Decimal("2412.350"), kind="METAL", display_precision=3, pip_location=-2, units_precision=0,
    maximum_order_units=Decimal(10_000), minimum_trailing=Decimal("0.500"), maximum_trailing=Decimal("1000.000"),
    margin_rate=Decimal("0.05"), hours="metal", spread_bps=1.6, volatility_bps=0.5,
    guaranteed="ALLOWED", guaranteed_distance=Decimal("2.000"), guaranteed_premium=Decimal("0.150"),
)  # fmt: skip
_INDEX = SandboxInstrument(
    "SPX500_USD", Decimal("5604.2"), kind="CFD", display_precision=1, pip_location=0, units_precision=1,
    minimum_units=Decimal("0.1"), maximum_order_units=Decimal(2_000), minimum_trailing=Decimal("1.0"),
    maximum_trailing=Decimal("1000.0"), margin_rate=Decimal("0.05"), hours="index", volatility_bps=0.5,
)  # fmt: skip
DEFAULT_INSTRUMENTS = (
    SandboxInstrument("EUR_USD", Decimal("1.08402")),
    SandboxInstrument("GBP_USD", Decimal("1.26715")),
    _YEN,
    _GOLD,
    _INDEX,
)


_DOLLARS = {
    "AUD": "0.6604", "CAD": "0.7312", "CHF": "1.1280", "EUR": "1.08402", "GBP": "1.26715", "HUF": "0.00276",
    "JPY": "0.0066136", "NZD": "0.6075", "USD": "1",
}  # fmt: skip
"""About what one unit of a currency is worth, so that pairs of them go together; any other is worth one dollar."""
_SMALL = frozenset({"HUF", "JPY"})
"""Currencies in which prices have three decimals."""


def instruments_named(names: Sequence[str]) -> tuple[SandboxInstrument, ...]:
    """The default instruments of these names; an unknown one is a currency pair.  One starts at the price behind its
    name (``FOO_BAR=12.5``), if there is one.  Raises ``ConfigError`` for a price that is none."""
    known = {instrument.name: instrument for instrument in DEFAULT_INSTRUMENTS}
    made = []
    for name, px in map(start_px_of, names):
        found = known.get(name) or _pair(name)
        made.append(found if px is None else msgspec.structs.replace(found, start_px=px))
    return tuple(made)


def _pair(name: str) -> SandboxInstrument:
    base, _, quote = name.partition("_")
    px = Decimal(_DOLLARS.get(base, "1")) / Decimal(_DOLLARS.get(quote, "1"))
    if quote not in _SMALL:
        return SandboxInstrument(name, round(px, 5))
    return msgspec.structs.replace(_YEN, name=name, start_px=round(px, 3))


class AccountSettings(msgspec.Struct, frozen=True):
    """One account.  ``hedging`` lets long and short trades of an instrument stand side by side; ``fifo`` refuses to
    close a trade while an older one of the same size is open.  ``margin_rate`` is the account's own, 0.02 for 50:1."""

    account_id: str = ACCOUNT_ID
    currency: str = "USD"
    balance: Decimal = Decimal(100_000)
    alias: str = "Primary"
    hedging: bool = False
    fifo: bool = True
    margin_rate: Decimal = Decimal("0.02")


class Switches(msgspec.Struct, frozen=True):
    """Where sources differ, or nobody has looked: each value is a way the venue may behave.

    ``duplicate_client_ids``: a pending order's id is accepted again, or rejected.  ``finished_orders``: GET of an order
    that is done, by its number.  ``foreign_account_status``: an account of somebody else.  ``partial_limits``: a
    resting limit order that the market cannot fill whole is filled in part and reissued, or waits for all of it.
    ``reduce_only_reason``: of the cancel of a reduce-only order that has nothing to reduce.  ``minimum_reason``: the
    vendor's list has it misspelt.  ``carry_extensions``: whether a replacement keeps its predecessor's extensions.
    ``closeout_extensions``: whether a closeout's order echoes them.  ``read_lag_s``: how late a transaction becomes
    readable by REST.  ``since_max``: the most transactions in one answer to sinceid, 0 for all.
    """

    duplicate_client_ids: str = "accept"
    finished_orders: str = "served"
    foreign_account_status: int = 403
    partial_limits: str = "reissue"
    reduce_only_reason: str = "POSITION_CLOSEOUT_FAILED"
    minimum_reason: str = "UNITS_MIMIMUM_NOT_MET"
    carry_extensions: bool = False
    closeout_extensions: bool = True
    stream_content_type: str = "application/octet-stream"
    read_lag_s: float = 0.0
    since_max: int = 0

    def check(self) -> None:
        """Raises ``ConfigError``."""
        for name, value, allowed in (
            ("duplicate_client_ids", self.duplicate_client_ids, ("accept", "reject")),
            ("finished_orders", self.finished_orders, ("served", "missing")),
            ("foreign_account_status", self.foreign_account_status, (403, 404)),
            ("partial_limits", self.partial_limits, ("reissue", "whole")),
            ("minimum_reason", self.minimum_reason, ("UNITS_MIMIMUM_NOT_MET", "UNITS_MINIMUM_NOT_MET")),
        ):
            if value not in allowed:
                raise ConfigError(f"sandbox switch {name} {value!r}", expected=f"one of {allowed}")
        if not 0.0 <= self.read_lag_s <= 60.0:
            raise ConfigError(f"sandbox read_lag_s {self.read_lag_s}", expected="0 to 60")
        if self.since_max < 0:
            raise ConfigError(f"sandbox since_max {self.since_max}", expected="0 or more")


class RateLimits(msgspec.Struct, frozen=True):
    """Requests and new connections a second for each address, streams open at a time."""

    rest_per_s: int = 120
    connections_per_s: int = 2
    streams: int = 20


class SandboxSettings(msgspec.Struct, frozen=True):
    """Everything a sandbox needs to start.

    ``port`` 0 takes a free one; with ``tls_folder`` it speaks TLS (``connectors.certificates``).  ``token`` None: one
    is made, or read from ``token_file``.  ``hours``: ``always`` trades around the clock, ``venue`` keeps the venue's
    week.  ``speed`` multiplies the pace of the market.  ``rate_limits`` None switches limits off.  ``history_days`` of
    candles are made up before the start.
    """

    host: str = "127.0.0.1"
    port: int = 0
    instruments: tuple[SandboxInstrument, ...] = DEFAULT_INSTRUMENTS
    accounts: tuple[AccountSettings, ...] = (AccountSettings(),)
    switches: Switches = Switches()
    seed: int = 1
    speed: float = 1.0
    hours: str = "always"
    warmup_s: float = 60.0
    step_ms: float = 20.0
    rate_per_s: float = 25.0
    history_days: int = 5
    token: str | None = None
    token_file: Path | None = None
    tls_folder: Path | None = None
    latency_ms: float = 0.0
    rate_limits: RateLimits | None = None
    heartbeat_s: float = 5.0
    price_window_s: float = 0.25
    outbound_queue: int = 10_000
    """Transactions waiting for one stream; a reader that falls further behind is cut off and counted."""
    max_transactions: int = 200_000
    """Kept by account, oldest dropped first; finished orders and closed trades likewise."""
    max_pending: int = 1_000
    max_trades: int = 1_000

    def check(self) -> None:
        """Raises ``ConfigError`` for a combination that cannot be served."""
        self.switches.check()
        self._check_instruments()
        self._check_accounts()
        for name, value, low, high in (
            ("port", self.port, 0, 65_535),
            ("warmup_s", self.warmup_s, 0, 86_400),
            ("history_days", self.history_days, 0, 60),
            ("latency_ms", self.latency_ms, 0, 60_000),
            ("heartbeat_s", self.heartbeat_s, 0.01, 60),
            ("price_window_s", self.price_window_s, 0, 60),
            ("step_ms", self.step_ms, 1, 10_000),
            ("speed", self.speed, 0.001, 10_000),
            ("rate_per_s", self.rate_per_s, 0.001, 100_000),
            ("outbound_queue", self.outbound_queue, 1, 1 << 30),
            ("max_transactions", self.max_transactions, 100, 1 << 30),
            ("max_pending", self.max_pending, 1, 1 << 20),
            ("max_trades", self.max_trades, 1, 1 << 20),
        ):
            if not low <= value <= high:
                raise ConfigError(f"sandbox {name} {value}", expected=f"{low} to {high}")
        if self.hours not in {"always", "venue"}:
            raise ConfigError(f"sandbox hours {self.hours!r}", expected="always or venue")

    def _check_instruments(self) -> None:
        if not self.instruments:
            raise ConfigError("sandbox has no instruments", expected="at least one, such as EUR_USD")
        seen: set[str] = set()
        for each in self.instruments:
            if not each.base or not each.quote or "_" in each.quote:
                raise ConfigError(f"sandbox instrument {each.name!r}", expected="the form BASE_QUOTE, as EUR_USD")
            if each.name in seen:
                raise ConfigError(f"sandbox instrument {each.name} given twice", do="name it once")
            seen.add(each.name)
            if not each.start_px > 0 or each.start_px % each.tick_px:
                raise ConfigError(
                    f"start price of {each.name} is {each.start_px}", expected=f"above 0, a multiple of {each.tick_px}"
                )
            if each.hours not in HOURS or each.guaranteed not in {"DISABLED", "ALLOWED", "REQUIRED"}:
                raise ConfigError(f"{each.name}: hours {each.hours!r}, guaranteed {each.guaranteed!r}")

    def _check_accounts(self) -> None:
        if not self.accounts:
            raise ConfigError("sandbox has no accounts", expected="at least one")
        pairs = {(each.base, each.quote) for each in self.instruments}
        ids = [account.account_id for account in self.accounts]
        if len(set(ids)) < len(ids):
            raise ConfigError("sandbox account given twice", do="name it once")
        for account in self.accounts:
            if _ACCOUNT_ID.fullmatch(account.account_id) is None:
                raise ConfigError(f"sandbox account {account.account_id!r}", expected=f"the form {ACCOUNT_ID}")
            if not account.balance.is_finite() or account.balance < 0:
                raise ConfigError(f"sandbox balance {account.balance}", expected="a finite amount >= 0")
            if not 0 < account.margin_rate <= 1:
                raise ConfigError(f"sandbox margin rate {account.margin_rate}", expected="above 0, at most 1")
            home = account.currency
            for each in self.instruments:
                if each.quote != home and not {(each.quote, home), (home, each.quote)} & pairs:
                    raise ConfigError(
                        f"{each.name}: nothing converts {each.quote} into {home}",
                        do=f"add the instrument {home}_{each.quote} or {each.quote}_{home}",
                    )
