"""What a Robinhood crypto sandbox is made of: pairs, account, fees, limits, and where the venue may do either.

Owns the settings and their checks.  Where they come from (command line, files) is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from connectors.local.start_prices import start_px_of
from engine.errors import ConfigError

ACCOUNT_NUMBER = "RH0000001"
_ONE_OF = {
    "duplicate_mode": ("original", "reject"),
    "v1_time_in_force": ("accept", "reject"),
    "v2_partial_state": ("open", "partially_filled"),
    "cancel_reply": ("json", "plain"),
    "executions_order": ("oldest", "newest"),
    "v2_access": ("open", "forbidden", "missing"),
}
STATUSES = ("tradable", "untradable", "sellonly")
ACCOUNT_STATUSES = ("active", "deactivated", "sell_only")


class SandboxPair(msgspec.Struct, frozen=True):
    """One book.  Steps and bounds as both generations of the API tell them; ``status`` is the operator's."""

    symbol: str
    start_px: Decimal
    quote_increment: Decimal = Decimal("0.01")
    asset_increment: Decimal = Decimal("0.00000001")
    min_order_size: Decimal = Decimal("0.000001")
    max_order_size: Decimal = Decimal(20)
    min_order_amount: Decimal = Decimal("0.01")
    status: str = "tradable"
    is_api_tradable: bool = True

    @property
    def asset(self) -> str:
        return self.symbol.partition("-")[0]

    @property
    def quote(self) -> str:
        return self.symbol.partition("-")[2]


DEFAULT_PAIRS = (
    SandboxPair("BTC-USD", Decimal("61234.55")),
    SandboxPair("ETH-USD", Decimal("2987.40"), min_order_size=Decimal("0.0001"), max_order_size=Decimal(1_000)),
    SandboxPair(
        "DOGE-USD",
        Decimal("0.16512"),
        quote_increment=Decimal("0.00001"),
        asset_increment=Decimal("0.01"),
        min_order_size=Decimal(1),
        max_order_size=Decimal(3_000_000),
    ),
)


def pairs_named(symbols: Sequence[str]) -> tuple[SandboxPair, ...]:
    """The default pairs of these names; an unknown one gets the default rules and a start price of 100, or the one
    behind its name (``FOO-BAR=12.5``).  Raises ``ConfigError`` for a price that is none."""
    known = {pair.symbol: pair for pair in DEFAULT_PAIRS}
    made = []
    for name, px in map(start_px_of, symbols):
        found = known.get(name) or SandboxPair(name, Decimal(100))
        made.append(found if px is None else msgspec.structs.replace(found, start_px=px))
    return tuple(made)


class RateLimits(msgspec.Struct, frozen=True):
    """A bucket for each key: ``burst`` requests at once, ``per_minute`` come back."""

    per_minute: float = 100.0
    burst: int = 300


class Switches(msgspec.Struct, frozen=True):
    """Where the published pages leave it open what the venue does.

    ``duplicate_mode``: a ``client_order_id`` that was used gets the first order (``original``, with
    ``duplicate_status``) or 400 on that field.  ``v1_time_in_force``: whether orders of v1 may carry one.
    ``v2_partial_state``: what v2 calls an order that filled in part.  ``answers_before_matching``: the answer to an
    order shows it as it arrived, whatever has filled by then.  ``cancel_reply``: the text as a JSON string or plain.
    ``closed_cancel_status``: what a cancel of an order gets that is done.  ``quote_times``: whether quotes of v2 say
    when.  ``retry_after_s``: named by a 429, or not.  ``executions_order`` in an order.  ``buying_power_digits``: what
    is free is told rounded down to so many decimals, or exactly.  ``v2_access``: whether keys may use v2, and
    what they get if not.
    """

    duplicate_mode: str = "original"
    duplicate_status: int = 201
    v1_time_in_force: str = "accept"
    v2_partial_state: str = "open"
    answers_before_matching: bool = True
    cancel_reply: str = "json"
    closed_cancel_status: int = 400
    quote_times: bool = False
    retry_after_s: int | None = None
    executions_order: str = "oldest"
    buying_power_digits: int | None = None
    v2_access: str = "open"


class SandboxSettings(msgspec.Struct, frozen=True):
    """Everything a sandbox needs to start.  ``port`` 0 takes a free one.

    ``fee_ratio`` is the fee of v2 as a share of the value; v1 has none, there it is in the price (spread).
    ``cancel_delay_s``: a cancel has its effect that much after it was acknowledged.  ``listing_lag_s``: an order is in
    lists that much after it was placed; asked by its id it is there at once.  ``pending_s``: how long an order of v2
    stays pending before it meets the book.  ``rate_limits`` None switches limits off.
    """

    host: str = "127.0.0.1"
    port: int = 0
    pairs: tuple[SandboxPair, ...] = DEFAULT_PAIRS
    account_number: str = ACCOUNT_NUMBER
    balances: tuple[tuple[str, Decimal], ...] = (("USD", Decimal(100_000)),)
    fee_ratio: Decimal = Decimal("0.0085")
    seed: int = 1
    speed: float = 1.0
    rate_per_s: float | None = None
    warmup_s: float = 20.0
    step_ms: float = 20.0
    key_file: Path | None = None
    extra_key_files: tuple[Path, ...] = ()
    tls_folder: Path | None = None
    """Where the certificates lie or are made (``connectors.certificates``); None serves plain HTTP."""
    clock_skew_s: float = 30.0
    latency_ms: float = 0.0
    cancel_delay_s: float = 0.02
    listing_lag_s: float = 0.0
    pending_s: float = 0.0
    page_size: int = 50
    rate_limits: RateLimits | None = RateLimits()
    switches: Switches = Switches()
    max_orders: int = 20_000
    """Ended orders kept for listings, oldest dropped first; open ones are never dropped."""
    max_open_orders: int = 500

    def check(self) -> None:
        """Raises ``ConfigError`` for what cannot be served."""
        if not self.pairs or len({pair.symbol for pair in self.pairs}) != len(self.pairs):
            raise ConfigError("sandbox pairs", expected="at least one, each once, such as BTC-USD")
        for pair in self.pairs:
            if not pair.asset or pair.quote != "USD":
                raise ConfigError(f"sandbox pair {pair.symbol!r}", expected="ASSET-USD, as BTC-USD")
            steps = (pair.start_px, pair.quote_increment, pair.asset_increment, pair.max_order_size)
            if not all(step.is_finite() and step > 0 for step in steps) or pair.status not in STATUSES:
                raise ConfigError(f"sandbox pair {pair.symbol}", expected="price and steps above 0, a known status")
        for currency, amount in self.balances:
            if not amount.is_finite() or amount < 0:
                raise ConfigError(f"sandbox balance {currency} {amount}", expected="a finite amount >= 0")
        for value, name, least, most in (
            (float(self.port), "port", 0.0, 65_535.0),
            (self.speed, "speed", 1e-3, 10_000.0),
            (self.warmup_s, "warmup_s", 0.0, 86_400.0),
            (self.step_ms, "step_ms", 0.1, 60_000.0),
            (self.latency_ms, "latency_ms", 0.0, 60_000.0),
            (self.cancel_delay_s, "cancel_delay_s", 0.0, 600.0),
            (self.listing_lag_s, "listing_lag_s", 0.0, 600.0),
            (self.pending_s, "pending_s", 0.0, 600.0),
            (float(self.page_size), "page_size", 1.0, 1_000.0),
            (float(self.fee_ratio), "fee_ratio", 0.0, 0.5),
            (100.0 if self.rate_per_s is None else self.rate_per_s, "rate_per_s", 1e-3, 100_000.0),
            (float(min(self.max_orders, self.max_open_orders)), "max_orders", 1.0, 1e9),
        ):
            if not least <= value <= most:
                raise ConfigError(f"sandbox {name} {value:g}", expected=f"{least:g} to {most:g}")
        for name, allowed in _ONE_OF.items():
            if getattr(self.switches, name) not in allowed:
                raise ConfigError(f"sandbox {name} {getattr(self.switches, name)!r}", expected=" or ".join(allowed))
