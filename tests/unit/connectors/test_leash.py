"""A local venue ends with its parent, at a signal, and when it has failed; in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SERVER = """
import asyncio, sys
from connectors.leash import until_stopped
async def main():
    failed = asyncio.Event()
    if "fail" in sys.argv:
        failed.set()
    await until_stopped(failed, lambda: print("ready", flush=True))
    print("ended", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["parent", "signal", "fail"])
def test_it_waits_until_it_is_told(how: str) -> None:
    """Ready is said first; then the end of stdin, SIGTERM or the failure itself ends the wait."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        assert server.stdout.readline() == "ready\n"
        if how == "signal":
            server.send_signal(signal.SIGTERM)
        elif how == "parent":
            server.stdin.close()
        assert server.stdout.readline() == "ended\n"
        assert server.wait(timeout=30) == 0
