"""What the documents name exists: functions where they say, links, commands, targets, generated pages."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

import run
from tests.support.scripts import load_script

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "models" / "artifacts").rglob("*.md")),
]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
everywhere = pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
DEFINED = re.compile(r"`([\w/.-]+\.py): ([A-Za-z_][\w.]*)`")
SOURCE = re.compile(
    r"`((?:benchmarks|config|connectors|docs|engine|examples|models|risk|strategies|tests)/[\w/.-]*)[`:]"
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+?) *$", re.MULTILINE)
COMMAND = re.compile(r"python run\.py ([^`\n]*)")
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|home|Users|root|tmp|mnt)/\S*")
PLACEHOLDERS = {"COMMAND"}


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


# --- functions where the page says they are ---------------------------------------------------------------------


@cache
def definitions(path: Path) -> frozenset[str]:
    """Dotted names that a module binds: functions, classes, constants, and those of its classes."""
    return frozenset(_definitions(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
            # What a method keeps on self is named by pages as well: `OrderBook.top`.
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and prefix:
                    yield prefix + inner.attr
        elif isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield prefix + target.id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id


@everywhere
def test_every_named_function_is_where_the_page_says(document: Path) -> None:
    """Each `path: name` is looked up in the syntax tree of that file."""
    for path, name in DEFINED.findall(text_of(document)):
        source = ROOT / path
        assert source.is_file(), f"{document.name} names `{path}: {name}`, but there is no such file"
        assert name in definitions(source), f"{document.name} names `{path}: {name}`, which that file does not define"


@everywhere
def test_every_named_source_exists(document: Path) -> None:
    """Files and folders of ours in backticks; ``{a,b}`` and ``*`` are no names and do not match."""
    for path in SOURCE.findall(text_of(document)):
        assert (ROOT / path).exists(), f"{document.name} names `{path}`, which does not exist"


def test_the_life_of_a_tick_has_all_its_hops() -> None:
    """Twelve numbered hops, each naming at least one function: the check above is about something."""
    text = text_of(ROOT / "docs" / "life-of-a-tick.md")
    hops = re.split(r"^### (\d+)\. ", text, flags=re.MULTILINE)
    assert [int(number) for number in hops[1::2]] == list(range(1, 13))
    assert all(DEFINED.search(body) for body in hops[2::2])


def test_a_function_that_moved_is_noticed() -> None:
    """The check of names, on a name that is there, one that is not, and one in another class."""
    found = definitions(ROOT / "engine" / "core.py")
    assert "TradingCore.on_event" in found
    assert not {"TradingCore.process", "Desk.place", "on_event"} & found


# --- links ------------------------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """Headings as the anchors that a renderer gives them."""
    headings = HEADING.findall(FENCE.sub("", text_of(document)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@everywhere
def test_every_relative_link_resolves(document: Path) -> None:
    """The target exists in the repository, and so does the heading it points to."""
    for link in LINK.findall(FENCE.sub("", text_of(document))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), f"{document.name} links to {link}, outside of the repository"
        assert target.exists(), f"{document.name} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(target), f"{document.name} links to {link}; no such heading in {target.name}"


@everywhere
def test_no_machine_path_is_named(document: Path) -> None:
    """A path of somebody's machine helps nobody else."""
    assert MACHINE_PATH.findall(text_of(document)) == []


# --- commands ---------------------------------------------------------------------------------------------------


def commands(document: Path) -> list[list[str]]:
    found = []
    for line in COMMAND.findall(text_of(document)):
        words = shlex.split(line, comments=True)
        if words and words[0] not in PLACEHOLDERS:
            found.append([word for word in words if word not in ("...", "&")])
    return found


@everywhere
def test_every_named_command_parses(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command and options go through the program's own parser; ``--help`` keeps it from running anything.

    An option that is written without its value would take ``--help`` for one and run: in a folder of the test's own.
    """
    monkeypatch.chdir(tmp_path)
    for words in commands(document):
        done = CliRunner().invoke(run.app, [*words, "--help"])
        assert done.exit_code == 0, f"{document.name}: python run.py {' '.join(words)}\n{done.output[-500:]}"
        assert "Usage:" in done.output, f"{document.name}: python run.py {' '.join(words)} ran"


def test_the_readme_names_every_command() -> None:
    """Whoever reads it learns of all there is: each command of the program appears, with `run.py` or as a word."""
    text = text_of(ROOT / "README.md")
    named = {words[0] for words in commands(ROOT / "README.md")}
    offered = re.findall(r"^[│|] (\w+)  ", CliRunner().invoke(run.app, ["--help"]).output, re.MULTILINE)
    assert len(offered) > 5
    assert [name for name in offered if name not in named and f"`{name}`" not in text] == []


@everywhere
def test_every_named_make_target_exists(document: Path) -> None:
    """`make X` in backticks or code blocks, against the Makefile's rules."""
    rules = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = "\n".join(re.findall(r"`([^`]+)`", text_of(document), re.DOTALL))
    assert set(TARGET.findall(code)) <= rules


# --- generated pages, bookkeeping -------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["make_diagrams", "make_faults", "make_features", "make_hpo", "make_networks"])
def test_generated_pages_equal_their_tables(script: str) -> None:
    """Made again in memory and compared with what is committed."""
    if script == "make_networks":
        pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
    module = load_script(ROOT / "docs" / f"{script}.py")
    assert module.PAGES
    for name, make in module.PAGES.items():
        assert text_of(ROOT / "docs" / name) == make(), f"docs/{name} is old: python docs/{script}.py"


def test_decision_records_are_numbered_and_listed() -> None:
    """0001, 0002, ... without a hole, each listed in the folder's index, each with its three parts."""
    folder = ROOT / "docs" / "decisions"
    records = sorted(folder.glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    index = text_of(folder / "README.md")
    for path in records:
        assert f"({path.name})" in index, f"{path.name} is not in docs/decisions/README.md"
        headings = HEADING.findall(text_of(path))[1:]
        assert headings == ["Context", "Decision", "Consequences"], path.name


def test_every_document_is_reached_from_the_readme() -> None:
    """Following links from the README leads to every page under docs/."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in seen or not document.exists():
            continue
        seen.add(document)
        links = [link.partition("#")[0] for link in LINK.findall(text_of(document)) if not re.match(r"[a-z]+:", link)]
        waiting += [target for link in links if (target := (document.parent / link).resolve()).suffix == ".md"]
    tracked = subprocess.run(["git", "ls-files", "docs"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    pages = {ROOT / name for name in tracked.split() if name.endswith(".md")}
    assert sorted(str(path.relative_to(ROOT)) for path in pages - seen) == []


BOUND_ROW = re.compile(r"^\|[^|]*`([\w/]+\.py): (\w+(?:\.\w+)?)` \| ([\d,]+)( MiB)?[ |]", re.MULTILINE)


def test_the_load_table_tells_the_bounds_of_the_code() -> None:
    """Each row that names a constant and begins with a number: the number is the constant's value."""
    rows = BOUND_ROW.findall(text_of(ROOT / "docs" / "architecture.md"))
    checked = 0
    for path, name, number, mib in rows:
        value = constant(ROOT / path, name)
        if value is None:
            continue
        checked += 1
        assert value == int(number.replace(",", "")) * (1 << 20 if mib else 1), f"{path}: {name} is {value}"
    assert checked >= 12


def constant(path: Path, dotted: str) -> int | None:
    """The integer that a module or class binds to a name; None where the name is no integer (a class, a function)."""
    *owners, name = dotted.split(".")
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for owner in owners:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == owner)
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if any(isinstance(target, ast.Name) and target.id == name for target in targets) and value is not None:
            return int(eval(ast.unparse(value), {"__builtins__": {}}))  # numbers and operators of our own source
    return None
