"""What is held of each instrument: the books that the portfolio writes, and what readers see of them."""

from __future__ import annotations

from decimal import Decimal

from engine.carried import CarriedHolding
from engine.instruments import Instrument
from engine.ports import Position

ZERO = Decimal(0)
FLAT = Position(ZERO, ZERO, ZERO, ZERO)


class Positions(dict[str, Position]):
    """What readers see, by instrument: flat where there never was anything."""

    def __missing__(self, instrument: str) -> Position:
        return FLAT


class Holding:
    """What is held of one instrument, and what it has earned."""

    __slots__ = ("avg_px", "fees", "funding", "instrument", "qty", "realised", "traded")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.qty = ZERO
        self.avg_px = ZERO
        self.realised = ZERO  # settlement currency
        self.fees = ZERO  # portfolio currency
        self.funding = ZERO  # portfolio currency, below zero when paid
        self.traded = False  # in this session; the books know what is held of it, also when that is nothing again

    def take(self, carried: CarriedHolding) -> None:
        """Go on with what an earlier session held."""
        self.qty, self.avg_px, self.realised = carried.qty, carried.avg_px, carried.realised
        self.fees, self.funding = carried.fees, carried.funding

    def carried(self) -> CarriedHolding:
        return CarriedHolding(self.instrument.id, self.qty, self.avg_px, self.realised, self.fees, self.funding)
