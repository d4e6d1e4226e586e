"""The account's books as its records make them: what currencies and strategies have, over all sessions.

Owns the arithmetic of that, apart from the product's.  What it is compared with is ``checks``'.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from decimal import Decimal
from typing import NamedTuple

from engine.events import OrderFilled

ZERO = Decimal(0)


class _Booked(NamedTuple):
    session: int
    seq: int
    fill: OrderFilled
    ours: bool


class _Move(NamedTuple):
    """Of money, by something that is no fill."""

    session: int
    seq: int
    currency: str
    amount: Decimal


class RecordedBooks:
    """``bases``: by instrument, the currency that is bought; ``quote`` pays for all of them."""

    def __init__(self, bases: Mapping[str, str], quote: str) -> None:
        self._bases = bases
        self._quote = quote
        self._fills: dict[str, _Booked] = {}
        self._entries: list[_Booked | _Move] = []
        """In the order of their booking."""
        self.told: dict[str, tuple[int, int]] = {}
        """Currencies that were opened, and by which record."""
        self.totals: dict[str, Decimal] = {}
        self.ours: dict[str, Decimal] = {}
        """What fills of our orders have moved, by currency."""
        self.stakes: dict[str, Decimal] = {}
        """What our orders have bought and neither they nor somebody else's hand has sold, by instrument."""

    def open(self, session: int, seq: int, currency: str, total: Decimal) -> None:
        """A balance is told; counts the first time."""
        if currency not in self.told:
            self.told[currency] = (session, seq)
            self.move(session, seq, currency, total)

    def move(self, session: int, seq: int, currency: str, amount: Decimal) -> None:
        self._entries.append(move := _Move(session, seq, currency, amount))
        self._count_move(move)

    def book(self, session: int, seq: int, fill: OrderFilled, *, ours: bool) -> None:
        """An execution; counts the first time.  ``ours``: of an order that is on record."""
        if fill.trade_id not in self._fills:
            self._fills[fill.trade_id] = booked = _Booked(session, seq, fill, ours)
            self._entries.append(booked)
            self._count(booked)

    def lose(self, session: int, seq: int) -> None:
        """What was recorded behind ``seq`` of a session is not on the disk."""
        kept = (session, seq)
        self._fills = {name: one for name, one in self._fills.items() if (one.session, one.seq) <= kept}
        self._entries = [one for one in self._entries if (one.session, one.seq) <= kept]
        self.told = {name: at for name, at in self.told.items() if at <= kept}
        self.totals, self.ours, self.stakes = {}, {}, {}
        for one in self._entries:
            if isinstance(one, _Booked):
                self._count(one)
            else:
                self._count_move(one)

    def trade_ids_of(self, orders: Container[str]) -> set[str]:
        """Of the executions of these orders."""
        return {name for name, one in self._fills.items() if one.fill.client_order_id in orders}

    def _count(self, booked: _Booked) -> None:
        fill = booked.fill
        qty = int(fill.side) * fill.qty
        moves = ((self._bases[fill.instrument], qty), (self._quote, -qty * fill.px), (fill.fee_currency, -fill.fee))
        for currency, amount in moves:
            _add(self.totals, currency, amount)
            if booked.ours:
                _add(self.ours, currency, amount)
        if booked.ours:
            _add(self.stakes, fill.instrument, qty)
        elif qty < 0:
            self._take_away(fill.instrument, fill.qty)

    def _count_move(self, move: _Move) -> None:
        _add(self.totals, move.currency, move.amount)
        for name, base in self._bases.items():
            if base == move.currency:
                self._take_away(name, None)

    def _take_away(self, instrument: str, most: Decimal | None) -> None:
        """Who sells what the account has not besides has sold what strategies held; ``most``: so much, at most."""
        held, left = self.stakes.get(instrument, ZERO), max(self.totals.get(self._bases[instrument], ZERO), ZERO)
        if held > left:
            self.stakes[instrument] = left if most is None else max(left, held - most)


def _add(into: dict[str, Decimal], name: str, amount: Decimal) -> None:
    into[name] = into.get(name, ZERO) + amount
