"""Seeds of the model, as many as time allows: what a long run finds, a line each.

    python -m tests.support.lives [--first 1] [--minutes 3] [--steps 100] [--say]

Ends with 1 where anything did not hold.  ``--say``: one seed, and everything that happens in it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from itertools import count

from engine import arithmetic
from tests.support.lives.world import World


def main() -> int:
    given = argparse.ArgumentParser(prog="python -m tests.support.lives", description="lives of orders at Coinbase")
    given.add_argument("--first", type=int, default=1, help="the first seed")
    given.add_argument("--minutes", type=float, default=3.0)
    given.add_argument("--steps", type=int, default=100)
    given.add_argument("--say", action="store_true", help="one seed, in words")
    options = given.parse_args()
    arithmetic.install()
    logging.disable()
    until_s = time.monotonic() + 60 * options.minutes
    seeds = failed = 0
    for seed in count(options.first):
        if seeds and (options.say or time.monotonic() > until_s):
            break
        found = World(seed, steps=options.steps, said=print if options.say else None).run()
        seeds, failed = seeds + 1, failed + bool(found)
        if found:
            print(f"seed {seed}: {'; '.join(found[:3])}", flush=True)
    print(f"{seeds} seeds of {options.steps} steps, {failed} with violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
