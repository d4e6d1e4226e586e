"""When an account is confirmed again: woken, after a failure, and that no failure ends it."""

from __future__ import annotations

import asyncio

import pytest

from connectors.account_rounds import AccountRounds, pause_s
from engine.errors import VenueError
from tests.support.waiting import until


class Account:
    """Confirms, or raises what is next in ``trouble``."""

    def __init__(self, *trouble: Exception) -> None:
        self.trouble = list(trouble)
        self.rounds = 0

    async def settle(self) -> None:
        self.rounds += 1
        if self.trouble:
            raise self.trouble.pop(0)


async def test_a_round_comes_when_it_is_woken_and_every_so_often() -> None:
    account = Account()
    rounds = AccountRounds("venue", account.settle, every_s=3600.0)
    rounds.start()
    await asyncio.sleep(0.02)
    assert account.rounds == 0
    rounds.wake()
    rounds.wake()
    await until(lambda: account.rounds)
    await asyncio.sleep(0.02)
    assert account.rounds == 1
    await rounds.stop()
    often = AccountRounds("venue", account.settle, every_s=0.01)
    often.start()
    await until(lambda: account.rounds >= 4)
    await often.stop()
    assert (often.failures, often.last_error) == (0, "")


async def test_a_failed_round_is_followed_soon_and_then_by_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue's words and a defect of ours alike; the fourth round confirms and nothing more is due."""
    monkeypatch.setattr("connectors.account_rounds.RETRY_S", 0.01)
    account = Account(VenueError("it is ill"), ValueError("no number"), VenueError("still ill"))
    rounds = AccountRounds("venue", account.settle, every_s=3600.0)
    rounds.start()
    rounds.wake()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await until(lambda: account.rounds == 4)
    assert loop.time() - began_s >= 0.01 + 0.02 + 0.04
    assert (rounds.failures, rounds.last_error) == (3, "still ill")
    await asyncio.sleep(0.1)
    assert account.rounds == 4
    await rounds.stop()


async def test_who_is_woken_after_a_long_illness_does_not_wait_as_long_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is taken again has the account confirmed: where that fails for another reason, the next round comes
    after the first pause, not after that of all failures before."""
    pauses: list[int] = []

    def pause(failed: int, every_s: float) -> float:
        pauses.append(failed)
        return every_s if failed in (0, 3) else 0.001

    monkeypatch.setattr("connectors.account_rounds.pause_s", pause)
    account = Account(*[VenueError("no key")] * 3, VenueError("cut off"))
    rounds = AccountRounds("venue", account.settle, every_s=3600.0)
    rounds.start()
    rounds.wake()
    await until(lambda: account.rounds == 3 and len(pauses) == 4)
    rounds.wake()
    await until(lambda: account.rounds == 5)
    assert pauses[:5] == [0, 1, 2, 3, 1]
    await rounds.stop()


def test_the_pauses_of_a_long_illness_do_not_begin_anew() -> None:
    """They double up to the usual one and stay there."""
    assert [pause_s(failed, 30.0) for failed in range(6)] == [30.0, 5.0, 10.0, 20.0, 30.0, 30.0]
    assert pause_s(10_000, 300.0) == 300.0
    assert pause_s(1, 2.0) == 2.0


async def test_its_end_is_one_whatever_it_does() -> None:
    rounds = AccountRounds("venue", Account().settle, every_s=3600.0)
    await rounds.stop()
    assert not rounds.is_running
    rounds.start()
    assert rounds.is_running
    await rounds.stop()
    await rounds.stop()
    assert not rounds.is_running
