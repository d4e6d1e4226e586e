"""What is said and written when a session is over, on a real core, bus and session folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.bus import EventBus
from engine.core import NullProbe, TradingCore
from engine.errors import JournalError, VenueError
from engine.router import OrderRouter
from engine.runtime.clocks import SystemClock
from engine.runtime.ending import (
    OPEN_SHOWN,
    make_report,
    open_orders_text,
    summarise,
    table_rows,
    with_open_orders,
    write_files,
)
from engine.runtime.probe import StageProbe
from engine.runtime.session import Session
from engine.runtime.summary import SessionSeries, SessionSummary, read_summary
from tests.support.core import BTC, D, MemoryJournal, OpenGate, Scripted, build_core, fill, intent, open_market, quote
from tests.support.exchange import Exchange

ROOT = Path(__file__).parents[4]
SECRET = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmdhbml6YXRpb25zIn0.c2lnbmF0dXJlc2lnbmF0dXJl"


class Traded:
    """A session in which each quote opens an order."""

    def __init__(self, folder: Path, **answers: Any) -> None:
        self.session = Session.create(folder, mode="paper", config={"a": 1}, wall_ns=1, code_root=folder, session="s")
        self.venue = Exchange()
        self.bus = EventBus(MemoryJournal(), NullProbe(), lambda text, error: None)
        strategy = Scripted("s", **({"on_quote": lambda *_: [intent()]} | answers))
        self.core: TradingCore = build_core(self.bus, strategy, gate=OpenGate(), features=lambda: None)
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: self.venue.gateways))
        self.venue.publish = self.bus.publish
        open_market(self.core)

    def quotes(self, count: int) -> None:
        for number in range(count):
            self.bus.publish(quote(10 + number))

    def summary(self, reason: str = "SIGINT") -> SessionSummary:
        return summarise(
            self.session, self.core, self.bus, self.venue, StageProbe(SystemClock()),
            feed="sandbox", started_ns=5, ended_ns=7, reason=reason,
        )  # fmt: skip


@pytest.fixture
def traded(tmp_path: Path) -> Iterator[Traded]:
    made = Traded(tmp_path)
    yield made
    made.session.close()


def test_a_flat_position_is_a_plain_zero(traded: Traded) -> None:
    """Bought as 1, sold as 1.00000000: no exponent reaches those who read the summary."""
    traded.quotes(1)
    (order,) = traded.core.orders.open_orders()
    bought = fill(order.new, "1", "100", "t-1")
    sold = msgspec.structs.replace(
        bought, client_order_id="by-hand", trade_id="t-2", side=e.Side.SELL, qty=D("1.00000000")
    )
    for event in (bought, sold):
        traded.bus.publish(event)
    assert str(traded.summary().positions[BTC].qty) == "0"


def test_a_session_without_open_orders_warns_of_nothing(traded: Traded) -> None:
    """One order, filled: counts, position, fees, and no warning anywhere."""
    traded.quotes(1)
    (order,) = traded.core.orders.open_orders()
    traded.bus.publish(fill(order.new, "1", "100", "t-1", fee="0.2"))
    summary = traded.summary()
    assert (summary.orders, summary.fills, summary.open_order_count, summary.open_orders) == (1, 1, 0, ())
    assert summary.positions[BTC].qty == D(1)
    assert summary.fees == D("0.2")
    assert (summary.warnings, "WARNING" in table_rows(summary, "none")) == ((), False)
    assert (summary.started_ns, summary.ended_ns, summary.stopped_by, summary.venue) == (5, 7, "SIGINT", "coinbase")


def test_funding_stands_in_summary_and_table(traded: Traded) -> None:
    """Beside the fees, by instrument and in all; where there was none, no row."""
    traded.quotes(1)
    (order,) = traded.core.orders.open_orders()
    traded.bus.publish(fill(order.new, "1", "100", "t-1"))
    assert "funding" not in table_rows(traded.summary(), "none")
    traded.bus.publish(e.FundingSettled(20, 20, "coinbase", BTC, "f-1", "USD", D("-1.25")))
    summary = traded.summary()
    assert (summary.positions[BTC].funding, summary.funding, summary.fees) == (D("-1.25"), D("-1.25"), D(0))
    assert "1.25" in table_rows(summary, "none")["funding"]


def test_open_and_unknown_orders_are_named_counted_and_said(traded: Traded) -> None:
    """Twelve orders, one partly filled, one of unknown outcome: ten by name, all counted, in table, JSON and words."""
    traded.quotes(12)
    orders = traded.core.orders.open_orders()
    traded.bus.publish(fill(orders[0].new, "0.25", "100", "t-1"))
    lost = orders[1].client_order_id
    traded.bus.publish(e.OrderOutcomeUnknown(60, 60, "coinbase", lost, "timeout"))
    summary = traded.summary()
    assert (summary.open_order_count, summary.unknown_order_count) == (12, 1)
    assert len(summary.open_orders) == OPEN_SHOWN == 10
    first, second = summary.open_orders[:2]
    assert (first.client_order_id, first.state, first.leaves_qty) == ("k-1", "partly_filled", D("0.75"))
    assert (first.venue_order_id, first.side, first.instrument) == ("v-k-1", 1, BTC)
    assert (second.client_order_id, second.state) == (lost, "unknown")
    (warning,) = summary.warnings
    assert warning.startswith("12 orders may still live at coinbase, 1 of unknown outcome: k-1 (partly_filled), ")
    assert "k-2 (unknown)" in warning
    assert "k-10 (" in warning
    assert "k-11" not in warning
    assert warning.endswith("and 2 more; look there for client order ids that begin with ks and cancel what lives")
    assert table_rows(summary, "none")["WARNING"] == warning


def test_the_error_that_ended_a_session_says_what_it_left(traded: Traded) -> None:
    """With one open order, in the same line and of the same kind; with none, the error itself."""
    error = JournalError("the journal failed: disk full", do="free the disk")
    assert with_open_orders(error, traded.core, "s") is error
    assert open_orders_text([], "s") == ""
    traded.quotes(1)
    said = with_open_orders(error, traded.core, "s")
    assert type(said) is JournalError
    assert str(said) == (
        "the journal failed: disk full; 1 order may still live at coinbase: k-1 (accepted); look there for client "
        "order ids that begin with ks and cancel what lives; free the disk"
    )
    assert type(with_open_orders(VenueError("gone"), traded.core, "s")) is VenueError


@pytest.mark.fault("F15")
def test_no_secret_reaches_a_summary(tmp_path: Path) -> None:
    """A strategy that raises a token, a venue that refuses with one, a failure that quotes one."""

    def explode(*_: Any) -> Any:
        raise ValueError(f"Bearer {SECRET}")

    traded = Traded(tmp_path, on_timer=explode)
    traded.quotes(1)
    (order,) = traded.core.orders.open_orders()
    traded.bus.publish(e.OrderRejected(20, 20, "coinbase", order.client_order_id, f"bad token {SECRET}"))
    traded.bus.publish(e.Timer(30, 30, "tick"))
    summary = traded.summary(f"failure: {SECRET}")
    assert "ValueError" in summary.quarantined["s"]
    assert sum(summary.rejections.values()) == summary.rejected == 1
    assert write_files(traded.session.path, summary, SessionSeries()) == ""
    everything = "".join(path.read_text() for path in traded.session.path.glob("*.json")) + str(
        table_rows(summary, "none")
    )
    assert SECRET not in everything
    assert "strategy s: ValueError" in table_rows(summary, "none")["failed"]
    assert read_summary(traded.session.path) == summary
    traded.session.close()


def test_what_was_not_used_is_counted_by_reason(traded: Traded) -> None:
    """Quotes of an unknown instrument, and market events that the bus and the journal lost."""
    traded.bus.publish(quote(10, instrument="X/Y@coinbase"))
    traded.bus.waiting_dropped = 3
    traded.bus.unjournaled = 2
    summary = traded.summary()
    assert summary.drops == {"unknown_instrument": 1, "bus_full": 3, "journal_full": 2}
    assert summary.dropped == 6


def test_files_that_cannot_be_written_are_one_line(traded: Traded, tmp_path: Path) -> None:
    """The folder is gone: a line, no exception."""
    assert write_files(tmp_path / "nowhere", traded.summary(), SessionSeries()).startswith(
        "no summary written: No such"
    )


async def test_the_report_is_made_by_a_child_or_its_failure_is_one_line(traded: Traded) -> None:
    """A folder without a summary, then one with it."""
    folder = traded.session.path
    said = await make_report(folder, ROOT)
    assert said.startswith("no report: ")
    assert "summary.json does not exist" in said
    assert write_files(folder, traded.summary(), SessionSeries()) == ""
    assert await make_report(folder, ROOT) == ""
    assert "Session s" in (folder / "report.html").read_text()
    assert json.loads((folder / "summary.json").read_text())["session"] == "s"


def test_rows_say_unknown_and_unmeasured_rather_than_nothing(traded: Traded) -> None:
    """A summary with nothing in it."""
    bare = msgspec.structs.replace(traded.summary(), equity=None, equity_start=None, positions={}, fees=None)
    rows = table_rows(bare, "none asked for")
    assert rows["equity"] == "unknown USD (start unknown)"
    assert rows["positions"] == "none"
    assert rows["tick to order"] == "nothing measured"
    assert rows["report"] == "none asked for"
    assert rows["replay"] == "python run.py replay s"
