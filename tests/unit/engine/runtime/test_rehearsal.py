"""The wait for the venue's word on the account, and the router that lets nothing out before it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from engine.bus import EventBus
from engine.commands import CancelOrder, Command, ReplaceOrder
from engine.core import NullProbe
from engine.errors import KestrelError
from engine.events import (
    AccountSettled,
    CancelRejected,
    InputEvent,
    OrderRejected,
    ReplaceRejected,
    ShutdownRequested,
    StateKept,
)
from engine.order_states import OrderState
from engine.router import OrderRouter
from engine.runtime.clocks import ClockWatch, ManualClock, SystemClock
from engine.runtime.rehearsal import WITHHELD, Withheld, confirmed
from engine.runtime.supervisor import Supervisor
from tests.support.account import Account
from tests.support.core import MemoryJournal, OpenGate, Scripted, build_core, intent, open_market, quote
from tests.support.exchange import Exchange


class Core:
    """As much of a core as is asked: who is awaited, who has settled, which orders are open."""

    def __init__(self) -> None:
        self.reconciliation = SimpleNamespace(awaited=set(), settled_ns={}, missing={})
        self.orders = SimpleNamespace(open_orders=lambda: self.open)
        self.venues = SimpleNamespace(unconfirmed=[])
        self.open: list[Any] = []


async def wait(core: Any, limit_s: float = 5.0, stopping: asyncio.Event | None = None) -> None:
    await confirmed(core, "coinbase", stopping or asyncio.Event(), limit_s)


async def test_it_ends_when_the_venue_has_confirmed_and_no_order_is_unknown() -> None:
    """Neither a first session, of which nothing is awaited, nor an unknown order goes unconfirmed."""
    core = Core()
    core.open = [SimpleNamespace(state=OrderState.UNKNOWN, client_order_id="k-1")]
    waiting = asyncio.ensure_future(wait(core))
    await asyncio.sleep(0.12)
    core.reconciliation.settled_ns["coinbase"] = 1
    await asyncio.sleep(0.12)
    assert not waiting.done()
    core.open = [SimpleNamespace(state=OrderState.ACCEPTED, client_order_id="k-1")]
    await waiting


@pytest.mark.parametrize(
    ("settled", "missing", "said"),
    [
        ({}, {}, "coinbase has not confirmed it since the start"),
        ({"other": 1}, {}, "coinbase has not confirmed it since the start"),
        ({"coinbase": 1}, {"coinbase": ("EUR",)}, "coinbase does not name its balance of EUR"),
    ],
)
async def test_what_stays_in_doubt_ends_the_start(settled: dict[str, int], missing: dict[str, Any], said: str) -> None:
    """In one line, after the limit."""
    core = Core()
    core.reconciliation.settled_ns, core.reconciliation.missing = settled, missing
    with pytest.raises(KestrelError, match=rf"not confirmed after 0\.1 s: {said}; expected .*start again"):
        await wait(core, 0.1)


async def test_a_stop_ends_the_wait() -> None:
    """As Ctrl-C does, and the session never trades."""
    stopping = asyncio.Event()
    stopping.set()
    with pytest.raises(KestrelError, match="stopped before the account was confirmed: coinbase has not"):
        await wait(Core(), stopping=stopping)


class Sent:
    """A router that keeps what it is given."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def send(self, command: Command) -> None:
        self.commands.append(command)


@pytest.mark.parametrize("for_good", [False, True])
def test_no_order_passes_before_it_is_open_and_in_a_check_nothing_ever(for_good: bool) -> None:
    """What is kept is answered as an event; what adds no risk, a cancel or an exit, passes, but not in a check."""
    told: list[InputEvent] = []
    behind, is_open = Sent(), False
    router = Withheld(behind, told.append, lambda: is_open, for_good=for_good)
    account = Account()
    account.place()
    (order,) = account.venue.orders
    cancel = CancelOrder(order.ts_ns, order.client_order_id, order.venue, "v-1", order.intent.instrument)
    change = ReplaceOrder(
        order.ts_ns, order.client_order_id, order.venue, "v-1", order.intent.instrument, *[Decimal(1)] * 4
    )  # fmt: skip
    leaving = msgspec.structs.replace(order, intent=msgspec.structs.replace(order.intent, reduce_only=True))
    for _ in range(2):
        router.send(order)
        router.send(cancel)
        router.send(leaving)
        router.send(change)
        is_open = True
    if for_good:
        assert behind.commands == []
        assert [type(one) for one in told] == [OrderRejected, CancelRejected, OrderRejected, ReplaceRejected] * 2
    else:
        assert behind.commands == [cancel, leaving, order, cancel, leaving, change]
        assert [type(one) for one in told] == [OrderRejected, ReplaceRejected]
    assert {(one.client_order_id, one.reason) for one in told} == {(order.client_order_id, WITHHELD)}  # type: ignore[union-attr]


class Started:
    """A supervisor around a real core and a venue whose answers are given; an order rests there from before."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.journal, self.venue, self.clock = MemoryJournal(), Exchange(), SystemClock()
        self.bus = EventBus(self.journal, NullProbe(), lambda text, error: None)
        self.core = build_core(
            self.bus, Scripted(on_quote=lambda *_: [intent()]), gate=OpenGate(), features=lambda: None
        )
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: self.venue.gateways))
        self.venue.publish = self.bus.publish
        open_market(self.core)
        self.bus.publish(quote(10))
        assert self.core.orders.open_count == 1
        self.started = 0
        self.supervisor = Supervisor(
            bus=self.bus,
            publish=self.bus.publish,
            core=self.core,
            venue=self.venue,
            clock=self.clock,
            clock_watch=ClockWatch(ManualClock(), limit_ns=50_000_000),
            session="s",
            run_dirs=[folder / "run"],
            timer_ms=10,
            cancel_timeout_s=5.0,
            data_time=False,
            status=dict,
            on_second=lambda: None,
            keep_s=300.0,
            **options,
        )

    async def run(self) -> str:
        return await self.supervisor.run(5.0, self._start)

    def _start(self) -> None:
        self.started += 1

    def of(self, kind: type) -> list[Any]:
        return [written.record for written in self.journal.written if isinstance(written.record, kind)]


async def test_a_session_whose_account_is_not_confirmed_never_starts(tmp_path: Path) -> None:
    """The venue is up and says nothing of the account: one line, and its connections are closed."""
    session = Started(tmp_path, confirm_s=0.1)
    with pytest.raises(KestrelError, match=r"not confirmed after 0\.1 s: coinbase has not confirmed it"):
        await session.run()
    assert (session.started, session.venue.stopped) == (0, True)


async def test_a_check_ends_when_the_account_is_confirmed_and_touches_nothing(tmp_path: Path) -> None:
    """What rests at the venue stays there: no shutdown, no cancel; the state is kept for the next session."""
    session = Started(tmp_path, confirm_s=5.0, only_check=True)
    session.venue.on_start = lambda: session.bus.publish(
        AccountSettled(20, 20, "coinbase", (("USD", Decimal(100_000)),))
    )
    assert await session.run() == "nothing but a check was asked for"
    assert (session.started, session.venue.stopped, session.venue.cancels) == (1, True, [])
    assert session.of(ShutdownRequested) == []
    assert len(session.of(StateKept)) >= 1
    assert session.core.orders.open_count == 1
