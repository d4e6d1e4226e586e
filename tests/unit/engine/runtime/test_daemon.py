"""A whole session in this process: real journal, bus, core, metrics endpoint and files around a scripted venue."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.lag import LoopLag
from engine import events as e
from engine.commands import NewOrder
from engine.core import TradingCore
from engine.errors import ConfigError, JournalError, KestrelError, SessionLocked, VenueError
from engine.runtime.approval import build_of, write_approval
from engine.runtime.control import run_folders, running_sessions, write_halt
from engine.runtime.daemon import Daemon
from engine.runtime.journal_reader import read_journal
from engine.runtime.parts import Parts
from engine.runtime.session import Session
from engine.runtime.summary import read_summary
from engine.session_options import Options
from tests.support.core import D, MemoryJournal, OpenGate, Scripted, build_core, intent, quote, spot
from tests.support.exchange import Exchange

PACE = 0.002


def options(folder: Path, **changes: Any) -> Options:
    fields: dict[str, Any] = {
        "mode": "paper", "root": folder / "sessions", "code_root": folder, "config": {"a": 1}, "session": "s",
        "seed": 1, "rates": [("EUR", D("1.1"))], "models": (), "feed": "scripted", "data_time": False, "start_ns": 0,
        "fsync": "never", "fsync_interval_ms": 50, "segment_mb": 1, "metrics_host": "127.0.0.1", "metrics_port": 0,
        "log_level": "info", "log_folder": None, "log_max_mb": 1, "log_keep": 1, "timer_ms": 10,
        "clock_step_limit_ms": 10**9, "cancel_timeout_s": 5.0, "seconds": None, "as_json": True, "report": False,
    }  # fmt: skip
    return Options(**{**fields, **changes})


class Market(Exchange):
    """Defines its instrument and quotes until it is stopped; ends by itself after ``quotes``."""

    def __init__(self, quotes: int = 10) -> None:
        super().__init__()
        self.quotes = quotes
        self.now_ns: Callable[[], int] = lambda: 0

    async def start(self) -> None:
        await super().start()
        at = self.now_ns()
        self.publish(e.InstrumentDefined(at, at, spot()))
        for stream in ("market", "user"):
            self.publish(e.FeedUp(at, at, "coinbase", stream))

    async def finished(self) -> None:
        for _ in range(self.quotes):
            self.publish(quote(self.now_ns()))
            await asyncio.sleep(PACE)
        if self.failure is not None:
            raise self.failure
        await asyncio.sleep(0)


class Made:
    """A daemon and the parts it was given."""

    def __init__(self, folder: Path, market: Market | None = None, **changes: Any) -> None:
        self.market = market or Market()
        self.options = options(folder, **changes)
        self.core: TradingCore | None = None
        self.during: Callable[[], None] = lambda: None
        self.warmer: Any = None

        def core(recorder: Any, probe: Any, prefix: str) -> TradingCore:
            self.core = build_core(
                recorder, Scripted("s", on_quote=self.decide), gate=OpenGate(), features=lambda: None, probe=probe
            )
            return self.core

        def venue(publish: Any, clock: Any, lag_ns: Any, prefix: str, path: Path, say: Any, *_left: Any) -> Any:
            self.market.publish, self.market.now_ns = publish, clock.now_ns
            return self.market

        self.daemon = Daemon(self.options, Parts(core, venue, LoopLag, lambda venue, core, clock: self.warmer))

    def decide(self, *_: object) -> list[Any]:
        """One order, as soon as it can be had; ``during`` runs at every quote."""
        self.during()
        assert self.core is not None
        return [] if self.core.counters.orders else [intent()]

    @property
    def folder(self) -> Path:
        return self.options.root / "s"


def records(folder: Path) -> list[Any]:
    return [recorded.record for recorded in read_journal(folder / "journal")]


async def test_a_session_runs_from_an_empty_folder_to_its_summary(capsys: Any, tmp_path: Path) -> None:
    """A feed that ends by itself: journal in order, order cancelled at the end, files written, lock and socket gone."""
    made = Made(tmp_path)
    summary = await made.daemon.run()
    assert (summary.stopped_by, summary.state, summary.orders) == ("the recording ended", "active", 1)
    assert (summary.open_order_count, summary.warnings) == (0, ())
    assert summary.ticks == made.market.quotes
    assert read_summary(made.folder) == summary
    assert not (made.folder / "report.html").exists()
    assert not running_sessions(*run_folders(made.options.root))
    kinds = [type(record) for record in records(made.folder)]
    assert kinds[:2] == [e.SessionStarted, e.RateReported]
    assert kinds.index(NewOrder) < kinds.index(e.ShutdownRequested) < kinds.index(e.OrderCancelled)
    session = Session.open(made.folder)
    session.check_config()
    session.check_started(records(made.folder)[0])
    made.daemon.show(summary)
    said = capsys.readouterr()
    assert said.out == ""  # stdout belongs to the JSON line
    assert "Kestrel session s" in said.err
    assert re.search(r"report +none asked for", said.err)


async def test_a_report_that_could_not_be_made_is_not_named_at_the_end(capsys: Any, tmp_path: Path) -> None:
    """A folder lies where it is to be written: the table says why there is none."""
    made = Made(tmp_path, report=True)
    made.during = lambda: (made.folder / "report.html").mkdir(exist_ok=True)
    made.daemon.show(await made.daemon.run())
    assert re.search(r"^ report +no report: ", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.fault("F16")
async def test_only_the_approved_build_and_configuration_trades(tmp_path: Path) -> None:
    """The approved pair runs and its header says who approved it; with another limit there is not even a folder."""
    path = tmp_path / "approved.json"
    approval = write_approval(path, build_of({"a": 1}, tmp_path, ()), "reviewed", 1)
    made = Made(tmp_path, approval=path)
    await made.daemon.run()
    header = Session.open(made.folder).header
    assert (header.approved, header.config_hash) == (approval.said, approval.build.config_hash)
    other = Made(tmp_path, approval=path, config={"a": 2}, session="other")
    with pytest.raises(ConfigError, match=r"approves: configuration \(in: a\)"):
        await other.daemon.run()
    assert not (tmp_path / "sessions" / "other").exists()
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await Made(tmp_path, approval=path, session="other").daemon.run()


async def test_metrics_are_served_while_it_runs_and_the_warmer_with_it(capsys: Any, tmp_path: Path) -> None:
    """Scrapes the address that the start printed, from within the session."""
    made = Made(tmp_path)
    calls: list[str] = []

    class Warmer:
        def start(self) -> None:
            calls.append("start")

        def stop(self) -> None:
            calls.append("stop")

    made.warmer = Warmer()
    pages: list[str] = []

    def scrape() -> None:
        if not pages:
            (url,) = re.findall(r"metrics  (\S+)", capsys.readouterr().err)
            pages.append(urllib.request.urlopen(url, timeout=10).read().decode())

    made.during = scrape
    await made.daemon.run()
    assert 'kestrel_session{session="s"} 1.0' in pages[0]
    assert calls == ["start", "stop"]


async def test_a_venue_that_dies_leaves_a_summary_and_says_what_may_live_there(tmp_path: Path) -> None:
    """It dies with one order resting: the error names the order, the summary too, and nothing is left locked."""
    made = Made(tmp_path, Market())
    made.market.failure = VenueError("the exchange ended: out of memory")
    with pytest.raises(VenueError) as caught:
        await made.daemon.run()
    (order,) = [record for record in records(made.folder) if isinstance(record, NewOrder)]
    text = str(caught.value)
    assert text.startswith("the exchange ended: out of memory; 1 order may still live at coinbase: ")
    assert order.client_order_id in text
    assert "\n" not in text
    summary = read_summary(made.folder)
    assert summary.stopped_by == "failure: the exchange ended: out of memory"
    assert [line.client_order_id for line in summary.open_orders] == [order.client_order_id]
    assert summary.warnings[0] in text
    with pytest.raises(KestrelError, match="has already run"):  # not: is held by
        Session.create(made.options.root, mode="paper", config={}, wall_ns=1, code_root=tmp_path, session="s")


async def test_a_journal_that_dies_ends_the_session_and_names_what_may_live(tmp_path: Path) -> None:
    """The disk takes nothing more while an order rests: one line with the reason, the order and how to look."""
    made = Made(tmp_path, Market(quotes=10_000))

    def kill_the_journal() -> None:
        assert made.core is not None
        if made.core.counters.orders:
            full = MemoryJournal()
            full.full_for = (e.Event,)
            made.daemon._trading.bus._journal = full

    made.during = kill_the_journal
    with pytest.raises(JournalError) as caught:
        await made.daemon.run()
    text = str(caught.value)
    assert text.startswith("the journal failed: ")
    assert "1 order may still live at coinbase: k-1 (" in text
    assert "look there for client order ids that begin with ks" in text
    assert text.endswith("free the disk, then start a new session; this one can be replayed")
    assert read_summary(made.folder).open_order_count == 1


async def test_a_start_that_fails_keeps_the_record_and_writes_no_summary(tmp_path: Path) -> None:
    """The venue cannot be reached: the error as it is; the journal is there, a summary of nothing is not."""
    made = Made(tmp_path)

    def refuse() -> None:
        raise VenueError("no route to the venue")

    made.market.on_start = refuse
    with pytest.raises(VenueError, match=r"^no route to the venue$"):
        await made.daemon.run()
    assert type(records(made.folder)[0]) is e.SessionStarted
    assert not (made.folder / "summary.json").exists()


async def test_a_session_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    """The core cannot be built: its name stays free."""
    made = Made(tmp_path)

    def refuse(recorder: Any, probe: Any, prefix: str) -> TradingCore:
        raise ConfigError("strategies is empty")

    daemon = Daemon(made.options, Parts(refuse, made.daemon._parts.venue, LoopLag, lambda *_: None))
    with pytest.raises(ConfigError):
        await daemon.run()
    assert not made.folder.exists()


@pytest.mark.parametrize("place", [0, 1], ids=["the user's", "beside the sessions"])
async def test_a_kill_switch_keeps_a_session_from_starting(place: int, tmp_path: Path) -> None:
    """A HALT file in either folder: nothing is written, and the command that ends it is named."""
    made = Made(tmp_path)
    path = write_halt(run_folders(made.options.root)[place], "operator", "storm", 1)
    resume = ("resume", f"resume --sessions {made.options.root}")[place]
    with pytest.raises(KestrelError, match=rf"the kill switch is on \({path}\): storm; expected no HALT .*{resume}$"):
        await made.daemon.run()
    assert not made.options.root.exists()


async def test_a_held_folder_keeps_a_session_from_starting(tmp_path: Path) -> None:
    """The same session id while its lock is held."""
    made = Made(tmp_path)
    holder = Session.create(made.options.root, mode="paper", config={}, wall_ns=1, code_root=tmp_path, session="s")
    with pytest.raises(SessionLocked, match="is held by process"):
        await made.daemon.run()
    holder.close()


async def test_a_users_mistake_that_the_core_meets_ends_the_session_with_its_reason(tmp_path: Path) -> None:
    """A ``ConfigError`` raised inside the core in mid-session: that is what comes out."""
    made = Made(tmp_path, Market(quotes=10_000))

    def refuse(*_: object) -> Any:
        raise ConfigError("two models on one instrument")

    def break_the_core() -> None:
        assert made.core is not None
        if made.core.counters.quotes > 3:
            made.core._handlers[e.Quote] = refuse

    made.during = break_the_core
    with pytest.raises(ConfigError, match=r"^two models on one instrument$"):
        await made.daemon.run()
    assert read_summary(made.folder).stopped_by == "failure: two models on one instrument"


async def test_a_report_is_made_when_it_is_wanted(tmp_path: Path) -> None:
    """By the child process, from the real checkout."""
    made = Made(tmp_path, code_root=Path(__file__).parents[4], report=True)
    summary = await made.daemon.run()
    assert "Session s" in (made.folder / "report.html").read_text()
    assert json.loads((made.folder / "summary.json").read_text())["ticks"] == summary.ticks
