"""What the tests of bad input share: a short recorded market to play, and what a refusal has to look like."""

from __future__ import annotations

import contextlib
import decimal
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import run
from engine.runtime import secrecy
from tests.support.daemon import ROOT, environment, into, kestrel, last_json

NAME = "binance_usdm_btcusdt_20240808"


def play(folder: Path, files: tuple[Path, ...], *extra: str, **env: str) -> subprocess.CompletedProcess[str]:
    """``paper`` on recorded files, with whatever exit status it ends."""
    return kestrel("paper", "--replay", *map(str, files), "--json", "--no-report", *into(folder), *extra, **env)


def attempt(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What ``kestrel`` gives, within this process: for what is refused before a session exists, where only the refusal
    is asked for.  The same entry point, options, settings and streams; libraries and kernels are loaded already."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        # What the program does to its whole process would outlast the test; money by its rules is every test's anyway.
        stack.enter_context(mock.patch.object(secrecy, "leave_no_core"))
        stack.enter_context(mock.patch.object(secrecy, "redact_tracebacks"))
        stack.enter_context(decimal.localcontext())
        stack.enter_context(mock.patch.dict(os.environ, environment(**env), clear=True))
        stack.enter_context(mock.patch.object(sys, "argv", [str(ROOT / "run.py"), *arguments]))
        stack.enter_context(contextlib.chdir(ROOT))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        # A traceback of the program is the test's own: nothing but its exit is caught.
        try:
            run.main()
        except SystemExit as end:
            return subprocess.CompletedProcess(sys.argv, int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("run.main() came back")


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
