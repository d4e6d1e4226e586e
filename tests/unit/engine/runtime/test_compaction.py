"""``engine.runtime.compaction``: every market record of a session once, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pytest

from engine.codec import Record
from engine.data.catalogue import Catalogue, Source
from engine.data.parquet import read_events
from engine.errors import DataError, JournalError
from engine.events import Bar, Quote, Trade
from engine.runtime import compaction
from engine.runtime.compaction import Compaction
from engine.runtime.journal import JournalWriter
from engine.runtime.retention import Rule, prune, survey
from engine.runtime.segment import RawRecord, SegmentInfo, list_segments
from tests.support.journals import INSTRUMENT, flip, market_session, timer, wait_until
from tests.support.stored import T0, meanwhile

HOUR = 3_600 * 10**9


def tick(number: int) -> Record:
    """A quote, a trade or a timer, 250 ms apart: about 60 of them fill a segment."""
    at = T0 + number * 250_000_000
    if number % 3 == 0:
        return Trade(at, at + 5, INSTRUMENT, 100.0 + number, 1.0, 1, f"t-{number}")
    return timer(number) if number % 7 == 0 else Quote(at, at + 5, INSTRUMENT, 100.0 + number, 1.5, 101.0 + number, 2.5)


def ticks(count: int) -> list[Record]:
    return [tick(number) for number in range(count)]


def market(records: list[Record]) -> list[Record]:
    return [record for record in records if isinstance(record, Quote | Trade | Bar)]


def stored(root: Path) -> list[object]:
    return list(Catalogue(root).events())


def test_an_ended_session_is_stored_whole_and_once(tmp_path: Path) -> None:
    """Several segments, a commit each; a second and a third call store nothing more, also from a new process."""
    records = ticks(400)
    session, _ = market_session(tmp_path, records)
    assert len(list_segments(session.journal)["market"]) > 3
    compacting = Compaction(session.path, tmp_path / "c")
    tally = compacting.run()
    assert stored(tmp_path / "c") == market(records)
    assert tally.total == len(market(records))
    assert (tally.complete, tally.upto_seq) == (True, 400)
    assert f"{tally.total:,} rows of {INSTRUMENT} stored (quotes " in tally.line()
    assert compacting.run().total == tally.total
    again = Compaction(session.path, tmp_path / "c").run()
    assert (again.total, again.line()) == (0, "session s-test: nothing new to store")
    assert len(stored(tmp_path / "c")) == tally.total


def test_the_journal_is_not_touched(tmp_path: Path) -> None:
    session, _ = market_session(tmp_path, ticks(200))
    before = {path: path.read_bytes() for path in session.journal.iterdir()}
    Compaction(session.path, tmp_path / "c").run()
    assert {path: path.read_bytes() for path in session.journal.iterdir()} == before


def test_a_running_session_gives_its_closed_segments_and_the_rest_at_its_end(tmp_path: Path) -> None:
    """The lock is held and the journal open: what is stored grows by whole segments, then the end completes it."""
    records = ticks(500)
    session, journal = market_session(tmp_path, records[:150], close=False)
    compacting = Compaction(session.path, tmp_path / "c")
    first = compacting.run()
    assert not first.complete
    assert "the session still runs" in first.line()
    seen = len(stored(tmp_path / "c"))
    assert 0 < seen < len(market(records[:150]))
    for seq in range(151, 501):
        journal.append(seq, records[seq - 1])
    compacting.run()
    more = len(stored(tmp_path / "c"))
    assert seen < more < len(market(records))
    assert stored(tmp_path / "c") == market(records)[:more]
    journal.close()
    session.close()
    tally = compacting.run()
    assert (tally.complete, tally.total) == (True, len(market(records)))
    assert stored(tmp_path / "c") == market(records)


def test_a_closed_segment_that_is_cut_meanwhile_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's own thread cuts closed segments to their length: here each one when its first record is read.

    A mapping of the file would lose its pages then, and this process its life.
    """
    records = ticks(300)
    session, journal = market_session(tmp_path, records, close=False)
    lengths = {}
    for info in list_segments(session.journal)["market"][:-2]:
        lengths[info.path] = os.path.getsize(info.path)
        os.truncate(info.path, lengths[info.path] + 8192)  # as it was before
    decoded = compaction._decoded

    def cut_and_decode(info: SegmentInfo, raw: RawRecord) -> Record | None:
        if info.path in lengths:
            os.truncate(info.path, lengths.pop(info.path))
        return decoded(info, raw)

    monkeypatch.setattr(compaction, "_decoded", cut_and_decode)
    Compaction(session.path, tmp_path / "c").run()
    assert lengths == {}
    assert stored(tmp_path / "c") == market(records)[: len(stored(tmp_path / "c"))]
    journal.close()
    session.close()


def test_a_torn_end_is_cut_and_told(tmp_path: Path) -> None:
    """A daemon that was killed in mid-record: everything before it is stored."""
    records = ticks(100)
    session, _ = market_session(tmp_path, records)
    last = list_segments(session.journal)["market"][-1].path
    with last.open("ab") as file:
        file.write(b"\x10\x00\x00\x00half a record")
    tally = Compaction(session.path, tmp_path / "c").run()
    assert stored(tmp_path / "c") == market(records)
    assert tally.torn_bytes == 17
    assert "17 bytes of an unfinished record were left out" in tally.line()


def test_damage_with_good_records_behind_it_is_an_error_and_what_precedes_it_is_stored(tmp_path: Path) -> None:
    """A flipped bit in the second segment: the first is stored, nothing is guessed, and a restored file goes on."""
    records = ticks(400)
    session, _ = market_session(tmp_path, records)
    second = list_segments(session.journal)["market"][1].path
    flip(second, 200)
    for _ in range(2):
        with pytest.raises(JournalError, match=r"market-000002\.seg is damaged at offset \d+, and good records follow"):
            Compaction(session.path, tmp_path / "c").run()
    kept = len(stored(tmp_path / "c"))
    assert stored(tmp_path / "c") == market(records)[:kept]
    assert 0 < kept < len(market(records))
    flip(second, 200)
    Compaction(session.path, tmp_path / "c").run()
    assert stored(tmp_path / "c") == market(records)


def test_bars_that_a_venue_tells_at_every_start_are_stored_once(tmp_path: Path) -> None:
    """Two sessions with overlapping history, and a reconnect in the second: the first account of each hour stays."""

    def bar(hour: int, close: float) -> Record:
        at = T0 + hour * HOUR
        return Bar(at, at, INSTRUMENT, HOUR, 1.0, 9.0, 0.5, close, 7.0)

    one, _ = market_session(tmp_path, [bar(hour, 2.0) for hour in range(1, 6)], name="one")
    two, _ = market_session(
        tmp_path, [bar(hour, 3.0) for hour in range(4, 9)] + [bar(hour, 4.0) for hour in range(6, 11)], name="two"
    )
    Compaction(one.path, tmp_path / "c").run()
    tally = Compaction(two.path, tmp_path / "c").run()
    assert (tally.rows, tally.known) == ({"bars": 5}, 5)
    found = [(event.ts_event_ns, event.close_px) for event in stored(tmp_path / "c") if isinstance(event, Bar)]
    closes = [2.0] * 5 + [3.0] * 3 + [4.0] * 2
    assert found == [(T0 + hour * HOUR, close) for hour, close in zip(range(1, 11), closes, strict=True)]


def test_two_sessions_of_one_name_are_two(tmp_path: Path) -> None:
    """A name of a user's own, in two folders of sessions, begun at different times."""
    records = ticks(50)
    for folder, created in (("a", "1795257930"), ("b", "1795257931")):
        session, _ = market_session(tmp_path / folder, records)
        header = session.path / "session.json"
        header.write_text(header.read_text().replace("1795257930", created))
        assert Compaction(session.path, tmp_path / "c").run().total == len(market(records))


def test_what_files_played_is_not_stored_again(tmp_path: Path) -> None:
    """A session on recorded files: their rows would be there twice, under a session's name."""
    session, _ = market_session(tmp_path, ticks(10), feed="replay")
    with pytest.raises(DataError, match=r"s-test played recorded files.*data import"):
        Compaction(session.path, tmp_path / "c")


def test_a_session_whose_market_was_pruned_is_refused(tmp_path: Path) -> None:
    """It is not said to be complete with no row; nothing is written, and the line says where the market is."""
    session, _ = market_session(tmp_path, ticks(10))
    rule = Rule(time.time_ns() + 10**9, force=True, market_only=True)
    (old,) = survey(session.path.parent, tmp_path / "run", rule)
    prune(old, rule, tmp_path / "archive")
    with pytest.raises(DataError, match=r"market stream of session \S+ was pruned on 2.*; unpack .*archive"):
        Compaction(session.path, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_built_in_exchange_is_stored_as_such(tmp_path: Path) -> None:
    session, _ = market_session(tmp_path, ticks(10), feed="sandbox")
    assert Compaction(session.path, tmp_path / "c").run().instruments == ["BTC/USD@coinbase_sandbox"]


@pytest.mark.parametrize(
    ("addresses", "venue"),
    [
        ({"rest_url": "http://127.0.0.1:8443"}, "coinbase_sandbox"),
        ({"rest_url": None, "ws_market_url": "wss://localhost/ws"}, "coinbase_sandbox"),
        ({"rest_url": "https://api.coinbase.com", "stream_url": "http://[::1]:1/"}, "coinbase_sandbox"),
        ({"rest_url": "https://api.coinbase.com", "ws_market_url": None}, "coinbase"),
    ],
)
def test_a_live_feed_from_this_machine_is_no_markets(
    tmp_path: Path, addresses: dict[str, str | None], venue: str
) -> None:
    """Whatever serves it there: its rows are not mixed with what a real venue has told."""
    session, _ = market_session(tmp_path, ticks(10), **addresses)
    assert Compaction(session.path, tmp_path / "c").run().instruments == [f"BTC/USD@{venue}"]


def test_more_events_than_are_held_go_in_lots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With seven events held at a time: the same rows in the same order."""
    monkeypatch.setattr("engine.runtime.compaction.EVENTS_HELD", 7)
    records = ticks(100)
    session, _ = market_session(tmp_path, records)
    Compaction(session.path, tmp_path / "c").run()
    assert stored(tmp_path / "c") == market(records)


def test_a_segment_prepared_ahead_is_none(tmp_path: Path) -> None:
    """The journal makes its next segment before it needs it: without a record it closes nothing."""
    records = ticks(20)
    session, journal = market_session(tmp_path, records, close=False)
    wait_until(lambda: len(list_segments(session.journal)["market"]) == 2)
    assert Compaction(session.path, tmp_path / "c").run().total == 0
    journal.close()
    session.close()
    assert Compaction(session.path, tmp_path / "c").run().total == len(market(records))


def test_a_recorded_market_goes_through_journal_and_catalogue_unchanged(market_data: Path, tmp_path: Path) -> None:
    """Quotes and trades of a real day, journaled as a live session would have: the same events in the same order."""
    names = [f"binance_usdm_btcusdt_20240808_{kind}.parquet" for kind in ("quotes", "trades")]
    events = list(read_events([market_data / "ticks" / name for name in names]))
    assert len(events) == 87_402
    session, journal = market_session(tmp_path, [], close=False)
    journal.close()
    shutil.rmtree(session.journal)
    large = JournalWriter(session.journal, session=session.id, fsync="never", market_bytes=1 << 20)
    large.wait_ready()
    for seq, event in enumerate(events, start=1):
        large.append(seq, event)
    large.close()
    session.close()
    assert len(list_segments(session.journal)["market"]) > 5
    Compaction(session.path, tmp_path / "c").run()
    assert stored(tmp_path / "c") == events


def test_events_of_one_receive_time_keep_their_order_over_segments_and_processes(tmp_path: Path) -> None:
    """Every quote is told after the trade that led to it, all at one time; one process stores what is closed, a second
    one the rest.  The trades alone and both files together play in the order of the journal."""
    records: list[Record] = []
    for number in range(150):
        records.append(Trade(T0 + number, T0, INSTRUMENT, 100.0 + number, 1.0, 1, f"t-{number}"))
        records.append(Quote(T0 + number, T0, INSTRUMENT, 100.0 + number, 1.5, 101.0 + number, 2.5))
    session, journal = market_session(tmp_path, records, close=False)
    root = tmp_path / "c"
    assert Compaction(session.path, root).run().total > 0
    journal.close()
    session.close()
    assert Compaction(session.path, root).run().complete
    wanted = [(type(record), record.ts_event_ns) for record in records if isinstance(record, Quote | Trade)]
    assert [(type(event), event.ts_event_ns) for event in Catalogue(root).events()] == wanted
    paths = [part.path for part in Catalogue(root).parts()]
    assert len(paths) > 4
    assert [(type(event), event.ts_event_ns) for event in read_events(paths)] == wanted


def test_a_trade_that_another_source_has_stored_is_not_doubled(tmp_path: Path) -> None:
    """A download took half of the trades while the session ran; one of the session's has no id and is its own."""
    nameless = Trade(T0 + 10**9, T0 + 10**9 + 5, INSTRUMENT, 7.0, 1.0, 1, "")
    records = [*ticks(120), nameless]
    trades = [record for record in records if isinstance(record, Trade)]
    session, _ = market_session(tmp_path, records)
    fetched = {
        "ts_ns": [trade.ts_event_ns for trade in trades[::2]],
        "price": [trade.px for trade in trades[::2]],
        "size": [trade.qty for trade in trades[::2]],
        "trade_id": [trade.trade_id or None for trade in trades[::2]],
    }
    catalogue = Catalogue(tmp_path / "c")
    with catalogue.writer("coinbase", "BTC-USD", "trades", source=Source("history"), instrument=INSTRUMENT) as writer:
        writer.write(pa.table(fetched))
    downloaded = len(trades[::2]) - (nameless in trades[::2])
    tally = Compaction(session.path, tmp_path / "c").run()
    assert tally.known == downloaded
    assert f"; {downloaded:,} more were stored already" in tally.line()
    catalogue.refresh()
    names = [name for batch in catalogue.read("trades") for name in batch.column("trade_id").to_pylist()]
    assert sorted(filter(None, names)) == sorted(trade.trade_id for trade in trades if trade.trade_id)


def test_trades_that_a_download_stores_meanwhile_are_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the session's, published while its segment is about to be: chosen anew, they are there once."""
    records = ticks(60)
    trades = [record for record in records if isinstance(record, Trade)]
    session, _ = market_session(tmp_path, records)
    table = pa.table({
        "ts_ns": [trade.ts_event_ns for trade in trades],
        "price": [trade.px for trade in trades],
        "size": [trade.qty for trade in trades],
        "trade_id": [trade.trade_id for trade in trades],
    })  # fmt: skip
    catalogue = Catalogue(tmp_path / "c")

    def downloaded() -> None:
        with catalogue.writer(
            "coinbase", "BTC-USD", "trades", source=Source("history"), instrument=INSTRUMENT
        ) as writer:
            writer.write(table)

    compaction = Compaction(session.path, tmp_path / "c")
    meanwhile(monkeypatch, downloaded)
    assert compaction.run().known == len(trades)
    catalogue.refresh()
    names = [name for batch in catalogue.read("trades") for name in batch.column("trade_id").to_pylist()]
    assert sorted(names) == sorted(trade.trade_id for trade in trades)
