"""``make kill-matrix``: kill daemons at every spot in turn and write down what came of it.

    python -m tests.support.kills [--kills 500] [--seed 1] [--chain 100] [--write docs/results/kill-matrix.md]

Ends with 1 when anything was lost, doubled or unsafe; the journals are kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from engine import arithmetic
from tests.support.kills.matrix import Kill, run_chain
from tests.support.kills.plan import plan
from tests.support.kills.spots import SPOTS


def main() -> int:
    given = argparse.ArgumentParser(prog="make kill-matrix", description="kill -9 at every spot, restart, compare")
    given.add_argument("--kills", type=int, default=500)
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--chain", type=int, default=100, help="kills on one account, then a fresh exchange")
    given.add_argument("--only", default="", help="spots with this in their name")
    given.add_argument("--write", type=Path, help="page to write the table to")
    options = given.parse_args()
    arithmetic.install()
    wanted = plan(options.kills, options.seed, options.only)
    folder = Path(tempfile.mkdtemp(prefix="kestrel-kills-"))
    kills: list[Kill] = []
    started_s = time.monotonic()

    def tell(kill: Kill) -> None:
        kills.append(kill)
        how = "" if kill.reached else ", not reached"
        print(f"{len(kills):4d} {kill.session} {kill.spot} {kill.number}{how} {kill.confirmed_s:.2f} s", flush=True)
        for text in kill.violations:
            print(f"     VIOLATION {text}", flush=True)

    for number, first in enumerate(range(0, len(wanted), options.chain)):
        chain = wanted[first : first + options.chain]
        place = folder / f"chain-{number}"
        # Every other account has a watchdog on it, which interferes in its own good way.
        asyncio.run(run_chain(place, options.seed + first, chain, tell, watched=number % 2 == 1))
    seconds = time.monotonic() - started_s
    page = table(kills, seconds, options.seed)
    print(page)
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(page)
    if any(kill.violations for kill in kills):
        print(f"the journals are kept in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def table(kills: Sequence[Kill], seconds: float, seed: int) -> str:
    """The page: totals, then a line for each spot."""
    harmed = [kill for kill in kills if kill.spot in {spot.call for spot in SPOTS}]
    confirmed = sorted(kill.confirmed_s for kill in kills if kill.confirmed_s)
    covered = [kill.compared for kill in kills if kill.compared > 0]
    reached, violated = sum(kill.reached for kill in harmed), sum(bool(kill.violations) for kill in kills)
    machine = f"{platform.system()} {platform.machine()}"
    minutes = seconds / 60
    median_s, most_s = confirmed[len(confirmed) // 2], confirmed[-1]
    lines = [
        "# Kill matrix",
        "",
        f"{len(harmed)} kills of real daemons on {machine}, seed {seed}, {minutes:.0f} minutes: `make kill-matrix`.",
        "",
        f"- {reached} died at the chosen call; the others, whose call did not come, were killed some seconds later.",
        f"- {sum(covered)} deaths were compared with the exchange after a restart: {covered.count(1)} each alone, the",
        "  others together with the one or two right after, which died before they could be compared themselves.",
        "- Every order is there once, every fill booked once, money and position are equal to the last digit, no order",
        "  left before the account was confirmed. Never two exits of one group at the exchange, none closes more than",
        "  was entered, and what a group holds has an exit there or a price that is watched.",
        f"- From a start to the confirmed account: median {median_s:.2f} s, at most {most_s:.2f} s.",
        f"- Violations: {violated}.",
        "",
        "| where | faults | kills | reached |",
        "|---|---|---|---|",
    ]
    for spot in SPOTS:
        there = [kill for kill in harmed if kill.spot == spot.call]
        if there:
            faults = ", ".join(spot.faults)
            name = spot.call.removeprefix("call:").strip()
            lines.append(f"| `{name}` | {faults} | {len(there)} | {sum(kill.reached for kill in there)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
