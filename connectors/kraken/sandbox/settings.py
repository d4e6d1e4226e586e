"""What a Kraken sandbox is made of: products, limits, and the switches of what nobody has verified.

Owns what ``connectors.local.settings`` does not: this venue's defaults and its switches.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from connectors.local.settings import LocalSettings, SpotProduct
from connectors.local.start_prices import start_px_of
from engine.errors import ConfigError

_LOT = Decimal("0.00000001")
_CHEAPEST = Decimal("0.5")
DEFAULT_PRODUCTS = (
    SpotProduct("BTC/USD", Decimal("61234.5"), Decimal("0.1"), _LOT, Decimal("0.00005"), Decimal(10_000), _CHEAPEST),
    SpotProduct("ETH/USD", Decimal("2987.40"), Decimal("0.01"), _LOT, Decimal("0.001"), Decimal(100_000), _CHEAPEST),
)


def products_named(symbols: Sequence[str]) -> tuple[SpotProduct, ...]:
    """The default products of these symbols; an unknown one has rules like theirs and a start price of 100,
    or the one behind its name (``FOO/BAR=12.5``).  Raises ``ConfigError`` for a price that is none."""
    known = {product.symbol: product for product in DEFAULT_PRODUCTS}
    rules = (Decimal("0.01"), _LOT, Decimal("0.01"), Decimal(100_000), _CHEAPEST)
    made = []
    for symbol, px in map(start_px_of, symbols):
        found = known.get(symbol) or SpotProduct(symbol, Decimal(100), *rules)
        made.append(found if px is None else msgspec.structs.replace(found, start_px=px))
    return tuple(made)


class RateLimits(msgspec.Struct, frozen=True):
    """Counters of a key that fill with requests and empty with time: of REST, and of orders in one market."""

    calls: float = 15.0
    calls_decay_per_s: float = 0.33
    orders: float = 60.0
    orders_decay_per_s: float = 1.0


class KrakenSettings(LocalSettings, frozen=True, kw_only=True):
    """See ``LocalSettings``.  ``rate_limits`` None switches limits off.

    ``signature_error``: what a wrong signature gets; the venue's list has both texts.  ``duplicate_client_ids``: a
    client id is refused while an order of it is ``open``, or never (``accept``).  ``full_reports``: executions say
    everything about the order each time, or of its end only what has changed.
    """

    products: tuple[SpotProduct, ...] = DEFAULT_PRODUCTS
    balances: tuple[tuple[str, Decimal], ...] = (("USD", Decimal(100_000)),)
    maker_fee_rate: Decimal = Decimal("0.0025")
    taker_fee_rate: Decimal = Decimal("0.0040")
    fee_step: Decimal = Decimal("0.00001")
    signature_error: str = "EAPI:Invalid signature"
    duplicate_client_ids: str = "open"
    full_reports: bool = True
    rate_limits: RateLimits | None = None
    token_life_s: float = 900.0

    def check(self) -> None:
        """Raises ``ConfigError``."""
        LocalSettings.check(self)
        if self.signature_error not in {"EAPI:Invalid signature", "EAPI:Invalid key"}:
            raise ConfigError(
                f"sandbox signature_error {self.signature_error!r}", expected="a text of the venue's list"
            )
        if self.duplicate_client_ids not in {"open", "accept"}:
            raise ConfigError(f"sandbox duplicate_client_ids {self.duplicate_client_ids!r}", expected="open or accept")
        if not 0 < self.token_life_s <= 86_400:
            raise ConfigError(f"sandbox token_life_s {self.token_life_s}", expected="above 0, at most 86400")
        for product in self.products:
            if product.tick_px.as_tuple().digits != (1,) or product.lot_qty.as_tuple().digits != (1,):
                raise ConfigError(
                    f"steps of {product.symbol}", expected="powers of ten: the venue tells their decimals"
                )
