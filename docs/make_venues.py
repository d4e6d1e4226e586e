"""Writes ``docs/venues.md``: ``python docs/make_venues.py`` after a case of a real client or a file of a venue changed.

Owns the page, and how cases are found: in the syntax trees of ``tests/clients/scripts``, so that no client is imported.
A case that a script has passes, because the suite requires each of them; what a list has beside them (open, measured
outside of the suite, not applicable) stands with its reason in ``docs/venues/<venue>.yaml``.
``tests/tidy/test_venues.py`` holds both.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SCRIPTS = ROOT / "tests" / "clients" / "scripts"
HOW = "Made by `python docs/make_venues.py` from `docs/venues` and the scripts of `tests/clients`; edits here are lost."


class Case(NamedTuple):
    """One number of one client's list, as a script declares it."""

    venue: str
    client: str
    number: str
    title: str
    script: str


def cases(scripts: Path = SCRIPTS) -> list[Case]:
    """Of all scripts, in the order of the files."""
    found: list[Case] = []
    for path in sorted(scripts.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lists = {name: made for node in tree.body for name, made in _list_of(node)}
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "case":
                    assert isinstance(call.func.value, ast.Name)
                    venue, client = lists[call.func.value.id]
                    number, title = (argument.value for argument in call.args if isinstance(argument, ast.Constant))
                    found.append(Case(venue, client, str(number), str(title), path.name))
    return found


def _list_of(node: ast.stmt) -> list[tuple[str, tuple[str, str]]]:
    """``cases = List("coinbase", "ccxt")``"""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
        return []
    made, target = node.value, node.targets[0]
    if not (isinstance(made.func, ast.Name) and made.func.id == "List" and isinstance(target, ast.Name)):
        return []
    venue, client = (argument.value for argument in made.args if isinstance(argument, ast.Constant))
    return [(target.id, (str(venue), str(client)))]


def venues(folder: Path = DOCS / "venues") -> dict[str, dict[str, Any]]:
    """By name, as their files are called."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml"))}


def page() -> str:
    """The whole of ``docs/venues.md``."""
    found = cases()
    lines = [
        "# Venues",
        "",
        HOW,
        "",
        "Each venue has a sandbox that clients of other people are run against, unmodified, as processes of their own",
        "in an environment of their own (`make clients`, `requirements/clients.txt`); while they run, no connection",
        "leaves the machine. `green` means that the suite requires the case and that it passed, `measured` that it",
        "takes longer than a suite may and that a page says how it went; numbers are those of the venue's list.",
        "",
    ]
    for name, venue in venues().items():
        lines += _venue(venue, [case for case in found if case.venue == name])
    return "\n".join(lines).rstrip() + "\n"


def _venue(venue: dict[str, Any], found: list[Case]) -> list[str]:
    lines = [f"## {venue['title']}", ""]
    if venue.get("sandbox"):
        lines += [f"Alone: `python {venue['sandbox']}`.", ""]
    for client, told in venue["clients"].items():
        mine = [case for case in found if case.client == client]
        lines += [f"### {client} {told['version']}", "", "| case | what | state |", "|---|---|---|"]
        for number in (str(n) for n in range(1, told["cases"] + 1)):
            titles = [case.title for case in mine if case.number == number]
            if titles:
                lines.append(f"| {number} | {'; '.join(titles)} | green |")
            elif number in told.get("measured", {}):
                lines.append(f"| {number} | {told['measured'][number]} | measured |")
            elif number in told["open"]:
                lines.append(f"| {number} | {told['open'][number]} | open |")
            else:
                lines.append(f"| {number} | {told['not_applicable'][number]} | not applicable |")
        lines.append("")
    for heading, key in (("Switches of the sandbox, where the venue may do either", "switches"),):
        if venue.get(key):
            lines += [f"### {heading}", "", *(f"- {line}" for line in venue[key]), ""]
    lines += ["### Not verified against the real venue", "", *(f"- {line}" for line in venue["not_verified"]), ""]
    return lines


if __name__ == "__main__":
    (DOCS / "venues.md").write_text(page(), encoding="utf-8")
