"""Defects of models: who is heard that should not be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.alarms import Alarms
from engine.entry_sizes import EntrySizes
from engine.predicting import Predicting
from engine.seats import NEVER_NS, Seat
from engine.trusting import Trust


def enter_without_a_model(patch: pytest.MonkeyPatch) -> None:
    """What no model serves enters as if one did."""
    patch.setattr(EntrySizes, "fit", lambda _self, intent: intent)


def forget_a_stop_with_the_session(patch: pytest.MonkeyPatch) -> None:
    """A version that was stopped serves after a restart."""
    patch.setattr(Alarms, "restore", lambda _self, _carried: None)


def let_no_model_expire(patch: pytest.MonkeyPatch) -> None:
    """A version serves beyond the time that it was meant for."""
    make = Seat.__init__

    def make_for_ever(self: Seat, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        self.expires_ns = self.until_ns = NEVER_NS

    patch.setattr(Seat, "__init__", make_for_ever)


def give_a_canary_everything(patch: pytest.MonkeyPatch) -> None:
    """A canary's twin enters at full size."""
    patch.setattr(Trust, "_of_canary", lambda _self, _lane: (Decimal(1), ""))


def believe_whoever_answers(patch: pytest.MonkeyPatch) -> None:
    """An answer off the loop is told as the champion's, whoever serves by then."""
    patch.setattr(Predicting, "_asked", lambda _self, lane, _event: lane.seat)


PLANTS = (
    enter_without_a_model,
    forget_a_stop_with_the_session,
    let_no_model_expire,
    give_a_canary_everything,
    believe_whoever_answers,
)
