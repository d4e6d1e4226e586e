"""Defects of risk: halts, guards, exits, prices and strategies that are trusted too long."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.asking import Asking
from engine.commands import Approved, Rejected, RiskState
from engine.events import Resumed
from engine.groups import Group
from engine.latch import RiskLatch
from engine.quality.gate import QualityGate
from engine.withdrawals import Withdrawals
from risk import checks, self_trade
from risk.gate import Gate
from strategies.guardian import Guardian


def trade_while_halted(patch: pytest.MonkeyPatch) -> None:
    """The gate approves everything, whatever state risk is in."""
    patch.setattr(Gate, "review", lambda _self, intent, _view: Approved(intent, Decimal(0)))


def allow_what_a_guard_cannot_judge(patch: pytest.MonkeyPatch) -> None:
    """A check that raises counts as passed."""
    review = Gate._review

    def allow(self: Gate, intent: Any, *more: Any) -> Any:
        verdict = review(self, intent, *more)
        if isinstance(verdict, Rejected) and verdict.check == "guard_error":
            return Approved(intent, Decimal(0))
        return verdict

    patch.setattr(Gate, "_review", allow)


def forget_a_halt_with_the_session(patch: pytest.MonkeyPatch) -> None:
    """The next session is active, whatever was latched."""
    patch.setattr(RiskLatch, "go_on_in", lambda *_: None)


def halt_without_cancelling(patch: pytest.MonkeyPatch) -> None:
    """Nothing new leaves any more, and what is open stays."""
    patch.setattr(Withdrawals, "cancel_all", lambda *_: None)
    patch.setattr(Withdrawals, "insist", lambda *_: None)


def guard_nothing(patch: pytest.MonkeyPatch) -> None:
    """The guardian looks on."""
    patch.setattr(Guardian, "_reason", lambda *_: "")


def believe_every_price(patch: pytest.MonkeyPatch) -> None:
    """No quote is judged."""
    patch.setattr(QualityGate, "quote", lambda *_: 0)


def ask_a_broken_strategy_again(patch: pytest.MonkeyPatch) -> None:
    """One that raised or answered nonsense is trusted on."""
    patch.setattr(Asking, "_quarantine", lambda *_: None)


def watch_no_price(patch: pytest.MonkeyPatch) -> None:
    """The prices of exits that wait in the core are shown to nobody."""
    patch.setattr(Group, "fires", lambda self, _top: self.fired)


def trade_with_ourselves(patch: pytest.MonkeyPatch) -> None:
    """An entry of one strategy may meet what another one offers."""
    patch.setattr(self_trade, "check_self_trade", lambda *_: None)
    patch.setattr(checks, "check_opposing", lambda *_: None)


def go_on_without_a_word(patch: pytest.MonkeyPatch) -> None:
    """What has halted trading is forgotten at the next look, as nothing is wrong any more."""
    revalue = RiskLatch.revalue

    def forget(self: RiskLatch, mark: Any) -> None:
        revalue(self, mark)
        if self._gate.state is RiskState.HALTED:
            now_ns = self._view.now_ns
            self._changed(self._gate.apply(Resumed(now_ns, now_ns, "breaker", "nothing is wrong any more")))

    patch.setattr(RiskLatch, "revalue", forget)


PLANTS = (
    go_on_without_a_word,
    trade_with_ourselves,
    trade_while_halted,
    allow_what_a_guard_cannot_judge,
    forget_a_halt_with_the_session,
    halt_without_cancelling,
    guard_nothing,
    believe_every_price,
    ask_a_broken_strategy_again,
    watch_no_price,
)
