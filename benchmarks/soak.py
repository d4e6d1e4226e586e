"""``make soak``: a real session under a steady load for as long as is asked, and whether anything of it grows.

    python -m benchmarks.soak [--minutes 30] [--rate 5000] [--every 5] [--write docs/results]

The daemon is ``run.py paper`` on an account that outlives it (so with watchdog, kept states and reconciliation),
trading with the demo model and three strategies on an exchange of its own; the market stream comes through
``soak_feed`` at the wanted rate.  Every few seconds the daemon, its watchdog and the exchange are looked at from
outside (``/proc``) and through the daemon's metrics.  What counts as flat is ``soak_verdict``'s to say, the page is
``soak_page``.  Ends with 1 when something is not flat.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from benchmarks import soak_page
from benchmarks.daemon import percentile
from benchmarks.machine import describe_machine
from benchmarks.rig import ROOT, alone, scratch
from benchmarks.soak_verdict import Row, judge
from engine.errors import KestrelError

PRODUCTS = ("BTC", "ETH", "SOL")
MODELLED, BUSY = ["BTC/USD@coinbase", "ETH/USD@coinbase"], ["SOL/USD@coinbase"]
START_S = 300.0
"""Longest wait for a child; compiling the features for the first time takes a minute of it."""
STAGES = ("decode", "features", "model", "strategy")
SETTINGS = {
    "strategies": json.dumps(
        [
            {"name": "demo", "kind": "threshold", "params": {"cost_multiple": 0}, "instruments": MODELLED},
            {"name": "averages", "kind": "ema_cross", "model": "none", "instruments": MODELLED},
            # A dozen orders a second, so that what keeps the last few thousand of anything is full after the warm-up;
            # where nobody else trades, who would want the opposite.
            {
                "name": "busy",
                "path": f"{Path(__file__).with_name('strategy.py')}:EveryTick",
                "model": "none",
                "instruments": BUSY,
                # Worth more than the exchange takes at least.
                "params": {"every": 100, "qty": "0.1"},
            },
        ]
    ),
    "venue.symbols": json.dumps([f"{base}/USD" for base in PRODUCTS]),
    "venue.reconcile_s": "60",
    # They pay fees for half an hour, and are to trade to its end.
    "risk.max_daily_loss": "1000000",
    "logs.max_mb": "1",
    # On a machine that others use the loop may wait for a processor for longer than an operator would allow.
    "watchdog.stuck_s": "60",
}
BALANCE = "USD=10000000"


class Part(NamedTuple):
    """A child of this run.  ``said``: its first line, or for the daemon where its metrics are."""

    process: subprocess.Popen[str]
    said: dict[str, str]


# --- children -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def child(name: str, command: list[str], folder: Path) -> Iterator[Part]:
    """A server that says in its first line where it is; its stdin is its leash."""
    with (folder / f"{name}.err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=alone(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise KestrelError(f"the {name} did not start: {_last_words(folder, name)}")
            yield Part(process, json.loads(line))
        finally:
            _end(process)


@contextlib.contextmanager
def _daemon(sets: dict[str, str], folder: Path, seconds: float) -> Iterator[Part]:
    given = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    with (folder / "daemon.err").open("w") as errors, (folder / "daemon.out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "run.py", "paper", "--json", "--no-report", "--for", str(seconds), *given],
            cwd=ROOT,
            env=alone(folder),
            stdout=out,
            stderr=errors,
            text=True,
        )
        try:
            yield Part(process, {"metrics": _metrics_address(process, folder)})
        finally:
            _end(process)


def _metrics_address(process: subprocess.Popen[str], folder: Path) -> str:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        for line in (folder / "daemon.err").read_text().splitlines():
            word, _, rest = line.strip().partition(" ")
            if word == "metrics":
                return rest.strip()
        time.sleep(0.1)
    raise KestrelError(f"the daemon did not start: {_last_words(folder, 'daemon')}")


def _last_words(folder: Path, name: str) -> str:
    return " ".join((folder / f"{name}.err").read_text().strip().splitlines()[-1:])[-300:]


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


# --- looking ------------------------------------------------------------------------------------------------------


def look(name: str, pid: int) -> Row:
    """Of one process: memory in MB of 10**6 bytes (``anon``: its own; ``file``: mapped files), descriptors, threads,
    processor seconds, and how long its first thread was ready to run and had no processor.  Empty when it is gone."""
    row: Row = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            field, _, value = line.partition(":")
            if field in ("RssAnon", "RssFile", "RssShmem"):
                row[f"{name}_{field[3:].lower()}_mb"] = int(value.split()[0]) * 1024 / 1e6
            elif field == "Threads":
                row[f"{name}_threads"] = float(value)
        row[f"{name}_descriptors"] = float(len(os.listdir(f"/proc/{pid}/fd")))
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        row[f"{name}_cpu_s"] = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        row[f"{name}_waited_s"] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return row


Buckets = dict[str, list[tuple[float, float]]]


def scrape(address: str) -> tuple[Row, Buckets]:
    """The daemon's own figures, labels added up, and its histograms by stage as ``[(upper edge us, count)]``."""
    with urllib.request.urlopen(address, timeout=20.0) as answer:  # the daemon's own address
        text = answer.read().decode()
    found: Row = defaultdict(float)
    buckets: Buckets = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("kestrel_")
            if name.endswith("_bucket"):
                edge_us = float(sample.labels["le"]) * 1e6
                buckets.setdefault(sample.labels.get("stage", "tick_to_order"), []).append((edge_us, sample.value))
            elif family.type != "histogram" and not name.endswith("_created"):
                generation = sample.labels.get("generation", "")
                found[f"{name}_{generation}" if generation else name] += sample.value
    return dict(found), buckets


def since(now: Buckets, before: Buckets) -> Row:
    """Median and 99th percentile of what each histogram counted between two looks, microseconds."""
    row: Row = {}
    for name in ("tick_to_order", *STAGES):
        counted = [
            (edge, count - past)
            for (edge, count), (_, past) in zip(now.get(name, []), before.get(name, []), strict=False)
        ]
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            if (value := percentile(counted, share)) is not None:
                row[f"{name}_{label}_us"] = value
    return row


RATES = {
    "ticks_total": "ticks_per_s",
    "predictions_total": "predictions_per_s",
    "conflated_total": "conflated_per_s",
    "orders_total": "orders_per_s",
    "fills_total": "fills_per_s",
    "journal_last_seq": "records_per_s",
}
LEVELS = {
    "loop_lag_seconds": "loop_lag_s",
    "queue_depth": "queued",
    "open_orders": "open_orders",
    "journal_bytes": "journal_bytes",
    "journal_segments": "journal_segments",
    "journal_unsynced_records": "unsynced_records",
    "dropped_events_total": "dropped",
    "waiting_dropped_total": "waiting_dropped",
    "unjournaled_total": "unjournaled",
    "log_lines_dropped_total": "log_lines_dropped",
    "core_errors_total": "core_errors",
    "gaps_total": "gaps",
    "reconnects_total": "reconnects",
    "unknown_outcomes_total": "unknown_outcomes",
    "python_gc_collections_total_0": "gc_young",
    "python_gc_collections_total_2": "gc_full",
}


def watch(daemon: Part, exchange: Part, seconds: float, every_s: float) -> list[Row]:
    """A row for each look; ends with the daemon."""
    rows: list[Row] = []
    started_s = time.monotonic()
    before, before_buckets, before_s = *scrape(daemon.said["metrics"]), started_s
    due_s = started_s
    while daemon.process.poll() is None and time.monotonic() - started_s < seconds:
        due_s = max(due_s + every_s, time.monotonic())
        time.sleep(max(due_s - time.monotonic(), 0.0))
        try:
            found, buckets = scrape(daemon.said["metrics"])
        except OSError:
            continue  # it is ending
        now_s = time.monotonic()
        row: Row = {"at_s": now_s - started_s}
        row |= look("daemon", daemon.process.pid) | look("exchange", exchange.process.pid)
        for child in _children(daemon.process.pid):
            row |= look("watchdog", child)
        row |= {new: (found.get(old, 0.0) - before.get(old, 0.0)) / (now_s - before_s) for old, new in RATES.items()}
        row |= {new: found[old] for old, new in LEVELS.items() if old in found}
        row |= since(buckets, before_buckets)
        if rows:
            row |= _per_tick(row, rows[-1])
        rows.append(row)
        before, before_buckets, before_s = found, buckets, now_s
        _tell(row)
    return rows


def _per_tick(row: Row, last: Row) -> Row:
    """What depends little on who else uses the machine, and how much they did."""
    wall_s = row["at_s"] - last["at_s"]
    arrived = (row["ticks_per_s"] + row["conflated_per_s"]) * wall_s
    spent_s = row.get("daemon_cpu_s", 0.0) - last.get("daemon_cpu_s", 0.0)
    waited_s = row.get("daemon_waited_s", 0.0) - last.get("daemon_waited_s", 0.0)
    return {"waited_share": waited_s / wall_s, **({"cpu_us_per_tick": spent_s * 1e6 / arrived} if arrived else {})}


def _tell(row: Row) -> None:
    if sys.stderr.isatty() or int(row["at_s"]) % 60 < 6:
        print(
            f"{row['at_s']:7.0f} s  {row['ticks_per_s']:7,.0f} ticks/s  {row.get('daemon_anon_mb', 0):6.1f} MB  "
            f"{row.get('daemon_descriptors', 0):3.0f} descriptors  "
            f"tick to order {row.get('tick_to_order_p50_us', 0):7.0f} us  lag {row.get('loop_lag_s', 0) * 1e3:6.1f} ms",
            file=sys.stderr,
            flush=True,
        )


# --- the run ------------------------------------------------------------------------------------------------------


def run(minutes: float, rate: float, every_s: float) -> dict[str, Any]:
    """``{"rate", "minutes", "machine", "rows", "summary"}``.  Raises ``KestrelError`` when a part does not start."""
    seconds = minutes * 60.0
    with scratch() as folder:
        products = [word for base in PRODUCTS for word in ("--product", f"{base}-USD")]
        sandbox = ["run.py", "sandbox", "coinbase", "--key-file", str(folder / "key.json"), "--balance", BALANCE]
        with (
            child("exchange", [*sandbox, *products], folder) as exchange,
            child("feed", ["-m", "benchmarks.soak_feed", exchange.said["ws_market"], str(rate)], folder) as feed,
        ):
            sets = SETTINGS | {
                "session.directory": str(folder / "sessions"),
                "venue.rest_url": exchange.said["rest"],
                "venue.ws_market_url": f"ws://127.0.0.1:{feed.said['port']}/ws",
                "venue.ws_user_url": exchange.said["ws_user"],
                "venue.key_file": exchange.said["key_file"],
            }
            # A little longer than it is watched: its end is no part of the load.
            with _daemon(sets, folder, seconds + 5.0) as daemon:
                rows = watch(daemon, exchange, seconds, every_s)
                daemon.process.wait(START_S)
                status = daemon.process.returncode
            if status:
                raise KestrelError(f"the daemon ended with {status}: {_last_words(folder, 'daemon')}")
            summary = json.loads((folder / "daemon.out").read_text().splitlines()[-1])
    kept = (
        "ticks",
        "predictions",
        "orders",
        "fills",
        "rejected",
        "rejections",
        "drops",
        "state",
        "stopped_by",
        "warnings",
    )
    return {
        "rate": rate,
        "minutes": minutes,
        "machine": describe_machine(),
        "rows": rows,
        "summary": {name: summary[name] for name in kept},
    }


def main() -> int:
    given = argparse.ArgumentParser(prog="make soak", description="a steady load for long: does anything grow?")
    given.add_argument("--minutes", type=float, default=30.0)
    given.add_argument("--rate", type=float, default=5_000.0, help="quotes and trades a second that are sent")
    given.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    given.add_argument("--write", type=Path, help="folder for soak.md, soak.svg and soak.json")
    options = given.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its children end with it
    try:
        result = run(options.minutes, options.rate, options.every)
        verdicts = judge(result["rows"], options.rate)
    except KestrelError as error:
        print(f"kestrel: {error}", file=sys.stderr)
        return 2
    print(soak_page.table(verdicts))
    if options.write is not None:
        soak_page.write(options.write, result, verdicts)
    return 0 if all(verdict.ok for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
