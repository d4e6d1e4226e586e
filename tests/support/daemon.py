"""Runs the real program as a user would: ``run.py`` in a process of its own, sessions in the test's folder."""

from __future__ import annotations

import contextlib
import decimal
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import run
from engine.runtime import secrecy

ROOT = Path(__file__).resolve().parent.parent.parent
TICKS = "ticks"
_BASE_INSTALL = Path(__file__).parent / "base_install"
NO_CHAMPIONS = {"KESTREL_MODELS__REGISTRY": "var/no-registry"}
"""Settings of every test: what the developer's own registry holds is nothing to them.  A folder that nobody makes."""


def environment(**changes: str) -> dict[str, str]:
    """Ours, without settings that a developer may have exported; the run folder is this test's, and the packages are
    those of the base install unless a ``PYTHONPATH`` is given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KESTREL_") or name in ("KESTREL_DATA", "KESTREL_RUN_DIR", *NO_CHAMPIONS)
    }
    kept.pop("CONFIG_FILE", None)
    return {**kept, "PYTHONPATH": str(_BASE_INSTALL), **changes}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), *arguments]


def kestrel(
    *arguments: str, timeout_s: float = 120.0, cwd: Path = ROOT, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run to the end.  Fails the test on a traceback: no user may ever see one."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr[-3000:]
    return done


def attempt(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What ``kestrel`` gives, within this process: for what is refused before a session exists and for replays, where
    only what comes of it is asked for.  The same entry point, options, settings and streams; libraries and kernels are
    loaded already."""
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


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return content


def into(folder: Path) -> list[str]:
    """Settings of a session that disturbs nobody: own folder, free port, small files, no shadow ticks."""
    settings = {
        "profile": "testing",
        "session.directory": str(folder / "sessions"),
        "metrics.port": "0",
    }
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def paper_session(folder: Path, files: Sequence[Path], *extra: str, report: bool = False, **env: str) -> dict[str, Any]:
    """Trade recorded files at full speed; the summary.  The page of a ``report`` is drawn by a process more."""
    given = [*into(folder), *(() if report else ("--no-report",)), *extra]
    done = kestrel("paper", "--replay", *map(str, files), "--speed", "max", "--json", *given, **env)
    assert done.returncode == 0, done.stderr[-2000:]
    return last_json(done)


def replay_session(folder: Path, session: str, *extra: str) -> tuple[int, dict[str, Any]]:
    """Exit status and result of ``replay``, within this process."""
    done = attempt("replay", session, "--sessions", str(folder / "sessions"), "--json", *extra)
    return done.returncode, last_json(done)


def replay_apart(folder: Path, session: str, *extra: str, **env: str) -> tuple[int, dict[str, Any]]:
    """The same in a process of its own, which knows nothing of the session but its files."""
    done = kestrel("replay", session, "--sessions", str(folder / "sessions"), "--json", *extra, **env)
    return done.returncode, last_json(done)


def halt_by_file(run_folder: Path, reason: str) -> None:
    """The file as a whole: a daemon that looks between its making and its writing would find no reason in it."""
    written = run_folder / "HALT.written"
    written.write_text(reason)
    written.rename(run_folder / "HALT")


class Running:
    """A daemon in the background."""

    def __init__(
        self, folder: Path, *arguments: str, cwd: Path = ROOT, command_name: str = "paper", **env: str
    ) -> None:
        self.folder = folder
        self.out = folder / "stdout.txt"
        self.err = folder / "stderr.txt"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                command(command_name, *arguments, *(into(folder) if command_name == "paper" else ())),
                cwd=cwd,
                env=environment(**env),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait_for(self, text: str, timeout_s: float = 90.0) -> None:
        """Until a line of either stream contains ``text``."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            ended = self.process.poll() is not None  # asked first: what it said before its end is there to be read
            if text in self.said():
                return
            assert not ended, f"ended before it said {text!r}: {self.said()[-2000:]}"
            time.sleep(0.05)
        raise AssertionError(f"did not say {text!r} in {timeout_s} s: {self.said()[-2000:]}")

    def said(self) -> str:
        return self.out.read_text() + self.err.read_text()

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 60.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def session(self) -> Path:
        (found,) = (self.folder / "sessions").iterdir()
        return found
