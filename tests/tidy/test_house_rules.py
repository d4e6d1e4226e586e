"""House rules as tests: each banned thing names what to use instead."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("engine", "connectors", "strategies", "models", "risk", "config")
SOURCES = [*sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")), ROOT / "run.py"]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_no_decimal_is_made_of_a_float(path: Path) -> None:
    """Invariant I8 in the source: Decimal(<float>) and Decimal(repr(...)) belong to Instrument.price and .quantity."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Decimal", "D", "decimal.Decimal") and node.args:
            argument = node.args[0]
            made_of_float = (isinstance(argument, ast.Constant) and isinstance(argument.value, float)) or (
                isinstance(argument, ast.Call) and ast.unparse(argument.func) in ("float", "repr")
            )
            door = path == ROOT / "engine" / "instruments.py"
            assert not made_of_float or door, f"{path}:{node.lineno}: use Instrument.price or Instrument.quantity"


PURE = [
    path
    for path in SOURCES
    if path.parts[len(ROOT.parts)] in ("engine", "risk", "strategies")
    and "runtime" not in path.parts
    and "data" not in path.parts
] + sorted((ROOT / "connectors").rglob("protocol.py"))
BANNED = {
    "asyncio": "hand results to the bus as events",
    "time": "read ts_recv_ns of the event",
    "datetime": "use nanoseconds",
    "random": "inject it",
    "secrets": "inject it",
    "socket": "belongs into an I/O shell",
    "aiohttp": "belongs into an I/O shell",
    "websockets": "belongs into an I/O shell",
    "threading": "the core has one thread",
    "uuid": "ids are injected",
}


@pytest.mark.parametrize("path", PURE, ids=names(PURE))
def test_pure_code_imports_no_clock_no_randomness_no_network(path: Path) -> None:
    """The deterministic part, module by module; import-linter forbids it indirectly too."""
    for node in ast.walk(ast.parse(path.read_text())):
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported = [node.module]
        for name in imported:
            root = name.split(".")[0]
            assert root not in BANNED, f"{path}:{node.lineno}: {root}: {BANNED[root]}"


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_no_wait_swallows_a_cancellation(path: Path) -> None:
    """Python 3.11's asyncio.wait_for returns its result to a task that was cancelled in the same turn of the loop: the
    task lives on, and whoever stops it waits for ever."""
    for node in ast.walk(ast.parse(path.read_text())):
        banned = isinstance(node, ast.Call) and ast.unparse(node.func) in ("asyncio.wait_for", "wait_for")
        assert not banned, f"{path}:{node.lineno}: use asyncio.timeout"


def test_the_import_contracts_hold() -> None:
    """import-linter on the real tree."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_unit_test_mirrors_a_module() -> None:
    """tests/unit/<path>/test_<module>[_<topic>].py only where <path>/<module>.py (or a package of that name) is."""
    strays = []
    for path in (ROOT / "tests" / "unit").rglob("test_*.py"):
        folder = ROOT / path.parent.relative_to(ROOT / "tests" / "unit")
        words = path.stem.removeprefix("test_").split("_")
        names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
        if not any((folder / f"{name}.py").exists() or (folder / name).is_dir() for name in names):
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []


def test_only_run_imports_the_runtime_and_nobody_imports_run() -> None:
    """run.py is a module, not a package, so import-linter does not see it."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert "run" not in names, f"{path}:{node.lineno} imports run.py"


def test_no_property_test_fails_for_the_time_that_an_example_takes() -> None:
    """On a busy machine it would; the profile of the suite says so for all that say nothing of their own."""
    found = settings()
    assert (found.deadline, HealthCheck.too_slow in found.suppress_health_check) == (None, True)
