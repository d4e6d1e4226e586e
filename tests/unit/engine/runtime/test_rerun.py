"""A recorded session on disk, whole, damaged and tampered with, run again on a core."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import msgspec
import pytest

from engine import events as e
from engine.bus import EventBus
from engine.commands import NewOrder
from engine.core import NullProbe
from engine.errors import DataError, JournalError, SessionLocked
from engine.replay import ReplayRecorder
from engine.router import OrderRouter
from engine.runtime.journal import JournalWriter
from engine.runtime.rerun import DIFFERS, IDENTICAL, PARTIAL, Rerun, open_recorded, rerun
from engine.runtime.session import Session
from tests.support.core import Scripted, build_core, intent, quote, spot
from tests.support.exchange import Exchange
from tests.support.journals import flip, read_all

QUOTES = 40


def strategy(every: int = 4) -> Scripted:
    """An order on each ``every``-th quote."""
    seen = []

    def on_quote(*_: object) -> list[object]:
        seen.append(1)
        return [intent()] if len(seen) % every == 0 else []

    return Scripted(on_quote=on_quote)


def record(root: Path) -> Session:
    """A session with ten orders, closed in order."""
    session = Session.create(
        root, mode="paper", config={"risk": {"limit": 5}, "venue": "x"}, wall_ns=1, code_root=root, session="s"
    )
    journal = JournalWriter(session.journal, session="s", fsync="never", market_bytes=1 << 16, orders_bytes=1 << 21)
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(text))
    core = build_core(bus, strategy(), features=lambda: None)
    venue = Exchange()
    bus.attach(core, OrderRouter(bus.publish, lambda: venue.gateways))
    venue.publish = bus.publish
    header = session.header
    bus.publish(e.SessionStarted(1, 1, "s", header.config_hash, header.code_hash, (), ()))
    bus.publish(e.InstrumentDefined(2, 2, spot()))
    for number in range(QUOTES):
        bus.publish(quote(10 + number))
    journal.close()
    session.close()
    return session


def again(root: Path, *, every: int = 4, salvage: bool = False) -> Rerun:
    session = open_recorded(root, "s")
    recorder = ReplayRecorder()
    return rerun(session, recorder, build_core(recorder, strategy(every), features=lambda: None), salvage=salvage)


def shown(outcome: Rerun) -> str:
    out = io.StringIO()
    outcome.show(out)
    return out.getvalue()


def damage(session: Session, seq: int) -> None:
    """Spoil the market record ``seq`` in its file."""
    records, _ = read_all(session.journal)
    (raw,) = [recorded.raw for recorded in records if recorded.seq == seq]
    for path in session.journal.glob("*.seg"):
        at = path.read_bytes().find(raw)
        if at > 0:
            flip(path, at)
            return
    raise AssertionError(f"no record {seq}")


def test_an_untouched_session_is_identical(tmp_path: Path) -> None:
    """Exit 0, the counts, and nothing said about damage."""
    record(tmp_path)
    outcome = again(tmp_path)
    assert outcome.status == IDENTICAL == 0
    content = outcome.content()
    assert content["identical"] is True
    assert (content["events"], content["decisions"]) == (2 + QUOTES + 10, 10)
    assert (content["partial"], content["damage"], content["left_out_bytes"]) == (False, "", 0)
    assert shown(outcome) == "s: identical; 52 events, 10 decisions, 0 predictions (0 recomputed)\n"
    assert json.loads(msgspec.json.encode(content)) == content


def test_another_strategy_differs_at_its_first_other_decision(tmp_path: Path) -> None:
    """Orders on each fifth quote instead of each fourth: exit 1 and the seq of the first order."""
    session = record(tmp_path)
    first = next(r for r in read_all(session.journal)[0] if isinstance(r.record, NewOrder))
    outcome = again(tmp_path, every=5)
    assert outcome.status == DIFFERS == 1
    assert outcome.content()["first_difference"]["seq"] == first.seq
    lines = shown(outcome).splitlines()
    assert lines[0] == f"s: differs at seq {first.seq}"
    assert lines[1].startswith("- NewOrder")
    assert lines[2].startswith("+ ")


def test_a_damaged_journal_is_refused_and_says_how_to_read_what_precedes(tmp_path: Path) -> None:
    """One bit of a quote in the middle: an error that names the option; with it, everything before, and exit 3."""
    session = record(tmp_path)
    middle = [r.seq for r in read_all(session.journal)[0] if isinstance(r.record, e.Quote)][QUOTES // 2]
    damage(session, middle)
    with pytest.raises(JournalError, match=r"damaged at offset \d+ after record .*; .*replay --salvage"):
        again(tmp_path)
    outcome = again(tmp_path, salvage=True)
    assert outcome.status == PARTIAL == 3
    content = outcome.content()
    assert (content["identical"], content["partial"]) == (True, True)
    assert content["decisions"] == QUOTES // 2 // 4
    assert "is damaged at offset" in content["damage"]
    lines = shown(outcome).splitlines()
    assert lines[0].startswith("s: identical as far as it could be read; ")
    assert lines[1].startswith(
        f"partial: read up to record {middle - 1}, {content['left_out_bytes']:,} bytes behind it "
    )
    behind = sum(len(r.raw) for r in read_all(record(tmp_path / "whole").journal)[0] if r.seq >= middle)
    assert content["left_out_bytes"] > behind


def test_a_difference_before_the_damage_is_still_a_difference(tmp_path: Path) -> None:
    """Salvaging hides nothing: exit 1, not 3."""
    session = record(tmp_path)
    damage(session, [r.seq for r in read_all(session.journal)[0] if isinstance(r.record, e.Quote)][-2])
    assert again(tmp_path, every=5, salvage=True).status == DIFFERS


def test_salvaging_a_whole_journal_changes_nothing(tmp_path: Path) -> None:
    """The option on an untouched session."""
    record(tmp_path)
    outcome = again(tmp_path, salvage=True)
    assert (outcome.status, outcome.content()["partial"]) == (IDENTICAL, False)


def test_a_journal_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    """The first record itself is spoilt: there is nothing to call identical."""
    session = record(tmp_path)
    damage(session, 1)
    with pytest.raises(JournalError, match="nothing can be salvaged: "):
        again(tmp_path, salvage=True)


def test_a_changed_header_is_refused(tmp_path: Path) -> None:
    """A limit edited; then the digests made to fit as well, which the journal's first record still contradicts."""
    session = record(tmp_path)
    path = session.path / "session.json"
    header = json.loads(path.read_text())
    header["config"]["risk"]["limit"] = 50
    path.write_text(json.dumps(header))
    with pytest.raises(DataError, match=r"was changed after the session \(in: risk\)"):
        again(tmp_path)
    other = Session.create(
        tmp_path, mode="paper", config=header["config"], wall_ns=1, code_root=tmp_path, session="other"
    )
    other.close()
    forged = json.loads((other.path / "session.json").read_text()) | {"session": "s"}
    path.write_text(json.dumps(forged))
    with pytest.raises(DataError, match=r"has config_hash .*, but the journal was begun with .*; restore session.json"):
        again(tmp_path)


def test_a_journal_that_does_not_begin_with_the_session_is_refused(tmp_path: Path) -> None:
    """A journal written without its first record."""
    session = Session.create(tmp_path, mode="paper", config={}, wall_ns=1, code_root=tmp_path, session="s")
    journal = JournalWriter(session.journal, session="s", fsync="never", market_bytes=1 << 16, orders_bytes=1 << 21)
    journal.append(1, quote(1))
    journal.close()
    session.close()
    with pytest.raises(JournalError, match="begins with Quote; expected SessionStarted"):
        again(tmp_path)


def test_a_session_that_runs_is_refused_until_it_has_ended(tmp_path: Path) -> None:
    """Its lock is held: who runs it and what to do; without the lock it is what it was."""
    session = Session.create(tmp_path, mode="paper", config={}, wall_ns=1, code_root=tmp_path, session="s")
    with pytest.raises(
        SessionLocked, match=rf"session s is running \(process {os.getpid()}\).*wait for its end or stop"
    ):
        open_recorded(tmp_path, "s")
    session.close()
    assert open_recorded(tmp_path, "s").id == "s"
