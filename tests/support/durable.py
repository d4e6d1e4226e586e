"""An exchange that runs by itself, and daemons on its account that can be stopped, killed and asked."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors.certificates import AUTHORITY
from connectors.coinbase.auth import Key
from connectors.coinbase.cancel_only import CancelOnly
from connectors.coinbase.sandbox.keys import make_key_file
from connectors.route import Route
from engine.runtime.control import ask, running_sessions
from tests.support.daemon import ROOT, Running, command, environment

RESTING = """
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side
from strategies.base import BaseStrategy


class Resting(BaseStrategy):
    '''Buys once and keeps one order 40 bps below the best bid.'''

    def on_quote(self, instrument, view):
        top, rules = view.top(instrument), view.instrument(instrument)
        if view.open_orders(instrument):
            return ()
        qty = rules.quantity(500.0 / top.bid_px)
        if not view.position(instrument).qty:
            return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.MARKET)]
        return [
            OrderIntent(view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.LIMIT,
                        rules.price(top.bid_px * 0.996, -1), TimeInForce.GTC, post_only=True)
        ]
"""


def key_pair_file(folder: Path) -> Path:
    """A key of nobody's."""
    path = folder / "key.json"
    make_key_file(path)
    return path


class Exchange:
    """A sandbox in a process of its own; its account outlives every daemon."""

    def __init__(self, folder: Path, *, tls: Path | None = None) -> None:
        """``tls``: folder of the certificates; None speaks in the clear."""
        options = () if tls is None else ("--tls", str(tls), "--history", "10")
        self._route = Route(ca_file="" if tls is None else str(tls / AUTHORITY))
        self.key_file = folder / "key.json"
        said = folder / "sandbox.txt"
        with said.open("w") as out:
            self.process = subprocess.Popen(
                command("sandbox", "coinbase", "--key-file", str(self.key_file), "--product", "BTC-USD", *options),
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: '"rest"' in said.read_text(), "the exchange to listen")
        self.rest_url: str = json.loads(said.read_text().splitlines()[0])["rest"]

    def account(self) -> CancelOnly:
        return CancelOnly(self.rest_url, Key.from_file(self.key_file), route=self._route)

    def open_orders(self) -> list[str]:
        return self.account().open_orders()

    def settings(self) -> list[str]:
        stream = self.rest_url.replace("http", "ws")
        values = {
            "venue.symbols": "[BTC/USD]",
            "venue.rest_url": self.rest_url,
            "venue.ws_market_url": f"{stream}/ws",
            "venue.ws_user_url": f"{stream}/ws-user",
            "venue.key_file": str(self.key_file),
        }
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def start(exchange: Exchange, folder: Path, **settings: object) -> Running:
    """A daemon on the exchange's account whose strategy holds a position and one resting order."""
    folder.mkdir(exist_ok=True)
    (folder / "resting.py").write_text(RESTING)
    mine = f"strategies=[{{name: mine, path: '{folder}/resting.py:Resting', model: none}}]"
    extra = [part for key, value in settings.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]
    return Running(folder, *exchange.settings(), "--set", mine, "--no-report", *extra)


def status_of(running: Running) -> dict[str, Any]:
    return status_in(running.folder)


def status_in(folder: Path) -> dict[str, Any]:
    """What the daemon says whose sessions lie in this folder; empty before it listens."""
    found = running_sessions(folder / "run")
    return ask(found[0], "status", timeout_s=120.0) if found else {}


def resting(running: Running) -> None:
    """Until its order rests at the exchange (the position is there by then)."""

    def holds() -> bool:
        assert running.process.poll() is None, running.said()[-2000:]
        status = status_of(running)
        return bool(status) and status["open_orders"] == 1 and status["positions"]["BTC/USD@coinbase"] != "0"

    until(holds, "an order that rests")


def until(
    holds: Callable[[], bool], what: str, timeout_s: float = 90.0, told: Callable[[], object] = lambda: ""
) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"still waiting for {what} {told()}"
        time.sleep(0.05)


def run_until(
    script: str, arguments: list[str], folder: Path, holds: Callable[[dict[str, Any]], bool]
) -> tuple[dict[str, Any], list[str], str]:
    """A session of ``script``, which runs ``arguments`` and prints the modules of its process behind the summary, until
    its status is so: summary, modules, all that was said."""
    with subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(arguments)],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT), KESTREL_RUN_DIR=str(folder / "run")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until(lambda: process.poll() is not None or (bool(now := status_in(folder)) and holds(now)), "its status")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err[-2000:]
    summary, modules = (json.loads(line) for line in out.strip().splitlines()[-2:])
    return summary, modules, out + err


def watchdog_log(running: Running) -> list[dict[str, Any]]:
    path = running.session / "watchdog.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def noted(running: Running, event: str) -> list[dict[str, Any]]:
    return [line for line in watchdog_log(running) if line["event"] == event]
