"""How an operator reaches a running daemon: a Unix socket for questions and commands, a file for the kill switch.

``var/run/HALT`` works when nothing else does: it is written before the socket is tried, the daemon looks for it at each
timer, and no daemon starts while it exists.  One request per connection: a JSON line in, a JSON line out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import KestrelError

HALT_NAME = "HALT"
REQUEST_MAX_BYTES = 4096
Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


def run_folder(sessions: Path) -> Path:
    """Where sockets and the HALT file of the daemons lie whose sessions are in ``sessions``."""
    return sessions.parent / "run"


def write_halt(run_dir: Path, source: str, reason: str, now_ns: int) -> Path:
    """Pull the kill switch by file: atomic, so that a half-written reason is never read.

    Where the disk takes no content, an empty file halts as well.  Raises ``KestrelError`` when not even that works.
    """
    path = run_dir / HALT_NAME
    scratch = path.with_suffix(f".{os.getpid()}")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            scratch.write_text(json.dumps({"source": source, "reason": reason, "ts_ns": now_ns}) + "\n")
            scratch.replace(path)
        except OSError:
            scratch.unlink(missing_ok=True)
            path.touch()
    except OSError as error:
        raise KestrelError(
            f"the kill-switch file {path} cannot be written: {error.strerror}",
            expected="a folder that is yours and has room",
            do="stop the daemons: Ctrl-C, or kill them by their process ids",
        ) from error
    return path


def read_halt(run_dir: Path) -> dict[str, Any] | None:
    """What the kill-switch file says; None when it is absent.  A file with unreadable content still halts."""
    path = run_dir / HALT_NAME
    try:
        text = path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return {"source": "file", "reason": f"{path} cannot be read: {error.strerror}"}
    with contextlib.suppress(ValueError):
        content = json.loads(text)
        if isinstance(content, dict):
            return {"source": str(content.get("source", "file")), "reason": str(content.get("reason", ""))[:200]}
    return {"source": "file", "reason": text.strip()[:200] or "HALT file"}


def clear_halt(run_dir: Path) -> bool:
    """Remove the kill-switch file; True when there was one.  Raises ``KestrelError`` when it cannot be removed."""
    path = run_dir / HALT_NAME
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise KestrelError(
            f"the kill-switch file {path} cannot be removed: {error.strerror}",
            expected="a file that is yours",
            do="remove it by hand, then resume again",
        ) from error
    return True


def socket_path(run_dir: Path, session: str) -> Path:
    return run_dir / f"{session}.sock"


def _bindable(path: Path) -> str:
    """A Unix socket address is short (108 bytes): reach deep folders through an open directory instead."""
    direct = str(path)
    if len(direct.encode()) < 100:
        return direct
    return os.path.relpath(direct) if len(os.path.relpath(direct).encode()) < 100 else ""


class ControlServer:
    """Serves ``answer(command, arguments)`` on ``var/run/<session>.sock``, readable by this user alone."""

    def __init__(self, run_dir: Path, session: str, answer: Answer) -> None:
        self._path = socket_path(run_dir, session)
        self._answer = answer
        self._server: asyncio.AbstractServer | None = None
        self._folder = -1

    async def start(self) -> None:
        """Raises ``KestrelError`` where no socket can be made: a daemon that nobody can halt does not start."""
        try:
            await self._listen()
        except OSError as error:
            raise KestrelError(
                f"the control socket {self._path} cannot be made: {error.strerror or error}",
                expected="a folder that is yours on a local disk",
                do="choose another session.directory",
            ) from error

    async def _listen(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        address = _bindable(self._path)
        if not address:
            self._folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            address = f"/proc/self/fd/{self._folder}/{self._path.name}"
        self._server = await asyncio.start_unix_server(self._serve, path=address, limit=REQUEST_MAX_BYTES)
        self._path.chmod(stat.S_IRUSR | stat.S_IWUSR)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), 5.0)
            try:
                request = json.loads(line)
                reply = self._answer(str(request["command"]), dict(request.get("arguments") or {}))
            except KestrelError as error:
                reply = {"ok": False, "error": str(error)}
            except (ValueError, KeyError, TypeError):
                reply = {"ok": False, "error": "expected one JSON line with a command"}
            writer.write(json.dumps(reply).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), 5.0)
        except (TimeoutError, OSError, asyncio.LimitOverrunError, ValueError):
            pass  # the operator's side went away; its next call opens a new connection
        finally:
            writer.close()


def running_sessions(run_dir: Path) -> list[Path]:
    """Sockets of daemons, newest first; a socket that nobody serves any more is removed."""
    alive = []
    for path in sorted(run_dir.glob("*.sock"), reverse=True):
        try:
            with _connect(path, 1.0):
                alive.append(path)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            alive.append(path)  # busy or stuck: still there
    return alive


def ask(path: Path, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = 3.0) -> dict[str, Any]:
    """Send one command to a daemon.  Raises ``KestrelError`` when it does not answer in time, or refuses."""
    try:
        with _connect(path, timeout_s) as connection:
            connection.sendall(json.dumps({"command": command, "arguments": arguments or {}}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                reply: dict[str, Any] = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise KestrelError(
            f"the daemon of session {path.stem} does not answer: {error}",
            expected=f"an answer within {timeout_s:g} s",
            do="use 'halt': its file works when the loop is stuck",
        ) from None
    if not reply.get("ok"):
        raise KestrelError(f"the daemon of session {path.stem} refused {command!r}: {reply.get('error', reply)}")
    return reply


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    folder = -1
    try:
        address = _bindable(path)
        if not address:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            address = f"/proc/self/fd/{folder}/{path.name}"
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return connection
