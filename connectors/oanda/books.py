"""An account at OANDA in the terms of our books: pure, no clock, no socket.

Owns that translation.  What happened is told by ``account_protocol``; when the account counts as confirmed is
``reconcile``'s.

The venue keeps trades: an execution closes the oldest ones at their own prices, its profit is converted into the
account's currency at once, and the balance is in that currency alone.  Our books (``engine.portfolio``) keep one
position of an instrument at its average cost, and its profit in the instrument's quote currency.  Both are worth the
same at every price.  What the one has realised and the other has not is the difference of what the open units have
cost, by quote currency: it belongs to the balance that is told to our books, so that equity is never counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from connectors.oanda import wire
from engine import cost
from engine.events import OrderFilled
from engine.instruments import Instrument

ROUNDING = Decimal("0.005")
"""The venue rounds each profit to four decimals: what differs by less than this is that, and is told as booked."""
_ZERO = Decimal(0)
_DIGITS = 6


class _Open(msgspec.Struct):
    """A trade of the venue's; ``exits`` are the numbers of the orders that hang on it."""

    name: str
    units: Decimal
    px: Decimal
    exits: set[str] = msgspec.field(default_factory=set)


class OneTrade(msgspec.Struct, frozen=True):
    """A trade that is all of its instrument's position.  ``units`` are signed."""

    id: str
    units: Decimal
    has_exits: bool


class _Held(msgspec.Struct):
    """What our books hold of an instrument (``engine.cost.Held``)."""

    qty: Decimal = _ZERO
    avg_px: Decimal = _ZERO
    realised: Decimal = _ZERO


class AccountBooks:
    """Both sides of one account.  ``currency`` is the account's; ``instruments`` by the venue's names.

    ``open`` reads the venue's side, and ``take`` keeps it; ``begin`` or ``restore`` say what our books hold, ``book``
    keeps that.
    """

    def __init__(self, currency: str, instruments: Mapping[str, Instrument]) -> None:
        self.currency = currency
        self.balance = _ZERO
        """The venue's, in the account's currency."""
        self._instruments = dict(instruments)
        self._names = {one.id: name for name, one in self._instruments.items()}
        self._trades: dict[str, _Open] = {}
        self._held: dict[str, _Held] = {}
        self._booked: dict[str, Decimal] = {currency: _ZERO}
        self._at = 0

    def add(self, name: str, instrument: Instrument) -> None:
        """One more that is traded here, or its new definition."""
        self._instruments[name] = instrument
        self._names[instrument.id] = name

    # --- the venue's side ---------------------------------------------------------------------------------------------

    def open(self, account: wire.Account, at: int, later: Iterable[wire.Transaction] = ()) -> Decimal:
        """The account as read at transaction ``at``, and what happened ``later``.  Returns by how much the balance is
        not what transactions have made it."""
        before = self.balance
        self.balance, self._at = account.balance, at
        self._trades = {
            trade.id: _Open(trade.instrument, trade.currentUnits, trade.price, set(trade.exit_ids))
            for trade in account.trades
            if trade.instrument in self._instruments and trade.currentUnits
        }
        for transaction in later:
            self.take(transaction)
        return self.balance - before

    def take(self, transaction: wire.Transaction) -> None:
        """The next transaction; one that the reading had in it already changes nothing."""
        number = int(transaction.id)
        if number <= self._at:
            return
        self._at = number
        if transaction.accountBalance is not None:
            self.balance = transaction.accountBalance
        self._hang(transaction)
        if transaction.type != "ORDER_FILL":
            return
        for closed in transaction.tradesClosed:
            self._trades.pop(closed.tradeID, None)
        reduced, opened = transaction.tradeReduced, transaction.tradeOpened
        if reduced is not None and (trade := self._trades.get(reduced.tradeID)) is not None:
            # Units of a part that closes are told with the sign of the execution.
            trade.units -= abs(reduced.units).copy_sign(trade.units)
            if not trade.units:
                del self._trades[reduced.tradeID]
        if opened is not None and transaction.instrument in self._instruments:
            px = opened.price if opened.price is not None else transaction.executed_px
            if px is not None and opened.units:
                self._trades[opened.tradeID] = _Open(transaction.instrument, opened.units, px)

    def _hang(self, transaction: wire.Transaction) -> None:
        """Exits of trades come and go."""
        if transaction.tradeID and transaction.type.endswith("_ORDER") and transaction.tradeID in self._trades:
            self._trades[transaction.tradeID].exits.add(transaction.id)
        elif transaction.type in ("ORDER_CANCEL", "ORDER_FILL"):
            for trade in self._trades.values():
                trade.exits.discard(transaction.orderID)

    def one_trade(self, instrument: str) -> OneTrade | None:
        """Of a canonical instrument; None where its position is none, or several."""
        name = self._names.get(instrument, "")
        found = [(number, one) for number, one in self._trades.items() if one.name == name]
        if len(found) != 1:
            return None
        ((number, one),) = found
        return OneTrade(number, one.units, bool(one.exits))

    def units(self, name: str) -> Decimal:
        """Net, signed; long and short trades of an instrument are one position to us."""
        return sum((one.units for one in self._trades.values() if one.name == name), _ZERO)

    # --- our side -----------------------------------------------------------------------------------------------------

    def begin(self, names: Iterable[str]) -> None:
        """Our books begin with what is at the venue, at the average of the trades on the larger side."""
        for name in names:
            qty = self.units(name)
            same = [one for one in self._trades.values() if one.name == name and one.units * qty > 0]
            units = sum((one.units for one in same), _ZERO)
            px = sum((one.units * one.px for one in same), _ZERO) / units if units else _ZERO
            self._held[name] = _Held(qty, px)

    def restore(self, name: str, qty: Decimal, avg_px: Decimal) -> None:
        """What an earlier session has booked."""
        self._held[name] = _Held(qty, avg_px)

    def restore_money(self, booked: Mapping[str, Decimal]) -> None:
        """What an earlier session has booked, by currency."""
        self._booked = {self.currency: _ZERO, **booked}

    def held(self, name: str) -> tuple[Decimal, Decimal]:
        """``(quantity, average price)`` of our books."""
        one = self._held.get(name) or _Held()
        return one.qty, one.avg_px

    def book(self, fill: OrderFilled) -> None:
        """An execution that our books are told of."""
        name = self._names[fill.instrument]
        instrument = self._instruments[name]
        held = self._held.setdefault(name, _Held())
        realised = cost.trade(held, instrument, fill.qty if fill.side > 0 else -fill.qty, fill.px)
        for currency, amount in ((instrument.settlement, realised), (fill.fee_currency, -fill.fee)):
            self._booked[currency] = self._booked.get(currency, _ZERO) + amount

    def pay(self, currency: str, amount: Decimal) -> None:
        """Interest that our books are told of; below zero when paid."""
        self._booked[currency] = self._booked.get(currency, _ZERO) + amount

    # --- both ---------------------------------------------------------------------------------------------------------

    def differing(self) -> dict[str, tuple[Decimal, Decimal]]:
        """By the venue's names: units there and in our books, where they are not the same."""
        sides = {name: (self.units(name), self.held(name)[0]) for name in self._instruments}
        return {name: (there, here) for name, (there, here) in sides.items() if there != here}

    def totals(self) -> dict[str, Decimal]:
        """What our books should hold, by currency; every currency in which anything is booked is named."""
        found = dict.fromkeys(self._booked, _ZERO)
        found[self.currency] = found.get(self.currency, _ZERO) + self.balance
        for name, instrument in self._instruments.items():
            qty, avg_px = self.held(name)
            there = sum((one.units * one.px for one in self._trades.values() if one.name == name), _ZERO)
            difference = (qty * avg_px - there) * instrument.multiplier
            found[instrument.settlement] = found.get(instrument.settlement, _ZERO) + difference
        return {currency: self._rounded(currency, amount) for currency, amount in found.items()}

    def _rounded(self, currency: str, amount: Decimal) -> Decimal:
        booked = self._booked.get(currency)
        if booked is not None and abs(amount - booked) < ROUNDING:
            return booked
        return round(amount, _DIGITS) if amount else _ZERO

    def told(self, totals: Mapping[str, Decimal]) -> None:
        """From now on this is what our books hold."""
        self._booked = dict(totals)
