"""The check of who predicts, where nobody does when all faults are over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.events import ModelStanding
from engine.runtime.simulation.served import WARMED_BY, ServedChecks

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
    expired = SimpleNamespace(serves=False, reason="model walker@42 has expired")
    lane = SimpleNamespace(model_slots=["walker"], seat=expired, warming=object() if warms else None)
    core: Any = SimpleNamespace(lanes={BTC: lane})
    checks.finish(core)
    assert found == broken
