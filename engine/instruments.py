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
"""Half ticks from which on a price may have more than the 15 digits that a float always tells apart."""


class AssetClass(enum.StrEnum):
    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    FX = "fx"
    CFD = "cfd"
    EQUITY = "equity"
    OPTION = "option"


class Instrument(msgspec.Struct, frozen=True, dict=True):
    """One tradable thing on one venue.

    ``id`` is canonical (``BTC/USD@coinbase``), ``venue_symbol`` the venue's own name.  ``tick_px`` and ``lot_qty`` are
    the price and size steps; ``min_notional`` is in ``quote`` currency.  Fees are rates of notional
    (``Decimal("0.0005")`` = 5 bps).  ``has_quote_sizes`` and ``has_trades`` declare what the feed gives: a feature that
    needs more is refused, never invented.
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

    def price(self, value: float, side: int = 0) -> Decimal:
        """A float price on the tick grid: a buy (+1) rounds down, a sell (-1) up, a mark (0) to the nearest tick.

        Raises ``ValueError`` for NaN and infinities: money is never made of those.
        """
        if type(value) is float:
            per_unit = self._half_ticks
            halves = value * per_unit
            if -_HALVES_MAX < halves < _HALVES_MAX:
                whole = round(halves)
                if whole and whole / per_unit == value:  # on the grid or half way between two ticks
                    ticks = whole >> 1
                    if whole & 1:
                        ticks += (ticks & 1) if side == 0 else (side < 0)
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
        exact = Decimal(repr(float(value)))
        if not exact.is_finite():
            raise ValueError(f"quantity of {self.id} is not finite: {value!r}")
        if self._decimal_lot:
            return exact.quantize(self.lot_qty, ROUND_DOWN)
        lots = (abs(exact) / self.lot_qty).to_integral_value(ROUND_FLOOR) * self.lot_qty
        return lots if exact >= 0 else -lots

    @cached_property
    def _half_ticks(self) -> float:
        """Half ticks in one unit of price; 0 when the tick is not one of 1, 0.1, 0.01, ...

        Why the short way of ``price`` is exact: with ``n`` half ticks, ``n / _half_ticks`` is the float nearest to the
        decimal number ``n`` half ticks stand for, because both operands are exact.  That decimal has 15 digits at most
        (``_HALVES_MAX``), so no other one with as few digits has the same float, and ``repr`` shows this one.
        """
        digits = -int(self.tick_px.as_tuple().exponent)
        return float(2 * 10**digits) if self._decimal_tick and 0 <= digits <= 22 else 0.0

    @cached_property
    def _decimal_tick(self) -> bool:
        return _is_power_of_ten(self.tick_px)

    @cached_property
    def _decimal_lot(self) -> bool:
        return _is_power_of_ten(self.lot_qty)

    def notional(self, qty: Decimal, px: Decimal) -> Decimal:
        """Absolute value of a trade in settlement currency; inverse contracts: ``qty * multiplier / px``."""
        if self.inverse:
            return abs(qty) * self.multiplier / px
        return abs(qty) * px * self.multiplier


def _is_power_of_ten(step: Decimal) -> bool:
    """Whether rounding to the step's last digit is rounding to the step: 0.01 yes, 0.05 and 0.10 no."""
    return step.as_tuple().digits == (1,)
