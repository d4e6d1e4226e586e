"""How an operator reaches a running daemon: a Unix socket for questions and commands, a file for the kill switch.

Both are in two folders: the user's, which every daemon of the user shares whatever it was started in and which needs
no knowledge to be found, and ``var/run`` beside the daemon's sessions.  The file ``HALT`` works when nothing else does:
it is written before a socket is tried, the daemon looks for it at each timer, and no daemon starts while it exists.
One request per connection: a JSON line in, a JSON line out.

A request that a stuck loop finds when it wakes, and whose sender was told meanwhile that nobody answers, is not carried
out: an order that was typed again would leave twice, a ``resume`` would undo the halt that came after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import select
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, KestrelError
from engine.runtime import logs

HALT_NAME = "HALT"
REQUEST_MAX_BYTES = 4096
REASON_MAX = 200
RUN_DIR_VARIABLE = "KESTREL_RUN_DIR"
_OBEYED_LATE = frozenset({"halt", "reduce"})
"""Commands that are carried out although nobody waits for their answer any more: they only take risk away."""
_CREDENTIALS = struct.Struct("3i")
"""``struct ucred``: process, user, group."""
Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


def user_run_folder() -> Path:
    """The folder of sockets and of the HALT file that all daemons of this user share.

    ``KESTREL_RUN_DIR``, else ``.local/state/kestrel`` in the home folder of the password database.  Neither ``HOME``
    nor ``XDG_RUNTIME_DIR`` decides: they differ between a login, cron, sudo and a service, and a daemon and the one
    who halts it must mean the same folder.  Raises ``KestrelError`` where there is none.
    """
    named = os.environ.get(RUN_DIR_VARIABLE, "")
    if named:
        if not os.path.isabs(named):
            raise ConfigError(
                f"{RUN_DIR_VARIABLE} is {named!r}", expected="an absolute path, the same for the daemon and for 'halt'"
            )
        return Path(named)
    user = os.geteuid()
    home = ""
    with contextlib.suppress(KeyError):
        home = pwd.getpwuid(user).pw_dir
    if not os.path.isabs(home):
        raise KestrelError(
            f"user {user} has no home folder for control sockets and the kill switch",
            expected="one in the password database",
            do=f"set {RUN_DIR_VARIABLE} to a folder of that user, the same for the daemon and for 'halt'",
        )
    return Path(home, ".local", "state", "kestrel")


def run_folder(sessions: Path) -> Path:
    """The other folder: beside the sessions, absolute."""
    return sessions.absolute().parent / "run"


def run_folders(sessions: Path) -> tuple[Path, ...]:
    """Where a daemon listens and looks for HALT: the user's folder, then the one beside its ``sessions``."""
    mine, beside = user_run_folder(), run_folder(sessions)
    return (mine,) if mine.resolve() == beside.resolve() else (mine, beside)


def _make(run_dir: Path) -> None:
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_halt(run_dir: Path, source: str, reason: str, now_ns: int) -> Path:
    """Pull the kill switch by file: atomic, so that a half-written reason is never read.

    Where the disk takes no content, an empty file halts as well.  Raises ``KestrelError`` when not even that works.
    """
    path = run_dir / HALT_NAME
    scratch = path.with_suffix(f".{os.getpid()}")
    try:
        _make(run_dir)
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


def read_halt(run_dir: Path) -> dict[str, str] | None:
    """What the kill-switch file says; None when it is absent.  A file with unreadable content still halts."""
    path = run_dir / HALT_NAME
    try:
        text = path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return {"source": "file", "reason": _recordable(f"{path} cannot be read: {error.strerror}")}
    with contextlib.suppress(ValueError):
        content = json.loads(text)
        if isinstance(content, dict):
            source, reason = str(content.get("source", "file")), str(content.get("reason", ""))
            return {"source": _recordable(source)[:REASON_MAX], "reason": _recordable(reason)[:REASON_MAX]}
    return {"source": "file", "reason": text.strip()[:REASON_MAX] or "HALT file"}


def _recordable(text: str) -> str:
    """With a UTF-8 form: bytes of a terminal that are no text are lone surrogates, which no journal takes."""
    return text.encode("utf-8", "backslashreplace").decode()


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


def socket_path(run_dir: Path, session: str, pid: int) -> Path:
    """Two checkouts may both have a session of that name: the process id tells them apart."""
    return run_dir / f"{session}.{pid}.sock"


def said_of(path: Path) -> str:
    """The daemon behind a socket, as errors and answers name it."""
    session, _, pid = path.stem.rpartition(".")
    return f"session {session} (process {pid})"


def _bindable(path: Path) -> str:
    """A Unix socket address is short (108 bytes): reach deep folders through an open directory instead."""
    direct = str(path)
    if len(direct.encode()) < 100:
        return direct
    return os.path.relpath(direct) if len(os.path.relpath(direct).encode()) < 100 else ""


def _who(connection: Any) -> str:
    """The user and process at the other end of a Unix socket: ``ana (uid 1000, process 4711)``."""
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(packed)
    except (AttributeError, OSError, struct.error):  # a system that does not tell
        return "somebody"
    name = "user"
    with contextlib.suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    return f"{name} (uid {uid}, process {pid})"


def _has_gone(connection: Any) -> bool:
    """Whether the other end has closed its socket; one that only says no more, and still reads, has not."""
    poll = select.poll()
    poll.register(connection.fileno(), 0)  # POLLHUP and POLLERR are always told
    return bool(poll.poll(0))


class ControlServer:
    """Serves ``answer(command, arguments)`` on a socket in each of ``run_dirs``, readable by this user alone.

    ``arguments["who"]`` is set here.
    """

    def __init__(self, run_dirs: Sequence[Path], session: str, answer: Answer) -> None:
        self._paths = [socket_path(run_dir, session, os.getpid()) for run_dir in run_dirs]
        self._answer = answer
        self._servers: list[asyncio.AbstractServer] = []
        self._folders: list[int] = []

    async def start(self) -> None:
        """Raises ``KestrelError`` where a socket cannot be made: a daemon that nobody can halt does not start."""
        for path in self._paths:
            try:
                await self._listen(path)
            except OSError as error:
                await self.stop()
                raise KestrelError(
                    f"the control socket {path} cannot be made: {error.strerror or error}",
                    expected="a folder that is yours on a local disk",
                    do=f"choose another one: session.directory moves the run folder beside it, {RUN_DIR_VARIABLE} "
                    "the user's",
                ) from error

    async def _listen(self, path: Path) -> None:
        _make(path.parent)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        address = _bindable(path)
        if not address:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            self._folders.append(folder)
            address = f"/proc/self/fd/{folder}/{path.name}"
        self._servers.append(await asyncio.start_unix_server(self._serve, path=address, limit=REQUEST_MAX_BYTES))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)

    async def stop(self) -> None:
        """Idempotent."""
        while self._servers:
            self._servers.pop().close()
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
        while self._folders:
            os.close(self._folders.pop())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5.0):
                line = await reader.readline()
            try:
                request = json.loads(line)
                command = _recordable(str(request["command"]))
                given = dict(request.get("arguments") or {})
                arguments = {name: _recordable(one) if isinstance(one, str) else one for name, one in given.items()}
                connection = writer.get_extra_info("socket")
                if command not in _OBEYED_LATE and _has_gone(connection):
                    logs.get_logger("control").warning("not carried out: who asked has gone", command=command)
                    return
                # What the system says of the other end, not what that end says of itself.
                arguments["who"] = _who(connection)
                reply = self._answer(command, arguments)
            except KestrelError as error:
                reply = {"ok": False, "error": str(error)}
            except (ValueError, KeyError, TypeError):
                reply = {"ok": False, "error": "expected one JSON line with a command"}
            writer.write(json.dumps(reply).encode() + b"\n")
            async with asyncio.timeout(5.0):
                await writer.drain()
        except (TimeoutError, OSError, asyncio.LimitOverrunError, ValueError):
            pass  # the operator's side went away; its next call opens a new connection
        finally:
            writer.close()


def running_sessions(*run_dirs: Path) -> list[Path]:
    """A socket of each daemon that listens in any of the folders, newest session first.

    A socket that nobody serves any more is removed.
    """
    alive: dict[str, Path] = {}
    for path in (path for run_dir in run_dirs for path in run_dir.glob("*.sock")):
        try:
            with _connect(path, 1.0):
                alive.setdefault(path.name, path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError:
            alive.setdefault(path.name, path)  # busy or stuck: still there
    return [alive[name] for name in sorted(alive, reverse=True)]


class RefusedError(KestrelError):
    """The daemon has answered, and will not, or never could: nobody is to ask again."""


def ask(path: Path, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = 3.0) -> dict[str, Any]:
    """Send one command to a daemon.  Raises ``KestrelError`` when it does not answer in time, ``RefusedError`` when it
    answers that it will not.

    A ``reason`` is cut at ``REASON_MAX`` characters, as the record does.
    """
    told = dict(arguments or {})
    if "reason" in told:
        told["reason"] = str(told["reason"])[:REASON_MAX]
    request = json.dumps({"command": command, "arguments": told}).encode() + b"\n"
    if len(request) > REQUEST_MAX_BYTES:
        raise RefusedError(
            f"{command!r} with {len(request)} bytes",
            expected=f"at most {REQUEST_MAX_BYTES}",
            do="say it in fewer words",
        )
    try:
        with _connect(path, timeout_s) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                reply: dict[str, Any] = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise KestrelError(
            f"the daemon of {said_of(path)} does not answer: {error}",
            expected=f"an answer within {timeout_s:g} s",
            do="what was asked is not done later, but for halt and reduce; the HALT file works as soon as its loop "
            "goes on; kill -9 ends it and leaves its orders to a watchdog",
        ) from None
    if not reply.get("ok"):
        raise RefusedError(f"the daemon of {said_of(path)} refused {command!r}: {reply.get('error', reply)}")
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
