"""``run.py paper --venue robinhood`` end to end, on an account that outlives its sessions.

Real processes and sockets: a daemon is killed on it, the next one goes on, and the recorded session is replayed.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.robinhood.auth import Key
from connectors.robinhood.cancel_only import CancelOnly
from engine import events as e
from engine.commands import NewOrder
from engine.runtime.journal_reader import read_journal
from tests.support.daemon import ROOT, Running, command, environment, replay_session
from tests.support.durable import status_of, until

STRATEGY = """
from decimal import Decimal

from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side
from strategies.base import BaseStrategy


class Resting(BaseStrategy):
    '''Holds a position and keeps one order 40 bps below the best bid.'''

    def on_quote(self, instrument, view):
        top, rules = view.top(instrument), view.instrument(instrument)
        if view.open_orders(instrument):
            return ()
        qty = Decimal("0.001")
        if not view.position(instrument).qty:
            return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.MARKET)]
        px = rules.price(top.bid_px * 0.996, -1)
        return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.LIMIT, px, TimeInForce.GTC)]
"""
BTC = "BTC/USD@robinhood"


class Exchange:
    """A sandbox in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.key_file = folder / "key.json"
        said = folder / "sandbox.txt"
        with said.open("w") as out:
            self.process = subprocess.Popen(
                command(
                    "sandbox", "robinhood", "--key-file", str(self.key_file), "--history", "1", "--pair", "BTC-USD"
                ),
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: '"rest"' in said.read_text(), "the exchange to listen")
        self.said: dict[str, str] = json.loads(said.read_text().splitlines()[0])

    def open_orders(self) -> list[str]:
        return CancelOnly(self.said["rest"], Key.from_file(self.key_file)).open_orders()

    def settings(self, folder: Path) -> list[str]:
        values = {
            "venue.name": "robinhood",
            "venue.symbols": "[BTC/USD]",
            "venue.rest_url": self.said["rest"],
            "venue.key_file": str(self.key_file),
            "strategies": f"[{{name: mine, path: '{folder}/resting.py:Resting', model: none}}]",
        }
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    made = Exchange(tmp_path_factory.mktemp("robinhood"))
    yield made
    made.process.kill()
    made.process.wait()


def holds(running: Running) -> bool:
    """A position and an order on an account that is confirmed."""
    assert running.process.poll() is None, running.said()[-2000:]
    status = status_of(running)
    confirmed = "robinhood" in status.get("accounts", {}) and not status["not_trading"]
    return confirmed and status["open_orders"] == 1 and _qty(status) == Decimal("0.001")


def _qty(status: dict[str, Any]) -> Decimal:
    """The position; of an order that was filled in parts it is told with more digits."""
    return Decimal(status.get("positions", {}).get(BTC, "0"))


def records(running: Running) -> list[Any]:
    return [one.record for one in read_journal(running.session / "journal")]


@pytest.mark.fault("A2")
def test_a_daemon_that_was_killed_is_gone_on_with_and_the_session_replays(exchange: Exchange, tmp_path: Path) -> None:
    """What rested is carried, nothing is bought twice, and the second session ends with nothing open at the venue."""
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
            until(
                lambda one=running: holds(one),  # type: ignore[misc]
                "a position and a resting order",
                told=lambda one=running: f"{status_of(one)} {one.said()[-2000:]}",  # type: ignore[misc]
            )
            assert len(exchange.open_orders()) == 1
            running.stop(number)
        finally:
            running.close()
        assert "Traceback" not in running.said()
        told.append(records(running))
    status, result = replay_session(folders[1], running.session.name)
    assert (status, result["identical"]) == (0, True), result
    first, second = told
    assert [record.qty for record in first if isinstance(record, e.OrderFilled)] != []
    assert not [record for record in second if isinstance(record, e.OrderFilled | NewOrder)]
    rested = [r.client_order_id for r in first if isinstance(r, NewOrder) and r.intent.limit_px is not None]
    assert [record.client_order_id for record in second if isinstance(record, e.OrderAccepted)] == rested
    settled = [record for record in second if isinstance(record, e.AccountSettled)]
    assert settled[0].unresolved == ()
    assert exchange.open_orders() == []
