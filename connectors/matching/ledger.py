"""Money of the accounts of a venue: balances, holds of open orders, margined positions, fees.

Owns who can pay for what.  Does not match (``engine``).  Two kinds of accounting, by asset class:

- fully paid (spot, equity): a buy holds and pays quote currency, a sell holds and delivers base currency; nothing can
  be sold that is not there.
- margined (everything else): a fill moves a signed position; realised profit and fees move the settlement balance; the
  part of an order that opens holds ``notional * margin_rate`` (the whole notional when the rate is None) and fees, the
  part that closes holds nothing, so that a position can always be closed.  Positions hold margin at their entry price.
  Open profit does not count as available, and nothing is liquidated by force: a balance may go below zero.

Invariant (property-tested): for fully paid instruments, the sum over accounts of each currency plus collected fees
equals what was deposited.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

import msgspec

from connectors.matching.orders import BookOrder
from engine.events import Liquidity, Side
from engine.instruments import FULLY_PAID, AssetClass, Instrument

_ZERO = Decimal(0)
IN_ONE_CURRENCY = frozenset({AssetClass.FX, AssetClass.CFD})

INSUFFICIENT_FUNDS = "insufficient_funds"
SHORT_NOT_ALLOWED = "short_not_allowed"


def is_fully_paid(instrument: Instrument) -> bool:
    """Whether trades exchange base for quote, instead of moving a margined position."""
    return instrument.asset_class in FULLY_PAID


class Balance(msgspec.Struct, frozen=True):
    """``available`` = ``total`` less holds of open orders and margin of positions."""

    total: Decimal
    available: Decimal


class LedgerPosition(msgspec.Struct):
    """Signed quantity and average entry price of a margined instrument."""

    instrument: Instrument
    qty: Decimal = _ZERO
    avg_px: Decimal = _ZERO

    @property
    def margin(self) -> Decimal:
        """Settlement currency bound by the position, at its entry price."""
        if not self.qty:
            return _ZERO
        return self.instrument.notional(self.qty, self.avg_px) * _margin_rate(self.instrument)


class _Hold:
    """What one open order binds.  ``per_qty`` is the part that a filled base unit releases."""

    __slots__ = ("account", "amount", "claims", "currency", "instrument_id", "leaves_qty", "per_qty", "side")

    def __init__(self, order: BookOrder, instrument: Instrument, currency: str, amount: Decimal) -> None:
        self.account = order.account
        self.instrument_id = instrument.id
        self.side = order.side
        self.currency = currency
        self.amount = amount
        self.leaves_qty = order.qty
        self.claims = not order.reduce_only
        self.per_qty = amount / order.qty if order.qty else _ZERO


class _Account:
    __slots__ = ("claimed", "held", "positions", "totals")

    def __init__(self) -> None:
        self.totals: dict[str, Decimal] = {}
        self.held: dict[str, Decimal] = {}
        self.positions: dict[str, LedgerPosition] = {}
        self.claimed: dict[tuple[str, Side], Decimal] = {}  # open quantity of margined orders, by side


def rounded_fee(fee: Decimal, step: Decimal) -> Decimal:
    """Down to a multiple of a power of ten, so that it is never more than what was held for it; 0: as it is."""
    return fee.quantize(step, ROUND_DOWN) if step else fee


class Ledger:
    """Accounts of one venue.  Unknown accounts are empty accounts.  Fees are rounded down to ``fee_step``; 0: exact.

    ``rates``: what one unit of a currency is worth in the account's own.  Where there are any, margin of currencies and
    CFDs (``IN_ONE_CURRENCY``) is taken from all that the account has, as brokers do; else from its currency alone.
    """

    def __init__(self, fee_step: Decimal = _ZERO) -> None:
        self._fee_step = fee_step
        self.rates: dict[str, Decimal] = {}
        self._accounts: dict[str, _Account] = {}
        self._holds: dict[str, _Hold] = {}
        self.fees_collected: dict[str, Decimal] = {}

    # --- reading ----------------------------------------------------------------------------------------------------

    def balance(self, account: str, currency: str) -> Balance:
        books = self._account(account)
        total = books.totals.get(currency, _ZERO)
        bound = books.held.get(currency, _ZERO)
        for position in books.positions.values():
            if position.instrument.settlement == currency:
                bound += position.margin
        return Balance(total, total - bound)

    def margin_available(self, account: str, instrument: Instrument) -> Decimal:
        """What an order in it may bind, in its settlement currency."""
        currency = instrument.settlement
        rate = self.rates.get(currency) if instrument.asset_class in IN_ONE_CURRENCY else None
        if rate is None:
            return self.balance(account, currency).available
        worth = _ZERO
        for held, balance in self.balances(account).items():
            worth += balance.available * self.rates.get(held, _ZERO)
        if currency not in self._account(account).totals:
            worth += self.balance(account, currency).available * rate
        return worth / rate

    def balances(self, account: str) -> dict[str, Balance]:
        """Every currency the account ever held, by name."""
        return {currency: self.balance(account, currency) for currency in sorted(self._account(account).totals)}

    def position(self, account: str, instrument: Instrument) -> LedgerPosition:
        """A margined position; of a fully paid instrument the base balance as its quantity."""
        books = self._account(account)
        if instrument.asset_class in FULLY_PAID:
            return LedgerPosition(instrument, books.totals.get(instrument.base, _ZERO))
        return books.positions.get(instrument.id) or LedgerPosition(instrument)

    def closable_qty(self, account: str, instrument: Instrument, side: Side) -> Decimal:
        """How much an order of ``side`` may trade before it would open or turn a position."""
        if instrument.asset_class in FULLY_PAID:
            return self.balance(account, instrument.base).available if side is Side.SELL else _ZERO
        qty = self.position(account, instrument).qty
        return max(_ZERO, -qty if side is Side.BUY else qty)

    def held(self, order_id: str) -> Decimal:
        """What an open order still binds, in the currency it pays with."""
        hold = self._holds.get(order_id)
        return _ZERO if hold is None else hold.amount

    # --- writing ----------------------------------------------------------------------------------------------------

    def deposit(self, account: str, currency: str, amount: Decimal) -> None:
        """Add money from outside (or take it out, when negative)."""
        totals = self._account(account).totals
        totals[currency] = totals.get(currency, _ZERO) + amount

    def reserve(self, order: BookOrder, instrument: Instrument, worst_px: Decimal) -> str:
        """Hold what the order can cost at worst: at ``worst_px`` and the higher of the two fees.

        Returns "" when held, else ``INSUFFICIENT_FUNDS`` or ``SHORT_NOT_ALLOWED`` and nothing is held.  Raises
        ``ValueError`` when the order already holds something.
        """
        if order.order_id in self._holds:
            raise ValueError(f"order {order.order_id} already holds money")
        fee_rate = max(instrument.maker_fee_rate, instrument.taker_fee_rate, _ZERO)
        if instrument.asset_class in FULLY_PAID:
            currency, amount = self._cost_paid(order, instrument, worst_px, fee_rate)
            short = order.side is Side.SELL and not instrument.can_short
            if amount and amount > self.balance(order.account, currency).available:
                return SHORT_NOT_ALLOWED if short else INSUFFICIENT_FUNDS
        else:
            currency = instrument.settlement
            # A reduce-only order is kept within the position by whoever matches it: it never opens.
            opening_qty = _ZERO if order.reduce_only else self._opening_qty(order, instrument)
            if opening_qty and order.side is Side.SELL and not instrument.can_short:
                return SHORT_NOT_ALLOWED
            notional = instrument.notional(opening_qty, worst_px)
            amount = notional * (_margin_rate(instrument) + fee_rate)
            if amount and amount > self.margin_available(order.account, instrument):
                return INSUFFICIENT_FUNDS
        books = self._account(order.account)
        books.held[currency] = books.held.get(currency, _ZERO) + amount
        self._holds[order.order_id] = _Hold(order, instrument, currency, amount)
        if instrument.asset_class not in FULLY_PAID and not order.reduce_only:
            key = (instrument.id, order.side)
            books.claimed[key] = books.claimed.get(key, _ZERO) + order.qty
        return ""

    def release(self, order_id: str) -> None:
        """The order is closed: give back what it still holds.  Unknown ids are ignored."""
        hold = self._holds.pop(order_id, None)
        if hold is None:
            return
        books = self._account(hold.account)
        books.held[hold.currency] -= hold.amount
        self._unclaim(books, hold, hold.leaves_qty)

    def apply_fill(
        self,
        account: str,
        instrument: Instrument,
        *,
        order_id: str,
        side: Side,
        qty: Decimal,
        px: Decimal,
        liquidity: Liquidity,
    ) -> Decimal:
        """Book one execution and lower the order's hold; returns the fee paid, in the settlement currency."""
        books = self._account(account)
        self._lower_hold(books, order_id, instrument, qty, px)
        notional = instrument.notional(qty, px)
        rate = instrument.maker_fee_rate if liquidity is Liquidity.MAKER else instrument.taker_fee_rate
        fee = rounded_fee(notional * rate, self._fee_step)
        if instrument.asset_class in FULLY_PAID:
            signed = qty if side is Side.BUY else -qty
            self.deposit(account, instrument.base, signed)
            self.deposit(account, instrument.quote, -notional if side is Side.BUY else notional)
        else:
            position = books.positions.get(instrument.id)
            if position is None:
                position = books.positions[instrument.id] = LedgerPosition(instrument)
            self.deposit(account, instrument.settlement, _move(position, qty if side is Side.BUY else -qty, px))
            if not position.qty:
                del books.positions[instrument.id]
        self.deposit(account, instrument.settlement, -fee)
        self.fees_collected[instrument.settlement] = self.fees_collected.get(instrument.settlement, _ZERO) + fee
        return fee

    # --- inside -----------------------------------------------------------------------------------------------------

    def _account(self, account: str) -> _Account:
        books = self._accounts.get(account)
        if books is None:
            books = self._accounts[account] = _Account()
        return books

    @staticmethod
    def _cost_paid(
        order: BookOrder, instrument: Instrument, worst_px: Decimal, fee_rate: Decimal
    ) -> tuple[str, Decimal]:
        if order.side is Side.SELL:
            if order.quote_qty is None:
                return instrument.base, order.qty
            # A sale of a budget delivers no more than the budget buys at the worst (lowest) price it will see.
            return instrument.base, order.quote_qty / (worst_px * instrument.multiplier) if worst_px else _ZERO
        notional = instrument.notional(order.qty, worst_px) if order.quote_qty is None else order.quote_qty
        return instrument.quote, notional * (1 + fee_rate)

    def _opening_qty(self, order: BookOrder, instrument: Instrument) -> Decimal:
        """The part of a margined order that does not close what is there, earlier open orders first."""
        claimed = self._account(order.account).claimed.get((instrument.id, order.side), _ZERO)
        closing = max(_ZERO, self.closable_qty(order.account, instrument, order.side) - claimed)
        return max(_ZERO, order.qty - closing)

    def _lower_hold(self, books: _Account, order_id: str, instrument: Instrument, qty: Decimal, px: Decimal) -> None:
        hold = self._holds.get(order_id)
        if hold is None:
            return
        if hold.per_qty or hold.leaves_qty:
            used = hold.per_qty * qty
        elif hold.side is Side.SELL:
            used = qty
        else:
            fee_rate = max(instrument.maker_fee_rate, instrument.taker_fee_rate, _ZERO)
            used = instrument.notional(qty, px) * (1 + fee_rate)
        used = min(used, hold.amount)
        hold.amount -= used
        books.held[hold.currency] -= used
        done = min(qty, hold.leaves_qty)
        hold.leaves_qty -= done
        self._unclaim(books, hold, done)

    @staticmethod
    def _unclaim(books: _Account, hold: _Hold, qty: Decimal) -> None:
        key = (hold.instrument_id, hold.side)
        if hold.claims and key in books.claimed:
            books.claimed[key] -= qty


def _margin_rate(instrument: Instrument) -> Decimal:
    return Decimal(1) if instrument.margin_rate is None else instrument.margin_rate


def _move(position: LedgerPosition, signed_qty: Decimal, px: Decimal) -> Decimal:
    """Average-cost accounting of one fill; returns the realised profit in the settlement currency."""
    before = position.qty
    after = before + signed_qty
    realised = _ZERO
    if before * signed_qty >= 0:
        total = abs(before) + abs(signed_qty)
        position.avg_px = _average(position, abs(before), abs(signed_qty), px) if total else _ZERO
    else:
        closed = min(abs(before), abs(signed_qty)).copy_sign(before)
        multiplier = position.instrument.multiplier
        if position.instrument.inverse:
            realised = closed * multiplier * (1 / position.avg_px - 1 / px)
        else:
            realised = closed * multiplier * (px - position.avg_px)
        if abs(signed_qty) > abs(before):
            position.avg_px = px
    position.qty = after
    return realised


def _average(position: LedgerPosition, old_qty: Decimal, new_qty: Decimal, px: Decimal) -> Decimal:
    """Entry price after adding: weighted by value; an inverse contract's value is ``qty / px`` (harmonic mean)."""
    if not old_qty:
        return px
    if position.instrument.inverse:
        return (old_qty + new_qty) / (old_qty / position.avg_px + new_qty / px)
    return (old_qty * position.avg_px + new_qty * px) / (old_qty + new_qty)
