"""Getting out: one position per instrument, closed by orders that are sent again until it is gone.

Owns the holdings of one strategy and the ladder of exit orders: marketable limit IOC first, market after
``limit_attempts`` that left something over, at once when there is no book to price a limit by.  Every exit is
``reduce_only``, sized to what is held less what exits in flight may already close.  Retries wait ``retry_ns``; market
retries back off to 16 times that, so that a closed venue is not hammered, and never stop.

Does not decide when to leave: strategies do, by ``leave``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import OrderFilled, Side
from engine.instruments import Instrument
from engine.ports import View
from engine.stakes import CLOSERS, EVERYONE
from strategies.holding import Holding
from strategies.pricing import marketable_px, usable
from strategies.sizing import floor_to_lot

ZERO = Decimal(0)
BACK_OFF_DOUBLINGS = 4
# Enum members are slow to reach through their class in CPython 3.11; these are on the way of an order.
_BUY, _SELL = Side.BUY, Side.SELL
_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT
_IOC = TimeInForce.IOC


class ExitRules(msgspec.Struct, frozen=True):
    """``slip_ticks`` beyond the touch, ``limit_attempts`` before market (0: market at once), ``retry_ns`` and
    ``cooldown_ns`` in nanoseconds."""

    slip_ticks: int
    limit_attempts: int
    retry_ns: int
    cooldown_ns: int


class Exits:
    """The holdings of strategy ``name``, by instrument."""

    def __init__(self, name: str, instruments: Sequence[str], rules: ExitRules) -> None:
        self._name = name
        self._rules = rules
        self._holdings = {instrument: Holding() for instrument in instruments}

    def holding(self, instrument: str, view: View) -> Holding | None:
        """The holding, its quantity as the core has it; None for an instrument that is not this strategy's.

        A position that no fill announced (restart without state) is adopted at the account's average price, its
        horizon starting now.
        """
        found = self._holdings.get(instrument)
        if found is None:
            return None
        qty = self.held_qty(instrument, view)
        if qty != found.qty:
            self._book(found, instrument, qty, view.position(instrument).avg_px, view)
        return found

    def held_qty(self, instrument: str, view: View) -> Decimal:
        """Signed quantity to get out of."""
        return view.strategy_qty(self._name, instrument)

    def closes(self, strategy: str) -> bool:
        """Whether orders of that strategy may close what is to be got out of."""
        return strategy == self._name

    def on_fill(self, fill: OrderFilled, view: View) -> Holding | None:
        """Book a fill of ours; the core's quantity already includes it."""
        found = self._holdings.get(fill.instrument)
        if found is not None:
            qty = self.held_qty(fill.instrument, view)
            self._book(found, fill.instrument, qty, fill.px, view)
        return found

    def _book(self, holding: Holding, instrument: str, qty: Decimal, px: Decimal, view: View) -> None:
        min_qty = view.instrument(instrument).min_qty
        holding.book(qty, px, now_ns=view.now_ns, cooldown_ns=self._rules.cooldown_ns, min_qty=min_qty)

    def is_flat(self, instrument: Instrument, holding: Holding) -> bool:
        """Nothing held, or less than the venue takes in one order."""
        return abs(holding.qty) < instrument.min_qty or holding.qty == ZERO

    def leave(self, instrument: str, holding: Holding, reason: str, view: View) -> tuple[OrderIntent, ...]:
        """Latch ``reason`` (the first one stays) and send the next exit order, if one is due."""
        if not holding.exit_reason:
            holding.exit_reason = reason
        return self.retry(instrument, holding, view)

    def retry(self, instrument: str, holding: Holding, view: View) -> tuple[OrderIntent, ...]:
        """The next exit order of a holding that is being left; nothing while one is in flight or was just sent."""
        if not holding.exit_reason:
            return ()
        now_ns = view.now_ns
        if holding.exit_attempts > 0 and now_ns - holding.last_exit_ns < self._wait_ns(holding.exit_attempts):
            return ()
        rules = view.instrument(instrument)
        side = _SELL if holding.qty > ZERO else _BUY
        qty = self._closable_qty(rules, holding, side, view)
        if qty < rules.min_qty or qty == ZERO:
            return ()
        limit_px = None
        top = view.top(instrument)
        if top is not None and usable(top) and holding.exit_attempts < self._rules.limit_attempts:
            limit_px = marketable_px(rules, top, side, self._rules.slip_ticks)
        holding.exit_attempts += 1
        holding.last_exit_ns = now_ns
        return (
            OrderIntent(
                ts_ns=now_ns,
                strategy=self._name,
                instrument=instrument,
                side=side,
                qty=qty,
                order_type=_MARKET if limit_px is None else _LIMIT,
                limit_px=limit_px,
                time_in_force=_IOC,
                reduce_only=True,
                reason=holding.exit_reason,
            ),
        )

    def _closable_qty(self, rules: Instrument, holding: Holding, side: Side, view: View) -> Decimal:
        """Never more than is ours, nor than the account holds, less what open orders of that side may close.  What
        others hold against ours, and what they have open beside it, hides as much of it in the account's
        (``engine.netted_exits``)."""
        ours, others_open = abs(holding.qty), ZERO
        for order in view.open_orders(rules.id):
            if order.side == side and self.closes(order.strategy):
                ours -= order.leaves_qty
            elif order.side == side and order.strategy not in (EVERYONE, *CLOSERS):  # these may close ours as well
                others_open += order.leaves_qty
        account = -view.position(rules.id).qty * side - view.open_qty(rules.id, side)
        if account < ours and rules.can_short:
            account += max((view.stake(EVERYONE, rules.id).qty - holding.qty) * side, ZERO) + others_open
        return floor_to_lot(rules, max(min(ours, account, rules.max_qty), ZERO))

    def _wait_ns(self, attempts: int) -> int:
        doublings = max(attempts - self._rules.limit_attempts, 0)
        return self._rules.retry_ns * (1 << min(doublings, BACK_OFF_DOUBLINGS))

    def state(self) -> dict[str, Any]:
        """JSON-able; only instruments that were ever touched."""
        touched = {name: held for name, held in self._holdings.items() if held != Holding()}
        found: dict[str, Any] = msgspec.to_builtins(touched)
        return found

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ``msgspec.ValidationError`` when it is not what ``state`` returned."""
        for name, held in msgspec.convert(state, dict[str, Holding]).items():
            if name in self._holdings:
                self._holdings[name] = held
