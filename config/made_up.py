"""Which markets the built-in exchange has, and which ones it makes up because the user has said so.

Owns the refusal of the others: a symbol with a typing error would be a market of its own there, with prices that nobody
has ever seen, and trade happily.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from config.exchange import is_running
from config.schema import Settings
from engine.errors import ConfigError
from engine.instruments import AssetClass, Instrument

ASSETS: Final = frozenset(
    {
        "AAVE", "ADA", "ALGO", "ARB", "ATOM", "AVAX", "BCH", "BNB", "BTC", "DAI", "DOGE", "DOT", "ETC", "ETH", "FIL",
        "HBAR", "ICP", "INJ", "LINK", "LTC", "NEAR", "OP", "PEPE", "POL", "RENDER", "SHIB", "SOL", "SUI", "TON", "TRX",
        "UNI", "USDC", "USDT", "XLM", "XMR", "XRP", "XTZ",
        "AUD", "BRL", "CAD", "CHF", "CNH", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "JPY", "MXN", "NOK", "NZD", "PLN",
        "SEK", "SGD", "THB", "TRY", "USD", "ZAR", "XAG", "XAU", "SPX500",
    }
)  # fmt: skip
"""Coins, currencies, metals and indices; each pair of two of them is a market there."""


def check_made_up(settings: Settings, instruments: Sequence[Instrument]) -> None:
    """Raises ``ConfigError`` for an instrument of a session on the built-in exchange that it does not have and that
    ``sandbox.products`` does not name.  A server that runs by itself says so itself."""
    if settings.venue.feed != "sandbox" or is_running(settings):
        return
    for instrument in instruments:
        symbol = instrument.id.partition("@")[0]
        if symbol in settings.sandbox.products or _is_there(instrument):
            continue
        raise ConfigError(
            f"the built-in exchange has no {symbol}",
            expected="a market that it has, or one under sandbox.products",
            do=f"{_nearest(instrument)}to have it made up: --set 'sandbox.products={{\"{symbol}\": 100}}', "
            "the price at which it starts",
        )


def _is_there(instrument: Instrument) -> bool:
    if instrument.asset_class in (AssetClass.EQUITY, AssetClass.OPTION):
        return instrument.base in _stocks()
    base, _, quote = instrument.id.partition("@")[0].partition(":")[0].partition("/")
    return (base != quote and {base, quote} <= ASSETS) or instrument.venue_symbol in _contracts()


def _nearest(instrument: Instrument) -> str:
    """``did you mean BTC/USD? ``; empty where nothing is near."""
    names = {*ASSETS, *_stocks()}
    parts = []
    for name in (instrument.base, instrument.quote):
        near = [name] if name in names else difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.6)
        parts += near
    return f"did you mean {'/'.join(parts)}? " if len(parts) == 2 and len(set(parts)) == 2 else ""


def _stocks() -> frozenset[str]:
    from connectors.robin_stocks.sandbox.settings import DEFAULT_STOCKS

    return frozenset(stock.symbol for stock in DEFAULT_STOCKS)


def _contracts() -> frozenset[str]:
    from connectors.coinbase.sandbox.settings import FUTURES

    return frozenset(product.product_id for product in FUTURES)
