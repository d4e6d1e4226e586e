"""What is held of each instrument, also of those that an earlier session alone listed, and what readers see of it.

Owns the quantities and their order; what a trade makes of them is ``engine.portfolio``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from engine.carried import CarriedHolding
from engine.instruments import FULLY_PAID, Instrument
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


class Holdings:
    """Of one portfolio, which is their only writer, with its balances.  ``rate``: units of the portfolio currency for
    one unit of the one given; None when not known."""

    def __init__(self, rate: Callable[[str], Decimal | None]) -> None:
        self._rate = rate
        self.listed: dict[str, Holding] = {}
        """By instrument id, of what this session lists."""
        self.by_base: dict[tuple[str, str], list[Holding]] = {}
        """By venue and base currency: what is held of it lies in these, and in no cash."""
        self.awaited: dict[str, CarriedHolding] = {}
        """What an earlier session held, of instruments that are not defined yet."""
        self.unlisted: dict[str, Instrument] = {}
        """What those instruments were."""
        # Made at each change, so that no order has to wait for it.
        self.positions = Positions()
        self.held: dict[str, None] = {}
        """Instruments with a position that is not zero; for readers."""

    def define(self, instrument: Instrument) -> None:
        """Start (or refresh) the book of an instrument, with what an earlier session held of it."""
        holding = self.listed.get(instrument.id)
        if holding is None:
            holding = self.listed[instrument.id] = Holding(instrument)
            if instrument.asset_class in FULLY_PAID:
                self.by_base.setdefault((instrument.venue, instrument.base), []).append(holding)
        holding.instrument = instrument
        self.unlisted.pop(instrument.id, None)
        awaited = self.awaited.pop(instrument.id, None)
        if awaited is not None:
            holding.take(awaited)
        self.changed(holding)

    def recalled(self, name: str) -> Holding:
        """What is held of an instrument that only an earlier session listed.  Raises ``KeyError`` where none did."""
        holding = Holding(self.unlisted[name])
        one = self.awaited.get(name)
        if one is not None:
            holding.take(one)
        return holding

    def keep(self, holding: Holding) -> None:
        """What was recalled, as it is now."""
        self.awaited[holding.instrument.id] = holding.carried()

    def rules(self, name: str) -> Instrument | None:
        """The instrument of that id, also as an earlier session listed it; None for anything else."""
        holding = self.listed.get(name)
        return self.unlisted.get(name) if holding is None else holding.instrument

    def coins(self, venue: str, currency: str) -> list[tuple[str, Decimal]]:
        """The instruments in which a currency is held as a position, and how much in each: those that this session
        lists, then those of an earlier one alone; none for what is cash."""
        held = [(one.instrument.id, one.qty) for one in self.by_base.get((venue, currency), ())]
        if self.unlisted:
            held += [(one.instrument, one.qty) for one in self._unlisted_of(venue, currency)]
        return held

    def add(self, name: str, qty: Decimal) -> None:
        """Coins that came without a trade in the instrument, below zero left."""
        holding = self.listed.get(name)
        if holding is None:
            one = self.awaited[name]
            self.awaited[name] = msgspec.structs.replace(one, qty=one.qty + qty)
        else:
            holding.qty += qty
            self.changed(holding)

    def changed(self, holding: Holding) -> None:
        """To be called after each change of a holding's quantity."""
        self.show(holding)
        name = holding.instrument.id
        if holding.qty:
            self.held[name] = None
        else:
            self.held.pop(name, None)

    def show(self, holding: Holding) -> None:
        """To be called after each change of anything else in it."""
        rate = self._rate(holding.instrument.settlement) or ZERO
        self.positions[holding.instrument.id] = Position(
            holding.qty, holding.avg_px, holding.realised * rate, holding.fees, holding.funding
        )

    def show_all(self) -> None:
        """After a change of rates."""
        for holding in self.listed.values():
            self.show(holding)

    def carried(self) -> tuple[CarriedHolding, ...]:
        return (*[one.carried() for one in self.listed.values()], *self.awaited.values())

    def restore(self, carried: Iterable[CarriedHolding], instruments: Iterable[Instrument]) -> None:
        """Each shows itself as its instrument is defined, once more where it is already."""
        self.awaited = {one.instrument: one for one in carried}
        self.unlisted = {one.id: one for one in instruments}

    def _unlisted_of(self, venue: str, currency: str) -> list[CarriedHolding]:
        """What an earlier session held of a currency in instruments that this one does not know."""
        return [
            self.awaited[name]
            for name, one in self.unlisted.items()
            if (one.venue, one.base) == (venue, currency) and one.asset_class in FULLY_PAID and name in self.awaited
        ]
