"""What one strategy holds of one instrument, and how far it is in getting out.

Owns the average entry price, the entry time and the exit attempts.  The quantity of record is the core's
(``View.strategy_qty``); this keeps a copy to see which way a fill moved it.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

ZERO = Decimal(0)


class Holding(msgspec.Struct):
    """Signed base units and their average price; times are UTC ns, 0 for never.  JSON-able by msgspec.

    Less than the venue takes in one order is dust: it cannot be closed, so it counts as flat, and its cost is not kept.
    """

    qty: Decimal = ZERO
    avg_px: Decimal = ZERO
    entry_ns: int = 0
    exit_reason: str = ""
    """Why it is being closed; empty while it is held.  Latched until flat: a stop that fired does not un-fire."""
    exit_attempts: int = 0
    last_exit_ns: int = 0
    last_entry_ns: int = 0
    quiet_until_ns: int = 0
    """No entry before this time (cool-down after an exit)."""

    def book(self, qty: Decimal, px: Decimal, *, now_ns: int, cooldown_ns: int, min_qty: Decimal) -> None:
        """The quantity is now ``qty``, changed by a trade at ``px``.  An unchanged quantity changes nothing."""
        before = self.qty
        if qty == before:
            return
        self.qty = qty
        was_held = abs(before) >= min_qty and before != ZERO
        if qty == ZERO or abs(qty) < min_qty:
            self.avg_px, self.entry_ns = ZERO, 0
            self._forget_exit()
            if was_held:
                self.quiet_until_ns = now_ns + cooldown_ns
        elif not was_held or (before > ZERO) is not (qty > ZERO):
            self.avg_px, self.entry_ns = px, now_ns
            self._forget_exit()
        elif abs(qty) > abs(before):
            self.avg_px = (self.avg_px * abs(before) + px * (abs(qty) - abs(before))) / abs(qty)

    def _forget_exit(self) -> None:
        self.exit_reason, self.exit_attempts, self.last_exit_ns = "", 0, 0
