"""``make soak-ccxt``: the market of 50 symbols through ccxt for as long as is asked, and whether anything of it grows.

    python -m benchmarks.ccxt_soak [--minutes 10] [--symbols 50] [--rate 30] [--write docs/results]

The connector for ccxt's exchanges (best prices, trades and books of every symbol, each watched by the library) runs in
this process against the local Binance, a process of its own.  Every second its memory is looked at from outside
(``/proc``), and what the library and the connector keep is counted: trades, levels of books, remembered ids, tasks.
The first third is warm-up, in which caches fill; growth is judged over the rest as ``soak_verdict`` does.  Ends with 1
when something is not flat, or a cache holds more than it may.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import soak_page
from benchmarks.machine import describe_machine
from benchmarks.rig import scratch
from benchmarks.soak import child, look
from benchmarks.soak_verdict import LEAST_ROWS, Row, Verdict, growth
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.ccxt_venue.venue import CcxtVenue
from engine.errors import KestrelError
from engine.events import InputEvent
from engine.runtime.clocks import SystemClock

EVERY_S: Final = 1.0
OBJECTS_EVERY: Final = 10
"""Looks between two counts of all objects, which take a while."""
BOUNDS: Final = {
    # name: (share of its level, least bound), whichever is more
    "connector_anon_mb": (0.03, 6.0),
    "connector_descriptors": (0.0, 2.0),
    "tasks": (0.0, 5.0),
    "objects": (0.03, 20_000.0),
    "cached_trades": (0.02, 100.0),
    "remembered_ids": (0.02, 100.0),
    "book_levels": (0.10, 2_000.0),
    "waiting_futures": (0.0, 10.0),
}
CHARTS: Final = {
    "events_per_s": "events per second",
    "connector_anon_mb": "connector, own memory, MB",
    "objects": "objects that the collector knows",
    "cached_trades": "trades in the library's caches",
    "remembered_ids": "ids of trades that the connector remembers",
    "book_levels": "levels of books in the library",
    "connector_descriptors": "connector, descriptors",
    "tasks": "tasks",
}


class Told:
    """Counts what the connector publishes."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def __call__(self, event: InputEvent) -> None:
        self.kinds[type(event).__name__] += 1


def kept(venue: CcxtVenue) -> Row:
    """What is held on to, by the library and by us."""
    assert venue.market is not None
    streams = venue.market.current
    if streams is None:
        return {}
    ex = streams.handle.ex
    books = ex.orderbooks.values()
    return {
        "cached_trades": float(sum(len(cache) for cache in ex.trades.values())),
        "fullest_cache": float(max((len(cache) for cache in ex.trades.values()), default=0)),
        "book_levels": float(sum(len(book["bids"]) + len(book["asks"]) for book in books)),
        "remembered_ids": float(sum(reader.remembered for reader in streams.readers.values())),
        "waiting_futures": float(sum(len(client.futures) for client in ex.clients.values())),
        "connections": float(len(ex.clients)),
        "tasks": float(len(asyncio.all_tasks())),
        "alive": float(streams.is_alive),
    }


async def watch(said: dict[str, str], symbols: Sequence[str], seconds: float) -> tuple[list[Row], dict[str, Any]]:
    """A row for each second, and what all of it came to."""
    told = Told()
    settings = CcxtSettings(
        exchange="binance",
        symbols=tuple(symbols),
        rest_url=said["rest"],
        ws_market_url=said["ws"],
        trades=True,
        depth=True,
    )
    venue = CcxtVenue(settings, told, SystemClock())
    await venue.start()
    rows: list[Row] = []
    try:
        loop = asyncio.get_running_loop()
        began_s = due_s = loop.time()
        before = told.kinds.total()
        while loop.time() - began_s < seconds:
            due_s = max(due_s + EVERY_S, loop.time())
            await asyncio.sleep(due_s - loop.time())
            now = told.kinds.total()
            row: Row = {"at_s": loop.time() - began_s, "events_per_s": float(now - before)}
            row |= look("connector", os.getpid()) | kept(venue)
            if len(rows) % OBJECTS_EVERY == 0:
                row["objects"] = float(len(gc.get_objects()))
            rows.append(row)
            before = now
            _tell(row)
        assert venue.market is not None
        assert venue.market.current is not None
        summary = {
            "events": dict(told.kinds),
            "trades_limit": int(venue.market.current.handle.ex.options["tradesLimit"]),
            "connections": int(rows[-1].get("connections", 0)),
            "reconnects": venue.counts().reconnects,
            "errors": venue.market.current.errors,
        }
    finally:
        await venue.stop()
    return rows, summary


def _tell(row: Row) -> None:
    if int(row["at_s"]) % 30 == 0:
        figures = " ".join(
            f"{name} {row.get(name, 0):,.0f}" for name in ("events_per_s", "cached_trades", "book_levels")
        )
        print(
            f"{row['at_s']:6.0f} s  {row.get('connector_anon_mb', 0):7.1f} MB  {figures}", file=sys.stderr, flush=True
        )


def judge(rows: Sequence[Row], summary: dict[str, Any]) -> list[Verdict]:
    """All verdicts.  Raises ``KestrelError`` for fewer looks than say anything."""
    if len(rows) < 3 * LEAST_ROWS:
        raise KestrelError(f"a soak of {len(rows)} s", expected=f"{3 * LEAST_ROWS} or more", do="run it for longer")
    rest = rows[len(rows) // 3 :]
    span_s = rest[-1]["at_s"] - rest[0]["at_s"]
    told = {name for name in BOUNDS if sum(name in row for row in rest) >= LEAST_ROWS}
    verdicts = [growth(name, rest, span_s, bound) for name, bound in BOUNDS.items() if name in told]
    fullest = max(row.get("fullest_cache", 0.0) for row in rows)
    limit = float(summary["trades_limit"])
    text = f"{fullest:,.0f} of {limit:,.0f} that one symbol may have"
    verdicts.append(Verdict("fullest_cache", fullest, fullest, fullest, limit, fullest, text))
    lost = float(sum(not row.get("alive") for row in rest))
    verdicts.append(Verdict("seconds_not_alive", lost, lost, lost, 0.0, lost, f"{lost:,.0f} s"))
    return verdicts


def page(rows: Sequence[Row], summary: dict[str, Any], verdicts: Sequence[Verdict], wanted: dict[str, Any]) -> str:
    about = ", ".join(str(value) for value in describe_machine().values() if isinstance(value, str | int | float))
    events = ", ".join(f"{count:,} {name}" for name, count in sorted(summary["events"].items()))
    options = f"--minutes {wanted['minutes']:g} --symbols {wanted['symbols']} --rate {wanted['rate']:g}"
    first_mb, third_mb, last_mb = (row["connector_anon_mb"] for row in (rows[0], rows[len(rows) // 3], rows[-1]))
    kept_trades = summary["trades_limit"]
    (memory,) = [one for one in verdicts if one.name == "connector_anon_mb"]
    per_day_mb = memory.value / (rows[-1]["at_s"] - rows[len(rows) // 3]["at_s"]) * 86_400
    return f"""# Soak of ccxt

`make soak-ccxt ARGS="{options} --write docs/results"`: the market of {wanted["symbols"]} symbols
through the connector for ccxt's exchanges, on the local Binance, for {wanted["minutes"]:g} minutes: best prices, trades
and books of each, watched by ccxt.pro over {summary["connections"]} connections. Growth is the slope of Theil and Sen
over the last two thirds, times that time (`benchmarks/soak_verdict.py: growth`).

{events}; {summary["reconnects"]} reconnects, {summary["errors"]} errors of the library. Own memory
{first_mb:.1f} MB at the start, {third_mb:.1f} MB after the warm-up, {last_mb:.1f} MB at the end. Machine: {about}.

{soak_page.table(verdicts)}

![charts](ccxt-soak.svg)

What fills in the warm-up are the library's trades, {kept_trades} of each symbol here
(`connectors/ccxt_venue/options.py: trades_kept`), and the ids of trades that were told. The case asks for a day;
this is as long as it says above, and what its slope would come to in a day is {per_day_mb:+.0f} MB, the rows of
this measurement among them (`Row`, a dictionary a second). The connector makes its object of the library anew every
day (`connectors/ccxt_venue/settings.py: CcxtSettings.recycle_s`).
"""


def main() -> int:
    given = argparse.ArgumentParser(prog="make soak-ccxt", description="50 symbols through ccxt: does anything grow?")
    given.add_argument("--minutes", type=float, default=10.0)
    given.add_argument("--symbols", type=int, default=50)
    given.add_argument("--rate", type=float, default=30.0, help="orders and cancels of each symbol a second")
    given.add_argument("--write", type=Path, help="folder for ccxt-soak.md and ccxt-soak.svg")
    options = given.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its children end with it
    symbols = [f"S{number:02}/USDT" for number in range(options.symbols)]
    try:
        with scratch() as folder:
            command = ["run.py", "sandbox", "binance", "--key-file", str(folder / "key.json"), "--history", "10"]
            command += ["--rate", str(options.rate), *(word for symbol in symbols for word in ("--product", symbol))]
            with child("exchange", command, folder) as exchange:
                rows, summary = asyncio.run(watch(exchange.said, symbols, options.minutes * 60.0))
        verdicts = judge(rows, summary)
    except KestrelError as error:
        print(f"kestrel: {error}", file=sys.stderr)
        return 2
    print(soak_page.table(verdicts))
    if options.write is not None:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "ccxt-soak.svg").write_text(soak_page.svg(rows, CHARTS))
        (options.write / "ccxt-soak.md").write_text(page(rows, summary, verdicts, vars(options)))
    return 0 if all(verdict.ok for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
