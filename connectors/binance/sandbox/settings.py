"""What a Binance sandbox is made of: products, limits, and the switches of what nobody has verified.

Owns what ``connectors.local.settings`` does not: this venue's defaults and its switches.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from connectors.binance.streams import SPOT, USDM
from connectors.local.settings import LocalSettings, SpotProduct
from connectors.local.start_prices import start_px_of
from engine.errors import ConfigError

DEFAULT_PRODUCTS = (
    SpotProduct("BTC/USDT", Decimal("61234.55")),
    SpotProduct("ETH/USDT", Decimal("2987.40"), lot_qty=Decimal("0.0001"), min_qty=Decimal("0.0001")),
)
_STEP = Decimal("0.001")
USDM_PRODUCTS = (
    SpotProduct("BTC/USDT", Decimal("61234.50"), Decimal("0.10"), _STEP, _STEP, Decimal(1_000), Decimal(100)),
    SpotProduct("ETH/USDT", Decimal("2987.40"), Decimal("0.01"), _STEP, _STEP, Decimal(10_000), Decimal(20)),
)
"""Perpetuals, with the rules that the venue had for them."""


def products_named(
    symbols: Sequence[str], defaults: Sequence[SpotProduct] = DEFAULT_PRODUCTS
) -> tuple[SpotProduct, ...]:
    """The default products of these symbols; an unknown one gets the default rules and a start price of 100, or the one
    behind its name (``FOO/BAR=12.5``).  Raises ``ConfigError`` for a price that is none."""
    known = {product.symbol: product for product in defaults}
    made = []
    for symbol, px in map(start_px_of, symbols):
        found = known.get(symbol) or SpotProduct(symbol, Decimal(100))
        made.append(found if px is None else msgspec.structs.replace(found, start_px=px))
    return tuple(made)


class RateLimits(msgspec.Struct, frozen=True):
    """Weight a minute and orders in ten seconds, each for an address.  Who sends ``ban_after`` more requests in a
    minute that has none left is banned (418) for ``ban_s``.  ``ws_messages_per_s`` of a connection: one more ends it;
    ``ws_dials_per_5min`` for an address.
    """

    weight_per_min: int = 6_000
    orders_per_10s: int = 100
    ban_after: int = 20
    ban_s: int = 120
    ws_messages_per_s: int = 5
    ws_dials_per_5min: int = 300


USDM_LIMITS = RateLimits(weight_per_min=2_400, orders_per_10s=300, ws_messages_per_s=10)


class BinanceSettings(LocalSettings, frozen=True, kw_only=True):
    """See ``LocalSettings``.  ``venue``: ``binance_spot``, or ``binance_usdm``, whose market alone is served, without
    orders and accounts.  ``rate_limits`` None switches limits off.

    ``duplicate_client_ids``: a client id is refused while an order of it is ``open``, or for ``ever``.
    ``ping_s`` and ``connection_life_s``: how often a stream is pinged (one without an answer ends), and when it ends in
    any case.
    """

    venue: str = SPOT
    products: tuple[SpotProduct, ...] = DEFAULT_PRODUCTS
    balances: tuple[tuple[str, Decimal], ...] = (("USDT", Decimal(100_000)),)
    fees_in: str = "received"
    duplicate_client_ids: str = "open"
    rate_limits: RateLimits | None = None
    ping_s: float = 20.0
    connection_life_s: float = 86_400.0

    def check(self) -> None:
        """Raises ``ConfigError``."""
        LocalSettings.check(self)
        if self.venue not in (SPOT, USDM):
            raise ConfigError(f"sandbox venue {self.venue!r}", expected=f"{SPOT} or {USDM}")
        if self.duplicate_client_ids not in {"open", "ever"}:
            raise ConfigError(f"sandbox duplicate_client_ids {self.duplicate_client_ids!r}", expected="open or ever")
        if not self.ping_s > 0 or not self.connection_life_s > 0:
            raise ConfigError(
                f"sandbox ping_s {self.ping_s}, connection_life_s {self.connection_life_s}", expected="above 0"
            )
