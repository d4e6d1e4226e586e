"""The runbook has what it promises: every event of the watchdog, every state and why risk came to it, every command of
an operator, every warning of the log; and it names none that is not there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engine.commands import RiskState
from engine.counters import Counters
from engine.manual import ACTIONS
from engine.runtime.clocks import SystemClock
from engine.runtime.journal_stream import JournalStats
from engine.runtime.logs import LogPipe
from engine.runtime.metrics import Metrics
from engine.runtime.model_requests import Hits
from engine.runtime.probe import StageProbe

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


# --- texts that the program says, beside the places where the page explains them -------------------------------------


def section(heading: str) -> str:
    """The text under ``## heading``."""
    return RUNBOOK.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def told(heading: str) -> list[str]:
    """What stands in backticks in the first column of its tables; ``...`` stands for any text."""
    rows = [line for line in section(heading).splitlines() if line.startswith("| ") and not line.startswith("|---")]
    return [words for row in rows for words in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def says(words: str, text: str) -> bool:
    """Whether a line of the text has these words, in this order; a colon stands between who gave a reason and what they
    said."""
    parts = [re.escape(part.strip()) for part in words.removesuffix(":").split("...")]
    return re.search(".*".join(parts), text) is not None


SPEAKS = ast.Call | ast.Constant | ast.JoinedStr | ast.Tuple | ast.Return | ast.Assign


@cache
def spoken() -> tuple[tuple[str, ast.AST], ...]:
    """What may hold a text, with its file, of everything that may speak in a session: no sandbox, no simulation."""
    paths = [path for name in ("engine", "risk", "connectors", "config") for path in (ROOT / name).rglob("*.py")]
    paths += [path for name in ("", "life", "registry") for path in (ROOT / "models" / name).glob("*.py")]
    left_out = {"sandbox", "simulation", "local", "features", "matching"}
    return tuple(
        (str(path.relative_to(ROOT)), node)
        for path in sorted(paths)
        if not left_out & set(path.relative_to(ROOT).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, SPEAKS)
    )


def text_of(node: ast.expr) -> str:
    """A text as it is written; what is put into it is a mark that no page has."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "\0" for one in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[a-z.0-9]*[a-z]", "\0", node.value)
    return text_of(node.value) if isinstance(node, ast.Subscript) else ""


@cache
def everything() -> str:
    """Each text of the program, one a line."""
    texts = {text_of(node) for _, node in spoken() if isinstance(node, ast.Constant | ast.JoinedStr)}
    return "\n".join(" ".join(text.split()) for text in texts)


def calls(*names: str) -> Iterator[tuple[str, ast.Call, str]]:
    """Calls of methods of these names: file and line, the call, and what it is a method of."""
    for path, node in spoken():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
            yield f"{path}:{node.lineno}", node, ast.unparse(node.func.value)


def words_in(text: str) -> int:
    return len(re.findall(r"[A-Za-z]{2,}", text))


def test_whatever_stops_risk_is_explained() -> None:
    """Reasons as they are written where the core, the gate and the account latch a state."""
    reasons = {
        where: text_of(call.args[-1])
        for where, call, of in calls("reduce", "halt", "_latch")
        if call.args and of.endswith(("latch", "self"))
    }
    for path, node in spoken():
        if path not in ("risk/gate.py", "risk/pace.py", "engine/reconciliation.py"):
            continue
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and "RiskState" in ast.unparse(node.elts[0]):
            reasons[f"{path}:{node.lineno}"] = text_of(node.elts[1])
        elif isinstance(node, ast.Return | ast.Assign) and isinstance(node.value, ast.JoinedStr):
            reasons[f"{path}:{node.lineno}"] = text_of(node.value)
    reasons = {where: text for where, text in reasons.items() if words_in(text)}
    assert len(reasons) > 15
    known = told("States of risk")
    assert {where: text for where, text in reasons.items() if not any(says(one, text) for one in known)} == {}


def test_every_warning_of_the_log_is_explained() -> None:
    """By the words that do not change; a line that is only what the venue said explains itself."""
    lines = {
        where: text_of(call.args[0])
        for where, call, of in calls("warning", "error", "exception")
        if call.args and of.endswith("log") and words_in(text_of(call.args[0])) > 1
    }
    assert len(lines) > 90
    known = told("Lines of the log")
    assert {where: text for where, text in lines.items() if not any(says(one, text) for one in known)} == {}


@pytest.mark.parametrize("heading", ["States of risk", "Lines of the log", "Messages at a start"])
def test_no_line_is_explained_that_nothing_says(heading: str) -> None:
    """Each is in a text of the program."""
    explained = told(heading)
    assert len(explained) > 20
    assert [words for words in explained if not says(words, everything())] == []


@pytest.mark.parametrize("page", ["runbook", "quality", "models", "watching", "life-of-a-tick"])
def test_every_metric_that_is_named_is_exported(page: str) -> None:
    """Names as a scraper sees them: counters with their ending.  What is told only when it is known is known here."""
    clock = SystemClock()
    stats = JournalStats(0, 0, 0, 0, 0, "")
    pipe = LogPipe(None, None, max_bytes=1, backups=1, queue_lines=1)
    metrics = Metrics(
        session="s", counters=Counters(), probe=StageProbe(clock), clock=clock, journal_stats=lambda: stats, logs=pipe
    )
    metrics.gauges.equity, metrics.gauges.disk_free_bytes = 1.0, 1
    metrics.gauges.model_figures = {("BTC/USD@coinbase", "m@1", "ece"): 0.1}
    metrics.gauges.model_hits = {("BTC/USD@coinbase", "m@1", "0.6"): Hits(3.0, 1.0)}
    exported = {family.name + ("_total" if family.type == "counter" else "") for family in metrics.collect()}
    named = set(re.findall(r"\bkestrel_[a-z_]+[a-z]\b", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")))
    assert named
    assert named - exported == set()
