"""Worst-case exposure of the account in portfolio currency, with one order more.

Owns the arithmetic from a view to gross and net exposure.  Does not compare anything with a limit (``risk.checks``).

Formulas, per instrument i with signed position p, open quantities b (buys) and s (sells), mark m and currency rate r:

- longest it can become: ``up = (p + b) * unit``; shortest: ``down = (p - s) * unit``, where ``unit`` is the worth of
  one base unit, ``Instrument.notional(1, px) * r``;
- px is the mark, or the worst limit price among the open orders of that direction where that is worth more; a market
  order counts as priced at the mark and its slip beyond it (``risk.limits.Limits.market_slip_bps``), a stop at its
  trigger and the same slip where that is worth more, a bracket at the dearer of its target and what its stop may cost;
- gross = sum of ``max(|up|, |down|)``; net = the larger of ``sum(up)`` and ``-sum(down)`` for the direction judged.

An open order that is final nowhere (unknown outcome included) is part of b or s: unknown holds its risk.  One that is
being changed counts with the larger quantity and the price that is worth more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from engine.commands import OrderIntent
from engine.events import Side
from engine.instruments import Instrument
from engine.ports import OpenOrder, Position, Top, View
from engine.stakes import other_half

ZERO = Decimal(0)
ONE = Decimal(1)
BRACKET_STOP = Decimal("1.05")
"""Of its trigger is what a buyer's bracket pays at most once it has fired: the venue's own limit for it."""


class UnknownValueError(Exception):
    """A price or rate that exposure needs is not known.  Carries the check's name and what is missing."""

    def __init__(self, check: str, seen: str) -> None:
        super().__init__(check, seen)
        self.check = check
        self.seen = seen


class Exposure(msgspec.Struct, frozen=True, gc=False):
    """Portfolio currency.  ``order`` is the new order alone, ``position`` its instrument in the order's direction,
    ``gross`` and ``net`` the account; ``net`` counts the order's direction positive.  ``parts``: what each instrument
    adds to both, as ``(id, net, gross)``."""

    order: Decimal
    position: Decimal
    gross: Decimal
    net: Decimal
    parts: tuple[tuple[str, Decimal, Decimal], ...] = ()


class Priced(Protocol):
    """The part of ``engine.ports.View`` that tells prices and rates."""

    def mark_px(self, instrument: str) -> Decimal | None: ...

    def rate(self, currency: str) -> Decimal | None: ...


class Holder(Priced, Protocol):
    """The part of it that exposure is made from: the account's, or one strategy's with its twin (``OwnPart``)."""

    def instrument(self, instrument: str) -> Instrument: ...

    def instruments(self) -> Sequence[str]: ...

    def held(self) -> Collection[str]: ...

    def position(self, instrument: str) -> Position: ...

    def open_qty(self, instrument: str, side: Side) -> Decimal: ...


def known_mark(view: Priced, instrument: Instrument) -> Decimal:
    """The mark price, finite and of the sign the instrument allows.  Raises ``UnknownValueError``."""
    mark_px = view.mark_px(instrument.id)
    if mark_px is None or not mark_px.is_finite() or (mark_px <= ZERO and not instrument.allows_negative_px):
        raise UnknownValueError("no_price", f"{instrument.id} mark {mark_px}")
    return mark_px


def known_rate(view: Priced, instrument: Instrument) -> Decimal:
    """Portfolio currency for one unit of settlement currency.  Raises ``UnknownValueError``."""
    rate = view.rate(instrument.settlement)
    if rate is None or not rate.is_finite() or rate <= ZERO:
        raise UnknownValueError("rate_unknown", f"{instrument.settlement} rate {rate}")
    return rate


def worth(instrument: Instrument, px: Decimal) -> Decimal:
    """Settlement currency for one base unit (contract) at ``px``, without sign."""
    if instrument.inverse:
        return abs(instrument.notional(ONE, px))
    return abs(px * instrument.multiplier)


def dearest(at_mark: Decimal, limit_px: Decimal | None, instrument: Instrument, market_factor: Decimal) -> Decimal:
    """Largest worth of one base unit of an order, settlement currency: at the mark or at its limit price."""
    # A market order has no price of its own, so it is held to be so much dearer than the mark (factor >= 1).
    if limit_px is None:
        at_limit = at_mark * market_factor
    else:
        at_limit = worth(instrument, limit_px) if instrument.inverse else abs(limit_px * instrument.multiplier)
    return at_limit if at_limit > at_mark else at_mark


def stop_worth(order: OpenOrder, instrument: Instrument, market_factor: Decimal) -> Decimal:
    """Largest worth of one base unit that an open order with a trigger may trade at once that was reached, settlement
    currency; 0 where its limit price says it all (a stop-limit)."""
    trigger_px, limit_px, side = order.trigger_px, order.limit_px, order.side
    if trigger_px is None or (limit_px is not None and (limit_px - trigger_px) * int(side) >= ZERO):
        return ZERO
    factor = market_factor if limit_px is None else BRACKET_STOP
    beyond_px = trigger_px + abs(trigger_px) * (factor - ONE) * int(side)
    at_trigger, beyond = worth(instrument, trigger_px), ZERO if not beyond_px else worth(instrument, beyond_px)
    return at_trigger if at_trigger > beyond else beyond


def hidden_worth(order: OpenOrder, instrument: Instrument, market_factor: Decimal) -> Decimal:
    """Largest worth of one base unit that its limit price does not tell, settlement currency: of a stop beyond its
    trigger, and of an order that is being changed at its other price; 0 where there is none."""
    at_stop = stop_worth(order, instrument, market_factor)
    return at_stop if order.other_px is None else max(at_stop, worth(instrument, order.other_px))


def factor_of_touch(instrument: Instrument, top: Top, mark_px: Decimal, side: Side) -> Decimal:
    """How far from the mark a market order trades at once: 1 and the far touch's share beyond it.

    For a sane book (``risk.checks.check_book_sane``).
    """
    touch_px = instrument.price(top.ask_px if side > 0 else top.bid_px)
    return ONE + abs(touch_px - mark_px) / abs(mark_px) if mark_px else ONE


def factor_of_trigger(instrument: Instrument, trigger_px: Decimal | None, at_mark: Decimal) -> Decimal:
    """How much dearer than at the mark (``at_mark``, one base unit) an order at market is where it waits for its price;
    1 without one, and where it is cheaper there."""
    if not trigger_px or not at_mark:
        return ONE
    return max(worth(instrument, trigger_px) / at_mark, ONE)


def worst_case(
    view: Holder,
    instrument: Instrument,
    *,
    side: Side,
    qty: Decimal,
    limit_px: Decimal | None,
    mark_px: Decimal,
    orders: Sequence[OpenOrder],
    market_factor: Decimal,
) -> Exposure:
    """Exposure if this order and every open one fills.  ``orders``: all open orders of the account; ``mark_px``: what
    ``known_mark`` says of the instrument.

    Raises ``UnknownValueError`` when a price or rate of anything held, open or wanted is missing.
    """
    target = instrument.id
    names = view.instruments()
    if target not in names:
        raise UnknownValueError("instrument", f"{target} is not among the view's instruments")
    held = view.held()
    if not held and not orders:  # a flat account, in which the order is all there is
        at_mark = worth(instrument, mark_px)
        new = dearest(at_mark, limit_px, instrument, market_factor) * known_rate(view, instrument) * qty
        return Exposure(new, new, new, new, ((target, new, new),))
    parts = []
    busy = _busy(orders, names)
    gross = net = position = new = ZERO
    for name in names:
        wanted = name == target
        if not wanted and name not in held and name not in busy:
            continue
        if wanted:
            rules, at_mark = instrument, worth(instrument, mark_px)
        else:
            rules = view.instrument(name)
            at_mark = worth(rules, known_mark(view, rules))
        rate = known_rate(view, rules)
        ahead_qty = against_qty = view.position(name).qty if side > 0 else -view.position(name).qty
        ahead_worth = against_worth = at_mark
        if name in busy:
            ahead_qty += view.open_qty(name, side)
            against_qty -= view.open_qty(name, side.opposite)
            at_market, multiplier, inverse = at_mark * market_factor, rules.multiplier, rules.inverse
            for order in orders:
                if order.instrument == name:
                    px = order.limit_px
                    worst = at_market if px is None else worth(rules, px) if inverse else abs(px * multiplier)
                    if order.trigger_px is not None or order.other_px is not None:
                        worst = max(worst, hidden_worth(order, rules, market_factor))
                    if order.side != side:
                        against_worth = worst if worst > against_worth else against_worth
                    elif worst > ahead_worth:
                        ahead_worth = worst
        if wanted:
            worst = dearest(at_mark, limit_px, rules, market_factor)
            new = worst * rate * qty
            ahead_qty += qty
            ahead_worth = worst if worst > ahead_worth else ahead_worth
        # What offsets is counted at the mark: a better price of an order that may not fill must not hide risk.
        directed = ahead_qty * (ahead_worth if ahead_qty > ZERO else at_mark) * rate
        position = directed if wanted else position
        net += directed
        size = abs(directed)
        if against_qty:
            opposed = abs(against_qty * (against_worth if against_qty < ZERO else at_mark) * rate)
            size = opposed if opposed > size else size
        gross += size
        parts.append((name, directed, size))
    return Exposure(new, position, gross, net, tuple(parts))


def _busy(orders: Sequence[OpenOrder], names: Collection[str]) -> set[str]:
    """Instruments with open orders.  One in something else than ``names`` is an earlier session's: what it may fill has
    no price here."""
    busy = {order.instrument for order in orders}
    for name in busy:
        if name not in names:
            raise UnknownValueError("instrument", f"an open order in {name}, which this session does not trade")
    return busy


def committed(view: View, new: Decimal, orders: Sequence[OpenOrder], market_factor: Decimal) -> Decimal:
    """Everything held at its mark, every open order at its dearest, and the new order: portfolio currency, nothing
    offset by anything.  ``new``: the order alone (``Exposure.order``).

    Raises ``UnknownValueError`` as ``worst_case`` does.
    """
    total = new
    for name in view.held():
        rules = view.instrument(name)
        total += abs(view.position(name).qty) * worth(rules, known_mark(view, rules)) * known_rate(view, rules)
    for order in orders:
        rules = view.instrument(order.instrument)
        at_mark = worth(rules, known_mark(view, rules))
        worst = dearest(at_mark, order.limit_px, rules, market_factor)
        worst = max(worst, hidden_worth(order, rules, market_factor))
        total += worst * known_rate(view, rules) * order.leaves_qty
    return total


class OwnPart:
    """A view of what one strategy and its twin hold and have open, for ``worst_case`` of an order of one of them.

    What the other holds against the order takes nothing off: it may be left before.
    """

    def __init__(self, view: View, intent: OrderIntent, orders: Sequence[OpenOrder]) -> None:
        self._strategy_qty = view.strategy_qty
        self._strategy, self._other = intent.strategy, other_half(intent.strategy)
        self._target, self._side = intent.instrument, intent.side
        names = (self._strategy, self._other)
        self.orders = tuple([order for order in orders if order.strategy in names])
        self.instrument, self.instruments = view.instrument, view.instruments
        self.mark_px, self.rate = view.mark_px, view.rate

    def position(self, instrument: str) -> Position:
        own_qty, other_qty = self._strategy_qty(self._strategy, instrument), self._strategy_qty(self._other, instrument)
        if instrument == self._target:
            # Where the order is the smaller direction's, the larger one's size was approved before and grows not.
            qty = own_qty + (other_qty if other_qty * int(self._side) > ZERO else ZERO)
        elif own_qty * other_qty >= ZERO:
            qty = own_qty + other_qty
        else:
            qty = own_qty if abs(own_qty) > abs(other_qty) else other_qty
        return Position(qty, ZERO, ZERO, ZERO)

    def held(self) -> Collection[str]:
        held_qty = self._strategy_qty
        return [name for name in self.instruments() if held_qty(self._strategy, name) or held_qty(self._other, name)]

    def open_qty(self, instrument: str, side: Side) -> Decimal:
        found = ZERO
        for order in self.orders:
            if order.instrument == instrument and order.side == side:
                found += order.leaves_qty
        return found
