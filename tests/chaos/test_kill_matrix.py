"""Real daemons on one account, killed everywhere; after each restart the books are the exchange's, to the last digit.

A part of ``make kill-matrix``: the same spots, fewer kills.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.commands import BalanceAdjusted, NewOrder
from engine.events import AccountSettled, OrderOutcomeUnknown, StateCarried
from engine.runtime.segment import SegmentScan, list_segments
from tests.support.daemon import command, environment
from tests.support.journals import flip
from tests.support.kills.books import Told
from tests.support.kills.matrix import UNHARMED, WAITING_MAX, Chain, run_chain
from tests.support.kills.plan import plan
from tests.support.kills.spots import Spot

NO_KILL = Spot("", 1, ())
TRIES = 4
"""Kills within which a planted defect is seen; as a rule the first."""


@pytest.mark.timeout(230)  # a dozen daemons one after the other; less than where the run would be ended
@pytest.mark.parametrize("part", range(4))
@pytest.mark.fault("A1")
@pytest.mark.fault("A2")
@pytest.mark.fault("A3")
@pytest.mark.fault("A4")
@pytest.mark.fault("A5")
@pytest.mark.fault("A6")
@pytest.mark.fault("A11")
@pytest.mark.fault("B9")
async def test_nothing_is_lost_or_doubled_wherever_a_daemon_is_killed(part: int, tmp_path: Path) -> None:
    """Ten of the kills, each at the n-th call of its own place; every restart is compared before it trades on."""
    kills = await run_chain(tmp_path, 40 + part, plan(40, 115)[part * 10 : part * 10 + 10])
    assert [(kill.session, kill.spot, kill.number, kill.violations) for kill in kills if kill.violations] == []
    assert sum(kill.reached for kill in kills) > 5, "most of them die where they are to"
    covered = [kill.compared for kill in kills if kill.compared > 0]
    assert sum(covered) == len(kills) - 1, "each death was compared afterwards, but for the last's"
    assert max(covered) <= WAITING_MAX


@pytest.mark.timeout(230)
@pytest.mark.parametrize(
    ("plant", "seen"),
    [
        ("resend forget", ("was sent 2 times", "is forgotten without its end")),
        ("free both", ("USD", "beside")),
    ],
)
async def test_the_comparison_sees_what_daemons_with_defects_do(
    plant: str, seen: tuple[str, ...], tmp_path: Path
) -> None:
    """Four planted defects, two at a time: every order is sent a second time under its id, and groups are not taken
    over; fills are booked without their fee, and an exit is sent beside the one that is out."""
    async with Chain(tmp_path, 3, plant=plant) as chain:
        unseen, violations = set(seen), list[str]()
        for _ in range(TRIES):  # a daemon may die before the second exit has left, as often as the machine is busy
            await chain.kill(Spot("append:GroupMoved:after", 6, ("A6",)), 6, still=True, reached_s=60.0)
            violations += (await chain.kill(UNHARMED, 1)).violations
            unseen = {text for text in unseen if not any(text in one for one in violations)}
            if not unseen:
                break
        assert not unseen, violations


@pytest.mark.timeout(230)
@pytest.mark.fault("A10")
@pytest.mark.fault("A13")
@pytest.mark.fault("C2")
async def test_a_daemon_that_is_frozen_keeps_its_account_and_goes_on_with_it(tmp_path: Path) -> None:
    """SIGSTOP for longer than its streams may be silent, with the market and its own orders moving on: meanwhile a
    second daemon, of another folder, is refused; after SIGCONT the books are the exchange's again."""
    async with Chain(tmp_path, 6) as chain:
        async with chain.running(NO_KILL) as daemon:
            await asyncio.sleep(1.0)
            chain.nursery.signal(signal.SIGSTOP)
            second = await asyncio.to_thread(refused, chain, tmp_path / "elsewhere")
            assert second.returncode != 0
            assert f"is traded by process {chain.nursery.child}, session s0001" in second.stderr
            assert second.stderr.count("\n") == 1
            await asyncio.sleep(FROZEN_S)
            chain.nursery.signal(signal.SIGCONT)
            await until_traded_for(chain.session("s0001"), FROZEN_S)
            assert await daemon.agreed() == []
        assert (await chain.kill(UNHARMED, 1)).violations == ()


async def until_traded_for(session: Path, seconds: float) -> None:
    """Until its last order is so much later than its first."""
    async with asyncio.timeout(60):
        times_ns = [0]
        while max(times_ns) - min(times_ns) <= seconds * 1e9:
            await asyncio.sleep(0.2)
            times_ns = [order.ts_ns for order in Told(session).of(NewOrder)] or [0]


FROZEN_S = 11.0
"""A second more than a stream may be silent (``connectors.coinbase.settings``)."""


def refused(chain: Chain, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments = chain.arguments("intruder")
    arguments[arguments.index(f"session.directory={chain.folder / 'sessions'}")] = f"session.directory={folder}"
    return subprocess.run(
        command(*arguments),
        env=environment(KESTREL_RUN_DIR=str(chain.folder / "run")),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=150,
        check=False,
    )


@pytest.mark.parametrize("how", ["cut", "swallow"])
@pytest.mark.fault("B14")
@pytest.mark.fault("C1")
@pytest.mark.fault("A2")
async def test_sockets_that_are_cut_leave_nothing_lost_or_doubled(how: str, tmp_path: Path) -> None:
    """Every connection is cut in mid-message, or answers stop coming while requests still arrive; then the daemon is
    killed as well, with outcomes unknown.  Nobody's fault doubles an order, and the books come right both times."""
    async with Chain(tmp_path, 9, proxied=True) as chain:
        async with chain.running(NO_KILL) as daemon:
            for _ in range(3):
                await asyncio.sleep(0.5)
                chain.proxy.disturb(how)
            if how == "swallow":
                await disturbed_until_unknown(chain)
            await asyncio.sleep(1.0)
            assert await daemon.agreed() == []
            chain.market.still = False
            await asyncio.sleep(0.3)
            chain.proxy.disturb(how)
            await asyncio.sleep(0.05)
            chain.nursery.signal(signal.SIGKILL)
        assert (await chain.kill(UNHARMED, 1)).violations == ()


async def disturbed_until_unknown(chain: Chain) -> None:
    """On a busy machine no request may be under way while answers are swallowed: until one was.  Nothing is disturbed
    before the daemon has come back and sent an order, however long that takes it."""
    async with asyncio.timeout(60):
        while not Told(chain.session("s0001")).of(OrderOutcomeUnknown):
            chain.proxy.swallow_at_next_order()
            await asyncio.sleep(0.2)


@pytest.mark.fault("A7")
@pytest.mark.fault("C18")
async def test_a_damaged_journal_is_refused_until_the_operator_says_otherwise(tmp_path: Path) -> None:
    """A byte in the middle of the last session's orders: one line, no session; with --venue-truth the next one begins
    with what the exchange says, order of before included, and the one after it goes on from there."""
    async with Chain(tmp_path, 12) as chain:
        await chain.kill(Spot("append:OrderFilled:after", 1, ("A4",)), 3)
        spoil_the_middle(chain.session("s0001") / "journal")
        run = await asyncio.to_thread(refused, chain, tmp_path / "sessions")
        assert (run.returncode != 0, run.stderr.count("\n")) == (True, 1), run.stderr
        assert "damaged at offset" in run.stderr
        assert "--venue-truth" in run.stderr
        assert not (tmp_path / "sessions" / "intruder").exists()
        kill = await chain.kill(Spot("append:OrderAccepted:after", 1, ("A3",)), 12, "--venue-truth")
        assert [text for text in kill.violations if "never told" not in text] == []
        assert Told(chain.session("s0002")).of(StateCarried) == []
        chain.excuse()
        assert (await chain.kill(UNHARMED, 1)).violations == ()
        assert Told(chain.session("s0003")).of(StateCarried)


def spoil_the_middle(journal: Path) -> None:
    path = list_segments(journal)["orders"][0].path
    records = list(SegmentScan(path).records())
    flip(path, records[len(records) // 2].offset + 20)


@pytest.mark.fault("A8")
async def test_a_disk_that_fills_up_halts_and_the_next_session_goes_on(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Sessions lie on a disk of 24 MiB that is filled while the daemon trades: no further order, cancels go out; after
    a kill and some room the account is what the exchange says."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(sessions)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here (needs root)")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(sessions)], check=False))
    async with Chain(tmp_path, 14) as chain:
        async with chain.running(NO_KILL) as daemon:
            await asyncio.sleep(0.5)
            fill_up(sessions / "filler")
            await until_quiet(lambda: len(Told(chain.session("s0001")).of(NewOrder)))
            assert await daemon.agreed() == []
            os.unlink(sessions / "filler")
        kill = await chain.kill(UNHARMED, 1)
        assert kill.violations == ()
        after = Told(chain.session(kill.session))
        assert (len(after.of(StateCarried)), after.of(BalanceAdjusted)) == (1, [])
        assert after.of(AccountSettled)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


async def until_quiet(count: Callable[[], int]) -> None:
    """Until nothing is added any more: the journal is full to its reserve, and trading halted."""
    async with asyncio.timeout(60):
        before = -1
        while before != (before := count()):
            await asyncio.sleep(1.5)
