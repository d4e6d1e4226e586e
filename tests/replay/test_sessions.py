"""Whole sessions on recorded market data: what was decided is decided again, and a change shows where it matters."""

from __future__ import annotations

import gzip
import json
import shutil
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from engine import events as e
from engine.commands import NewOrder
from engine.runtime.journal import JournalWriter
from engine.runtime.journal_reader import JournalRecord, read_journal
from tests.support.daemon import into, kestrel, paper_session, replay_apart, replay_session
from tests.support.journals import flip
from tests.support.published import published_file

USDM_BTC = "binance_usdm_btcusdt_20240808"
USDM_ETH = "binance_usdm_ethusdt_20240808"
NO_MODEL = 'strategies=[{"name":"mine","kind":"ema_cross","model":"none"}]'
OANDA = "oanda_eurusd_quotes_20140501_20140515.parquet"


def head_of(source: Path, rows: int, folder: Path) -> Path:
    """The first rows of a recorded file, metadata kept."""
    target = folder / source.name
    pq.write_table(pq.read_table(source).slice(0, rows), target)
    return target


@pytest.fixture(scope="module")
def crypto(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One session on two instruments with quotes and trades: ``(folder, summary)``."""
    folder = tmp_path_factory.mktemp("crypto")
    files = [
        head_of(market_data / "ticks" / f"{name}_{kind}.parquet", rows, folder)
        for name in (USDM_BTC, USDM_ETH)
        for kind, rows in (("quotes", 12_000), ("trades", 4_000))
    ]
    # None is late, also where another process has the core for a moment: what follows from what is then known.
    return folder, paper_session(folder, files, "--set", "models.deadline_us=60000000", report=True)


def records(folder: Path, session: str) -> list[JournalRecord]:
    return list(read_journal(folder / "sessions" / session / "journal"))


_numbers = count()


def rewritten(folder: Path, session: str, change: dict[int, e.Event]) -> str:
    """A copy of a session in which some records were replaced, under valid checksums."""
    name = f"changed-{next(_numbers)}"
    source, target = folder / "sessions" / session, folder / "sessions" / name
    target.mkdir()
    shutil.copy(source / "session.json", target)
    journal = JournalWriter(target / "journal", session=session, fsync="never")
    for recorded in records(folder, session):
        journal.append(recorded.seq, change.get(recorded.seq, recorded.record))  # type: ignore[arg-type]
    journal.close()
    return str(target)


def test_a_session_on_raw_messages_replays_identically(market_data: Path, tmp_path: Path) -> None:
    """Recorded frames of a stream, by its books: the session decides the same again."""
    source = market_data / "raw_frames" / "binance_spot_btcusdt_20240808.jsonl.gz"
    target = tmp_path / source.name.removesuffix(".gz")
    with gzip.open(source, "rt") as lines:
        target.write_text("".join(islice(lines, 4_000)))
    books = ("--set", 'venue.channels=["ticker","market_trades","level2"]')
    summary = paper_session(tmp_path, [target], "--set", NO_MODEL, *books)
    assert summary["ticks"] > 500
    status, result = replay_session(tmp_path, summary["session"])
    assert (status, result["identical"]) == (0, True)


def test_a_session_trades_and_replays_identically(crypto: tuple[Path, dict[str, Any]]) -> None:
    """Predictions, orders and fills on both instruments; then replay, and replay that computes everything again."""
    folder, summary = crypto
    assert summary["predictions"] > 1000
    assert summary["orders"] > 10
    assert summary["fills"] > 10
    assert len(summary["positions"]) == 2
    status, result = replay_apart(folder, summary["session"])
    assert (status, result["identical"], result["first_difference"]) == (0, True, None)
    assert result["decisions"] >= summary["orders"]
    status, result = replay_apart(folder, summary["session"], "--recompute")
    assert (status, result["identical"]) == (0, True)
    assert result["recomputed_decisions"] == summary["predictions"]


def test_a_session_on_what_its_model_was_trained_on_says_so(market_data: Path, tmp_path: Path) -> None:
    """A moment of two files as the trainer had them; the fixture above plays parts of them, which are other files."""
    files = [market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet" for kind in ("quotes", "trades")]
    summary = paper_session(tmp_path, files, "--for", "0.5")
    (line,) = [text for text in summary["warnings"] if "trained" in text]
    assert line.startswith(f"demo-crypto was trained on {files[0].name}, {files[1].name}: ")


def test_string_hashing_decides_nothing(crypto: tuple[Path, dict[str, Any]]) -> None:
    """Two values of PYTHONHASHSEED replay the same record without a difference."""
    folder, summary = crypto
    for seed in ("1", "4242"):
        status, result = replay_apart(folder, summary["session"], PYTHONHASHSEED=seed)
        assert (status, result["identical"]) == (0, True)


def test_two_runs_of_the_same_data_decide_the_same(
    crypto: tuple[Path, dict[str, Any]], market_data: Path, tmp_path: Path
) -> None:
    """A second live run with another hash seed: the same intents by time, side, quantity and price.

    Late predictions depend on wall time, so the deadline is generous here.
    """
    decided = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        files = [
            head_of(market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet", rows, folder)
            for kind, rows in (("quotes", 4_000), ("trades", 1_500))
        ]
        summary = paper_session(folder, files, "--set", "models.deadline_us=60000000", PYTHONHASHSEED=seed)
        decided.append(
            [
                msgspec.to_builtins(r.record.intent)
                for r in records(folder, summary["session"])
                if isinstance(r.record, NewOrder)
            ]
        )
    assert decided[0] == decided[1]
    assert len(decided[0]) > 3


def test_a_quote_moved_by_one_tick_shows_at_the_decision_that_rests_on_it(
    crypto: tuple[Path, dict[str, Any]],
) -> None:
    """The far touch of the quote before a buy, one tick up: exit 1 and the order's seq."""
    folder, summary = crypto
    recorded = records(folder, summary["session"])
    place, order = next(
        (i, r) for i, r in enumerate(recorded) if isinstance(r.record, NewOrder) and r.record.intent.side is e.Side.BUY
    )
    wish = order.record.intent  # type: ignore[union-attr]
    source = next(
        r
        for r in reversed(recorded[:place])
        if isinstance(r.record, e.Quote) and r.record.instrument == wish.instrument
    )
    tick = 0.1 if "BTC" in wish.instrument else 0.01
    quote = source.record
    assert isinstance(quote, e.Quote)
    moved = msgspec.structs.replace(quote, ask_px=round(quote.ask_px + tick, 2))
    status, result = replay_session(folder, rewritten(folder, summary["session"], {source.seq: moved}))
    assert status == 1
    assert result["identical"] is False
    assert result["first_difference"]["seq"] == order.seq
    assert result["first_difference"]["recorded"] != result["first_difference"]["replayed"]


def test_a_changed_threshold_shows_at_the_first_order_it_would_not_have_made(
    crypto: tuple[Path, dict[str, Any]],
) -> None:
    """The buy threshold raised just above the prediction of one entry: exit 1 and the seq of the first order it asked
    for, be it an entry or the exit of the opposite position."""
    folder, summary = crypto
    recorded = records(folder, summary["session"])
    values = {r.seq: r.record.values[0] for r in recorded if isinstance(r.record, e.Prediction) and r.record.values}
    newest: dict[str, float] = {}
    asked: list[tuple[JournalRecord, float]] = []
    for r in recorded:
        if isinstance(r.record, e.Prediction) and r.record.values:
            newest[r.record.instrument] = r.record.values[0]
        elif isinstance(r.record, NewOrder) and r.record.intent.side is e.Side.BUY:
            wish = r.record.intent
            if not wish.reduce_only:
                asked.append((r, values[wish.prediction_seq]))
            elif wish.reason == "opposite":
                asked.append((r, newest[wish.instrument]))
    assigned = next(r.record for r in recorded if isinstance(r.record, e.ModelAssigned))
    facts = dict(assigned.facts)
    weakest = min(value for r, value in asked if not r.record.intent.reduce_only)  # type: ignore[union-attr]
    raised = weakest + 1e-9
    # Below the threshold as it was an exit is asked for again whose first order was not filled.
    first = next(r for r, value in asked if facts["buy"] <= value < raised)
    status, result = replay_session(
        folder,
        summary["session"],
        "--set",
        f"strategies.0.params.buy={raised!r}",
        "--set",
        f"strategies.0.params.sell={facts['sell']!r}",
    )
    assert status == 1
    assert result["first_difference"]["seq"] == first.seq
    assert "NewOrder" in result["first_difference"]["recorded"]


def test_quote_only_data_trades_with_its_own_bundle(market_data: Path, tmp_path: Path) -> None:
    """OANDA EURUSD, no sizes and no trades: predictions, fills, identical replay."""
    files = [head_of(market_data / "ticks" / OANDA, 12_000, tmp_path)]
    summary = paper_session(tmp_path, files, "--set", "models.deadline_us=60000000")
    assert summary["predictions"] > 1000
    assert summary["fills"] > 0
    assert [name.split("@")[0] for name in summary["models"]] == ["demo-fx"]
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True


def test_the_session_folder_says_what_decided(crypto: tuple[Path, dict[str, Any]]) -> None:
    """Header, summary and report exist; hashes agree; no key anywhere."""
    folder, summary = crypto
    session = folder / "sessions" / summary["session"]
    header = json.loads((session / "session.json").read_text())
    assert header["config_hash"] == summary["config_hash"]
    assert header["code_hash"] == summary["code_hash"]
    assigned = [r.record for r in records(folder, summary["session"]) if isinstance(r.record, e.ModelAssigned)]
    assert set(summary["models"]) == {record.model for record in assigned}
    assert summary["features"]
    assert all(name.partition(":")[2] for name in summary["features"])
    page = (session / "report.html").read_text()
    assert summary["session"] in page
    assert "PRIVATE KEY" not in page + (session / "session.json").read_text()


def test_a_changed_session_file_is_refused_in_one_line(
    crypto: tuple[Path, dict[str, Any]],
) -> None:
    """A strategy parameter edited in session.json: exit 2 and the section, instead of another story told as fact."""
    folder, summary = crypto
    copied = Path(rewritten(folder, summary["session"], {}))
    header = json.loads((copied / "session.json").read_text())
    header["config"]["models"]["deadline_us"] += 1
    (copied / "session.json").write_text(json.dumps(header))
    status, result = replay_session(folder, str(copied))
    assert status == 2
    assert "was changed after the session (in: models)" in result["error"]


@pytest.mark.fault("A7")
def test_a_damaged_journal_is_replayed_up_to_its_damage(crypto: tuple[Path, dict[str, Any]]) -> None:
    """One bit of one market record: exit 2 with the option's name; with the option exit 3 and what was left out."""
    folder, summary = crypto
    copied = Path(rewritten(folder, summary["session"], {}))
    market = copied / "journal" / "market-000001.seg"
    flip(market, market.stat().st_size // 2)
    status, result = replay_session(folder, str(copied))
    assert status == 2
    assert "replay --salvage" in result["error"]
    status, result = replay_session(folder, str(copied), "--salvage")
    assert status == 3
    assert (result["identical"], result["partial"]) == (True, True)
    assert result["left_out_bytes"] > 0
    assert 0 < result["decisions"] < replay_session(folder, summary["session"])[1]["decisions"]


def test_published_series_reach_decisions_and_replay(market_data: Path, tmp_path: Path) -> None:
    """A strategy that buys when CPI rises, and 3,000 quotes: known at the start, revised down and up within them.

    It decides on the first row after the second revision and not before, with replay the same again.
    """
    quotes = head_of(market_data / "ticks" / f"{USDM_BTC}_quotes.parquet", 3_000, tmp_path)
    times = pq.read_table(quotes)["recv_ns"].to_pylist()
    ago = [times[0] - days * 86_400_000_000_000 for days in (70, 40, 1)]
    rows = [(ago[1], ago[0], "CPI", 1.0), (ago[2], ago[1], "CPI", 2.0)]
    rows += [(times[700], ago[1], "CPI", 1.9), (times[1500], ago[1], "CPI", 2.5)]
    series = published_file(tmp_path / "cpi.parquet", rows)
    strategy = {"name": "mine", "kind": "ema_cross", "model": "none"}
    strategy |= {"params": {"column": "exogenous(CPI)", "fast": 1, "slow": 2}}
    own = ("--set", f"strategies={json.dumps([strategy])}")
    own += ("--set", 'features.columns=["imbalance","exogenous(CPI)","exogenous_change(CPI)"]')
    summary = paper_session(tmp_path, [quotes, series], *own)
    recorded = [r.record for r in records(tmp_path, summary["session"])]
    told = [record for record in recorded if isinstance(record, e.Observation)]
    assert [(one.ts_event_ns, one.value) for one in told] == [(row[0], row[3]) for row in rows]
    assert [one.ts_recv_ns for one in told] == [times[0], times[0], times[700], times[1500]]
    orders = [record for record in recorded if isinstance(record, NewOrder)]
    assert [order.intent.side for order in orders] == [e.Side.BUY]
    assert times[1500] <= orders[0].ts_ns < times[1600]
    for extra in ((), ("--recompute",)):
        status, result = replay_session(tmp_path, summary["session"], *extra)
        assert (status, result["identical"]) == (0, True)


def test_a_series_that_nobody_publishes_is_refused_before_the_session(market_data: Path, tmp_path: Path) -> None:
    """Features ask for one that is neither configured nor among the files."""
    quotes = head_of(market_data / "ticks" / f"{USDM_BTC}_quotes.parquet", 100, tmp_path)
    columns = 'features.columns=["close","exogenous(CPI)"]'
    done = kestrel("paper", "--replay", str(quotes), "--set", columns, *into(tmp_path), "--set", NO_MODEL)
    assert done.returncode != 0
    assert "published series CPI" in done.stderr
    assert not (tmp_path / "sessions").exists()
