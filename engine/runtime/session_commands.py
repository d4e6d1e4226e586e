"""The commands ``sessions ...``: which sessions are on disk, and old ones removed.

Owns options and words; what may go and how is ``engine.runtime.retention``.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import ConfigError, KestrelError
from engine.runtime.control import user_run_folder
from engine.runtime.retention import Old, Rule, finish, has_ended, prune, survey
from engine.runtime.session import running_process

app = typer.Typer(help="Recorded sessions on disk.", no_args_is_help=True)
FolderOption = Annotated[Path, typer.Option("--sessions", help="folder of sessions")]
_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60}


@app.command("list")
def list_all(sessions: FolderOption = Path("var/sessions"), as_json: JsonFlag = False) -> None:
    """Which there are: when each wrote last, its size on disk, how it ended, what still needs it."""
    found = survey(sessions, user_run_folder(), Rule(before_ns=sys.maxsize, force=True))
    rows: list[dict[str, Any]] = []
    for one in found:
        state = "running" if running_process(one.path) else "ended" if has_ended(one.path) else "not ended in order"
        rows.append({**_row(one), "state": state})
        print(f"{one.session:<24} {_age(one):>9} {_size(one.size_bytes):>10}  {state}  {one.why_kept}".rstrip())
    print(f"{len(found)} sessions, {_size(sum(one.size_bytes for one in found))} in {sessions}")
    if as_json:
        print_json({"sessions": rows})


@app.command("prune")
def prune_old(
    older_than: Annotated[str, typer.Option(help="that wrote nothing for so long: 30d, 12h, 90m")],
    sessions: FolderOption = Path("var/sessions"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, and change nothing")] = False,
    archive: Annotated[Path | None, typer.Option(help="first store each as FOLDER/SESSION.tar.gz")] = None,
    market_only: Annotated[
        bool, typer.Option("--market-only", help="remove the market stream; orders and decisions stay")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="also those whose end is not clean")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove old sessions; what runs or an account goes on from stays.  Exit 1 when one could not be removed."""
    rule = Rule(time.time_ns() - _seconds(older_than) * 1_000_000_000, force, market_only)
    found = survey(sessions, user_run_folder(), rule)
    if not dry_run:
        finish(sessions)
    rows: list[dict[str, Any]] = []
    failed = freed_bytes = 0
    for one in found:
        said = one.why_kept and f"kept: {one.why_kept}"
        if not said:
            try:
                if not dry_run:
                    prune(one, rule, archive)
                said = ("would lose" if dry_run else "lost") + " its market" if market_only else ""
                said = said or ("would go" if dry_run else "removed")
                freed_bytes += one.size_bytes
            except KestrelError as error:
                failed += 1
                said = f"kept: {error}"
        rows.append({**_row(one), "outcome": said})
        stored = f", stored in {one.archive}" if one.archive else ""
        print(f"{one.session:<24} {_age(one):>9} {_size(one.size_bytes):>10}  {said}{stored}")
    print(f"{_size(freed_bytes)} {'would be' if dry_run else 'are'} freed")
    if as_json:
        print_json({"sessions": rows, "freed_bytes": freed_bytes, "failed": failed})
    if failed:
        raise typer.Exit(1)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,5})([dhm])", text)
    if match is None:
        raise ConfigError(f"--older-than {text}", expected="a number of days, hours or minutes: 30d, 12h, 90m")
    return int(match[1]) * _UNITS_S[match[2]]


def _row(one: Old) -> dict[str, Any]:
    return {
        "session": one.session,
        "last_ns": one.last_ns,
        "size_bytes": one.size_bytes,
        "kept": one.why_kept,
        "archive": one.archive,
    }


def _age(one: Old) -> str:
    hours = max(time.time_ns() - one.last_ns, 0) // 3_600_000_000_000
    return f"{hours} h ago" if hours < 48 else f"{hours // 24} d ago"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**9 else f"{count / 1e6:.2f} MB"
