"""A market stored as it comes: ``data record``, ``data.record`` beside trading, and what can be done with it then."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
from typer.testing import CliRunner

import run
from engine.data.catalogue import Catalogue
from engine.data.parquet import read_events
from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from engine.runtime.journal_reader import read_journal
from engine.runtime.market_rows import TIE_NS
from tests.support.daemon import Running, into, kestrel, last_json, replay_session
from tests.support.journals import wait_until
from tests.support.recordings import quotes_file

STORED = (Bar, Quote, Trade, BookSnapshot, BookDelta)
PLAIN = "strategies=[{name: cross, kind: ema_cross, model: none}]"


def journaled(session: Path) -> list[Any]:
    """The market events of a session, under the venue that the built-in exchange is stored as."""
    return [
        type(event)(event.ts_event_ns, event.ts_recv_ns, f"{event.instrument}_sandbox", *event.__reduce__()[1][3:])
        for event in (each.record for each in read_journal(session / "journal", salvage=True))
        if isinstance(event, STORED)
    ]


def assert_same(stored: list[Any], written: list[Any]) -> None:
    """The same events in the same order; receive times may be later by what keeps events of one moment apart.  Candles
    that were asked for before the stream began are stored as of their end."""
    assert candles(stored) == candles(written)
    stored, written = ([one for one in events if type(one) is not Bar] for events in (stored, written))
    assert [unreceived(event) for event in stored] == [unreceived(event) for event in written]
    moved = [found.ts_recv_ns - event.ts_recv_ns for found, event in zip(stored, written, strict=True)]
    assert 0 <= min(moved) <= max(moved) < TIE_NS


def candles(events: list[Any]) -> list[Any]:
    found = [unreceived(one) for one in events if type(one) is Bar]
    return sorted(found, key=lambda one: (one.ts_event_ns, one.instrument))


def unreceived(event: Any) -> Any:
    return msgspec.structs.replace(event, ts_recv_ns=0)


def data(*words: object) -> dict[str, Any]:
    """A command that only reads: in this process."""
    done = CliRunner().invoke(run.app, ["data", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return content


def test_a_market_is_recorded_without_trading_and_read_back(tmp_path: Path) -> None:
    """Two products of the built-in exchange: every event of the journal is in the catalogue, the parts play as files
    do, the session replays, and nothing was or could be ordered."""
    root = tmp_path / "c"
    done = kestrel(
        *["data", "record", "--feed", "sandbox", "--symbols", "BTC/USD,ETH/USD", "--for", "2", "--to", str(root)],
        *["--json", *into(tmp_path)],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = last_json(done)
    (session,) = (tmp_path / "sessions").iterdir()
    assert f"session {said['session']}: {said['rows']:,} rows of BTC/USD@coinbase_sandbox, ETH/USD@" in done.stderr
    assert json.loads((session / "session.json").read_text())["mode"] == "record"
    # A candle that was finished by then judges the first price.
    assert (said["complete"], said["problem"], {*said["kinds"], "bars"}) == (True, "", {"quotes", "trades", "bars"})

    catalogue = Catalogue(root)
    assert {part.venue for part in catalogue.parts()} == {"coinbase_sandbox"}
    written = journaled(session)
    assert len(written) > 50
    assert_same(list(catalogue.events()), written)
    ticks = [part.path for part in catalogue.parts() if part.kind != "bars"]
    assert_same(list(read_events(ticks)), [one for one in written if type(one) is not Bar])

    status, result = replay_session(tmp_path, said["session"])
    assert (status, result["identical"]) == (0, True)
    summary = json.loads((session / "summary.json").read_text())
    assert (summary["orders"], summary["intents"], summary["predictions"]) == (0, 0, 0)

    assert sum(row["rows"] for row in data("list", "--catalogue", root)["series"]) == said["rows"]
    asked = data("query", "SELECT count(*) FROM trades", "--catalogue", root)
    assert asked["rows"] == [[said["kinds"]["trades"]]]
    again = data("compact", "latest", "--sessions", tmp_path / "sessions", "--to", root)
    assert (again["rows"], again["complete"]) == (0, True)


def levels(events: list[Any]) -> int:
    return sum(
        len(event.changes) if isinstance(event, BookDelta) else len(event.bids) + len(event.asks) for event in events
    )


def test_a_daemon_that_is_killed_while_it_trades_has_its_market_stored(tmp_path: Path) -> None:
    """``data.record`` beside trading on whole books, then kill -9: the child stores what the journal has, and ends."""
    root = tmp_path / "c"
    channels = "venue.channels=[heartbeats,level2,market_trades]"
    storing = ["--set", "data.record=true", "--set", f"data.catalogue={root}", "--set", channels]
    daemon = Running(tmp_path, "--no-report", *storing)
    try:
        daemon.wait_for("ticks/s")
        os.killpg(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait(30)
    finally:
        daemon.close()
    written = journaled(daemon.session)
    books = [event for event in written if isinstance(event, BookSnapshot | BookDelta)]
    assert books
    rows = levels(books) + len(written) - len(books)
    wait_until(lambda: sum(part.rows for part in Catalogue(root).parts()) >= rows, timeout_s=60.0)
    assert_same(list(Catalogue(root).events()), written)


def test_played_files_are_not_stored_again(tmp_path: Path) -> None:
    """``data.record`` in a configuration that is also used for replays: their rows are in files already."""
    done = kestrel(
        *["paper", "--replay", str(quotes_file(tmp_path)), "--no-report", *into(tmp_path), "--set", PLAIN],
        *["--set", "data.record=true", "--set", f"data.catalogue={tmp_path / 'c'}"],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "c").exists()
    (session,) = (tmp_path / "sessions").iterdir()
    words = ["data", "compact", session.name, "--sessions", str(tmp_path / "sessions")]
    assert "played recorded files" in str(CliRunner().invoke(run.app, words).exception)


def test_a_catalogue_that_cannot_be_written_is_told_before_the_session(tmp_path: Path) -> None:
    """One line, no session folder, no market asked."""
    (tmp_path / "c").write_text("a file")
    done = kestrel("data", "record", "--feed", "sandbox", "--for", "2", "--to", str(tmp_path / "c"), *into(tmp_path))
    assert done.returncode == 2
    assert done.stderr.strip().startswith(f"kestrel: the market cannot be stored in {tmp_path / 'c'}: ")
    assert list((tmp_path / "sessions").iterdir()) == []
