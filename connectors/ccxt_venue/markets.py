"""A market of the library as an ``Instrument``: steps, bounds and fees, exact, whichever way the exchange counts them.

Owns the three precision modes and what is refused.  Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from connectors.ccxt_venue.exact import exact, mapping, positive, text
from engine.errors import VenueError
from engine.instruments import AssetClass, Instrument

DECIMAL_PLACES: Final = 2
SIGNIFICANT_DIGITS: Final = 3
TICK_SIZE: Final = 4
MARGIN_RATE: Final = Decimal("0.05")
"""Of a contract's notional, assumed: exchanges ask for less and make it depend on the account."""
_LARGEST_LOTS: Final = Decimal(10) ** 12


def step_of(precision: object, mode: int, reference: Decimal | None = None) -> Decimal | None:
    """The step that a ``precision`` stands for; None where there is none.

    With significant digits it depends on the value itself: it is that of ``reference``, and None without one.
    """
    found = exact(precision)
    if found is None:
        return None
    if mode == TICK_SIZE:
        return found.normalize() if found > 0 else None
    if found != found.to_integral_value() or abs(found) > 30:
        return None
    if mode == DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(found))
    if mode == SIGNIFICANT_DIGITS and found >= 1 and reference is not None and reference > 0:
        return Decimal(1).scaleb(reference.adjusted() - int(found) + 1)
    return None


def make_instrument(
    venue: str,
    symbol: str,
    market: Mapping[str, object],
    mode: int,
    *,
    default_fee_rate: Decimal,
    fees: tuple[object, object] = (None, None),
    reference_px: Decimal | None = None,
    has_sizes: bool = True,
    has_trades: bool = True,
    has_depth: bool = False,
) -> Instrument:
    """``fees``: the account's own (maker, taker) rates, where it told them.

    Raises ``VenueError`` for what is no spot market, or perpetual, of exactly that symbol, or has no steps.
    """
    base, _, rest = symbol.partition("/")
    quote, is_contract, _ = rest.partition(":")
    told = (text(market.get("symbol")), text(market.get("base")), text(market.get("quote")))
    if told != (symbol, base, quote):
        raise VenueError(
            f"{symbol} on {venue} is answered with {told[0]!r} of {told[1]}/{told[2]}",
            expected=symbol,
            do="check the symbol; the exchange may have renamed it",
        )
    multiplier = _contract_size(venue, symbol, market) if is_contract else Decimal(1)
    if not is_contract and (market.get("spot") is not True or market.get("contract") is True):
        raise VenueError(f"{symbol} on {venue} is a {text(market.get('type'))} market", expected="a spot market")
    precision, limits = mapping(market.get("precision")), mapping(market.get("limits"))
    tick_px = step_of(precision.get("price"), mode, reference_px)
    # Sizes are counted in decimals or steps also where prices are counted in significant digits.
    lot_qty = step_of(precision.get("amount"), DECIMAL_PLACES if mode == SIGNIFICANT_DIGITS else mode)
    if tick_px is None or lot_qty is None:
        raise VenueError(
            f"{symbol} on {venue} has no {'price' if tick_px is None else 'size'} step", expected="a precision above 0"
        )
    amount, cost = mapping(limits.get("amount")), mapping(limits.get("cost"))
    maker, taker = (
        _rate(own, market.get(name), default_fee_rate) for own, name in zip(fees, ("maker", "taker"), strict=True)
    )
    return Instrument(
        id=f"{symbol}@{venue}",
        venue=venue,
        venue_symbol=text(market.get("id")) or symbol,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.PERPETUAL if is_contract else AssetClass.SPOT,
        tick_px=tick_px,
        lot_qty=lot_qty,
        min_qty=positive(amount.get("min")) or lot_qty,
        max_qty=positive(amount.get("max")) or lot_qty * _LARGEST_LOTS,
        min_notional=positive(cost.get("min")) or Decimal(0),
        maker_fee_rate=maker,
        taker_fee_rate=taker,
        multiplier=multiplier,
        can_short=bool(is_contract),
        margin_rate=MARGIN_RATE if is_contract else None,
        has_quote_sizes=has_sizes,
        has_trades=has_trades,
        has_depth=has_depth,
    )


def _contract_size(venue: str, symbol: str, market: Mapping[str, object]) -> Decimal:
    """In base units.  Raises ``VenueError`` for what is no perpetual that is paid in its quote currency."""
    size = positive(market.get("contractSize"))
    if market.get("swap") is not True or market.get("linear") is not True or size is None:
        kind = "inverse" if market.get("inverse") is True else text(market.get("type"))
        raise VenueError(
            f"{symbol} on {venue} is a {kind} market",
            expected="a perpetual that is paid in its quote currency, with a contract size",
        )
    return size


def _rate(own: object, of_market: object, default: Decimal) -> Decimal:
    """A rebate is a rate below zero; what is no rate at all is the default."""
    for candidate in (own, of_market):
        found = exact(candidate)
        if found is not None and abs(found) < Decimal("0.2"):
            return found
    return default


def nearest(markets: object, symbol: str) -> str:
    """Advice for a symbol that an exchange has not: those of its markets of that kind that are spelt nearly so."""
    kind = "swap" if ":" in symbol else "spot"
    known = [str(name) for name, market in mapping(markets).items() if mapping(market).get(kind) is True]
    found = difflib.get_close_matches(symbol, known, n=3, cutoff=0.4) or sorted(known)[:3]
    return "did you mean " + ", ".join(found) + "?" if found else ""


def off_grid(instrument: Instrument, qty: Decimal, px: Decimal | None) -> str:
    """Why the library would send another order than the one it is given: it cuts sizes and rounds prices in silence.

    Empty where it would not.
    """
    if qty <= 0 or qty % instrument.lot_qty != 0:
        return f"size {qty:f} is no multiple of {instrument.lot_qty:f}"
    if px is not None and (px <= 0 or px % instrument.tick_px != 0):
        return f"price {px:f} is no multiple of {instrument.tick_px:f}"
    return ""
