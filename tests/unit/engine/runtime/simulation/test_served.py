"""The check of who predicts: nobody when all faults are over, and one that was stopped."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from engine.commands import NewOrder
from engine.events import FeedUp, ModelAlarmed, ModelAssigned, ModelOffered, ModelStanding, Prediction, PredictionStatus
from engine.runtime.simulation.served import WARMED_BY, ServedChecks
from tests.support.core import intent

BTC = "BTC/USD@coinbase"


@pytest.mark.parametrize(
    ("warms", "quotes", "broken"), [(True, WARMED_BY - 1, []), (True, WARMED_BY, ["E4"]), (False, 0, ["E4"])]
)
def test_a_market_that_says_next_to_nothing_warms_nobody(warms: bool, quotes: int, broken: list[str]) -> None:
    """Seed 21010: a clock was set when the faults ended, and ten quotes came in four minutes after that.  Those from
    before the version came do not count."""
    found: list[str] = []

    def fail(invariant: str, _text: str) -> None:
        found.append(invariant)

    checks = ServedChecks(fail, ("walker",))
    for _ in range(WARMED_BY):
        checks.quoted(BTC)
    checks.recorded(1, 1, ModelStanding(1, 1, BTC, "champion", "walker@5", "warming", 1.0, "waiting for the first row"))
    for _ in range(quotes):
        checks.quoted(BTC)
    expired = SimpleNamespace(serves=False, state="expired", reason="model walker@42 has expired")
    lane = SimpleNamespace(model_slots=["walker"], seat=expired, warming=object() if warms else None)
    core: Any = SimpleNamespace(lanes={BTC: lane})
    checks.finish(core)
    assert found == broken


@pytest.mark.parametrize(
    ("warm", "quotes", "broken"), [(False, WARMED_BY - 1, []), (False, WARMED_BY, ["E4"]), (True, 0, ["E4"])]
)
def test_one_that_broke_is_tried_when_it_has_a_row_again(warm: bool, quotes: int, broken: list[str]) -> None:
    """Seed 951240: the feed was cut in its last trial, and in the minutes that were left the market said too little."""
    found: list[str] = []
    checks = ServedChecks(lambda invariant, _text: found.append(invariant), ("walker",))
    for _ in range(WARMED_BY):
        checks.quoted(BTC)
    checks.recorded(1, 1, FeedUp(1, 1, "coinbase", "market"))
    for _ in range(quotes):
        checks.quoted(BTC)
    seat = SimpleNamespace(serves=False, state="broken", reason="late", features=SimpleNamespace(warm=warm))
    core: Any = SimpleNamespace(lanes={BTC: SimpleNamespace(model_slots=["walker"], seat=seat, warming=None)})
    checks.finish(core)
    assert found == broken


def test_a_version_that_was_stopped_predicts_only_when_that_is_cleared() -> None:
    """Seed 400038: replaced between two sessions, and promoted again two champions later.  So is one that was replaced
    in a session."""
    found: list[str] = []
    checks = ServedChecks(lambda invariant, text: found.append(f"{invariant} {text}"), ("walker",))
    stopped = ModelAlarmed(2, 2, BTC, "walker@7", "calibration", "stop", 1.0, "drawn")
    checks.recorded(1, 1, ModelAssigned(1, 1, BTC, "walker@7", "", ()))
    checks.recorded(1, 2, stopped)
    for session, versions in ((2, (6,)), (3, (3, 2, 7))):
        checks.begin(anew=False)
        for seq, number in enumerate(versions):
            checks.recorded(session, seq, ModelAssigned(3, 3, BTC, f"walker@{number}", "", ()))
    predicted = Prediction(4, 4, BTC, "walker@7", PredictionStatus.OK, (0.5,))
    checks.recorded(3, 4, predicted)
    assert found == [f"E10 walker@7 predicts {BTC}, which ['calibration'] have stopped"]
    checks.recorded(3, 5, ModelAlarmed(5, 5, BTC, "walker@7", "", "clear"))
    checks.recorded(3, 6, predicted)
    for seq, number in enumerate((5, 7), start=7):
        checks.recorded(3, seq, ModelAssigned(6, 6, BTC, f"walker@{number}", "", ()))
    checks.recorded(3, 9, predicted)
    assert len(found) == 1
    checks.recorded(3, 10, stopped)
    for seq, number in enumerate((5, 7), start=11):
        checks.recorded(3, seq, ModelAssigned(7, 7, BTC, f"walker@{number}", "", ()))
    checks.recorded(3, 13, predicted)
    assert len(found) == 2


@pytest.mark.parametrize(("share", "broken"), [(0.9, 0), (0.45, 1)])
def test_a_share_that_is_refused_changes_no_size(share: float, broken: int) -> None:
    """Seed 500044: offered to a canary that serves with a half, which goes on as it was."""
    found: list[str] = []
    checks = ServedChecks(lambda invariant, text: found.append(f"{invariant} {text}"), ("walker",))
    checks.recorded(1, 1, ModelAssigned(1, 1, BTC, "walker@7", "", ()))
    for seq, offered in enumerate((0.2, share), start=2):
        checks.recorded(1, seq, ModelOffered(seq, seq, BTC, "canary", "walker@8", "", (), offered, "drawn"))
        checks.recorded(1, seq, ModelStanding(seq, seq, BTC, "canary", "walker@8", "serving", 1.0, ""))
    checks.entered("walker 1", Decimal(1))
    view = SimpleNamespace(strategy_qty=lambda *_: Decimal(0))
    core: Any = SimpleNamespace(view=view, orders=SimpleNamespace(open_orders=lambda *_: []))
    checks.on_new(NewOrder(5, "k-1", "coinbase", intent(strategy="walker", qty="0.8", reason="walker 1")), core)
    assert len(found) == broken
