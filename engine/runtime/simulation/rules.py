"""Orders by the rules and states of their instruments, as these were told: what leaves fits them, what is open as well.

Owns its own copy of what was told in a session.  What is true at the venue is asked at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from decimal import Decimal

from engine.codec import Record
from engine.core import TradingCore
from engine.events import InstrumentDefined, InstrumentStatus, Side, Timer, TradingStatus
from engine.instruments import Instrument
from engine.managed_order import EXTERNAL

CLOSED = frozenset({TradingStatus.HALTED, TradingStatus.CANCEL_ONLY})
MISFIT_MOST_NS = 15_000_000_000
"""How long an order that the new rules would refuse may be open without a cancel on record."""


class RulesChecks:
    """``fail(invariant, text)``."""

    def __init__(self, fail: Callable[[str, str], None]) -> None:
        self._fail = fail
        self._rules: dict[str, Instrument] = {}
        self._status: dict[str, TradingStatus] = {}
        self._changed_ns: dict[str, int] = {}

    def begin(self) -> None:
        """Another session is told everything anew."""
        self._rules.clear()
        self._status.clear()
        self._changed_ns.clear()

    def recorded(self, record: Record) -> None:
        if isinstance(record, InstrumentDefined):
            name = record.definition.id
            if name in self._rules:
                self._changed_ns[name] = record.ts_recv_ns
            self._rules[name] = record.definition
        elif isinstance(record, InstrumentStatus):
            self._status[record.instrument] = record.status

    def on_sent(self, name: str, product_id: str, side: str, qty: Decimal, limit_px: Decimal | None) -> None:
        """An order leaves."""
        rules = next((one for one in self._rules.values() if one.venue_symbol == product_id), None)
        if rules is None:
            self._fail("D9", f"order {name} was sent for {product_id}, which nobody has defined")
            return
        status = self._status.get(rules.id, TradingStatus.TRADING)
        if status in CLOSED:
            self._fail("D9", f"order {name} was sent although {rules.id} is {status.value}")
        why = _misfit(rules, qty, limit_px)
        # What closes the last of a position may be less than an order must be: the venue says whether it takes it.
        if why and (side == Side.BUY.name or (limit_px is not None and limit_px % rules.tick_px)):
            self._fail("D9", f"order {name} of {qty} at {limit_px} was sent: {why}")

    def look(self, core: TradingCore, timer: Timer, cancelled: Container[str]) -> None:
        """On a timer: is an order still open that the new rules would refuse?"""
        for instrument, changed_ns in self._changed_ns.items():
            if timer.ts_recv_ns - changed_ns <= MISFIT_MOST_NS:
                continue
            for order in core.orders.open_orders(instrument):
                if order.intent.strategy == EXTERNAL or order.client_order_id in cancelled:
                    continue
                why = _misfit(self._rules[instrument], order.intent.qty, order.intent.limit_px)
                if why:
                    self._fail("D9", f"order {order.client_order_id} is open since the rules changed: {why}")


def _misfit(rules: Instrument, qty: Decimal, limit_px: Decimal | None) -> str:
    if limit_px is not None and limit_px % rules.tick_px:
        return f"{limit_px} is no multiple of {rules.tick_px}"
    if qty % rules.lot_qty:
        return f"{qty} is no multiple of {rules.lot_qty}"
    if qty < rules.min_qty or 0 < rules.max_qty < qty:
        return f"{qty} is not between {rules.min_qty} and {rules.max_qty}"
    if limit_px is not None and qty * limit_px < rules.min_notional:
        return f"{qty} at {limit_px} is worth less than {rules.min_notional}"
    return ""
