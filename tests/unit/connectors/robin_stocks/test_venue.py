"""The connector with its worker process on a real sandbox: what goes well, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from connectors.robin_stocks.sandbox.settings import AccountSettings, Switches
from engine.commands import OrderType
from engine.errors import ConfigError, VenueError, WrongAccount
from engine.events import (
    AccountSettled,
    BalanceReported,
    Bar,
    CancelRejected,
    FeedDown,
    FeedUp,
    InstrumentDefined,
    InstrumentStatus,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderRejected,
    PositionReported,
    Quote,
    Side,
    TradingStatus,
    VenueStatus,
)
from tests.support.robin_stocks import D, Trial, trading

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trial(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    """One session for all tests that leave it as they found it: each start is a process."""
    async with trading(tmp_path_factory.mktemp("robin_stocks"), absent_s=0.8) as made:
        yield made


async def test_a_start_an_order_and_a_cancel(trial: Trial) -> None:
    """Instruments, money and streams are told before an order; a market buy fills, a limit rests and is cancelled."""
    assert [one.definition.id for one in trial.log.of(InstrumentDefined)] == ["AAPL/USD@robin_stocks"]
    assert {(one.currency, one.total) for one in trial.log.of(BalanceReported)} == {("USD", 100_000), ("AAPL", 0)}
    assert {one.stream for one in trial.log.of(FeedUp)} == {"market", "user"}
    quote = trial.log.of(Quote)[0]
    assert (quote.bid_px, quote.bid_qty, quote.ask_px) == (231.40, 1000.0, 231.42)
    bought = trial.submit(order_type=OrderType.MARKET)
    await trial.heard(bought, "OrderFilled")
    (fill,) = [event for event in trial.of(bought) if type(event) is OrderFilled]
    assert (fill.qty, fill.px, fill.fee) == (2, D("231.42"), 0)
    resting = trial.submit()
    await trial.heard(resting, "OrderAccepted")
    trial.cancel(resting)
    await trial.heard(resting, "OrderCancelled")
    sold = trial.submit(Side.SELL, order_type=OrderType.MARKET, qty=D(1))
    await trial.heard(sold, "OrderFilled")
    (fill,) = [event for event in trial.of(sold) if type(event) is OrderFilled]
    assert fill.fee == D("0.01")
    before = len(trial.log.of(AccountSettled))
    trial.venue.confirm()
    await trial.until(lambda: len(trial.log.of(AccountSettled)) > before, "the account is confirmed")
    settled = trial.log.of(AccountSettled)[-1]
    assert dict(settled.balances) == {"USD": trial.account.cash, "AAPL": 1}


async def test_an_option_is_bought_and_its_cost_stays_in_the_account(tmp_path: Path) -> None:
    """A contract at its ask; the dollars told are what they were, as the books have a position on margin."""
    async with trading(tmp_path, start=False) as trial:
        contract = next(
            one for one in trial.exchange.options.contracts.values() if one.strike == 230 and one.kind == "call"
        )
        day = contract.expiry[2:].replace("-", "")
        symbol = f"AAPL/USD:USD-{day}-230-C"
        trial.venue.settings = type(trial.venue.settings)(
            **{**_as_dict(trial.venue.settings), "symbols": ("AAPL/USD", symbol)}
        )
        await trial.venue.start()
        name = f"{symbol}@robin_stocks"
        ask = trial.venue.market.ask_px(name)  # type: ignore[union-attr]
        option = trial.venue.listings[name].instrument
        order = trial.submit(instrument=name, limit_px=option.price(ask), qty=D(1))
        await trial.heard(order, "OrderFilled")
        before = len(trial.log.of(AccountSettled))
        trial.venue.confirm()
        await trial.until(lambda: len(trial.log.of(AccountSettled)) > before, "the account is confirmed")
        assert trial.account.cash == 100_000 - option.price(ask) * 100
        assert dict(trial.log.of(AccountSettled)[-1].balances)["USD"] == 100_000
        assert (trial.log.of(PositionReported)[-1].qty, trial.log.of(PositionReported)[-1].avg_px) == (
            1, option.price(ask),
        )  # fmt: skip
        market = trial.submit(instrument=name, order_type=OrderType.MARKET, qty=D(1))
        assert trial.of(market)[0].reason == "unsupported"


def _as_dict(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.mark.parametrize("listed", [True, False])
async def test_an_answer_that_is_lost_leaves_the_order_unknown_until_a_listing_shows_it(
    tmp_path: Path, *, listed: bool
) -> None:
    """The venue took it and its answer is cut; listings show our reference, or keep it to themselves."""
    async with trading(tmp_path, server={"switches": Switches(listed_ref_id=listed)}) as trial:
        trial.operate("answer", path="/orders/", method="POST", status=0, apply="before")
        order = trial.submit()
        await trial.heard(order, "OrderOutcomeUnknown")
        await trial.heard(order, "OrderAccepted")
        assert len(trial.account.orders) == 1
        assert not trial.log.of(OrderRejected)


async def test_an_order_that_never_arrived_is_unknown_until_listings_have_not_shown_it(trial: Trial) -> None:
    """500 without the order being taken; a cancel meanwhile waits, and is answered by the order's end."""
    trial.operate("answer", path="/orders/", method="POST", status=500)
    order = trial.submit()
    await trial.heard(order, "OrderOutcomeUnknown")
    trial.cancel(order)
    await trial.heard(order, "OrderRejected")
    assert trial.of(order)[-1].reason == "never_arrived"
    assert trial.venue.queue_depths()["cancels"] == 0


async def test_a_late_order_is_cancelled_when_it_shows_itself(trial: Trial) -> None:
    """The request arrives after its answer was lost; the cancel that waited for it leaves then."""
    trial.operate("answer", path="/orders/", method="POST", status=503, apply="after", delay_s=0.3)
    order = trial.submit()
    await trial.heard(order, "OrderOutcomeUnknown")
    trial.cancel(order)
    await trial.heard(order, "OrderCancelled")
    assert trial.kinds(order) == ["OrderOutcomeUnknown", "OrderAccepted", "OrderCancelled"]


async def test_refusals_are_the_venues_own_words(trial: Trial) -> None:
    """Too little money, too few shares, a price beside the grid that never leaves."""
    poor = trial.submit(qty=D(100_000))
    bare = trial.submit(Side.SELL)
    crooked = trial.submit(limit_px=D("230.005"))
    for order, reason in ((poor, "insufficient_funds"), (bare, "insufficient_position"), (crooked, "unsupported")):
        await trial.heard(order, "OrderRejected")
        assert trial.of(order)[-1].reason == reason
    assert "buying power" in trial.of(poor)[-1].text


async def test_a_cancel_that_the_venue_refuses_or_does_not_answer(trial: Trial) -> None:
    """503 once: asked again; an order that has filled meanwhile: its end decides; one that nobody sent: refused."""
    order = trial.submit()
    await trial.heard(order, "OrderAccepted")
    trial.operate("answer", path="/cancel/", status=503)
    trial.cancel(order)
    await trial.heard(order, "OrderCancelled")
    trial.cancel(order)
    await trial.until(lambda: trial.log.of(CancelRejected), "it is refused")
    assert trial.log.of(CancelRejected)[-1].reason == "not_open"


async def test_an_order_that_waits_behind_a_question_is_taken_back_by_a_cancel(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue is slow to answer a listing: an order that is cancelled meanwhile never leaves, and one that nobody
    cancels is given up when it has waited too long."""
    monkeypatch.setattr("connectors.robin_stocks.gateway.ORDER_WAIT_S", 0.2)
    worker = trial.venue.worker
    assert worker is not None
    arrived = len(trial.account.orders)
    trial.operate("answer", path="/orders/", method="GET", late=True, delay_s=2.0)
    trial.venue._look()
    await trial.until(lambda: worker._current is not None and worker._current[1].call == "orders", "it is asked")
    back, late = trial.submit(), trial.submit()
    trial.cancel(back)
    assert [event.reason for event in trial.of(back)] == ["cancelled_before_sent"]
    await trial.heard(late, "OrderRejected")
    assert worker._current is not None, "it is told before the question is answered"
    assert [event.reason for event in trial.of(late)] == ["not_sent"]
    monkeypatch.undo()
    after = trial.submit()
    await trial.heard(after, "OrderAccepted")
    assert len(trial.account.orders) == arrived + 1
    trial.cancel(after)
    await trial.heard(after, "OrderCancelled")


async def test_a_login_that_has_ended_is_made_anew(trial: Trial) -> None:
    """401 in mid-session: streams are down, a new login, the account confirmed, orders go on."""
    trial.venue.worker._login_ns = 0  # type: ignore[union-attr]
    settled = len(trial.log.of(AccountSettled))
    logins = trial.exchange.login.logins
    trial.operate("expire_tokens")
    await trial.until(lambda: trial.exchange.login.logins == logins + 1, "another login")
    await trial.until(lambda: len(trial.log.of(AccountSettled)) > settled, "the account is confirmed")
    assert any(one.stream == "user" for one in trial.log.of(FeedDown))
    order = trial.submit()
    await trial.heard(order, "OrderAccepted")
    assert trial.venue.counts().reconnects == logins


async def test_a_worker_that_dies_is_replaced_and_its_order_is_unknown(trial: Trial) -> None:
    """Killed while the venue is slow to answer an order that it has taken: unknown, then found; another process."""
    worker = trial.venue.worker
    assert worker is not None
    pid, starts, orders = worker.pid, worker.starts, len(trial.account.orders)
    assert pid is not None
    trial.sandbox.rest.seen.clear()
    trial.operate("answer", path="/orders/", method="POST", late=True, delay_s=0.5)
    order = trial.submit()
    await trial.until(lambda: ("POST", "/orders/") in trial.sandbox.rest.seen, "it has arrived")
    os.kill(pid, signal.SIGKILL)
    await trial.heard(order, "OrderOutcomeUnknown")
    never = trial.submit()
    assert trial.of(never)[-1].reason == "no_connection"
    await trial.heard(order, "OrderAccepted")
    assert worker.starts == starts + 1
    assert worker.pid != pid
    assert len(trial.account.orders) == orders + 1


async def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by a signal, it answers nothing: after its limit it is killed and another one goes on.  The limit is
    short for the stopped one alone."""
    async with trading(tmp_path) as trial:
        worker = trial.venue.worker
        assert worker is not None
        assert worker.pid is not None
        with monkeypatch.context() as hasty:
            hasty.setattr("connectors.robin_stocks.supervisor._EXTRA_S", 0.1)
            hasty.setattr(worker, "_settings", msgspec.structs.replace(worker._settings, answer_s=0.2))
            os.kill(worker.pid, signal.SIGSTOP)
            await trial.until(lambda: worker.starts == 2, "another worker")
        await trial.until(lambda: worker.is_up, "that it is up")
        await trial.until(
            lambda: type(trial.log.of(FeedUp)[-1]) is FeedUp and len(trial.log.of(FeedUp)) > 2, "up again"
        )


async def test_too_many_requests_slow_it_down_and_end_nothing(trial: Trial) -> None:
    """A small limit, with and without a Retry-After: quotes go on coming, and an order passes in the end."""
    trial.operate("answer", path="/quotes/", status=429, times=2, headers={"Retry-After": "1"})
    count = len(trial.log.of(Quote))
    order = trial.submit()
    await trial.heard(order, "OrderAccepted")
    await trial.until(lambda: len(trial.log.of(Quote)) > count, "quotes come")


async def test_hours_and_halts_are_told_and_nothing_leaves_meanwhile(trial: Trial) -> None:
    """New York's hours by the calendar, as the venue's answer fails: outside of them nothing leaves; then one stock
    stops."""
    market = trial.venue.market
    assert market is not None
    trial.operate("answer", path="/hours/", method="GET", status=500)
    trial.exchange.hours.always = False
    market._session_day = ""  # as if another day had begun: the venue is asked again
    regular = trial.exchange.hours.trades("regular_hours", trial.sandbox.rest.now_ns())
    await trial.until(lambda: market._session_day != "", "the hours are asked for")
    if not regular:  # what the calendar says, as the venue has said nothing
        last = lambda: [event.status for event in trial.log.of(VenueStatus)[-1:]]  # noqa: E731
        await trial.until(lambda: last() == [TradingStatus.HALTED], "the hours are told")
        assert "New York" in trial.log.of(VenueStatus)[-1].text
        order = trial.submit()
        assert trial.of(order)[-1].reason == "trading_halted"
    trial.exchange.hours.always = True
    market._session_day = ""
    await trial.until(lambda: not market.shut(), "it is open again")
    trial.operate("halt", symbol="AAPL")
    await trial.until(lambda: trial.log.of(InstrumentStatus), "the halt is told")
    assert trial.log.of(InstrumentStatus)[-1].status is TradingStatus.HALTED
    trial.operate("open", symbol="AAPL")
    await trial.until(lambda: trial.log.of(InstrumentStatus)[-1].status is TradingStatus.TRADING, "and its end")


async def test_maintenance_is_a_feed_that_is_down_and_comes_back(trial: Trial) -> None:
    """503 in HTML for everything: no quotes, an account that cannot be read; then all is well, and confirmed."""
    before = len(trial.log.of(FeedDown))
    trial.operate("maintenance")
    await trial.until(lambda: {one.stream for one in trial.log.of(FeedDown)[before:]} == {"market", "user"}, "down")
    settled, ups = len(trial.log.of(AccountSettled)), len(trial.log.of(FeedUp))
    trial.operate("maintenance", on=False)
    await trial.until(lambda: len(trial.log.of(AccountSettled)) > settled, "the account is confirmed")
    await trial.until(lambda: {one.stream for one in trial.log.of(FeedUp)[ups:]} == {"market", "user"}, "both are up")


async def test_orders_of_others_are_found_followed_and_are_not_ours(tmp_path: Path) -> None:
    """One that rests before the start, one made by hand later: both told, neither cancelled by us."""
    async with trading(tmp_path, start=False) as trial:
        exchange, account = trial.exchange, trial.account
        form = {
            "account": f"x/{account.number}/", "instrument": f"x/{exchange.stocks['AAPL'].id}/", "side": "buy",
            "quantity": "1", "type": "limit", "price": "200.00", "trigger": "immediate", "time_in_force": "gtc",
            "ref_id": "11111111-0000-4000-8000-000000000001",
        }  # fmt: skip
        now_ns = trial.sandbox.rest.now_ns()
        exchange.desk.place(account, exchange.reader.stock(account, form, now_ns), now_ns)
        await trial.venue.start()
        assert [one.qty for one in trial.log.of(OrderFound)] == [1]
        form |= {"ref_id": "11111111-0000-4000-8000-000000000002", "price": "201.00"}
        late = exchange.desk.place(account, exchange.reader.stock(account, form, now_ns), now_ns)
        await trial.until(lambda: len(trial.log.of(OrderFound)) == 2, "the second one is found")
        exchange.desk.cancel(account, late.id, "stock", trial.sandbox.rest.now_ns())
        await trial.until(lambda: trial.log.of(OrderCancelled), "its end is told")


async def test_bars_of_the_past_are_told_before_quotes(tmp_path: Path) -> None:
    """Twenty of five minutes: newest last, all finished."""
    async with trading(tmp_path, start=False) as trial:
        trial.venue._history = lambda _instrument: (300 * 10**9, 20)
        await trial.venue.start()
        bars = trial.log.of(Bar)
        assert len(bars) == 20
        assert [bar.ts_event_ns for bar in bars] == sorted(bar.ts_event_ns for bar in bars)
        kinds: list[type] = [type(event) for event in trial.log]
        assert kinds.index(Bar) < kinds.index(Quote)


# --- starts that must not happen --------------------------------------------------------------------------------------


async def test_starts_that_are_refused_say_why_in_one_line(tmp_path: Path) -> None:
    """Real money wanted; a stock that is not there; a wrong password; an account that asks for a code."""
    async with trading(tmp_path, start=False, money="real") as trial:
        with pytest.raises(WrongAccount, match="never mixed"):
            await trial.venue.start()
    async with trading(tmp_path, start=False, symbols=("NOPE/USD",)) as trial:
        with pytest.raises(VenueError, match="knows no stock NOPE"):
            await trial.venue.start()
    async with trading(tmp_path, start=False) as trial:
        (tmp_path / "login.json").write_text(json.dumps({"username": "trial@example.com", "password": "another"}))
        trial.venue._login = type(trial.venue._login)("trial@example.com", "another")
        with pytest.raises(VenueError, match="Unable to log in") as refused:
            await trial.venue.start()
        assert "another" not in str(refused.value)


@pytest.mark.parametrize(
    ("account", "login_s", "reason"),
    [
        (AccountSettings(mfa="123456"), 60.0, "authenticator"),
        (AccountSettings(verification="prompt"), 0.5, "nobody has approved it"),
    ],
)
async def test_a_login_that_needs_a_person_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: AccountSettings, login_s: float, reason: str
) -> None:
    """A code that nobody gave; an approval that does not come in time."""
    monkeypatch.setattr("connectors.robin_stocks.supervisor._EXTRA_S", 0.1)
    async with trading(tmp_path, server={"accounts": (account,)}, start=False, login_s=login_s) as trial:
        with pytest.raises(VenueError, match=reason):
            await trial.venue.start()


async def test_without_the_client_the_start_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter whose import of it fails: one line that says what to install."""
    code = (
        "import runpy, sys; sys.modules['robin_stocks'] = None; sys.argv = sys.argv[2:]; "
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    bare.chmod(0o700)
    monkeypatch.setattr("connectors.robin_stocks.supervisor.sys.executable", str(bare))
    async with trading(tmp_path, start=False) as trial:
        with pytest.raises(ConfigError, match=r"^robin_stocks is not installed.*pip install -e '.\[robinhood\]'"):
            await trial.venue.start()


async def test_secrets_are_in_no_environment_no_command_line_and_no_file(tmp_path: Path) -> None:
    """Looked for in the worker's own /proc, in what was told, and where the client keeps tokens by default."""
    kept = Path.home() / ".tokens"
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*")}
    async with trading(tmp_path) as trial:
        worker = trial.venue.worker
        assert worker is not None
        password = json.loads((tmp_path / "login.json").read_text())["password"]
        for name in ("environ", "cmdline"):
            assert password.encode() not in (Path("/proc") / str(worker.pid) / name).read_bytes()
        assert password not in repr(vars(worker)) + repr(list(trial.log))
        assert {path: path.stat().st_mtime_ns for path in kept.glob("*")} == before


@pytest.mark.parametrize(
    ("proxy", "seen"), [("http://127.0.0.1:9", b"HTTPS_PROXY=http://127.0.0.1:9"), ("none", b"NO_PROXY=*")]
)
async def test_the_worker_is_told_the_way_out(tmp_path: Path, proxy: str, seen: bytes) -> None:
    """A proxy, or none, in the worker's environment; a server of ours is reached without one."""
    async with trading(tmp_path, proxy=proxy) as trial:
        assert trial.venue.worker is not None
        assert seen in (Path("/proc") / str(trial.venue.worker.pid) / "environ").read_bytes().split(b"\0")


async def test_a_session_folder_spares_the_second_approval(tmp_path: Path) -> None:
    """Two starts with one folder: one login, the file is ours alone; a folder that others can use is refused."""
    folder = tmp_path / "tokens"
    async with trading(tmp_path, session_folder=str(folder)) as trial:
        assert (folder / "robinhood.pickle").stat().st_mode & 0o077 == 0
        await trial.venue.stop()
        again = type(trial.venue)(trial.venue.settings, trial.log, trial.venue._clock)
        await again.start()
        assert trial.exchange.login.logins == 1
        await again.stop()
        folder.chmod(0o755)
        with pytest.raises(ConfigError, match="session folder"):
            type(trial.venue)(trial.venue.settings, trial.log, trial.venue._clock)
