"""The guardian: stop, take-profit and age of what strategies hold, whether they still run or not.

A strategy of risk's own in a slot of its own, so that a strategy that raised, waits or simply does not leave does not
keep its position.  It watches what all strategies hold together of each instrument (``View.stake``), judged at the
price it could be closed at, suspect prices included (docs/decisions/0018).  When it acts, it has the strategies' open
orders in that instrument cancelled and leaves by the same ladder as they do (``strategies.exits``).  Executions are
booked to whose position it was (``engine.stakes``).  What no strategy has bought it does not touch.

Owns no limit: ``risk.limits.GuardianRules``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from engine.commands import CancelIntent, Intent
from engine.events import OrderFilled, Timer
from engine.ports import OpenOrder, Stake, View
from engine.stakes import EVERYONE, OPERATOR
from strategies.base import BaseStrategy
from strategies.exits import ExitRules, Exits
from strategies.holding import Holding
from strategies.pricing import readable


class GuardianParams(msgspec.Struct, frozen=True, kw_only=True):
    """``stop_bps`` and ``take_profit_bps`` against the average entry price, ``max_age_ns`` since it was flat; 0
    switches one off.  The rest as in ``strategies.threshold``."""

    stop_bps: float = 0.0
    take_profit_bps: float = 0.0
    max_age_ns: int = 0
    slip_ticks: int = 2
    exit_limit_attempts: int = 3
    exit_retry_ns: int = 200_000_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not isfinite(value) or value < 0:
                raise ValueError(f"{name} is {value}, expected 0 or more")
        if self.exit_retry_ns <= 0:
            raise ValueError("exit_retry_ns is to be above 0")


class _Together(Exits):
    """The positions of all strategies, as one holding for each instrument."""

    def held_qty(self, instrument: str, view: View) -> Decimal:
        return view.stake(EVERYONE, instrument).qty

    def closes(self, strategy: str) -> bool:
        """Each of ours: on an account that holds more than strategies have bought, its exit would sell beside mine."""
        return strategy != EVERYONE


class Guardian(BaseStrategy):
    """Never enters."""

    Params = GuardianParams
    feature_columns = ()

    def __init__(self, name: str, instruments: Sequence[str], params: GuardianParams | None = None) -> None:
        super().__init__(name, instruments, params)
        self.params: GuardianParams
        p = self.params
        self._exits = _Together(name, instruments, ExitRules(p.slip_ticks, p.exit_limit_attempts, p.exit_retry_ns, 0))
        self._since_ns: dict[str, int] = {}
        self._cancelled_ns: dict[str, int] = {}

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        """Judge what is held at the new prices."""
        holding = self._exits.holding(instrument, view)
        if holding is None:
            return ()
        stake = view.stake(EVERYONE, instrument)
        if stake.since_ns != self._since_ns.get(instrument, 0):
            # Another position than the one that was being left.
            self._since_ns[instrument] = stake.since_ns
            holding.exit_reason, holding.exit_attempts, holding.last_exit_ns = "", 0, 0
        if not stake.since_ns or self._exits.is_flat(view.instrument(instrument), holding):
            return ()
        reason = holding.exit_reason or self._reason(instrument, stake, view)
        return self._close(instrument, holding, reason, view) if reason else ()

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        """The age, and unfinished exits, also when no quotes come."""
        known = view.instruments()  # what is carried over may not be defined yet
        return [one for name in self.instruments if name in known for one in self.on_quote(name, view)]

    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:
        self._exits.on_fill(fill, view)
        return ()

    def _reason(self, instrument: str, stake: Stake, view: View) -> str:
        p = self.params
        if p.max_age_ns and view.now_ns - stake.since_ns >= p.max_age_ns:
            return "guardian max_age"
        top = view.top(instrument)
        if top is None or not readable(top) or stake.avg_px == 0:
            return ""
        entry = float(stake.avg_px)
        gain = (top.bid_px - entry) if stake.qty > 0 else (entry - top.ask_px)
        gain_bps = gain / abs(entry) * 1e4
        if p.stop_bps and gain_bps <= -p.stop_bps:
            return "guardian stop"
        return "guardian take_profit" if p.take_profit_bps and gain_bps >= p.take_profit_bps else ""

    def _close(self, instrument: str, holding: Holding, reason: str, view: View) -> Sequence[Intent]:
        """Orders of strategies that hold the position back, or would build it up again, go first."""
        now_ns = view.now_ns
        intents: list[Intent] = []
        if now_ns - self._cancelled_ns.get(instrument, 0) >= self.params.exit_retry_ns:
            intents += [
                CancelIntent(now_ns, self.name, order.client_order_id, reason)
                for order in view.open_orders(instrument)
                if order.strategy not in (EVERYONE, self.name) and not _closes_by_hand(order)
            ]
            if intents:
                self._cancelled_ns[instrument] = now_ns
        intents += self._exits.leave(instrument, holding, reason, view)
        return intents

    def state(self) -> dict[str, Any]:
        return {"holdings": self._exits.state(), "since_ns": dict(self._since_ns)}

    def restore(self, state: dict[str, Any]) -> None:
        self._exits.restore(state.get("holdings", {}))
        self._since_ns.update(msgspec.convert(state.get("since_ns", {}), dict[str, int]))


def _closes_by_hand(order: OpenOrder) -> bool:
    """Whether an operator leaves at market by it: what the guardian wants as well.  Nor does a close by hand
    have the guardian's cancelled (``engine.manual``): at a slow venue neither would ever get out."""
    at_market = order.limit_px is None and order.trigger_px is None
    return order.strategy == OPERATOR and order.reduce_only and at_market
