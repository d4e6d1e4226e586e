"""What the process that trades must never load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.daemon import into
from tests.support.durable import run_until

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


def has_predicted(status: dict[str, Any]) -> bool:
    return status["predictions"] > 0 and status["orders"] > 0


def test_the_live_process_imports_no_trainer(tmp_path: Path) -> None:
    """A real session against the built-in exchange, with model and orders; then a look into sys.modules."""
    summary, modules, _ = run_until(SCRIPT, ["paper", "--json", *into(tmp_path)], tmp_path, has_predicted)
    assert summary["predictions"] > 0
    assert {"onnxruntime", "numba"} <= set(modules)
    assert [name for name in BANNED if name in modules] == []
