"""The venue's names: assets of two spellings, pairs of three, and ids of orders and trades.

Owns their making and reading.  Ids are numbers in disguise: each stands for one number and can be read back.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.local.settings import SpotProduct

_ASSETS = {
    "BTC": ("XXBT", "XBT"),
    "ETH": ("XETH", "ETH"),
    "LTC": ("XLTC", "LTC"),
    "XRP": ("XXRP", "XRP"),
    "DOGE": ("XXDG", "XDG"),
    "USD": ("ZUSD", "USD"),
    "EUR": ("ZEUR", "EUR"),
    "GBP": ("ZGBP", "GBP"),
}
"""The old assets' ids and alternative names; of younger ones both are the code itself."""
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_RANGE = 1 << 75
_FACTOR = 0x2545F4914F6CDD1D7A3 | 1
_BACK = pow(_FACTOR, -1, _RANGE)


def asset_id(code: str) -> str:
    """``BTC`` is ``XXBT``."""
    return _ASSETS.get(code, (code, code))[0]


def alt_name(code: str) -> str:
    """``BTC`` is ``XBT``."""
    return _ASSETS.get(code, (code, code))[1]


class PairNames(msgspec.Struct, frozen=True):
    """``XXBTZUSD``, ``XBTUSD``, ``XBT/USD`` and, in WebSocket v2, the ``symbol`` ``BTC/USD``."""

    symbol: str
    id: str
    altname: str
    wsname: str
    px_decimals: int
    qty_decimals: int


def pair_names(product: SpotProduct) -> PairNames:
    base, quote = product.base, product.quote
    old = base in _ASSETS and quote in _ASSETS
    altname = alt_name(base) + alt_name(quote)
    return PairNames(
        product.symbol,
        asset_id(base) + asset_id(quote) if old else altname,
        altname,
        f"{alt_name(base)}/{alt_name(quote)}",
        decimals(product.tick_px),
        decimals(product.lot_qty),
    )


def decimals(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def make_id(kind: str, number: int) -> str:
    """``OQCLML-BW3P3-BUCMWZ`` of kind ``O`` (orders) or ``T`` (trades)."""
    left = number * _FACTOR % _RANGE
    letters = []
    for _ in range(15):
        left, place = divmod(left, 32)
        letters.append(_ALPHABET[place])
    text = kind + "".join(letters)
    return f"{text[:6]}-{text[6:11]}-{text[11:]}"


def read_id(kind: str, text: str) -> int | None:
    """The number behind an id; None for what is no id of that kind."""
    letters = text.replace("-", "")
    if len(text) != 18 or len(letters) != 16 or letters[0] != kind or set(letters[1:]) - set(_ALPHABET):
        return None
    made = 0
    for letter in reversed(letters[1:]):
        made = made * 32 + _ALPHABET.index(letter)
    return made * _BACK % _RANGE
