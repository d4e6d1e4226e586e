"""What can be traded and by which rules; the one door from float64 to Decimal.

``Instrument.price`` and ``Instrument.quantity`` are the only places where a float becomes a ``Decimal`` (a house-rule
test bans ``Decimal(float)`` elsewhere): through ``repr``, then rounded in the direction that adds no risk.
"""

from __future__ import annotations

import enum
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import cached_property

import msgspec

_HALVES_MAX = 2.0e14
"""Half steps from which on a number may have more than the 15 digits that a float always tells apart."""


class AssetClass(enum.StrEnum):
    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    FX = "fx"
    CFD = "cfd"
    EQUITY = "equity"
    OPTION = "option"


FULLY_PAID = frozenset({AssetClass.SPOT, AssetClass.EQUITY})
"""Bought and owned; everything else is a position on margin."""


class Instrument(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """One tradable thing on one venue.

    ``id`` is canonical (``BTC/USD@coinbase``), ``venue_symbol`` the venue's own name.  ``tick_px`` and ``lot_qty`` are
    the price and size steps; ``min_notional`` is in ``quote`` currency.  Fees are rates of notional
    (``Decimal("0.0005")`` = 5 bps).  ``has_quote_sizes``, ``has_trades`` and ``has_depth`` (levels behind the best)
    declare what the feed gives: a feature that needs more is refused, never invented.
    """

    id: str
    venue: str
    venue_symbol: str
    base: str
    quote: str
    settlement: str
    asset_class: AssetClass
    tick_px: Decimal
    lot_qty: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal
    multiplier: Decimal = Decimal(1)
    inverse: bool = False
    can_short: bool = False
    has_quote_sizes: bool = True
    has_trades: bool = True
    allows_negative_px: bool = False
    expiry_ns: int | None = None
    strike_px: Decimal | None = None
    margin_rate: Decimal | None = None
    session_calendar: str | None = None
    has_depth: bool = False

    def price(self, value: float, side: int = 0) -> Decimal:
        """A float price on the tick grid: a buy (+1) rounds down, a sell (-1) up, a mark (0) to the nearest tick.

        Raises ``ValueError`` for NaN and infinities: money is never made of those.
        """
        ticks = _whole_steps(value, self._half_ticks, side)
        if ticks:
            return self.tick_px * ticks
        return self._price_by_text(value, side)

    def _price_by_text(self, value: float, side: int) -> Decimal:
        """``price`` of any number; what the short way above does not take, and what it must agree with."""
        exact = Decimal(repr(float(value)))
        if not exact.is_finite():
            raise ValueError(f"price of {self.id} is not finite: {value!r}")
        rounding = ROUND_HALF_EVEN if side == 0 else ROUND_FLOOR if side > 0 else ROUND_CEILING
        if self._decimal_tick:
            return exact.quantize(self.tick_px, rounding)  # one operation instead of three for most instruments
        return (exact / self.tick_px).to_integral_value(rounding) * self.tick_px

    def quantity(self, value: float) -> Decimal:
        """A float quantity on the lot grid, rounded towards zero.  Raises ``ValueError`` when it is not finite."""
        lots = _whole_steps(value, self._half_lots, 1 if value > 0.0 else -1)
        if lots:
            return self.lot_qty * lots
        return self._quantity_by_text(value)

    def _quantity_by_text(self, value: float) -> Decimal:
        """``quantity`` of any number; what the short way above does not take, and what it must agree with."""
        exact = Decimal(repr(float(value)))
        if not exact.is_finite():
            raise ValueError(f"quantity of {self.id} is not finite: {value!r}")
        if self._decimal_lot:
            return exact.quantize(self.lot_qty, ROUND_DOWN)
        lots = (abs(exact) / self.lot_qty).to_integral_value(ROUND_FLOOR) * self.lot_qty
        return lots if exact >= 0 else -lots

    @cached_property
    def _half_ticks(self) -> float:
        return _halves_per_unit(self.tick_px)

    @cached_property
    def _half_lots(self) -> float:
        return _halves_per_unit(self.lot_qty)

    @cached_property
    def _decimal_tick(self) -> bool:
        return _is_power_of_ten(self.tick_px)

    @cached_property
    def _decimal_lot(self) -> bool:
        return _is_power_of_ten(self.lot_qty)

    def worth_in_quote(self, qty: Decimal, px: Decimal) -> Decimal:
        """Absolute value of a trade in quote currency, as ``min_notional`` is; an inverse contract is worth
        its multiplier of that, whatever the price."""
        return abs(qty * self.multiplier if self.inverse else qty * px * self.multiplier)

    def notional(self, qty: Decimal, px: Decimal) -> Decimal:
        """Absolute value of a trade in settlement currency; inverse contracts: ``qty * multiplier / px``."""
        if self.inverse:
            return abs(qty) * self.multiplier / px
        return abs(qty) * px * self.multiplier


def _is_power_of_ten(step: Decimal) -> bool:
    """Whether rounding to the step's last digit is rounding to the step: 0.01 yes, 0.05 and 0.10 no."""
    return step.as_tuple().digits == (1,)


def _halves_per_unit(step: Decimal) -> float:
    """Half steps in one unit; 0 when the step is not one of 1, 0.1, 0.01, ... (22 digits: floats are exact so far)."""
    digits = -int(step.as_tuple().exponent)
    return float(2 * 10**digits) if _is_power_of_ten(step) and 0 <= digits <= 22 else 0.0


def _whole_steps(value: float, halves_per_unit: float, side: int) -> int:
    """How many steps the shortest text of ``value`` rounds to: down (+1), up (-1), to the nearest, half to even (0).

    0 where the text has to be looked at: a result of zero has a sign, and the rest is no float or too large.

    Why no text is needed: let ``h`` be the decimal number that ``whole`` half steps stand for.  ``whole`` and
    ``halves_per_unit`` are exact, so ``at`` is the float nearest to ``h``.  ``h`` has 15 digits at most
    (``_HALVES_MAX``): no other decimal with as few has the same float, so ``repr`` of ``at`` shows ``h``, and ``h``
    lies on no border between two floats, so the text of any smaller float is below ``h`` and that of any larger one
    above it.
    """
    if type(value) is not float:
        return 0
    halves = value * halves_per_unit
    if not -_HALVES_MAX < halves < _HALVES_MAX:
        return 0
    whole = round(halves)
    if not whole:
        return 0
    at = whole / halves_per_unit
    if value != at:  # between two half steps; ``whole`` becomes the lower one
        if value < at:
            whole -= 1
        return (whole + 1) >> 1 if side == 0 else (whole >> 1) + (side < 0)
    steps = whole >> 1
    if whole & 1:
        steps += (steps & 1) if side == 0 else (side < 0)
    return steps
