"""What a local spot venue is made of: products, balances, pace, limits.

Owns the settings that all such venues have, and their checks.  What is one venue's own is in its subclass; where the
values come from (command line, files) is decided by the caller.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from engine.errors import ConfigError

ZERO = Decimal(0)


class SpotProduct(msgspec.Struct, frozen=True):
    """One market: ``symbol`` is ``BASE/QUOTE``, prices and ``min_notional`` are in quote currency, sizes in base units.

    ``volatility_bps`` (one second) shapes the synthetic market, None: as usual.
    """

    symbol: str
    start_px: Decimal
    tick_px: Decimal = Decimal("0.01")
    lot_qty: Decimal = Decimal("0.00001")
    min_qty: Decimal = Decimal("0.00001")
    max_qty: Decimal = Decimal(9_000)
    min_notional: Decimal = Decimal(5)
    volatility_bps: float | None = None

    @property
    def base(self) -> str:
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2]


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``port`` 0 takes a free one; with ``tls_folder`` it speaks TLS (``connectors.certificates``).

    ``key_file`` holds the API key, and is made when it does not exist.  ``speed`` multiplies the pace of the market.
    ``fees_in``: fees are paid in ``quote`` currency, or in what the trade gives (``received``).  ``fee_step``: power of
    ten that fees in quote currency are rounded down to, those in coins to the lot; 0: exact.  ``history_minutes`` of
    candles are made up before the start.
    """

    host: str = "127.0.0.1"
    port: int = 0
    products: tuple[SpotProduct, ...] = ()
    balances: tuple[tuple[str, Decimal], ...] = ()
    seed: int = 1
    speed: float = 1.0
    warmup_s: float = 60.0
    step_ms: float = 10.0
    rate_per_s: float | None = None
    history_minutes: int = 1_440
    maker_fee_rate: Decimal = Decimal("0.001")
    taker_fee_rate: Decimal = Decimal("0.001")
    fees_in: str = "quote"
    fee_step: Decimal = ZERO
    key_file: Path | None = None
    tls_folder: Path | None = None
    latency_ms: float = 0.0
    outbound_queue: int = 10_000
    """Messages waiting for one connection; a reader that falls further behind is cut off and counted."""
    max_orders: int = 200_000
    """Closed orders kept, oldest dropped first; open ones are never dropped."""
    max_open_orders: int = 500
    max_trades: int = 10_000
    max_minutes: int = 20_000

    def check(self) -> None:
        """Raises ``ConfigError`` for a combination that cannot be served."""
        if not self.products:
            raise ConfigError("sandbox has no products", expected="at least one")
        seen: set[str] = set()
        for product in self.products:
            if not product.base or not product.quote or "/" in product.quote:
                raise ConfigError(f"sandbox product {product.symbol!r}", expected="the form BASE/QUOTE, as BTC/USD")
            if product.symbol in seen:
                raise ConfigError(f"sandbox product {product.symbol} given twice", do="name it once")
            seen.add(product.symbol)
            if not product.start_px > 0 or product.start_px % product.tick_px:
                raise ConfigError(
                    f"start price of {product.symbol} is {product.start_px}",
                    expected=f"above 0, a multiple of {product.tick_px}",
                )
        for currency, amount in self.balances:
            if not amount.is_finite() or amount < 0:
                raise ConfigError(f"sandbox balance {currency} {amount}", expected="a finite amount >= 0")
        for name, value, low, high in (
            ("port", self.port, 0, 65_535),
            ("speed", self.speed, 0.001, 10_000),
            ("warmup_s", self.warmup_s, 0, 86_400),
            ("step_ms", self.step_ms, 1, 1e12),
            ("latency_ms", self.latency_ms, 0, 60_000),
            ("history_minutes", self.history_minutes, 0, 100_000),
            ("rate_per_s", 1 if self.rate_per_s is None else self.rate_per_s, 0.001, 100_000),
            ("outbound_queue", self.outbound_queue, 1, 1 << 30),
            ("max_orders", self.max_orders, 1, 1 << 30),
            ("max_open_orders", self.max_open_orders, 1, 1 << 20),
            ("max_trades", self.max_trades, 1, 1 << 30),
            ("max_minutes", self.max_minutes, 1, 1 << 30),
        ):
            if not low <= value <= high:
                raise ConfigError(f"sandbox {name} {value}", expected=f"{low} to {high:g}")
        for name, rate in (("maker", self.maker_fee_rate), ("taker", self.taker_fee_rate)):
            if not (rate.is_finite() and -1 < rate < 1):
                raise ConfigError(f"sandbox {name} fee rate {rate}", expected="a share, as 0.001 for 10 bps")
        if self.fees_in not in {"quote", "received"}:
            raise ConfigError(f"sandbox fees_in {self.fees_in!r}", expected="quote or received")
