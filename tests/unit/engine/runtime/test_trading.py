"""What a session takes over of the one before on its account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from structlog.testing import CapturingLogger

from engine.codec import Record
from engine.commands import RiskState, RiskStateChanged
from engine.runtime.clocks import ManualClock
from engine.runtime.trading import TradingSession
from engine.session_options import Options
from tests.support.journals import flip
from tests.support.succession import leave, offsets, succession, trading


class Next(NamedTuple):
    """The session that begins."""

    path: Path
    id: str = "s-2"
    header: Any = None


def taken_over(folder: Path, *, venue_truth: bool) -> tuple[TradingSession, CapturingLogger]:
    config = {"portfolio": {"currency": "USD"}}
    given: dict[str, Any] = {one.name: None for one in fields(Options)}
    given |= {"venue_truth": venue_truth, "config": config}
    log, account = CapturingLogger(), succession(folder)
    session = TradingSession(Options(**given), clock=ManualClock(), succession=account, run_dirs=(), log=log)
    try:
        session.take_over(Next(folder / "s-2"))
    finally:
        account.close()
    return session, log


def last_session(folder: Path, records: Iterable[Record]) -> Path:
    session = leave(folder / "s-1", records)
    succession(folder).begin(session)
    return session


def stopped(state: RiskState) -> list[Record]:
    return [*trading().records, RiskStateChanged(9, RiskState.ACTIVE, state, "drawdown 900, limit 500")]


@pytest.mark.parametrize("state", [RiskState.REDUCING, RiskState.HALTED])
def test_a_start_that_forgets_a_stop_says_so(tmp_path: Path, state: RiskState) -> None:
    """Nothing is taken over, and the line has the state and its reason."""
    last_session(tmp_path, stopped(state))
    session, log = taken_over(tmp_path, venue_truth=True)
    assert session.left is None
    (call,) = log.calls
    assert (call.method_name, call.kwargs) == (
        "error",
        {"session": "s-1", "state": state.value, "reason": "drawdown 900, limit 500"},
    )
    assert "begins active" in call.args[0]


def test_a_start_that_forgets_no_stop_says_nothing(tmp_path: Path) -> None:
    """After a session that was active, and on an account that had none."""
    assert taken_over(tmp_path, venue_truth=True)[1].calls == []
    last_session(tmp_path, trading().records)
    assert taken_over(tmp_path, venue_truth=True)[1].calls == []


def test_a_journal_that_cannot_be_read_is_told_and_does_not_end_such_a_start(tmp_path: Path) -> None:
    """It is what the option is for: damage in the middle."""
    path, offset = offsets(last_session(tmp_path, stopped(RiskState.HALTED)))[1]
    flip(path, offset + 16 + 3)
    session, log = taken_over(tmp_path, venue_truth=True)
    assert session.left is None
    (call,) = log.calls
    assert call.method_name == "warning"
    assert f"damaged at offset {offset}" in call.kwargs["error"]


def test_a_start_that_goes_on_takes_the_stop_over(tmp_path: Path) -> None:
    """Without the option: the state is what the session before left."""
    last_session(tmp_path, stopped(RiskState.HALTED))
    session, log = taken_over(tmp_path, venue_truth=False)
    assert session.left is not None
    assert (session.left.state.risk_state, log.calls) == (RiskState.HALTED, [])
