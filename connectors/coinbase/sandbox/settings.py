"""What a Coinbase sandbox is made of: products, balances, limits, timeouts.

Owns the settings and their checks.  Where they come from (command line, files) is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from engine.errors import ConfigError

ZERO = Decimal(0)


class SandboxProduct(msgspec.Struct, frozen=True):
    """One spot book.  Increments and minima are those of the sheet's spot examples; prices in quote currency."""

    product_id: str
    start_px: Decimal
    price_increment: Decimal = Decimal("0.01")
    base_increment: Decimal = Decimal("0.00000001")
    quote_increment: Decimal = Decimal("0.01")
    base_min_size: Decimal = Decimal("0.00000001")
    base_max_size: Decimal = Decimal(3400)
    quote_min_size: Decimal = Decimal(1)
    quote_max_size: Decimal = Decimal(150_000_000)
    base_name: str = ""

    @property
    def base(self) -> str:
        return self.product_id.partition("-")[0]

    @property
    def quote(self) -> str:
        return self.product_id.partition("-")[2]


DEFAULT_PRODUCTS = (
    SandboxProduct("BTC-USD", Decimal("61234.55"), base_name="Bitcoin"),
    SandboxProduct("ETH-USD", Decimal("2987.40"), base_max_size=Decimal(45_000), base_name="Ethereum"),
)


def products_named(product_ids: Sequence[str]) -> tuple[SandboxProduct, ...]:
    """The default products of these names; an unknown one gets the default rules and a start price of 100."""
    known = {product.product_id: product for product in DEFAULT_PRODUCTS}
    return tuple(known.get(name) or SandboxProduct(name, Decimal(100)) for name in product_ids)


class RateLimits(msgspec.Struct, frozen=True):
    """Events a second: REST requests per key and address, WebSocket dials and unauthenticated messages per address."""

    private_per_s: int = 30
    public_per_s: int = 10
    ws_connections_per_s: int = 8
    ws_messages_per_s: int = 8


class SandboxSettings(msgspec.Struct, frozen=True):
    """Everything a sandbox needs to start.

    ``port`` 0 takes a free one.  ``replay`` names recorded files (quotes and trades); without it the market is
    synthetic.  ``speed`` multiplies the pace of either.  ``duplicate_mode`` says what a reused ``client_order_id``
    gets: ``original`` (the first order, as documented) or ``reject`` (DUPLICATE_CLIENT_ORDER_ID).
    ``quote_tickers`` sends a ticker whenever the best quote changes, not only at each match: a strategy that trades on
    quotes sees every one of them without the full book.  ``rate_limits`` None switches limits off.
    """

    host: str = "127.0.0.1"
    port: int = 0
    products: tuple[SandboxProduct, ...] = DEFAULT_PRODUCTS
    balances: tuple[tuple[str, Decimal], ...] = (("USD", Decimal(100_000)),)
    seed: int = 1
    speed: float = 1.0
    replay: tuple[Path, ...] = ()
    loop_replay: bool = True
    warmup_s: float = 240.0
    step_ms: float = 10.0
    rate_per_s: float | None = None
    maker_fee_rate: Decimal = Decimal("0.004")
    taker_fee_rate: Decimal = Decimal("0.006")
    key_file: Path | None = None
    extra_key_files: tuple[Path, ...] = ()
    key_algorithm: str = "ES256"
    clock_skew_s: float = 30.0
    latency_ms: float = 0.0
    duplicate_mode: str = "original"
    quote_tickers: bool = True
    rate_limits: RateLimits | None = None
    subscribe_timeout_s: float = 5.0
    idle_timeout_s: float = 75.0
    outbound_queue: int = 10_000
    """Messages waiting for one connection; a consumer that falls further behind is disconnected and counted."""
    max_orders: int = 200_000
    """Closed orders kept for the history endpoints, oldest dropped first; open ones are never dropped."""
    max_open_orders: int = 500
    max_trades: int = 10_000
    """Public trades and one-minute candles kept per product."""

    def check(self) -> None:
        """Raises ``ConfigError`` for a combination that cannot be served."""
        if not self.products and not self.replay:
            raise ConfigError("sandbox has no products", expected="at least one, such as BTC-USD")
        seen: set[str] = set()
        for product in self.products:
            if not product.base or not product.quote:
                raise ConfigError(f"sandbox product {product.product_id!r}", expected="the form BASE-QUOTE, as BTC-USD")
            if product.product_id in seen:
                raise ConfigError(f"sandbox product {product.product_id} given twice", do="name it once")
            seen.add(product.product_id)
            if product.start_px <= ZERO:
                raise ConfigError(f"start price of {product.product_id} is {product.start_px}", expected="above 0")
        for currency, amount in self.balances:
            if not amount.is_finite() or amount < ZERO:
                raise ConfigError(f"sandbox balance {currency} {amount}", expected="a finite amount >= 0")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"sandbox port {self.port}", expected="0 (any free one) to 65535")
        if not 0.0 < self.speed <= 10_000.0:
            raise ConfigError(f"sandbox speed {self.speed}", expected="above 0, at most 10000")
        if self.warmup_s < 0 or self.step_ms <= 0 or self.latency_ms < 0:
            raise ConfigError(
                f"sandbox warmup_s {self.warmup_s}, step_ms {self.step_ms}, latency_ms {self.latency_ms}",
                expected="warmup_s >= 0, step_ms > 0, latency_ms >= 0",
            )
        if self.rate_per_s is not None and not 0.0 < self.rate_per_s <= 100_000.0:
            raise ConfigError(f"sandbox rate_per_s {self.rate_per_s}", expected="above 0, at most 100000")
        for name, rate in (("maker", self.maker_fee_rate), ("taker", self.taker_fee_rate)):
            if not (rate.is_finite() and -1 < rate < 1):
                raise ConfigError(
                    f"sandbox {name} fee rate {rate}", expected="a share of the value, as 0.006 for 60 bps"
                )
        for name, bound in (
            ("outbound_queue", self.outbound_queue),
            ("max_orders", self.max_orders),
            ("max_open_orders", self.max_open_orders),
            ("max_trades", self.max_trades),
        ):
            if bound < 1:
                raise ConfigError(f"sandbox {name} {bound}", expected="1 or more")
        if self.key_algorithm not in {"ES256", "EdDSA"}:
            raise ConfigError(f"sandbox key algorithm {self.key_algorithm!r}", expected="ES256 or EdDSA")
        if self.duplicate_mode not in {"original", "reject"}:
            raise ConfigError(f"sandbox duplicate mode {self.duplicate_mode!r}", expected="original or reject")
