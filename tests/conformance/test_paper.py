"""``run.py paper`` end to end: the built-in exchange over its own protocol, and recorded markets.

Real processes, real sockets, the shipped model.  Each session is replayed afterwards.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine import events as e
from engine.commands import NewOrder, OrderType
from engine.runtime.control import ask, running_sessions
from engine.runtime.journal_reader import JournalRecord, read_journal
from tests.support.daemon import Running, paper_session, replay_session

BTC = "binance_usdm_btcusdt_20240808"
ETH = "binance_usdm_ethusdt_20240808"

TAKER = """
from engine.commands import OrderIntent, OrderType
from engine.events import Side
from strategies.base import BaseStrategy


class Taker(BaseStrategy):
    '''Buys for 100 at the best ask, then sells what it has at the best bid, and so on.'''

    def on_quote(self, instrument, view):
        top, rules = view.top(instrument), view.instrument(instrument)
        if view.open_orders(instrument):
            return ()
        held = view.strategy_qty(self.name, instrument)
        if held:
            return [self._order(view, instrument, Side.SELL, held, rules.price(top.bid_px * 0.999, -1))]
        return [self._order(view, instrument, Side.BUY, rules.quantity(100.0 / top.ask_px), rules.price(top.ask_px, 1))]

    def _order(self, view, instrument, side, qty, px):
        return OrderIntent(view.now_ns, self.name, instrument, side, qty, OrderType.LIMIT, px,
                           reduce_only=side is Side.SELL)
"""


@pytest.fixture
def trading(tmp_path: Path) -> Iterator[Any]:
    """``trading(*arguments)`` starts a daemon on the built-in exchange; ``--json`` and a short history included."""
    started: list[Running] = []

    def begin(*arguments: str) -> Running:
        (tmp_path / "taker.py").write_text(TAKER)
        started.append(Running(tmp_path, "--json", "--set", "sandbox.history_s=5", *arguments))
        return started[0]

    yield begin
    for running in started:
        running.close()


POLLING = ("--set", "engine.busy_poll=true")


def taker(folder: Path) -> tuple[str, str]:
    return "--set", f"strategies=[{{name: mine, path: '{folder}/taker.py:Taker', model: none}}]"


def until_filled(running: Running, fills: int, timeout_s: float = 120.0) -> None:
    """Ask for the status until so many fills came back."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        assert running.process.poll() is None, running.said()[-2000:]
        for path in running_sessions(running.folder / "run"):
            if ask(path, "status", timeout_s=120.0)["fills"] >= fills:
                return
        time.sleep(0.1)
    raise AssertionError(f"no {fills} fills in {timeout_s} s: {running.said()[-2000:]}")


def scraped_with(url: str, name: str, timeout_s: float = 30.0) -> dict[str, float]:
    """The metrics page as soon as ``name`` is above 0: times of stages are counted once a second."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with urllib.request.urlopen(url, timeout=30) as answer:
            page = answer.read().decode()
        samples = {line.split()[0]: float(line.split()[1]) for line in page.splitlines() if not line.startswith("#")}
        if samples.get(name, 0.0) > 0.0:
            return samples
        time.sleep(0.2)
    raise AssertionError(f"{name} stayed 0 for {timeout_s} s")


def ended(running: Running) -> tuple[dict[str, Any], list[JournalRecord]]:
    """Interrupt it; its summary and its journal, after an identical replay."""
    assert running.stop() == 0, running.said()[-2000:]
    assert "Traceback" not in running.said()
    summary: dict[str, Any] = json.loads(running.out.read_text().splitlines()[-1])
    status, result = replay_session(running.folder, summary["session"])
    assert (status, result["identical"]) == (0, True)
    return summary, list(read_journal(running.session / "journal"))


def kinds(records: list[JournalRecord]) -> set[str]:
    return {type(recorded.record).__name__ for recorded in records}


def test_the_demo_trades_on_the_built_in_exchange(trading: Any) -> None:
    """What ``make paper`` runs: predictions of the shipped model, orders, fills, metrics, report, nothing secret."""
    running = trading()
    until_filled(running, 1)
    url = next(line.split()[1] for line in running.said().splitlines() if line.strip().startswith("metrics"))
    samples = scraped_with(url, "kestrel_tick_to_order_seconds_count")
    assert samples["kestrel_predictions_total"] > 0
    assert samples["kestrel_fills_total"] >= 1
    summary, records = ended(running)
    assert [name.split("@")[0] for name in summary["models"]] == ["demo-crypto"]
    assert summary["predictions"] > 0
    assert summary["fills"] >= 1
    assert summary["state"] == "active"
    assert {"Quote", "Trade", "Prediction", "NewOrder", "OrderAccepted", "OrderFilled"} <= kinds(records)
    first = {
        kind: next(i for i, r in enumerate(records) if isinstance(r.record, kind)) for kind in (NewOrder, e.OrderFilled)
    }
    assert first[NewOrder] < first[e.OrderFilled]
    folder = running.session
    written = (folder / "report.html").read_text() + (folder / "session.json").read_text()
    written += "".join(path.read_text() for path in (folder / "log").iterdir()) + running.said()
    assert "PRIVATE KEY" not in written
    secret = json.loads((folder / "sandbox_key.json").read_text())["privateKey"].strip().splitlines()[1]
    assert secret not in written


def test_picows_and_level2_carry_a_session(trading: Any, tmp_path: Path) -> None:
    """The other WebSocket library, whole books instead of tickers, a loop that never sleeps."""
    channels = "venue.channels=[heartbeats,level2,market_trades]"
    running = trading(*taker(tmp_path), *POLLING, "--set", "venue.transport=picows", "--set", channels, "--no-report")
    until_filled(running, 4)
    summary, records = ended(running)
    assert summary["fills"] >= 4
    assert {"BookSnapshot", "BookDelta", "Trade"} <= kinds(records)
    assert "Quote" not in kinds(records)


def test_with_fsync_always_no_order_precedes_its_record_on_disk(trading: Any, tmp_path: Path) -> None:
    """Each order that the exchange answered was covered by a ``JournalSynced`` before the answer."""
    running = trading(*taker(tmp_path), "--set", "journal.fsync=always", "--no-report")
    until_filled(running, 4)
    _, records = ended(running)
    opened: dict[str, int] = {}
    synced = answered = 0
    for recorded in records:
        record = recorded.record
        if isinstance(record, NewOrder):
            opened[record.client_order_id] = recorded.seq
        elif isinstance(record, e.JournalSynced):
            synced = max(synced, record.upto_seq)
        elif isinstance(record, e.OrderAccepted | e.OrderFilled) and record.client_order_id in opened:
            answered += 1
            assert opened[record.client_order_id] <= synced
    assert answered >= 4


def test_brackets_rest_at_the_exchange_and_close_what_was_entered(trading: Any) -> None:
    """The example's groups: entry, then target and stop as one order of the venue's; each closes exactly its entry."""
    params = "params: {target_bps: 1.0, stop_bps: 1.0, pause_ns: 300000000}"
    mine = f"strategies=[{{name: mine, path: 'examples/brackets.py:Brackets', model: none, {params}}}]"
    running = trading("--set", mine, "--no-report")
    until_filled(running, 8)
    _, records = ended(running)
    groups: dict[str, list[NewOrder]] = {}
    accepted, filled = set(), Counter[str]()
    for recorded in records:
        record = recorded.record
        if isinstance(record, NewOrder):
            groups.setdefault(record.intent.parent_id, []).append(record)
        elif isinstance(record, e.OrderAccepted):
            accepted.add(record.client_order_id)
        elif isinstance(record, e.OrderFilled):
            filled[record.client_order_id] += record.qty  # type: ignore[assignment]
    native = [one for orders in groups.values() for one in orders if one.intent.order_type is OrderType.BRACKET]
    assert native
    assert accepted & {one.client_order_id for one in native}
    for orders in groups.values():
        sides = {side: sum(filled[one.client_order_id] for one in orders if one.intent.side is side) for side in e.Side}
        assert sides[e.Side.SELL] <= sides[e.Side.BUY]


def heads(market_data: Path, folder: Path, *names: str) -> list[Path]:
    """The first rows of recorded days, quotes and trades of each."""
    made = []
    for name in names:
        for kind, rows in (("quotes", 4000), ("trades", 1500)):
            made.append(folder / f"{name}_{kind}.parquet")
            pq.write_table(pq.read_table(market_data / "ticks" / made[-1].name).slice(0, rows), made[-1])
    return made


def test_several_symbols_and_strategies_trade_in_one_session(market_data: Path, tmp_path: Path) -> None:
    """The shipped model on one instrument, ``ema_cross`` and the strategies of ``examples/`` on another, by path."""
    strategies = (
        "strategies=[{name: demo, kind: threshold, instruments: [BTC/USDT@binance_usdm], params: {cost_multiple: 0}},"
        "{name: cross, kind: ema_cross, model: none, instruments: [ETH/USDT@binance_usdm]},"
        "{name: dip, path: 'examples/my_strategy.py:BuyTheDip', model: none, instruments: [ETH/USDT@binance_usdm],"
        " params: {below_bps: 1}},"
        "{name: pairs, path: 'examples/brackets.py:Brackets', model: none, instruments: [ETH/USDT@binance_usdm],"
        " params: {trailing: true, target_bps: 1, stop_bps: 1}}]"
    )
    files = heads(market_data, tmp_path, BTC, ETH)
    summary = paper_session(tmp_path, files, "--set", strategies, "--set", "models.deadline_us=60000000")
    assert summary["ticks"] == 11_000
    assert set(summary["positions"]) == {"BTC/USDT@binance_usdm", "ETH/USDT@binance_usdm"}
    records = list(read_journal(tmp_path / "sessions" / summary["session"] / "journal"))
    traded = {(r.record.intent.strategy, r.record.intent.instrument) for r in records if isinstance(r.record, NewOrder)}
    assert traded == {
        ("demo", "BTC/USDT@binance_usdm"),
        ("cross", "ETH/USDT@binance_usdm"),
        ("dip", "ETH/USDT@binance_usdm"),
        ("pairs", "ETH/USDT@binance_usdm"),
    }
    assert {r.record.instrument for r in records if isinstance(r.record, e.Prediction)} == {"BTC/USDT@binance_usdm"}
    status, result = replay_session(tmp_path, summary["session"], "--recompute")
    assert (status, result["identical"]) == (0, True)


def test_a_recording_keeps_its_pace_and_stops_after_the_given_time(market_data: Path, tmp_path: Path) -> None:
    """``--speed 1 --for 2``: about two seconds of data are played, not the whole file, and the session replays."""
    files = heads(market_data, tmp_path, BTC)
    summary = paper_session(tmp_path, files, "--speed", "1", "--for", "2")
    assert summary["stopped_by"] == "2 s are over"
    records = list(read_journal(tmp_path / "sessions" / summary["session"] / "journal"))
    times = [r.record.ts_recv_ns for r in records if isinstance(r.record, e.Quote)]
    assert 0 < summary["ticks"] < 5500
    assert times == sorted(times)
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True
