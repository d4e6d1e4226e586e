"""What a robin_stocks sandbox is made of: stocks, accounts, limits, and the switches of what nobody has verified.

Owns the settings and their checks.  Where they come from (command line, tests) is decided by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from connectors.local.start_prices import start_px_of
from engine.errors import ConfigError

_SYMBOL = re.compile(r"[A-Z][A-Z.]{0,5}")


class SandboxStock(msgspec.Struct, frozen=True):
    """One stock or fund and the market behind it; prices in USD.

    ``spread_bps``, ``volatility_bps`` (one second) and ``order_notional`` (USD) shape the synthetic market.
    ``strike_step`` 0: there are no options on it.
    """

    symbol: str
    name: str
    start_px: Decimal
    kind: str = "stock"
    market: str = "XNAS"
    spread_bps: float = 1.0
    volatility_bps: float = 0.4
    order_notional: float = 40_000.0
    fractional: bool = True
    strike_step: Decimal = Decimal(0)

    @property
    def tick_px(self) -> Decimal:
        """One cent from a dollar on, a hundredth of one below."""
        return Decimal("0.01") if self.start_px >= 1 else Decimal("0.0001")


DEFAULT_STOCKS = (
    SandboxStock("AAPL", "Apple", Decimal("231.40"), strike_step=Decimal(5)),
    SandboxStock("SPY", "SPDR S&P 500 ETF", Decimal("662.15"), kind="etp", market="ARCX", strike_step=Decimal(5)),
    SandboxStock("F", "Ford Motor", Decimal("11.84"), market="XNYS", spread_bps=8.0),
    SandboxStock("PNNY", "Penny Mining", Decimal("0.4210"), spread_bps=30.0, order_notional=2_000.0, fractional=False),
)


def stocks_named(names: Sequence[str]) -> tuple[SandboxStock, ...]:
    """The default stocks of these symbols; an unknown one starts at 100, or at the price behind its name
    (``FOO=12.5``).  Raises ``ConfigError`` for a price that is none."""
    known = {stock.symbol: stock for stock in DEFAULT_STOCKS}
    made = []
    for name, px in map(start_px_of, names):
        found = known.get(name) or SandboxStock(name, name, Decimal(100))
        made.append(found if px is None else msgspec.structs.replace(found, start_px=px))
    return tuple(made)


class AccountSettings(msgspec.Struct, frozen=True):
    """One customer.  ``mfa``: a code that the login asks for, empty for none.  ``verification``: how another device is
    asked (``none``, ``prompt``, ``sms`` or ``email``, the last two with ``code``).  ``holdings``: shares by symbol."""

    username: str = "trial@example.com"
    password: str = "sandbox-password"
    account_number: str = "5QT00001"
    cash: Decimal = Decimal(100_000)
    holdings: dict[str, Decimal] = {}
    mfa: str = ""
    verification: str = "none"
    code: str = "482910"


class Switches(msgspec.Struct, frozen=True):
    """Where sources differ, or nobody has looked: each value is a way the venue may behave.

    ``duplicate_ref_id``: a used one gives the first order (``original``), is refused (``reject``), or means nothing
    (``create``).  ``listed_ref_id``: whether listings show it.  ``cancelled``: how that state is spelt.
    ``halted_orders``: for a halted symbol they ``queue`` or are ``reject``-ed.  ``short_of_money``: refused with the
    request (``refuse``) or taken and then rejected (``reject``).  ``retry_after``: whether 429 has that header.
    ``read_lag_s``: how late a new order is listed.  ``wrong_password``: the status of a login that failed.
    ``quotes_when_closed``: outside of hours quotes keep both sides (``last``) or show zeros (``zero``).
    """

    duplicate_ref_id: str = "original"
    listed_ref_id: bool = True
    cancelled: str = "cancelled"
    halted_orders: str = "queue"
    short_of_money: str = "refuse"
    retry_after: bool = False
    read_lag_s: float = 0.0
    wrong_password: int = 400
    quotes_when_closed: str = "last"

    def check(self) -> None:
        """Raises ``ConfigError``."""
        for name, value, allowed in (
            ("duplicate_ref_id", self.duplicate_ref_id, ("original", "reject", "create")),
            ("cancelled", self.cancelled, ("cancelled", "canceled")),
            ("halted_orders", self.halted_orders, ("queue", "reject")),
            ("short_of_money", self.short_of_money, ("refuse", "reject")),
            ("wrong_password", self.wrong_password, (400, 401)),
            ("quotes_when_closed", self.quotes_when_closed, ("last", "zero")),
        ):
            if value not in allowed:
                raise ConfigError(f"sandbox switch {name} {value!r}", expected=f"one of {allowed}")
        if not 0.0 <= self.read_lag_s <= 60.0:
            raise ConfigError(f"sandbox read_lag_s {self.read_lag_s}", expected="0 to 60")


class SandboxSettings(msgspec.Struct, frozen=True):
    """Everything a sandbox needs to start.

    ``port`` 0 takes a free one; with ``tls_folder`` it speaks TLS (``connectors.certificates``).  ``hours``: ``always``
    trades around the clock, ``venue`` keeps New York's hours.  ``clock_offset_s`` moves the venue's clock against this
    machine's.  ``requests_per_min`` 0 switches the limit off.  ``token_s``: how long a login lasts.
    """

    host: str = "127.0.0.1"
    port: int = 0
    stocks: tuple[SandboxStock, ...] = DEFAULT_STOCKS
    accounts: tuple[AccountSettings, ...] = (AccountSettings(),)
    switches: Switches = Switches()
    seed: int = 1
    speed: float = 1.0
    hours: str = "always"
    warmup_s: float = 10.0
    step_ms: float = 20.0
    rate_per_s: float = 10.0
    clock_offset_s: float = 0.0
    token_s: float = 86_400.0
    tls_folder: Path | None = None
    requests_per_min: int = 0
    page_size: int = 100
    sell_fee_rate: Decimal = Decimal("0.0000278")
    max_orders: int = 100_000
    """Kept by account, ended ones dropped first, oldest first."""
    max_open: int = 500

    def check(self) -> None:
        """Raises ``ConfigError`` for a combination that cannot be served."""
        self.switches.check()
        for name, value, low, high in (
            ("port", self.port, 0, 65_535),
            ("warmup_s", self.warmup_s, 0, 3_600),
            ("step_ms", self.step_ms, 1, 10_000),
            ("speed", self.speed, 0.001, 10_000),
            ("rate_per_s", self.rate_per_s, 0.001, 100_000),
            ("token_s", self.token_s, 0.01, 1e9),
            ("requests_per_min", self.requests_per_min, 0, 1_000_000),
            ("page_size", self.page_size, 1, 1_000),
            ("max_orders", self.max_orders, 10, 1 << 30),
            ("max_open", self.max_open, 1, 1 << 20),
        ):
            if not low <= value <= high:
                raise ConfigError(f"sandbox {name} {value}", expected=f"{low} to {high}")
        if self.hours not in {"always", "venue"}:
            raise ConfigError(f"sandbox hours {self.hours!r}", expected="always or venue")
        self._check_stocks()
        self._check_accounts()

    def _check_stocks(self) -> None:
        symbols = [stock.symbol for stock in self.stocks]
        if not symbols or len(set(symbols)) < len(symbols):
            raise ConfigError(f"sandbox stocks {symbols}", expected="at least one, each once")
        for stock in self.stocks:
            if _SYMBOL.fullmatch(stock.symbol) is None:
                raise ConfigError(f"sandbox stock {stock.symbol!r}", expected="a ticker such as AAPL")
            if not stock.start_px > 0 or stock.start_px % stock.tick_px:
                raise ConfigError(
                    f"start price of {stock.symbol} is {stock.start_px}", expected=f"a multiple of {stock.tick_px}"
                )

    def _check_accounts(self) -> None:
        for what in ("username", "account_number"):
            names = [getattr(account, what) for account in self.accounts]
            if not all(names) or not names or len(set(names)) < len(names):
                raise ConfigError(f"sandbox accounts have {what} {names}", expected="at least one, each its own")
        for account in self.accounts:
            if account.verification not in {"none", "prompt", "sms", "email"}:
                raise ConfigError(f"sandbox verification {account.verification!r}", expected="none, prompt, sms, email")
            if not account.cash.is_finite() or account.cash < 0:
                raise ConfigError(f"sandbox cash {account.cash}", expected="a finite amount >= 0")
            for symbol, shares in account.holdings.items():
                if symbol not in {stock.symbol for stock in self.stocks} or not shares > 0:
                    raise ConfigError(f"sandbox holding {shares} {symbol}", expected="shares of a listed stock")
