"""A token that is refused: noticed, told, asked about ever more rarely."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from connectors.fakes import EventLog, FakeClock
from connectors.oanda import access
from connectors.oanda.access import TokenAccess
from engine.errors import VenueError
from engine.events import TradingStatus


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "FIRST_PAUSE_S", 0.001)
        yield


class Asked:
    def __init__(self, refusals: int) -> None:
        self.left = refusals
        self.confirmed = 0

    async def ask(self) -> None:
        self.left -= 1
        if self.left >= 0:
            raise VenueError("refused")

    def confirm(self) -> None:
        self.confirmed += 1


@pytest.mark.fault("C8")
async def test_two_refusals_in_a_row_halt_the_venue_until_the_token_is_taken() -> None:
    """One alone does not, nor two with an answer between; the account is confirmed before it goes on."""
    log, asked = EventLog(), Asked(2)
    made = TokenAccess("oanda", log, FakeClock(7), ask=asked.ask, confirm=asked.confirm)
    made._pause_s = 0.001
    for status in (401, 200, 403, 503):
        made.answered(status)
    assert log == []
    assert not made.is_refused
    for status in (401, 401, 401):
        made.answered(status)
    assert [event.status for event in log] == [TradingStatus.HALTED]  # type: ignore[union-attr]
    while made.is_refused:
        await asyncio.sleep(0.001)
    assert [event.status for event in log] == [TradingStatus.HALTED, TradingStatus.TRADING]  # type: ignore[union-attr]
    assert (asked.left, asked.confirmed) == (-1, 1)
    await made.stop()


async def test_it_ends_while_it_waits() -> None:
    """Stopped during a pause; nothing is told afterwards."""
    log, asked = EventLog(), Asked(100)
    made = TokenAccess("oanda", log, FakeClock(7), ask=asked.ask, confirm=asked.confirm)
    made.answered(401)
    made.answered(401)
    await made.stop()
    assert len(log) == 1
    assert not made.is_refused
