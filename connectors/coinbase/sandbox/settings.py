"""What a Coinbase sandbox is made of: products, balances, limits, timeouts.

Owns the settings and their checks.  Where they come from (command line, files) is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from connectors.local.start_prices import start_px_of
from engine.errors import ConfigError

ZERO = Decimal(0)


class FutureTerms(msgspec.Struct, frozen=True):
    """What makes a product a contract on ``root``: sizes count contracts of ``contract_size`` units of it.

    ``margin_rate`` is the share of the notional that a position binds; an account that is worth less than half of it
    has its positions closed by force (``futures``).  A contract with a ``funding_rate`` (share of the notional at each
    whole hour, paid by longs) is one of the perpetual style: it expires as well, far away.
    """

    root: str
    contract_size: Decimal
    expires_ns: int
    margin_rate: Decimal = Decimal("0.25")
    intraday_margin_rate: Decimal = Decimal("0.1")
    max_leverage: Decimal = Decimal(10)
    funding_rate: Decimal | None = None
    session_open: bool = True
    session_closes_ns: int = 0
    """When the session that is open ends; 0: with the contract."""


class SandboxProduct(msgspec.Struct, frozen=True):
    """One book.  Increments and minima are those of the sheet's spot examples; prices in quote currency.

    ``status`` and the switches behind it are what an operator of the venue sets (``operator``); a product that is not
    ``listed`` is found nowhere.  ``future`` makes it a contract on margin instead of a pair of currencies.
    """

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
    status: str = "online"
    trading_disabled: bool = False
    cancel_only: bool = False
    limit_only: bool = False
    post_only: bool = False
    listed: bool = True
    future: FutureTerms | None = None
    alias: str = ""
    """The product whose book this one shares, paid in another currency: prices are told under that one's name."""

    @property
    def label(self) -> str:
        """Under which market data is told."""
        return self.alias or self.product_id

    @property
    def base(self) -> str:
        return self.product_id.partition("-")[0]

    @property
    def quote(self) -> str:
        return self.product_id.partition("-")[2] if self.future is None else "USD"

    @property
    def product_type(self) -> str:
        return "SPOT" if self.future is None else "FUTURE"


DEFAULT_PRODUCTS = (
    SandboxProduct("BTC-USD", Decimal("61234.55"), base_name="Bitcoin"),
    SandboxProduct("ETH-USD", Decimal("2987.40"), base_max_size=Decimal(45_000), base_name="Ethereum"),
)


def _contract(product_id: str, start_px: Decimal, name: str, terms: FutureTerms) -> SandboxProduct:
    return SandboxProduct(
        product_id,
        start_px,
        price_increment=Decimal(5),
        base_increment=Decimal(1),
        base_min_size=Decimal(1),
        base_max_size=Decimal(10_000),
        quote_min_size=ZERO,
        base_name=name,
        future=terms,
    )


_HUNDREDTH = Decimal("0.01")
_FUNDING_RATE = Decimal("0.00001")
FUTURES = (
    _contract(
        "BIP-20DEC30-CDE",
        Decimal(61_235),
        "Bitcoin, perpetual style",
        FutureTerms("BTC", _HUNDREDTH, 1_924_012_800_000_000_000, funding_rate=_FUNDING_RATE),
    ),
    _contract("BIT-27DEC30-CDE", Decimal(61_500), "Bitcoin", FutureTerms("BTC", _HUNDREDTH, 1_924_617_600_000_000_000)),
)
"""Contracts that a sandbox serves when they are named."""


def products_named(product_ids: Sequence[str]) -> tuple[SandboxProduct, ...]:
    """The default products of these names; an unknown one gets the default rules and a start price of 100, or the one
    behind its name (``FOO-BAR=12.5``).  Raises ``ConfigError`` for a price that is none.

    A pair in USDC shares the book of the one in USD, which is listed with it.
    """
    known = {product.product_id: product for product in (*DEFAULT_PRODUCTS, *FUTURES)}
    made: dict[str, SandboxProduct] = {}
    for text in product_ids:
        name, px = start_px_of(text)
        label = name.removesuffix("C") if name.endswith("-USDC") else name
        found = known.get(label) or SandboxProduct(label, Decimal(100))
        book = made.setdefault(label, found if px is None else msgspec.structs.replace(found, start_px=px))
        if name != label:
            made[name] = msgspec.structs.replace(book, product_id=name, alias=label)
    return tuple(made.values())


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
    ``post_only_mode`` says what a post-only order that would take gets: ``refuse`` (with the request) or ``fail`` (the
    order is accepted and then FAILED); clients meet both.
    ``futures_account`` says which dollars the list of accounts shows where contracts are traded: all of them
    (``shared``), or those that no contract binds (``apart``); the summary of the futures account has both.
    ``attached_when`` says when a bracket that came with an entry is made: when the entry has ended, for what it filled
    (``end``); with its first fill, growing with each (``fill``); at once, as large as the entry, and put right when
    that ends (``start``).  ``attached_names``: which record names the other, the ``entry``'s, the ``exit``'s or
    ``both``; ``attached_client_id``: the exit goes by its ``own`` id there or has ``none``.
    ``edit_lag_s``: a change of an order is carried out that much after it was taken; the order trades as it was
    meanwhile, and takes neither a cancel nor another change.
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
    tls_folder: Path | None = None
    """Where the certificates lie or are made (``connectors.certificates``); None serves plain HTTP and WebSockets."""
    key_algorithm: str = "ES256"
    clock_skew_s: float = 30.0
    latency_ms: float = 0.0
    duplicate_mode: str = "original"
    post_only_mode: str = "refuse"
    futures_account: str = "shared"
    attached_when: str = "end"
    attached_names: str = "both"
    attached_client_id: str = "own"
    attached_lag_s: float = 0.0
    """An attached bracket is made that much after its time has come."""
    edit_lag_s: float = 0.0
    quote_tickers: bool = True
    listing_lag_s: float = 0.0
    """An order appears in the list of orders that much after it was accepted; asked by its id it is there at once."""
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
            if product.alias and product.alias not in seen:
                raise ConfigError(
                    f"sandbox product {product.product_id} shares the book of {product.alias}",
                    expected="that one listed before it",
                )
            if product.start_px <= ZERO:
                raise ConfigError(f"start price of {product.product_id} is {product.start_px}", expected="above 0")
        for currency, amount in self.balances:
            if not amount.is_finite() or amount < ZERO:
                raise ConfigError(f"sandbox balance {currency} {amount}", expected="a finite amount >= 0")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"sandbox port {self.port}", expected="0 (any free one) to 65535")
        if not 0.0 < self.speed <= 10_000.0:
            raise ConfigError(f"sandbox speed {self.speed}", expected="above 0, at most 10000")
        if self.warmup_s < 0 or self.step_ms <= 0 or self.latency_ms < 0 or self.listing_lag_s < 0:
            raise ConfigError(
                f"sandbox warmup_s {self.warmup_s}, step_ms {self.step_ms}, latency_ms {self.latency_ms}, "
                f"listing_lag_s {self.listing_lag_s}",
                expected="warmup_s >= 0, step_ms > 0, latency_ms >= 0, listing_lag_s >= 0",
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
        if self.futures_account not in {"shared", "apart"}:
            raise ConfigError(f"sandbox futures account {self.futures_account!r}", expected="shared or apart")
        if self.attached_when not in {"end", "fill", "start"}:
            raise ConfigError(f"sandbox attached_when {self.attached_when!r}", expected="end, fill or start")
        if self.attached_names not in {"both", "entry", "exit"}:
            raise ConfigError(f"sandbox attached_names {self.attached_names!r}", expected="both, entry or exit")
        if self.attached_client_id not in {"own", "none"}:
            raise ConfigError(f"sandbox attached_client_id {self.attached_client_id!r}", expected="own or none")
        if not 0.0 <= self.attached_lag_s <= 600.0:
            raise ConfigError(f"sandbox attached_lag_s {self.attached_lag_s}", expected="0 to 600")
        if not 0.0 <= self.edit_lag_s <= 600.0:
            raise ConfigError(f"sandbox edit_lag_s {self.edit_lag_s}", expected="0 to 600")
        if self.post_only_mode not in {"refuse", "fail"}:
            raise ConfigError(f"sandbox post-only mode {self.post_only_mode!r}", expected="refuse or fail")
