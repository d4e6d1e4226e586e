"""``make model-trials``: what a day with models promises, on real daemons, with nobody's hand on it.

    python -m tests.support.model_trials [rollout] [refresh] [--data FOLDER] [--keep FOLDER]

``rollout``: a paper session on a live feed, which a sandbox plays from recorded files.  The champion is spoiled (it
says down where the shipped bundle says up), the shipped bundle its shadow; the rules alone make that canary and
champion.
``refresh``: a network is trained on the market of one paper session on the built-in exchange, serves the next one, and
is refreshed on what that recorded.  Each session is replayed at the end, with the models computed anew as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from engine import events as e
from engine.commands import NewOrder
from engine.runtime.control import ask, running_sessions
from engine.runtime.journal_reader import read_journal
from models.registry import audit
from models.registry.promotion import promote
from models.registry.store import Registry
from tests.support.daemon import ROOT, Running, attempt, command, environment, last_json, replay_session
from tests.support.versions import add_version

WAIT_S = 1_800.0
TRADE_S = 150.0
ENDS = (e.OrderFilled, e.OrderCancelled, e.OrderRejected, e.OrderExpired)
RULES = {"automatic": "true", "signals_min": 20, "span_s": 1, "alpha": 0.2, "profit_max_bps": 10, "days_min": 1}
MARKET = "BTC/USD@coinbase_sandbox"
PULL = "prices of the synthetic market follow a latent one: within five ticks that shows"


def main() -> int:
    given = argparse.ArgumentParser(prog="make model-trials")
    given.add_argument("trials", nargs="*", choices=["rollout", "refresh"], default=[])
    given.add_argument(
        "--data", type=Path, default=Path(os.environ.get("KESTREL_DATA", ROOT.parent / "shared" / "data"))
    )
    given.add_argument("--keep", type=Path, help="folder for what is made; else one that goes")
    options = given.parse_args()
    with tempfile.TemporaryDirectory(prefix="kestrel-models-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        os.environ["KESTREL_RUN_DIR"] = str(folder / "user-run")
        for name in options.trials or ("rollout", "refresh"):
            place = folder / name
            place.mkdir(parents=True)
            say(f"{name}:")
            rollout(place, options.data) if name == "rollout" else refresh(place)
    return 0


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


# --- a challenger on a live feed --------------------------------------------------------------------------------------


def rollout(folder: Path, data: Path) -> None:
    registry = Registry(folder / "registry")
    spoiled, good = add_version(registry, folder, "spoiled", spoiled=True), add_version(registry, folder, "good")
    who: dict[str, Any] = {"who": "trial", "why": "to begin with", "now_ns": time.time_ns()}
    promote(registry, "demo-crypto", spoiled.partition("@")[2], **who)
    promote(registry, "demo-crypto", good.partition("@")[2], to="shadow", **who)
    files = [data / "ticks" / f"binance_usdm_btcusdt_20240808_{kind}.parquet" for kind in ("quotes", "trades")]
    with exchange(folder, files) as said:
        settings = {
            "venue.symbols": "[BTC/USDT]",
            "venue.rest_url": said["rest"],
            "venue.ws_market_url": said["ws_market"],
            "venue.ws_user_url": said["ws_user"],
            "paper.taker_fee_bps": 0,  # what it sees is a thirtieth of what a round trip costs
            "strategies": "[{name: mine, kind: threshold, params: {cost_multiple: 0}}]",
            "models.registry": registry.root,
            "models.deadline_us": 100_000,
            **{f"models.rollout.{name}": value for name, value in RULES.items()},
        }
        daemon = Running(folder, "--feed", "live", *given(settings), "--no-report", "--json")
        try:
            known = 0

            def promoted() -> bool:
                nonlocal known
                steps = [line for line in audit.lines(registry.root) if line.who == "rollout"]
                for line in steps[known:]:
                    say(f"  {line.action} {line.version}: {line.why}")
                known = len(steps)
                return any(line.action == "promote" for line in steps)

            wait(daemon, promoted)
            wait(daemon, lambda: serves(daemon, good))
            time.sleep(5.0)  # it trades for a moment
            ended = daemon.stop()
        finally:
            daemon.close()
    expect(ended == 0, f"the daemon ended with {ended}: {daemon.said()[-2000:]}")
    lines = [line for line in audit.lines(registry.root) if line.who == "rollout"]
    expect(
        [(line.action, line.version) for line in lines] == [("canary", good), ("promote", good)],
        f"rollout did {[(line.action, line.version) for line in lines]}",
    )
    check_session(folder, daemon.session)


def serves(daemon: Running, version: str) -> bool:
    """By what the daemon itself says."""
    (control,) = running_sessions(daemon.folder / "run")
    models = ask(control, "status", timeout_s=30.0)["models"]
    return all(roles["champion"] == f"{version} serving" for roles in models.values())


@contextmanager
def exchange(folder: Path, files: list[Path]) -> Iterator[dict[str, str]]:
    """A sandbox that plays recorded files; its addresses."""
    played = [part for path in files for part in ("--replay", str(path))]
    with subprocess.Popen(
        command("sandbox", "coinbase", "--key-file", str(folder / "key.json"), *played),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


# --- a refresh --------------------------------------------------------------------------------------------------------


def refresh(folder: Path) -> None:
    registry, catalogue, run = folder / "registry", folder / "catalogue", folder / "runs" / "pull"
    ledger = str(folder / "ledger.jsonl")
    first = paper(folder / "first", registry, seed=1)
    done("data", "compact", first.name, "--sessions", str(first.parent), "--to", str(catalogue))
    plan = {
        "name": "pull",
        "task": "direction",
        "summary": "A weak network on the built-in market, to be refreshed.",
        "data": {"catalogue": str(catalogue), "instruments": [MARKET]},
        "features": {"columns": "core40", "window": 30, "sampling": {"kind": "tick"}},
        "label": {"horizon_rows": 5, "span_s_max": 30},
        "scope": {"asset_classes": ["spot"]},
        "split": {"train": 0.6, "validation": 0.2},
        "network": {"name": "cnn", "dropout": 0.3, "initialisation": "torch"},
        "fit": {"seeds": [1], "epochs": 1, "batch": 256, "rows_per_epoch": 2048, "learning_rate": 0.001, "threads": 1},
        "entries": {"sell_quantile": 0.2, "buy_quantile": 0.8},
        "expires_days": None,
    }
    settings = folder / "pull.yaml"
    settings.write_text(yaml.safe_dump(plan))
    done("train", "--config", str(settings), "--run", str(run))
    done("evaluate", "--run", str(run), "--ledger", ledger, "--explain", PULL)
    done("models", "bundle", str(run))
    named = ("--registry", str(registry))
    done("models", "add", str(run), *named)
    held = Registry(registry)
    (version,) = held.versions()
    done("models", "promote", "pull", version.partition("@")[2], "--reason", "the first", *named)
    second = paper(folder / "second", registry, seed=2)
    assigned = {one.record.model for one in read_journal(second / "journal") if isinstance(one.record, e.ModelAssigned)}
    expect(assigned == {version}, f"{assigned} served the second session")
    where = ("--session-folder", str(second.parent), "--catalogue", str(catalogue), "--ledger", ledger)
    told = done("models", "refresh", "pull", "--run", str(run), "--sessions", second.name, *where, *named,
                "--explain", PULL, "--json")  # fmt: skip
    say("  " + told.stdout.strip().splitlines()[1].strip())
    fresh = last_json(told)
    (standing,) = held.standings()
    expect(fresh["parent"] == version, f"the parent is {fresh['parent']}")
    expect((standing.champion, standing.shadow) == (version, (fresh["version"],)), f"the registry says {standing}")
    for session in (first, second):
        check_session(session.parent.parent, session)


def paper(folder: Path, registry: Path, seed: int) -> Path:
    """A session on the built-in exchange; its folder."""
    folder.mkdir()
    settings = {
        "venue.symbols": "[BTC/USD]",
        "sandbox.seed": seed,
        "sandbox.rate_per_s": 200,
        "sandbox.history_s": 5,
        "models.registry": registry,
        "models.deadline_us": 100_000,
    }
    say(f"  a session of {TRADE_S:.0f} s")
    daemon = Running(folder, *given(settings), "--no-report", "--json")
    try:
        daemon.wait_for("ACTIVE")
        time.sleep(TRADE_S)
        ended = daemon.stop()
    finally:
        daemon.close()
    expect(ended == 0, f"the daemon ended with {ended}: {daemon.said()[-2000:]}")
    return daemon.session


# --- what both need ---------------------------------------------------------------------------------------------------


def given(settings: dict[str, Any]) -> list[str]:
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


def done(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Within this process: libraries are loaded once."""
    say(f"  {' '.join(arguments[:2])}")
    made = attempt(*arguments)
    expect(made.returncode == 0, f"{' '.join(arguments)}: {made.stderr[-2000:]}")
    return made


def wait(daemon: Running, holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not holds():
        expect(daemon.process.poll() is None, f"the daemon ended: {daemon.said()[-2000:]}")
        expect(time.monotonic() < end_s, f"not within {WAIT_S:.0f} s; see log/observer.log in {daemon.folder}/sessions")
        time.sleep(1.0)


def check_session(folder: Path, session: Path) -> None:
    """Every order has an end, nobody was quarantined, and it is decided again byte for byte."""
    records = [one.record for one in read_journal(session / "journal")]
    sent = {one.client_order_id for one in records if isinstance(one, NewOrder)}
    open_ = sent - {one.client_order_id for one in records if isinstance(one, ENDS)}
    expect(bool(sent) and not open_, f"{len(sent)} orders, without an end: {sorted(open_)}")
    for extra in ((), ("--recompute",)):
        status, result = replay_session(folder, session.name, *extra)
        expect(status == 0 and result["identical"] is True, f"replay {extra}: {result}")
    say(f"  {session.name}: {len(records):,} records, {len(sent)} orders, identical in replay")


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        print(f"FAILED: {' '.join(otherwise.split())}", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
