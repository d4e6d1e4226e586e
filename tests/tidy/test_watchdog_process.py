"""What the watchdog's process must never be able to do: make an order."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.commands import RiskState
from engine.errors import ConfigError
from engine.runtime.heartbeat import Heart, Phase
from engine.runtime.watchdog_process import Orders, open_account
from engine.session_options import Rules
from tests.support.daemon import ROOT, environment
from tests.support.durable import key_pair_file

CANCEL_ONLY = ROOT / "connectors" / "coinbase" / "cancel_only.py"
BANNED = re.compile(
    r"connectors\.(?!blocking$|route$|coinbase$|coinbase\.auth$|coinbase\.cancel_only$)|engine\.(core|desk|router|manual|lanes|orders)$|"
    r"strategies|risk|config|models|aiohttp|websockets|numpy|torch"
)
SCRIPT = """
import json, sys
from engine.runtime import watchdog_process
status = watchdog_process.main()
print(json.dumps([status, sorted(sys.modules)]))
"""


def test_the_watchdogs_process_never_loads_what_can_encode_an_order(tmp_path: Path) -> None:
    """A real run to its end, cancelling included (nobody listens there); then a look into sys.modules."""
    heart = Heart(tmp_path / "heartbeat")
    heart.beat(RiskState.HALTED, 1)
    heart.enter(Phase.ENDED)
    orders = Orders(
        session="s",
        daemon=1,
        heartbeat=str(tmp_path / "heartbeat"),
        log=str(tmp_path / "watchdog.log"),
        run_dirs=(str(tmp_path),),
        account_lock=str(tmp_path / "lock"),
        venue="connectors.coinbase.cancel_only",
        settings={"rest_url": "http://127.0.0.1:9", "key_file": str(key_pair_file(tmp_path)), "timeout_s": 0.5},
        rules=Rules(give_up_s=1.0),
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        input=msgspec.json.encode(orders),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    status, modules = json.loads(done.stdout.splitlines()[-1])
    events = [json.loads(line)["event"] for line in (tmp_path / "watchdog.log").read_text().splitlines()]
    assert (status, events[-1]) == (1, "gave_up")
    assert "venue_failed" in events
    assert {"connectors.coinbase.cancel_only", "engine.runtime.watchdog"} <= set(modules)
    assert [name for name in modules if BANNED.match(name)] == []


def test_the_cancel_only_module_has_one_encoder_and_one_post() -> None:
    """Of its functions only one makes a body, of order ids; the paths it names are those of three requests."""
    tree = ast.parse(CANCEL_ONLY.read_text(encoding="utf-8"))
    encoders = [
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Attribute) and call.attr in ("encode", "dumps") and function.name != "decode"
    ]
    assert encoders == ["encode_cancels"]
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert words.count("POST") == 1
    assert sorted(word for word in words if word.startswith("/")) == [
        "/api/v3/brokerage",
        "/orders/batch_cancel",
        "/orders/historical/batch",
        "/time",
    ]
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name.startswith(("engine", "connectors"))}
    assert ours == {"connectors.blocking", "connectors.coinbase.auth", "connectors.route", "engine.errors"}


def test_oandas_cancel_only_module_loads_and_says_nothing_else() -> None:
    """Of itself it loads its token and the way to the venue; it makes no body, and asks for listings and cancels."""
    code = "import sys, connectors.oanda.cancel_only; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    allowed = {"connectors.oanda", "connectors.oanda.cancel_only", "connectors.oanda.tokens"}
    assert [name for name in done.stdout.split() if BANNED.match(name) and name not in allowed] == []
    tree = ast.parse((ROOT / "connectors" / "oanda" / "cancel_only.py").read_text(encoding="utf-8"))
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert "POST" not in words
    assert sorted(word for word in words if word.startswith("/")) == [
        "/cancel", "/orders/", "/pendingOrders", "/v3/accounts", "/v3/accounts", "/v3/accounts", "/v3/accounts/",
        "/v3/accounts/",
    ]  # fmt: skip
    calls = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not calls & {"encode", "dumps", "urlencode"}


@pytest.mark.parametrize("venue", ["connectors.coinbase.orders", "os", "connectors.coinbase.cancel_only.x", ""])
def test_nothing_else_is_taken_for_an_account(venue: str) -> None:
    """Whatever the process is told to load: a module called ``cancel_only`` of a connector, or it does not start."""
    with pytest.raises(ConfigError, match="cancel_only"):
        open_account(venue, {})
