"""Which strategies and instruments are kept from entering after losses: daily loss of a strategy, losses in a row, the
guardian's cool-down.

Owns the latch of a strategy that lost its day and the quiet time of an instrument.  What was lost is the core's to say
(``View.tallies``).  The account's own breakers are ``risk.gate``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from engine.ports import Tally, View
from engine.stakes import base_name, other_half
from risk.checks import Finding, check_cooldown, check_strategy_loss
from risk.limits import EVERY_OTHER, Limits

SECOND_NS = 1_000_000_000
SHOWN_MAX = 1_000
"""Instruments in a cool-down that are remembered; they are those of the session, far fewer."""


class Carried(msgspec.Struct, frozen=True):
    """What one session tells the next."""

    stopped: dict[str, Finding]
    quiet: dict[str, int]


class Losses:
    """Of one gate.  ``forgive`` is an operator's resume: a loss that still stands latches again at the next look."""

    __slots__ = ("_cooldown_ns", "_daily", "_guardian_ns", "most", "quiet", "stopped")

    def __init__(self, limits: Limits) -> None:
        by_strategy = limits.strategy_limits or {}
        self._daily = {name: one.max_daily_loss for name, one in by_strategy.items() if one.max_daily_loss is not None}
        self.most = limits.max_consecutive_losses or 0
        """Losses in a row after which a strategy pauses; 0: not limited."""
        self._cooldown_ns = limits.loss_cooldown_ns or 0
        guardian = limits.guardian
        cooldown_s = None if guardian is None else guardian.cooldown_s
        self._guardian_ns = 0 if cooldown_s is None else int(cooldown_s * SECOND_NS)
        self.quiet: dict[str, int] = {}
        """Until when nothing is entered in an instrument."""
        self.stopped: dict[str, Finding] = {}
        """Strategies that have lost their day, each with its twin, latched."""

    @property
    def idle(self) -> bool:
        """Nothing of this is configured."""
        return not (self._daily or self.most or self._guardian_ns)

    def limit_of(self, strategy: str) -> Decimal | None:
        limit = self._daily.get(base_name(strategy))
        return self._daily.get(EVERY_OTHER) if limit is None else limit

    def look(self, view: View) -> None:
        """Latch each strategy that has lost its day; on timers and after fills."""
        if not self._daily:
            return
        tallies = view.tallies()
        for name in dict.fromkeys(map(base_name, tallies)):
            limit = self.limit_of(name)
            if limit is None or name in self.stopped:
                continue
            day = _day_of(name, tallies)
            found = None if day is None else check_strategy_loss(day, limit)
            if found is not None:
                self.stopped[name] = found

    def lowest_of(self, strategy: str) -> Decimal | None:
        """The day's result at which a strategy is stopped, None where no limit is set for it."""
        limit = self.limit_of(strategy)
        return None if limit is None else -limit

    def check(self, strategy: str, instrument: str, tallies: Mapping[str, Tally], now_ns: int) -> Finding | None:
        """May this strategy enter here now?"""
        base = base_name(strategy)
        found = self.stopped.get(base) if self.stopped else None
        if found is not None:
            return found
        for name in (strategy, base) if self.most else ():  # what pauses a strategy pauses its twin
            tally = tallies.get(name)
            if tally is not None and tally.losses >= self.most:
                found = check_cooldown("loss_cooldown", now_ns, tally.lost_ns + self._cooldown_ns)
                if found is not None:
                    return found
        limit = self.limit_of(strategy) if self._daily else None
        if limit is not None and (base in tallies or other_half(base) in tallies):
            found = check_strategy_loss(_day_of(base, tallies), limit)
            if found is not None:
                return found
        quiet_until_ns = self.quiet.get(instrument) if self.quiet else None
        return None if quiet_until_ns is None else check_cooldown("guardian_cooldown", now_ns, quiet_until_ns)

    def on_guardian(self, instrument: str, now_ns: int) -> None:
        """The guardian has sent an order there."""
        if self._guardian_ns and len(self.quiet) < SHOWN_MAX:
            self.quiet[instrument] = now_ns + self._guardian_ns

    def forgive(self) -> None:
        self.stopped.clear()
        self.quiet.clear()

    def carried(self) -> str:
        """Latches and quiet times, for the next session; empty for none."""
        if not self.stopped and not self.quiet:
            return ""
        return msgspec.json.encode(Carried(self.stopped, self.quiet), order="sorted").decode()

    def restore(self, carried: str) -> None:
        """Go on with them.  Raises ``msgspec.MsgspecError`` when it is not what ``carried`` returned."""
        if carried:
            found = msgspec.json.decode(carried, type=Carried)
            self.stopped.update({base_name(name): why for name, why in found.stopped.items()})
            self.quiet.update(found.quiet)


def _day_of(base: str, tallies: Mapping[str, Tally]) -> Decimal | None:
    """The day's result of a strategy and its twin together; None where one of them is not known."""
    found = Decimal(0)
    for name in (base, other_half(base)):
        tally = tallies.get(name)
        if tally is not None:
            if tally.day is None:
                return None
            found += tally.day
    return found
