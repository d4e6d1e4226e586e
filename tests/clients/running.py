"""Runs scripts of real clients as processes of their own and reads what they report.

Owns the process and its results.  Which servers a script meets is decided by the test that starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

SCRIPTS = Path(__file__).resolve().parent / "scripts"
_MOST_SAID = 1 << 22
_MOST_S = 200.0
PATIENT = pytest.mark.timeout(230)
"""For tests of which one runs the script and the others wait for it; below ``faulthandler_timeout``, at which the whole
worker would go."""


class Result(msgspec.Struct, frozen=True):
    """One case of one client; ``error`` is the end of its traceback, empty when it passed."""

    venue: str
    client: str
    case: str
    title: str
    ok: bool
    error: str
    seconds: float


class Results:
    """What one run of a script reported, by number.  A number passes when every case of it does."""

    def __init__(self, found: list[Result], said: str = "") -> None:
        self.found = found
        self.said = said

    def numbers(self) -> list[str]:
        return list(dict.fromkeys(result.case for result in self.found))

    def require_all_of(self, numbers: Iterable[str]) -> None:
        """Fails when the script had other numbers than these: each has to be asked for by a test of its own."""
        assert sorted(self.numbers(), key=int) == sorted(numbers, key=int), self.said[-2_000:]

    def require(self, number: str) -> None:
        """Fails with the client's own traceback, or with what its process said when there is no such result."""
        of_it = [result for result in self.found if result.case == number]
        if not of_it:
            pytest.fail(f"the client reported no case {number}; it said: {self.said[-2_000:]}", pytrace=False)
        for result in of_it:
            if not result.ok:
                pytest.fail(f"{result.client}, case {number}: {result.title}\n{result.error}", pytrace=False)


async def run(python: Path, script: str, settings: dict[str, Any], *, home: Path, within_s: float = _MOST_S) -> Results:
    """``script`` is a name in ``tests/clients/scripts``; ``settings`` reach it as one JSON line on stdin.

    The process sees no settings, keys or proxies of this machine, and is killed after ``within_s``.
    """
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
    env |= settings.pop("env", {})
    process = await asyncio.create_subprocess_exec(
        str(python),
        "-W",
        "ignore",
        str(SCRIPTS / script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        cwd=home,
        limit=_MOST_SAID,
    )
    try:
        async with asyncio.timeout(within_s):
            out, err = await process.communicate(json.dumps(settings).encode() + b"\n")
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            process.kill()
        out, err = await process.communicate()
        err += f"\nkilled after {within_s:.0f} s".encode()
    lines = [line for line in out.splitlines() if line.startswith(b'{"venue"')]
    return Results([msgspec.json.decode(line, type=Result) for line in lines], err.decode(errors="replace"))


async def run_in_turn(python: Path, scripts: Iterable[str], settings: dict[str, Any], *, home: Path) -> Results:
    """One after another against the same servers, all in the time that ``run`` gives one; what they reported."""
    made, until_s = [], time.monotonic() + _MOST_S
    for script in scripts:
        left_s = until_s - time.monotonic()
        made.append(await run(python, script, dict(settings), home=home, within_s=left_s))
    return Results([one for each in made for one in each.found], "".join(each.said for each in made))


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Results]) -> Results:
    """One run for all workers of this test session: the first makes it, the others read what it wrote, be it why there
    is none."""
    base = factory.getbasetemp()
    # Under xdist each worker has its own folder in one that they share.
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    target = shared / f"clients-{name}.json"
    with (shared / f"clients-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not target.exists():
            home = shared / f"clients-{name}"
            home.mkdir(exist_ok=True)
            try:
                results = make(home)
            except Exception as error:
                results = Results([], f"it was not run: {error!r}")
            target.write_bytes(msgspec.json.encode([results.found, results.said]))
    found, said = msgspec.json.decode(target.read_bytes(), type=tuple[list[Result], str])
    return Results(found, said)
