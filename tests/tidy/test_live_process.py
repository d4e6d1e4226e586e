"""What the process that trades must never load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import ROOT, environment, into

# numba imports scipy by itself where the trainer's extra has installed it; the base install has none.
BANNED = ("torch", "pandas", "sklearn", "polars", "duckdb", "plotly", "ccxt", "oandapyV20", "river", "onnx")
BANNED += ("arch", "captum", "lightgbm", "mapie", "shap", "skfolio")  # of the evaluation

SCRIPT = """
import json, sys
sys.argv = ["run.py"] + json.loads(sys.argv[1])
import run
try:
    run.main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_the_live_process_imports_no_trainer(tmp_path: Path) -> None:
    """A real session against the built-in exchange, with model and orders; then a look into sys.modules."""
    arguments = ["paper", "--for", "4", "--json", *into(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(arguments)],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary, modules = (json.loads(line) for line in done.stdout.strip().splitlines()[-2:])
    assert summary["predictions"] > 0
    assert {"onnxruntime", "numba"} <= set(modules)
    assert [name for name in BANNED if name in modules] == []
