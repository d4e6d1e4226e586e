"""Follow a crossing of two exponential averages of the price; needs no model.

Owns its two averages (state) and the crossing rule.  ``ema_n = ema_{n-1} + alpha * (price - ema_{n-1})`` with
``alpha = 2 / (span + 1)``, started at the first price; no entry before ``slow`` rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec

from engine.commands import Intent
from engine.events import OrderFilled, Side, Timer
from engine.ports import View
from strategies.base import BaseStrategy
from strategies.entry import entry_order, may_enter
from strategies.exits import ExitRules, Exits
from strategies.pricing import marketable_px
from strategies.sizing import fixed, quantity_for


class EmaCrossParams(msgspec.Struct, frozen=True, kw_only=True):
    """``fast`` and ``slow`` are spans in feature rows, ``column`` the feature that is averaged (a price); notionals are
    quote currency, times ns."""

    fast: int = 12
    slow: int = 26
    column: str = "close"
    notional: float = 1000.0
    max_notional: float = 2000.0
    slip_ticks: int = 2
    exit_limit_attempts: int = 3
    exit_retry_ns: int = 200_000_000
    entry_retry_ns: int = 250_000_000
    cooldown_ns: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ValueError(f"fast {self.fast} and slow {self.slow}, expected 1 <= fast < slow")
        if not (
            isfinite(self.notional) and self.notional > 0 and isfinite(self.max_notional) and self.max_notional > 0
        ):
            raise ValueError("notional and max_notional are to be finite and above 0")
        if min(self.slip_ticks, self.exit_limit_attempts, self.cooldown_ns) < 0:
            raise ValueError("slip_ticks, exit_limit_attempts and cooldown_ns are to be 0 or more")
        if self.exit_retry_ns <= 0 or self.entry_retry_ns <= 0:
            raise ValueError("exit_retry_ns and entry_retry_ns are to be above 0")


class Averages(msgspec.Struct):
    """``side`` is the sign of fast - slow at the last row, 0 before the averages are warm or while they are equal."""

    fast: float = 0.0
    slow: float = 0.0
    rows: int = 0
    side: int = 0


class EmaCrossStrategy(BaseStrategy):
    """Long on a cross up; on a cross down out, or short where the instrument allows."""

    Params = EmaCrossParams

    def __init__(self, name: str, instruments: Sequence[str], params: EmaCrossParams | None = None) -> None:
        super().__init__(name, instruments, params)
        self.params: EmaCrossParams
        p = self.params
        rules = ExitRules(p.slip_ticks, p.exit_limit_attempts, p.exit_retry_ns, p.cooldown_ns)
        self._exits = Exits(name, instruments, rules)
        self.feature_columns = (p.column,)
        self._averages = {instrument: Averages() for instrument in instruments}

    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:
        """Average the newest price; trade on the row where the sign changes."""
        averages, holding = self._averages.get(instrument), self._exits.holding(instrument, view)
        features = view.features(instrument)
        if averages is None or holding is None or features is None:
            return ()
        px = features.latest(self.params.column)
        if not isfinite(px):
            return ()
        crossed = self._update(averages, px)
        rules = view.instrument(instrument)
        if not self._exits.is_flat(rules, holding):
            # By the sign, not by the crossing: a crossing seen while the exit could not be sent must not be forgotten.
            if holding.exit_reason or holding.qty * averages.side < 0:
                return self._exits.leave(instrument, holding, "cross", view)
            return ()
        if not crossed or not features.warm or (averages.side < 0 and not rules.can_short):
            return ()
        return self._enter(instrument, averages.side, view)

    def _update(self, averages: Averages, px: float) -> bool:
        """True when the sign of fast - slow turned at this row."""
        p = self.params
        averages.rows += 1
        if averages.rows == 1:
            averages.fast = averages.slow = px
            return False
        averages.fast += 2.0 / (p.fast + 1) * (px - averages.fast)
        averages.slow += 2.0 / (p.slow + 1) * (px - averages.slow)
        gap = averages.fast - averages.slow
        side = (gap > 0) - (gap < 0)
        if averages.rows < p.slow or side == 0:
            return False
        before, averages.side = averages.side, side
        return before not in (0, side)

    def _enter(self, instrument: str, direction: int, view: View) -> Sequence[Intent]:
        p = self.params
        holding = self._exits.holding(instrument, view)
        top = None if holding is None else may_enter(self.name, instrument, holding, view, p.entry_retry_ns)
        if top is None or holding is None:
            return ()
        rules = view.instrument(instrument)
        side = Side.BUY if direction > 0 else Side.SELL
        px = marketable_px(rules, top, side, p.slip_ticks)
        qty = quantity_for(rules, fixed(p.notional, p.max_notional), px) if px is not None else None
        if qty is None or qty <= 0:
            return ()
        return (
            entry_order(
                strategy=self.name,
                instrument=instrument,
                side=side,
                qty=qty,
                px=px,
                holding=holding,
                view=view,
                reason="cross up" if direction > 0 else "cross down",
            ),
        )

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        """Send an unfinished exit again."""
        holding = self._exits.holding(instrument, view)
        return () if holding is None else self._exits.retry(instrument, holding, view)

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        """The same when no quotes come."""
        return [intent for instrument in self.instruments for intent in self.on_quote(instrument, view)]

    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:
        self._exits.on_fill(fill, view)
        return ()

    def state(self) -> dict[str, Any]:
        return {"holdings": self._exits.state(), "averages": msgspec.to_builtins(self._averages)}

    def restore(self, state: dict[str, Any]) -> None:
        self._exits.restore(state.get("holdings", {}))
        for name, averages in msgspec.convert(state.get("averages", {}), dict[str, Averages]).items():
            if name in self._averages:
                self._averages[name] = averages
