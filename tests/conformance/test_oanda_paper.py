"""``run.py paper --venue oanda`` end to end, on an account that outlives its sessions.

Real processes and sockets.  One exchange for the file: a daemon is killed on it, the next one goes on, and the recorded
session is replayed.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.data_fetch import data_fetch
from connectors.oanda.cancel_only import CancelOnly
from connectors.oanda.tokens import read_token
from engine import events as e
from engine.commands import NewOrder
from engine.data.catalogue import Catalogue
from engine.runtime.journal_reader import read_journal
from tests.support.daemon import ROOT, Running, command, environment, replay_session
from tests.support.durable import status_of, until

STRATEGY = """
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side
from strategies.base import BaseStrategy


class Resting(BaseStrategy):
    '''Holds a position in each market and keeps one order 40 bps below the best bid.'''

    def on_quote(self, instrument, view):
        top, rules = view.top(instrument), view.instrument(instrument)
        if view.open_orders(instrument):
            return ()
        if not view.position(instrument).qty:
            return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, 2 * rules.min_qty, OrderType.MARKET)]
        px = rules.price(top.bid_px * 0.996, -1)
        return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, rules.min_qty, OrderType.LIMIT, px,
                            TimeInForce.GTC)]
"""
MARKETS = ("EUR/USD@oanda", "USD/JPY@oanda")


class Exchange:
    """A sandbox in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.token_file = folder / "token.txt"
        said = folder / "sandbox.txt"
        with said.open("w") as out:
            self.process = subprocess.Popen(
                command(
                    "sandbox", "oanda", "--token-file", str(self.token_file), "--history", "1",
                    "--instrument", "EUR_USD", "--instrument", "USD_JPY",
                ),
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        until(lambda: '"rest"' in said.read_text(), "the exchange to listen")
        self.said: dict[str, str] = json.loads(said.read_text().splitlines()[0])

    def account(self) -> CancelOnly:
        return CancelOnly(self.said["rest"], read_token(str(self.token_file)))

    def settings(self, folder: Path) -> list[str]:
        values = {
            "venue.name": "oanda",
            "venue.symbols": "[EUR/USD, USD/JPY]",
            "venue.rest_url": self.said["rest"],
            "venue.stream_url": self.said["stream"],
            "venue.key_file": str(self.token_file),
            "strategies": f"[{{name: mine, path: '{folder}/resting.py:Resting', model: none}}]",
        }
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    made = Exchange(tmp_path_factory.mktemp("oanda"))
    yield made
    made.process.kill()
    made.process.wait()


def holds(running: Running) -> bool:
    """A position and an order in each market of an account that is confirmed."""
    assert running.process.poll() is None, running.said()[-2000:]
    status = status_of(running)
    positions = status.get("positions", {})
    confirmed = "oanda" in status.get("accounts", {}) and not status["not_trading"]
    return confirmed and status["open_orders"] == 2 and all(float(positions.get(name, 0)) == 2 for name in MARKETS)


def records(running: Running) -> list[Any]:
    return [one.record for one in read_journal(running.session / "journal")]


@pytest.mark.fault("A2")
def test_a_daemon_that_was_killed_is_gone_on_with_and_the_session_replays(exchange: Exchange, tmp_path: Path) -> None:
    """Two markets, one of them paid in yen at an account in dollars; what rested is carried, nothing is bought twice,
    and the second session ends in order with nothing open at the venue."""
    (tmp_path / "resting.py").write_text(STRATEGY)
    run_dir = {"KESTREL_RUN_DIR": str(tmp_path / "shared")}
    folders = [tmp_path / "first", tmp_path / "second"]
    told: list[list[Any]] = []
    # The watchdog would cancel what the next session is to go on with.
    plain = ("--json", "--no-report", "--set", "watchdog.enabled=false")
    for folder, number in zip(folders, (signal.SIGKILL, signal.SIGINT), strict=True):
        folder.mkdir()
        running = Running(folder, *exchange.settings(tmp_path), *plain, **run_dir)
        try:
            until(lambda one=running: holds(one), "a position and a resting order in each market")  # type: ignore[misc]
            assert len(exchange.account().open_orders()) == 2
            running.stop(number)
        finally:
            running.close()
        assert "Traceback" not in running.said()
        told.append(records(running))
    status, result = replay_session(folders[1], running.session.name)
    assert (status, result["identical"]) == (0, True), result
    first, second = told
    assert [type(record) for record in first if isinstance(record, e.OrderFilled)] == [e.OrderFilled] * 2
    assert {record.currency for record in first if isinstance(record, e.RateReported)} == {"JPY", "USDC", "USDT"}
    assert not [record for record in second if isinstance(record, e.OrderFilled | NewOrder)]
    carried = [record for record in second if isinstance(record, e.OrderAccepted)]
    assert sorted(one.client_order_id for one in carried) == sorted(
        record.client_order_id
        for record in first
        if isinstance(record, NewOrder) and record.intent.limit_px is not None
    )
    settled = [record for record in second if isinstance(record, e.AccountSettled)]
    assert settled[0].unresolved == ()
    assert exchange.account().open_orders() == []


def test_its_candles_are_fetched_into_the_catalogue(
    exchange: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a venue whose prices nobody made, so they are stored under another name."""
    since = datetime.now(UTC) - timedelta(hours=3)
    data_fetch(
        "oanda",
        "EUR/USD",
        f"{since:%Y-%m-%dT%H:%M}",
        interval="1m",
        to=tmp_path,
        url=exchange.said["rest"],
        assign=[f"venue.key_file={exchange.token_file}"],
        as_json=True,
    )
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    (part,) = Catalogue(tmp_path).parts()
    assert (said["venue"], part.venue) == ("oanda_sandbox", "oanda_sandbox")
    assert said["rows"] > 100
