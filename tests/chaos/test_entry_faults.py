"""What keeps a real daemon from entering: a price that is old, limits and guards that are missing or broken."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine.commands import NewOrder, Rejected
from engine.events import Side
from tests.support.kills.hand import WAIT_S, Hand, by_hand, quiet
from tests.support.kills.matrix import Chain

STALE_NS = 1_000_000_000


async def entered(hand: Hand) -> list[str]:
    """Why a purchase at the best offer was refused; nothing where it was not."""
    said = await hand.order("buy", "0.001", limit=str(hand.best_px(Side.SELL)), tif="ioc")
    refused: list[str] = said["refused"]
    return refused


async def denied(hand: Hand, check: str) -> Rejected:
    """The record of an entry that was refused for this, once; nothing of it has left."""
    requests, orders = dict(hand.chain.market.requests), len(hand.told.of(NewOrder))
    (why,) = await entered(hand)
    assert why.startswith(f"{check}: "), why
    await hand.until(lambda: hand.told.of(Rejected))
    (found,) = hand.told.of(Rejected)
    assert isinstance(found, Rejected)
    assert (found.check, len(hand.told.of(NewOrder))) == (check, orders)
    assert hand.chain.market.requests == requests
    series = f'kestrel_risk_rejections_total{{check="{check}"'
    assert [value for name, value in (await hand.metrics()).items() if name.startswith(series)] == [1.0]
    return found


@pytest.mark.fault("D4")
async def test_an_entry_on_an_old_price_is_refused_with_its_age(tmp_path: Path) -> None:
    """The market goes on and the daemon's streams fall silent, still open: an entry is refused; it is let once they
    were cut and there are prices again, over streams that the daemon has opened anew."""
    settings = quiet() | {"risk.stale_quote_ns": STALE_NS}
    async with Chain(tmp_path, 26, proxied=True, settings=settings) as chain, by_hand(chain) as hand:
        chain.market.still = False
        await asyncio.sleep(0.3)
        await hand.act(act="mute")
        await asyncio.sleep(2 * STALE_NS / 1e9)
        found = await denied(hand, "stale_quote")
        age_ns, unit = found.seen.split()
        assert unit == "ns"
        assert STALE_NS < int(age_ns) < WAIT_S * 1e9
        assert found.limit == f"{STALE_NS} ns"
        chain.proxy.cut()
        async with asyncio.timeout(WAIT_S):
            while (why := await entered(hand)) and why[0].startswith(("stale_quote", "tradable")):
                await asyncio.sleep(0.2)
        assert why == []
        assert await hand.daemon.agreed() == []


@pytest.mark.fault("F5")
async def test_without_limits_that_can_be_used_nothing_starts(tmp_path: Path) -> None:
    """The file is missing, a limit is missing, zero or no number: one line that names it, and nothing is asked of the
    exchange."""
    async with Chain(tmp_path, 28, settings=quiet()) as chain:
        for value, expected in (
            (None, "cannot be read: No such file"),
            ("", "risk limit 'max_order_notional' is missing"),
            ("0", "risk.max_order_notional is 0"),
            (".nan", "risk.max_order_notional is nan"),
        ):
            file, log = tmp_path / "limits.yaml", tmp_path / "log"
            if value is not None:
                file.write_text(f"risk:\n  max_order_notional: {value}\n")
            ended = await chain.nursery.start([*chain.arguments("s1"), "--config", str(file)], "", 1, log)
            status = await ended
            assert (os.WIFEXITED(status), os.WEXITSTATUS(status)) == (True, 2)
            said = log.read_text()
            assert expected in said
            assert said.count("\n") == 1
        assert not chain.session("s1").exists()
        assert not chain.market.requests


@pytest.mark.parametrize(("plant", "check"), [("guard", "guard_error"), ("nan", "limit_unusable")])
@pytest.mark.fault("F5")
async def test_a_guard_that_breaks_denies_entries_and_not_exits(plant: str, check: str, tmp_path: Path) -> None:
    """A guard raises, or a limit has become no number in spite of all checks: nothing is entered; what an earlier
    session holds can be sold."""
    async with Chain(tmp_path, 30, settings=quiet()) as chain:
        async with by_hand(chain) as hand:
            await hand.others("SELL", await hand.offers_gone(), "0.01", rest=True)
            assert await entered(hand) == []
            assert await hand.daemon.agreed() == []
        chain.plant = plant
        async with by_hand(chain) as hand:
            found = await denied(hand, check)
            assert "guard" in found.seen or "max_gross_notional is NaN" in found.seen
            bid_px = hand.best_px(Side.BUY)
            name = await hand.sent("sell", "0.001", limit=str(bid_px - 5), tif="ioc", reduce_only=True)
            await hand.until(lambda: hand.booked(name).state == "filled")
            assert await hand.daemon.agreed() == []
