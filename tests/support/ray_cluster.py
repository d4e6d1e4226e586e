"""``make ray``: a study with real training on a local Ray cluster of two workers, beside the same study in one process.

Owns the environment that it runs in: Ray alone, with the packages of ``.venv`` behind it.  Not a part of ``make test``:
installing Ray and starting a cluster takes longer than all other tests of tuning together.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients import environment

ROOT = environment.ROOT
REQUIREMENTS = ROOT / "requirements" / "ray.txt"
TRIALS = 4
_INSIDE = "--inside"


def check(folder: Path) -> None:
    """Raises ``AssertionError`` where the cluster's trials are not those of one process."""
    from models.tuning.log import TrialLog
    from models.tuning.tune import tune
    from tests.support.training import write_quotes
    from tests.support.tuning import tiny_training, write_study

    write_quotes(folder)
    # All trials are drawn before one ends, so that both studies draw the same.
    more = {
        "training": tiny_training(epochs=2),
        "trials": TRIALS,
        "method": "random",
        "finalists": {"top": 2, "seeds": [1]},
    }
    found = {}
    for executor in ("processes", "ray"):
        path = write_study(folder, executor=executor, ray={"address": "local", "workers": 2}, **more)
        result = tune(path, out=folder / executor, data=folder, show=lambda text: print(f"  {text}", flush=True))
        assert result["trials"] == {"complete": TRIALS}, result["trials"]
        lines = sorted(TrialLog(folder / executor).lines, key=lambda line: line.number)
        found[executor] = [(line.values, round(line.value or 0.0, 9), line.epochs) for line in lines], result["values"]
    assert found["ray"] == found["processes"], found
    from tests.support.tuning import bowl_that_dies_once

    path = write_study(folder, executor="ray", ray={"address": "local", "workers": 2}, **(more | {"trials": 5}))
    result = tune(path, out=folder / "killed", data=folder, run=bowl_that_dies_once)
    lost = next(line for line in TrialLog(folder / "killed").lines if line.number == 2)
    assert lost.error.startswith("killed: its worker ended"), lost
    assert result["trials"] == {"complete": 5, "failed": 1}, result["trials"]
    print(
        f"{TRIALS} trials on two workers of a cluster: as in one process; one whose worker was killed was given again"
    )


def main(arguments: list[str]) -> int:
    if _INSIDE in arguments:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder))
        return 0
    try:
        interpreter = environment.python_before_ours(REQUIREMENTS)
    except environment.NoClientsError as error:
        print(error, file=sys.stderr)
        return 1
    # A token of its own: Ray would leave one in the home folder.
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    told = {**os.environ, **token, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [interpreter, "-m", "tests.support.ray_cluster", _INSIDE], cwd=ROOT, env=told, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
