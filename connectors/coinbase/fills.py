"""What one entry of the fills listing says: side, quantity, what it does to the balances, and whether it is plain.

Pure functions of ``wire.Fill``.  What was booked already is ``tracker``'s, entries that change others are
``adjustments``'.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from connectors.coinbase.symbols import is_contract
from connectors.coinbase.wire import Fill
from engine.events import Liquidity, Side

LIQUIDITY = {"MAKER": Liquidity.MAKER, "TAKER": Liquidity.TAKER}
_PLAIN_TYPES = frozenset({"", "FILL"})
_DIGITS = 40


def is_execution(fill: Fill) -> bool:
    """Whether it is an execution, and no entry that takes one back, sets it right or stands for another."""
    return fill.trade_type in _PLAIN_TYPES


def moves_unknown_amounts(fill: Fill) -> bool:
    """Whether what it does to the balances cannot be told from the entry alone: an adjustment does what its original
    does not do any more, and what a contract earns depends on what was held."""
    return is_contract(fill.product_id) or not is_execution(fill)


def side_of(text: str) -> Side | None:
    return Side.BUY if text == "BUY" else Side.SELL if text == "SELL" else None


def base_qty(fill: Fill) -> Decimal | None:
    """The fill's size in base units (contracts of a contract); None unless size and price are numbers above 0."""
    if not (fill.size.is_finite() and fill.price.is_finite() and fill.size > 0 and fill.price > 0):
        return None
    if not fill.size_in_quote:
        return fill.size
    try:
        qty = fill.size / fill.price
    except ArithmeticError:
        return None
    return qty if qty > 0 else None


def moves(fill: Fill, base: str, quote: str) -> tuple[tuple[str, Decimal], ...]:
    """What an execution does to what is held, by currency; of a contract to the number that is held of it, by its name.
    Nothing where it cannot be read."""
    side, qty = side_of(fill.side), base_qty(fill)
    if side is None or qty is None or not fill.commission.is_finite():
        return ()
    if is_contract(fill.product_id):
        return ((fill.product_id, side * qty),)
    return (base, side * qty), (quote, -side * qty * fill.price - fill.commission)


def exact(text: str) -> Decimal | None:
    """A number as the venue writes it; None for what is none, or no amount of anything (10^40 and more)."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and value.adjusted() < _DIGITS else None
