"""What the tests of bad input share: a short recorded market to play, and what a refusal has to look like."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.daemon import attempt, into, kestrel, last_json

NAME = "binance_usdm_btcusdt_20240808"


def play(folder: Path, files: tuple[Path, ...], *extra: str, **env: str) -> subprocess.CompletedProcess[str]:
    """``paper`` on recorded files, with whatever exit status it ends."""
    return kestrel("paper", "--replay", *map(str, files), "--json", "--no-report", *into(folder), *extra, **env)


def attempt_to_play(folder: Path, files: tuple[Path, ...], *extra: str) -> subprocess.CompletedProcess[str]:
    """``play`` by ``attempt``."""
    return attempt("paper", "--replay", *map(str, files), "--json", "--no-report", *into(folder), *extra)


def refused(done: subprocess.CompletedProcess[str], *said: str) -> str:
    """The run ended with exit 2, one line on stderr that says all of this, and the same in the JSON object."""
    assert done.returncode == 2, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr[-2000:]
    assert lines[0].startswith("kestrel: ")
    for part in said:
        assert part in lines[0]
    if done.stdout.strip():
        assert last_json(done)["error"] == lines[0].removeprefix("kestrel: ")
    return lines[0]


def nothing_written(folder: Path) -> None:
    """No folder that looks like a session was left behind."""
    assert not list(folder.glob("sessions/*")), sorted(folder.rglob("*"))
