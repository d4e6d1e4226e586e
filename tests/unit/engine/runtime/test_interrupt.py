"""Ctrl-C while the program is being loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]


def test_it_is_one_line_and_status_130():
    """Raised where it would be: in the midst of an import.  What is no interrupt is told as ever."""
    for raised, status, told in (("KeyboardInterrupt", 130, 1), ("ValueError", 1, 3)):
        words = [sys.executable, "-c", f"import engine.runtime.interrupt\nraise {raised}"]
        said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert said.returncode == status
        assert len(said.stderr.splitlines()) == told
        assert said.stderr.startswith("kestrel: interrupted\n") is (status == 130)


def test_it_stands_before_all_that_takes_time():
    """The first import of ``run.py``, and itself in need of nothing but the interpreter's own."""
    assert _imports("run.py")[0] == "engine.runtime"
    assert _imports("engine/runtime/interrupt.py") == ["sys", "types"]


def _imports(path: str) -> list[str]:
    """Modules that are imported at the top, in order, without what is of the language."""
    found = []
    for each in ast.parse((ROOT / path).read_text()).body:
        if isinstance(each, ast.ImportFrom):
            found.append(each.module or "")
        elif isinstance(each, ast.Import):
            found += [one.name for one in each.names]
    return [name for name in found if name != "__future__"]
