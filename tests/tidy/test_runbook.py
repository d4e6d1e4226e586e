"""The runbook has what it promises: every event of the watchdog, every state, every command of an operator."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from engine.commands import RiskState
from engine.manual import ACTIONS

ROOT = Path(__file__).resolve().parent.parent.parent
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`]+)`", RUNBOOK))


def noted(path: Path) -> set[str]:
    """First arguments of calls of ``note`` and ``record`` that are plain text."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name in ("_note", "record"):
                found.add(str(call.args[0].value))
    return found


@pytest.mark.parametrize("name", ["watchdog", "watchdog_process"])
def test_every_event_of_the_watchdog_is_explained(name: str) -> None:
    """Collected from the calls that write them; there are some, or this would prove nothing."""
    events = noted(ROOT / "engine" / "runtime" / f"{name}.py")
    assert len(events) > 5
    assert events - CODE == set()


def test_every_state_and_every_command_is_there() -> None:
    """States by their names; commands as they are typed."""
    assert {state.value for state in RiskState} <= CODE
    for command in (*ACTIONS, "halt", "reduce", "resume", "status"):
        assert f"python run.py {command}" in RUNBOOK, command


def refusals(path: Path) -> set[str]:
    """Names of checks: the first word of a finding, or of a check that is given its name; the third of ``Rejected``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        named: list[ast.expr] = []
        if isinstance(node, ast.Tuple) and (len(node.elts) == 3 or any(isinstance(x, ast.Starred) for x in node.elts)):
            named = node.elts[:1]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            named = [one.value for one in node.keywords if one.arg == "check"]
            if name == "Rejected":
                named += node.args[2:3]
            elif name.startswith("check_") or name == "UnknownValueError":
                named += node.args[:1]
        words = [one.value for one in named if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        found |= {word for word in words if re.fullmatch("[a-z_]+", word)}
    return found


def test_whatever_refuses_an_order_is_explained() -> None:
    """Checks by the names that refusals carry, collected from the code; there are many, or this would prove nothing."""
    names: set[str] = set()
    for path in [*(ROOT / "risk").glob("*.py"), *(ROOT / "engine").glob("group*.py"), ROOT / "engine" / "desk.py"]:
        names |= refusals(path)
    assert len(names) > 60
    assert names - CODE == set()
