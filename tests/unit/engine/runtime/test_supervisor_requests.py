"""What operators, and who watches models, ask of a running session by its socket; what happens to positions
at its end."""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine import events as e
from engine.commands import NewOrder, RiskState
from engine.errors import KestrelError
from engine.runtime.control import ask, read_halt, socket_path, write_halt
from engine.runtime.requests import make_request
from tests.support.core import BTC, fill, open_market, quote
from tests.support.serving import Answers
from tests.support.supervised import Session, began_ns, command, until


def ready(folder: Path) -> Session:
    """A market, and nothing open; market orders are filled at once."""
    session = Session(folder)
    open_market(session.core)
    rest = session.venue.submit

    def submit(order: NewOrder) -> None:
        rest(order)
        if order.intent.reduce_only:
            session.bus.publish(
                fill(order, str(order.intent.qty), "100", f"t-{order.client_order_id}", ts_ns=order.ts_ns)
            )

    session.venue.submit = submit  # type: ignore[method-assign]
    return session


def buy(session: Session) -> None:
    """The strategy's order, filled."""
    session.bus.publish(quote(10))
    (order,) = session.core.orders.open_orders()
    session.bus.publish(fill(order.new, str(order.intent.qty), "100", "t1", ts_ns=11))
    assert list(session.core.view.held()) == [BTC]


@pytest.mark.fault("F8")
async def test_resume_waits_for_an_account_that_is_settled_unless_it_is_forced(tmp_path: Path) -> None:
    """Refused with the reason, the HALT file stays; forced, both go, and who and why are on record."""
    session = ready(tmp_path)

    async def script() -> None:
        write_halt(session.run_dir, "file", "storm", 1)
        await until(lambda: session.core.risk_state is RiskState.HALTED)
        session.core.reconciliation.await_venues(["coinbase"])
        for asked in ("may_resume", "resume"):
            with pytest.raises(KestrelError, match="account is not settled: coinbase has not confirmed it"):
                await command(session, asked, reason="hurry")
        assert (await command(session, "may_resume", force=True))["state"] == "halted"
        assert read_halt(session.run_dir) is not None
        assert session.core.risk_state is RiskState.HALTED
        assert (await command(session, "resume", reason="hurry", force=True))["state"] == "active"
        assert read_halt(session.run_dir) is None

    await session.during(script)
    (resumed,) = session.of(e.Resumed)
    assert resumed.source == "operator"
    assert "(uid " in resumed.reason
    assert resumed.reason.endswith("forced although coinbase has not confirmed it since the start: hurry")


class Latched:
    """``WatchdogKeeper`` as the supervisor sees one that has halted the daemon from outside."""

    latched = True

    async def start(self) -> None: ...

    def release(self) -> None:
        self.latched = False

    def look(self) -> str:
        return ""

    def status(self) -> str:
        return "test"

    def beat(self, *_: Any) -> None: ...

    enter = end = beat


@pytest.mark.fault("A13")
async def test_a_daemon_that_was_halted_from_outside_is_halted_also_without_a_file(tmp_path: Path) -> None:
    """No disk took a HALT file: the loop wakes up, finds the latch, cancels and halts; ``resume`` lifts both."""
    session = ready(tmp_path)
    session.supervisor._watchdog = Latched()  # type: ignore[assignment]

    async def script() -> None:
        await until(lambda: session.core.risk_state is RiskState.HALTED)
        assert read_halt(session.run_dir) is None
        assert (await command(session, "resume"))["state"] == "active"

    await session.during(script)
    assert session.of(e.Halted)[0].source == "watchdog"


@pytest.mark.fault("F8")
async def test_resume_is_refused_while_an_order_is_unresolved_and_not_afterwards(tmp_path: Path) -> None:
    """The venue could not say at its last confirmation what became of an order; then it shows it."""
    session = Session(tmp_path, cancel_timeout_s=0.1)
    open_market(session.core)
    session.venue.on_cancel = lambda number: "silence"

    async def script() -> None:
        at = await began_ns(session)
        session.bus.publish(quote(at + 10))
        (order,) = session.core.orders.open_orders()
        name = order.client_order_id
        session.bus.publish(e.OrderOutcomeUnknown(at + 11, at + 11, "coinbase", name, "reset"))
        session.bus.publish(e.AccountSettled(at + 12, at + 12, "coinbase", (("USD", Decimal(100_000)),), (name,)))
        with pytest.raises(KestrelError, match=f"nobody knows what became of {name}"):
            await command(session, "resume")
        session.bus.publish(e.OrderAccepted(at + 13, at + 13, "coinbase", name, "v-1"))
        assert (await command(session, "resume"))["ok"] is True

    await session.during(script)


@pytest.mark.fault("F8")
async def test_resume_is_refused_for_what_has_become_unknown_since_the_last_confirmation(tmp_path: Path) -> None:
    """An order whose answer was lost a moment ago, a balance that the last listing did not name, a venue that was down
    and has not confirmed the account since: each by itself, and gone with the confirmation that names all."""
    session = Session(tmp_path, cancel_timeout_s=0.1)
    open_market(session.core)
    session.venue.on_cancel = lambda number: "silence"

    async def script() -> None:
        at = await began_ns(session)
        publish, whole = session.bus.publish, (("USD", Decimal(100_000)),)
        publish(e.AccountSettled(at + 9, at + 9, "coinbase", whole))
        publish(quote(at + 10))
        (order,) = session.core.orders.open_orders()
        name = order.client_order_id
        publish(e.OrderOutcomeUnknown(at + 11, at + 11, "coinbase", name, "reset"))
        with pytest.raises(KestrelError, match=f"nobody knows what became of {name}"):
            await command(session, "resume")
        publish(e.OrderAccepted(at + 12, at + 12, "coinbase", name, "v-1"))
        publish(e.AccountSettled(at + 13, at + 13, "coinbase", ()))
        with pytest.raises(KestrelError, match="coinbase does not name its balance of USD"):
            await command(session, "resume")
        publish(e.FeedDown(at + 14, at + 14, "coinbase", "user", "reset"))
        publish(e.FeedUp(at + 15, at + 15, "coinbase", "user"))
        publish(e.BalanceReported(at + 15, at + 15, "coinbase", "USD", Decimal(100_000), Decimal(100_000)))
        session.core.reconciliation.missing.clear()
        with pytest.raises(KestrelError, match="account of coinbase is not confirmed since its user stream was down"):
            await command(session, "resume")
        publish(e.AccountSettled(at + 16, at + 16, "coinbase", whole))
        assert (await command(session, "resume"))["state"] == "active"

    await session.during(script)


async def test_an_order_by_hand_goes_over_the_socket_onto_record(tmp_path: Path) -> None:
    """The answer names the order; the journal has the request, with who asked, and then the order."""
    session = ready(tmp_path)

    async def script() -> None:
        answer = await command(session, "order", side="BUY", instrument="BTC/USD", qty="0.5", limit="99", reason="test")
        assert answer["refused"] == []
        (name,) = answer["orders"]
        done = await command(session, "cancel", order=name)
        assert done["cancelled"] == [name]
        assert (await command(session, "close", instrument=BTC))["state"] == "active"
        assert (await command(session, "flatten"))["state"] == "reducing"
        assert (await command(session, "status"))["closed"] is not None

    await session.during(script)
    requests = session.of(e.OperatorRequested)
    assert [one.action for one in requests] == ["order", "cancel", "close", "flatten"]
    assert all("(uid " in one.who for one in requests)
    kinds = [type(written.record) for written in session.journal.written]
    assert kinds.index(e.OperatorRequested) < kinds.index(NewOrder)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"side": "hold"}, "the side is 'hold'; expected one of buy, sell"),
        ({"qty": "much"}, "the quantity is 'much'; expected a number"),
        ({"qty": "-1"}, "more than 0"),
        ({"qty": "nan"}, "a number"),
        ({"qty": "1e400"}, "the quantity is '1e400', too large a number; expected one between 1E-24"),
        ({"limit": "1e-400"}, "--limit is '1e-400', too small a number"),
        ({"qty": None}, "more than 0"),
        ({"tif": "soon"}, "--tif is 'soon'"),
        ({"limit": "x"}, "--limit is 'x'"),
        ({"touched": True}, "--touched without a --trigger of its own"),
        ({"trigger": "5", "limit": "5", "touched": True}, "--touched without a --trigger of its own"),
        ({"trigger": "5", "bracket": True}, "--bracket without both prices"),
        ({"limit": "5", "bracket": True}, "--bracket without both prices"),
        ({"instrument": "BTC/EUR"}, f"'BTC/EUR' is not traded in this session; expected one of {BTC}"),
    ],
)
@pytest.mark.fault("F9")
def test_what_cannot_be_meant_is_refused_in_words(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    """Each field of an order by itself; nothing is published."""
    session = ready(tmp_path)
    arguments = {"side": "buy", "instrument": "BTC/USD", "qty": "1", **wrong}
    with pytest.raises(KestrelError, match=said.replace(".", r"\.")):
        make_request("order", arguments, "ana", "", session.core, 5)


@pytest.mark.parametrize(
    ("given", "kind", "tif"),
    [
        ({}, "market", "ioc"),
        ({"limit": "9"}, "limit", "gtc"),
        ({"limit": "9", "trigger": "8"}, "stop_limit", "gtc"),
        ({"trigger": "8"}, "stop", "gtc"),
        ({"trigger": "8", "touched": True}, "market_if_touched", "gtc"),
        ({"limit": "9", "trigger": "8", "bracket": True}, "bracket", "gtc"),
    ],
)
def test_the_kind_of_an_order_follows_from_its_prices(
    given: dict[str, str], kind: str, tif: str, tmp_path: Path
) -> None:
    """Market without a limit; a limit order rests; a stop has a trigger.  A bracket is asked for, and only closes."""
    arguments = {"side": "buy", "instrument": "BTC/USD", "qty": "1", **given}
    request = make_request("order", arguments, "ana", "", ready(tmp_path).core, 5)
    assert (request.order_type, request.time_in_force, request.instrument) == (kind, tif, BTC)
    assert request.reduce_only is (kind == "bracket")


@pytest.mark.fault("A11")
async def test_positions_are_closed_before_the_end_where_that_is_asked_for(tmp_path: Path) -> None:
    """A position and ``shutdown.positions: flatten``: entries stop, the position is sold, then the session ends."""
    session = ready(tmp_path)
    session.supervisor._flatten_s = 20.0

    async def script() -> None:
        buy(session)

    await session.during(script)
    assert session.core.view.held() == {}
    kinds = [type(written.record) for written in session.journal.written]
    closing = [record for record in session.of(NewOrder) if record.intent.reduce_only]
    assert len(closing) == 1
    assert kinds.index(e.OperatorRequested) < kinds.index(e.ShutdownRequested)


@pytest.mark.fault("A11")
async def test_an_end_that_cannot_flatten_is_bounded(tmp_path: Path) -> None:
    """The gate refuses every closing order: the session ends all the same, with the position."""
    session = ready(tmp_path)
    session.supervisor._flatten_s = 0.2

    async def script() -> None:
        buy(session)
        session.core.gate.refuse = "tradable"  # type: ignore[attr-defined]

    assert await session.during(script) == "the script ended"
    assert list(session.core.view.held()) == [BTC]


async def test_commands_reach_the_core_and_an_unknown_one_is_answered(tmp_path: Path) -> None:
    """Over the real socket: status, reduce, halt, resume, nonsense, stop."""
    session = Session(tmp_path)

    async def script() -> None:
        assert (await command(session, "status"))["open_orders"] == 0
        assert (await command(session, "reduce", reason="lunch"))["state"] == "reducing"
        assert (await command(session, "halt", reason="x" * 500))["state"] == "halted"
        assert (await command(session, "reduce", reason="half a pair \ud800"))["state"] == "reducing"
        assert (await command(session, "resume"))["state"] == "active"
        with pytest.raises(KestrelError, match="unknown command 'dance'"):
            await command(session, "dance")
        assert (await command(session, "stop"))["ok"] is True

    assert await session.during(script) == "operator"
    assert [len(halted.reason) for halted in session.of(e.Halted)] == [200]
    assert [reduced.reason for reduced in session.of(e.Reduced)] == ["lunch", "half a pair \\ud800"]
    assert not socket_path(session.run_dir, "s", os.getpid()).exists()
    assert session.venue.stopped


@pytest.mark.fault("E10")
async def test_an_alarm_about_a_model_comes_by_the_control_socket_and_is_on_record(tmp_path: Path) -> None:
    """As the process that watches models asks, from a thread of its own; a figure is kept and no event."""
    session = Session(tmp_path, model=Answers("m@1"))
    open_market(session.core)
    path = socket_path(session.user_dir, "s", os.getpid())
    alarm = {"instrument": BTC, "model": "m@1", "source": "psi", "action": "size_down", "factor": 0.5, "text": "drift"}

    async def script() -> None:
        answer = await asyncio.to_thread(ask, path, "model_alarm", alarm)
        assert answer["standing"] == [f"{BTC}: m@1 serving, sizes times 0.5: sized down by psi: drift"]
        report = {"instrument": BTC, "model": "m@1", "role": "champion", "figures": {"ece": 0.1}}
        await asyncio.to_thread(ask, path, "model_report", report)
        with pytest.raises(KestrelError, match="not in this session"):
            await asyncio.to_thread(ask, path, "model_alarm", {**alarm, "instrument": "X/Y@z"})

    await session.during(script)
    (told,) = session.of(e.ModelAlarmed)
    assert (told.instrument, told.model, told.source, told.action, told.factor) == (BTC, "m@1", "psi", "size_down", 0.5)
