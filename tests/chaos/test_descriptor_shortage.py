"""No file and no socket can be opened any more: a real daemon stops what adds risk, lives on, and trades again."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
from pathlib import Path

import pytest

from engine.commands import NewOrder, RiskState, RiskStateChanged
from engine.events import OrderFilled, Side
from tests.support.kills.hand import Hand, by_hand
from tests.support.kills.matrix import Chain

SHORT_S = 4.0


@pytest.mark.fault("A12")
@pytest.mark.fault("C1")
async def test_without_descriptors_nothing_is_entered_until_there_are_some_and_an_operator_says_so(
    tmp_path: Path,
) -> None:
    """While two strategies trade the last descriptor is taken, and the connections are cut on top: the kill switch
    cannot be looked for, so trading is halted.  With descriptors again the daemon answers, and after ``resume`` trades
    on; its books are the exchange's all along."""
    async with Chain(tmp_path, 32, proxied=True) as chain, by_hand(chain) as hand:
        chain.market.still = False
        await hand.until(lambda: len(hand.told.of(OrderFilled)) >= 5)
        process = chain.nursery.child
        before = resource.prlimit(process, resource.RLIMIT_NOFILE)
        resource.prlimit(process, resource.RLIMIT_NOFILE, (unused(process), before[1]))
        await hand.until(lambda: halted(hand))
        chain.proxy.cut()
        await asyncio.sleep(SHORT_S)
        assert await hand.daemon.agreed() == []
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)

        chain.market.still = False
        assert (await hand.ask("status"))["state"] == "halted"
        (halt,) = halted(hand)
        assert "HALT cannot be read: Too many open files" in halt.reason
        later = [order for order in hand.told.of(NewOrder) if order.ts_ns > halt.ts_ns]
        assert [order for order in later if order.intent.side is Side.BUY] == []
        assert (await hand.ask("resume"))["state"] == "active"
        count = len(hand.told.of(NewOrder))
        await hand.until(lambda: len(hand.told.of(NewOrder)) > count + 5)
        assert await hand.daemon.agreed() == []


def unused(process: int) -> int:
    """The lowest descriptor that is free: as a limit it leaves none."""
    taken = set(map(int, os.listdir(f"/proc/{process}/fd")))
    return next(number for number in itertools.count() if number not in taken)


def halted(hand: Hand) -> list[RiskStateChanged]:
    return [change for change in hand.told.of(RiskStateChanged) if change.after is RiskState.HALTED]
