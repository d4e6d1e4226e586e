"""``make river``: what river's ADWIN finds in sixty streams, written down for the test that holds ours against it.

Owns the streams, made of random numbers that are the same everywhere.  river runs in an environment of its own; not a
part of ``make test``, which reads what was written.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.clients import environment

ROOT = environment.ROOT
REQUIREMENTS = ROOT / "requirements" / "river.txt"
FOUND = Path(__file__).with_suffix(".json")
STREAMS, LENGTH = 60, 2_500
_DELTAS = (0.002, 0.05, 0.3)


class Found(NamedTuple):
    """Value at which a change was seen first (-1: none), and what is left of the window then, or at the end."""

    at: int
    width: int
    total: float


def stream(number: int) -> tuple[float, list[float]]:
    """``delta`` and values in 0 to 1: coins, noise, little noise and skewed shares, most with a change of the mean."""
    rng = random.Random(number)
    before, after, change = rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.95), rng.randint(50, LENGTH)
    after = before if number % 5 == 0 else after
    values = []
    for at in range(LENGTH):
        mean = before if at < change else after
        kind = number % 4
        if kind == 0:
            value = float(rng.random() < mean)
        elif kind == 3:
            value = rng.betavariate(1 + 8 * mean, 1 + 8 * (1 - mean))
        else:
            value = min(max(mean + (0.1 if kind == 1 else 0.02) * rng.gauss(0.0, 1.0), 0.0), 1.0)
        values.append(value)
    return _DELTAS[number % 3], values


def by_river() -> list[Found]:
    """Runs where river is."""
    from river.drift import ADWIN  # type: ignore[import-not-found]  # in its own environment alone

    found = []
    for number in range(STREAMS):
        delta, values = stream(number)
        adwin, at = ADWIN(delta=delta), -1
        for place, value in enumerate(values):
            adwin.update(value)
            if adwin.drift_detected:  # river forgets its whole window at the next value
                at = place
                break
        found.append(Found(at, int(adwin.width), adwin.total))
    return found


def main(arguments: list[str]) -> int:
    if "--inside" in arguments:
        FOUND.write_text("[\n" + ",\n".join(json.dumps(one) for one in by_river()) + "\n]\n")
        return 0
    try:
        interpreter = environment.python_before_ours(REQUIREMENTS)
    except environment.NoClientsError as error:
        print(error, file=sys.stderr)
        return 1
    return subprocess.run(
        [interpreter, "-m", "tests.support.river_adwin", "--inside"], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
