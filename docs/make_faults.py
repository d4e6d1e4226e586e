"""Writes ``docs/faults.md``: ``python docs/make_faults.py`` after a mark, a test's name or ``faults.yaml`` has changed.

Owns the page, and how marks are found: in the syntax trees of the test files, so that nothing of the project is
imported.  The faults and what is done about them stand in ``docs/faults.yaml``; which tests cover them, the tests say
themselves: ``@pytest.mark.fault("B14")`` on a test, a class, a parameter or as ``pytestmark`` of a module.  Tests that
a class inherits from ``tests/support`` are listed where they run.  ``tests/tidy/test_faults.py`` holds all of it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
HOW = "Made by `python docs/make_faults.py` from `docs/faults.yaml` and the marks in the tests; edits here are lost."


class Fault(NamedTuple):
    id: str
    fault: str
    does: str
    lacks: str


class Found(NamedTuple):
    """Of one test file.  ``tests``: ids by ``Class::name`` or ``name``; ``strays``: lines of marks on no test."""

    tests: dict[str, list[str]]
    strays: list[int]


def load(path: Path = DOCS / "faults.yaml") -> dict[str, list[Fault]]:
    """The faults by group, under ``"A: Process and storage"`` and so on, in the order of the file."""
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        f"{letter}: {group['title']}": [
            Fault(name, one["fault"], one["does"], one.get("lacks", "")) for name, one in group["faults"].items()
        ]
        for letter, group in groups.items()
    }


# --- marks in the tests -----------------------------------------------------------------------------------------


def marks_of(root: Path = ROOT) -> tuple[dict[str, list[str]], list[str]]:
    """Tests by fault id, as ``path::name``, in order; and ``path:line`` of marks that are on no test."""
    tests: dict[str, list[str]] = {}
    strays: list[str] = []
    for path in sorted((root / "tests").rglob("*.py")):
        found = _of_file(path, root)
        name = path.relative_to(root).as_posix()
        strays += [f"{name}:{line}" for line in found.strays]
        if path.name.startswith("test_"):
            for test, ids in found.tests.items():
                for one in ids:
                    tests.setdefault(one, []).append(f"{name}::{test}")
    return tests, strays


@cache
def _of_file(path: Path, root: Path) -> Found:
    text = path.read_text(encoding="utf-8")
    if "mark.fault(" not in text and "tests.support" not in text:
        return Found({}, [])
    tree = ast.parse(text)
    found = Found({}, [])
    tables = _tables(tree)
    everywhere = [one for node in tree.body if _assigns(node, "pytestmark") for one in _ids(node, tables)]
    _collect(tree.body, "", everywhere, found, {**_imported(tree, root), **_classes(tree)}, tables)
    attached = {call.lineno for node in _holders(tree) for call in _calls(node)}
    found.strays.extend(sorted({call.lineno for call in _calls(tree)} - attached))
    return found


def _collect(
    body: list[ast.stmt],
    prefix: str,
    outer: list[str],
    found: Found,
    bases: Mapping[str, Any],
    tables: Mapping[str, ast.expr],
) -> None:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            ids = [*outer, *(one for mark in node.decorator_list for one in _ids(mark, tables))]
            if ids:
                found.tests[prefix + node.name] = list(dict.fromkeys(ids))
        elif isinstance(node, ast.ClassDef):
            inner = [*outer, *(one for mark in node.decorator_list for one in _ids(mark, tables))]
            inner += [one for item in node.body if _assigns(item, "pytestmark") for one in _ids(item, tables)]
            for base in node.bases:
                inherited = bases.get(base.id) if isinstance(base, ast.Name) else None
                if inherited is not None:
                    _collect(_body_of(inherited), f"{prefix}{node.name}::", inner, found, bases, tables)
            _collect(node.body, f"{prefix}{node.name}::", inner, found, bases, tables)


def _body_of(base: ast.ClassDef | tuple[Path, str]) -> list[ast.stmt]:
    """What a class holds that is in the same file, or in another file of the tests."""
    if isinstance(base, ast.ClassDef):
        return base.body
    path, name = base
    if not path.is_file():
        return []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next((node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), [])


def _classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _imported(tree: ast.Module, root: Path) -> dict[str, tuple[Path, str]]:
    """What is imported from ``tests.support``, by the name it has here."""
    return {
        alias.asname or alias.name: (root / f"{node.module.replace('.', '/')}.py", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests.support.")
        for alias in node.names
    }


def _holders(tree: ast.Module) -> Iterator[ast.AST]:
    """Where a mark is a mark: decorators of tests and classes, ``pytestmark``."""
    for node in ast.walk(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(node, ast.ClassDef) or (is_function and node.name.startswith("test")):
            yield from node.decorator_list
        elif _assigns(node, "pytestmark"):
            yield node


def _assigns(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "pytest.mark.fault":
            yield inner


def _ids(node: ast.AST, tables: Mapping[str, ast.expr]) -> Iterator[str]:
    """Ids in a decorator, parameters' marks included: literal ones, and those that a comprehension over a literal table
    of the module gives.  What is computed in another way cannot be listed, and shows as an unknown id."""
    for call in _calls(node):
        for argument in call.args:
            if isinstance(argument, ast.Constant):
                yield argument.value
            else:
                yield from _from_table(argument, node, tables) or [ast.unparse(argument)]


def _from_table(name: ast.expr, node: ast.AST, tables: Mapping[str, ast.expr]) -> list[str]:
    """What ``name`` takes in ``for name, ... in TABLE.items()`` or ``for name in TABLE``, of keys or first items."""
    for loop in ast.walk(node):
        if not isinstance(loop, ast.comprehension):
            continue
        target, over = loop.target, loop.iter
        first = target.elts[0] if isinstance(target, ast.Tuple) else target
        if isinstance(over, ast.Call) and isinstance(over.func, ast.Attribute) and over.func.attr in ("items", "keys"):
            over = over.func.value
        if ast.unparse(first) != ast.unparse(name) or not isinstance(over, ast.Name):
            continue
        table = tables.get(over.id)
        items = table.keys if isinstance(table, ast.Dict) else getattr(table, "elts", [])
        items = [
            item.elts[0] if isinstance(target, ast.Tuple) and isinstance(item, ast.Tuple) else item for item in items
        ]
        return [item.value for item in items if isinstance(item, ast.Constant)]
    return []


def _tables(tree: ast.Module) -> dict[str, ast.expr]:
    """What the module binds names to, by name."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found


# --- the page ---------------------------------------------------------------------------------------------------


def state_of(fault: Fault, tests: list[str]) -> str:
    if not tests:
        return "not yet"
    return "partly" if fault.lacks else "covered"


def faults() -> str:
    """``docs/faults.md``."""
    groups = load()
    tests, _ = marks_of()
    lines = [
        "# Faults",
        "",
        HOW,
        "",
        "What goes wrong, what Kestrel then does, and the tests that hold it to that. *Partly* means that tests assert",
        "what is said, but not all of it; *not yet*, that none does. `pytest -k B14` runs the tests of one fault.",
        "",
        "| | faults | covered | partly | not yet |",
        "|---|---|---|---|---|",
        *(_count(title, listed, tests) for title, listed in groups.items()),
        _count("all", [one for listed in groups.values() for one in listed], tests),
        "",
    ]
    for title, listed in groups.items():
        lines += [f"## {title}", "", "| | fault | what is done | state | tests |", "|---|---|---|---|---|"]
        lines += [_row(fault, tests.get(fault.id, [])) for fault in listed]
        lines.append("")
    return "\n".join(lines)


def _count(title: str, listed: list[Fault], tests: Mapping[str, list[str]]) -> str:
    states = [state_of(fault, tests.get(fault.id, [])) for fault in listed]
    figures = (len(states), *(states.count(state) for state in ("covered", "partly", "not yet")))
    return f"| {title} | {' | '.join(str(figure) for figure in figures)} |"


def _row(fault: Fault, tests: list[str]) -> str:
    state = state_of(fault, tests) + (f", lacking: {fault.lacks}" if fault.lacks else "")
    return f"| **{fault.id}** | {fault.fault} | {fault.does} | {state} | {'<br>'.join(f'`{one}`' for one in tests)} |"


PAGES: Mapping[str, Callable[[], str]] = {"faults.md": faults}


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
