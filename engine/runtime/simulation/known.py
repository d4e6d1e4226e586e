"""What is on record of a simulated account, over all of its sessions: what the checks share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal

from engine.commands import RiskState
from engine.core import TradingCore
from engine.runtime.simulation.first_prices import FirstPrices
from engine.runtime.simulation.truth import Durability, Truth
from engine.venues import STANDSTILL_NS

RECENT_NS = 60_000_000_000


class Known:
    """``core`` and ``journal`` are those of the session that runs; ``now_ns()``: of the venue."""

    def __init__(self, truth: Truth, now_ns: Callable[[], int]) -> None:
        self.core: TradingCore
        self.journal: Durability
        self.session = 0
        self.must_settle = False
        self.settled = False
        self.woke_s = 0.0
        """True time when the session went on after it had stood still, or slept; 0 when it never did."""
        self.must_confirm = False
        """It stood still for so long that the account is not known any more, and was not confirmed since."""
        self.journaled: dict[str, tuple[int, int]] = {}
        """Orders of ours: session and number of the record that made each."""
        self.made_ns: dict[str, int] = {}
        self.disowned: set[str] = set()
        """Orders of sessions before one that went on from what the venue says alone."""
        self.risk: list[tuple[int, int, RiskState]] = [(0, 0, RiskState.ACTIVE)]
        """As recorded: ``(session, seq, state)``."""
        self.first_px = FirstPrices()
        self.told_of_others: dict[str, Decimal] = {}
        """By currency: what others had moved when the account was confirmed last."""
        self._told_fills: dict[str, tuple[str, Decimal]] = {}
        """Executions of others that were told since then: currency and amount, by id."""
        self._fills_then = 0
        """How many executions there were."""
        self._truth = truth
        self._now_ns = now_ns

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the account must be confirmed before anything is wished for, and was not yet."""
        return self.must_settle and not self.settled

    @property
    def risk_state(self) -> RiskState:
        return self.risk[-1][2]

    def wake(self, seconds: float, *, asleep: bool) -> None:
        """The session stood still for so long; ``asleep``: its clocks, too."""
        self.woke_s = asyncio.get_running_loop().time()
        self.must_confirm = self.must_confirm or (self.settled and (asleep or seconds * 1e9 > STANDSTILL_NS))

    def settle(self, bases: Iterable[str]) -> None:
        """The account was confirmed."""
        self.settled = True
        self.must_confirm = False
        self.told_of_others = {base: self._truth.others(base, self.disowned) for base in bases}
        self._told_fills.clear()
        self._fills_then = len(self._truth.fills())

    def hear_fill(self, trade_id: str, base: str, qty: Decimal) -> None:
        """An execution of somebody else's order was told; ``qty`` with its sign."""
        self._told_fills[trade_id] = (base, qty)

    def untold_of_others(self, base: str) -> Decimal:
        """What others have moved since the account was confirmed and no session can know.  What one was told of since
        then it knows: a sale by hand makes no room for coins that came unseen."""
        since = {one.entry_id for one in self._truth.fills()[self._fills_then :]}
        told = (qty for name, (of, qty) in self._told_fills.items() if of == base and name in since)
        moved = self._truth.others(base, self.disowned) - self.told_of_others.get(base, Decimal(0))
        return moved - sum(told, Decimal(0))

    def is_disturbed(self) -> bool:
        """Whether somebody else has just changed the account: what the venue says of it may be older."""
        disturbed_ns = self._truth.disturbed_ns
        return bool(disturbed_ns) and self._now_ns() - disturbed_ns <= RECENT_NS
