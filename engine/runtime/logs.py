"""Logs: structlog to a rotating JSON file and to readable lines on a terminal's stderr.

Owns the way of a log line from the caller to the sinks.  A caller renders and redacts its line and puts it into a
bounded queue; one thread writes.  Nothing here can stop or break trading: a full queue drops the line, a failing sink
loses it, and both are counted (``LogPipe.dropped``, ``LogPipe.failed``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import stat
import sys
import threading
import time
import traceback
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog

from engine.errors import ConfigError
from engine.runtime.redaction import redactor

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_COLOURS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_STOP = object()
_LINE_MAX = 16_384
Fields = dict[str, Any]


class _QuietRotatingFile(RotatingFileHandler):
    """Lets errors through to the pipe, which counts them, instead of printing a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002  # the standard library's name
        error = sys.exc_info()[1]
        if error is not None:
            raise error

    def _open(self) -> TextIOWrapper:
        """For its owner alone, also one that is there already: what the venue says of an account stands in it."""
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):  # another's file that we may write, a disk without modes: as it was
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, 0o600)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)


class LogPipe:
    """Owns the queue, the writing thread and the sinks."""

    def __init__(
        self, file: Path | None, console: TextIO | None, *, max_bytes: int, backups: int, queue_lines: int
    ) -> None:
        """Raises ``ConfigError`` when the file cannot be opened."""
        self.dropped = 0
        self.failed = 0
        self._console = console
        self._colour = console is not None and console.isatty()
        self._file: _QuietRotatingFile | None = None
        if file is not None:
            try:
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = _QuietRotatingFile(file, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
            except OSError as error:
                raise ConfigError(
                    f"log file {file} cannot be opened: {error.strerror}", do="choose another folder"
                ) from error
        self._taken = 0  # lines, by the thread
        self._queue: queue.Queue[Any] = queue.Queue(queue_lines)
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return self._queue.qsize()

    def put(self, fields: Fields) -> None:
        """Take a line of plain, redacted fields; never blocks, never raises."""
        try:
            self._queue.put_nowait(fields)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        while (fields := self._queue.get()) is not _STOP:
            self._taken += 1
            for sink in (self._write_file, self._write_console):
                try:
                    sink(fields)
                except Exception:  # a full disk, a closed terminal: trading goes on, the counter tells
                    self.failed += 1

    def _write_file(self, fields: Fields) -> None:
        if self._file is None:
            return
        text = msgspec.json.encode(fields).decode()
        if len(text) > _LINE_MAX:
            kept = {name: fields[name] for name in ("timestamp", "level", "event", "logger") if name in fields}
            text = msgspec.json.encode(
                {**kept, "event": str(kept.get("event"))[:2000], "cut_chars": len(text)}
            ).decode()
        self._file.emit(logging.LogRecord("kestrel", logging.INFO, "", 0, text, None, None))

    def _write_console(self, fields: Fields) -> None:
        if self._console is None:
            return
        level = str(fields.get("level", "info"))
        rest = " ".join(
            f"{name}={value}"
            for name, value in fields.items()
            if name not in ("timestamp", "level", "event", "exception")
        )
        text = f"{str(fields.get('timestamp', ''))[11:23]} {level:<8} {fields.get('event', '')} {rest}".rstrip()
        text = "".join(character if character.isprintable() else " " for character in text[:_LINE_MAX])
        if self._colour and level in _COLOURS:
            text = f"{_COLOURS[level]}{text}\x1b[0m"
        self._console.write(text + "\n")
        self._console.flush()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Write what waits and end the thread; a sink that hangs is left behind when nothing was written for
        ``timeout_s``.  One that is only slow, on a machine that is busy, loses nothing."""
        taken, told = -1, False
        while self._thread.is_alive() and self._taken != taken:
            taken = self._taken
            if told:
                self._thread.join(timeout_s)
                continue
            try:
                self._queue.put(_STOP, timeout=timeout_s)
            except queue.Full:
                continue
            taken, told = -1, True
        if not self._thread.is_alive() and self._file is not None:
            try:
                self._file.close()
            except OSError:
                self.failed += 1


class _Logger:
    """What structlog calls at the end of its processors: hands the line to the pipe."""

    def __init__(self, pipe: LogPipe) -> None:
        self._pipe = pipe

    def _put(self, **fields: Any) -> None:
        self._pipe.put(fields)

    debug = info = warning = error = critical = exception = msg = log = _put


class _ForeignHandler(logging.Handler):
    """Lines of libraries that use the standard library's logging (asyncio, websockets, aiohttp)."""

    def __init__(self, pipe: LogPipe, level: int) -> None:
        super().__init__(level)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: Fields = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
            if record.exc_info and record.exc_info[1] is not None:
                fields["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
            self._pipe.put(_finish(fields))
        except Exception:  # a broken format string in a library must not reach the loop
            self._pipe.failed += 1


def _finish(fields: Fields) -> Fields:
    """Stamp and redact: after this a line holds plain values only and no secret."""
    now_ns = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_ns // 1_000_000_000))
    clean = {str(name): redactor.field(str(name), value) for name, value in fields.items()}
    return {"timestamp": f"{stamp}.{now_ns // 1000 % 1_000_000:06d}Z", **clean}


def _finish_processor(_logger: Any, _method: str, fields: Any) -> Fields:
    info = fields.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()[1]
    elif isinstance(info, tuple):
        info = info[1]
    if isinstance(info, BaseException):
        fields["exception"] = "".join(traceback.format_exception(info))
    return _finish(dict(fields))


_current: list[LogPipe] = []


def configure(
    folder: Path | None,
    *,
    level: str = "info",
    console: TextIO | None = None,
    max_bytes: int = 20_000_000,
    backups: int = 5,
    queue_lines: int = 10_000,
) -> LogPipe:
    """Send all logs to ``folder/kestrel.jsonl`` (None: no file) and ``console`` (``sys.stderr``; None: no lines).

    Replaces an earlier configuration.  Raises ``ConfigError`` for an unknown level or a file that cannot be opened.
    """
    if level not in _LEVELS:
        raise ConfigError(f"log level {level!r}", expected=", ".join(_LEVELS), do="set logs.level")
    pipe = LogPipe(
        None if folder is None else folder / "kestrel.jsonl",
        console,
        max_bytes=max_bytes,
        backups=backups,
        queue_lines=queue_lines,
    )
    shutdown()
    _current.append(pipe)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _finish_processor],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Logger(pipe),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _ForeignHandler)]:
        root.removeHandler(handler)
    root.addHandler(_ForeignHandler(pipe, max(_LEVELS[level], logging.WARNING)))
    return pipe


def shutdown() -> None:
    """Write what waits and close the sinks.  Idempotent; later lines are counted as dropped once the queue is full."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _ForeignHandler)]:
        root.removeHandler(handler)
    while _current:
        _current.pop().stop()


def get_logger(name: str) -> Any:
    """A structlog logger whose lines carry ``logger=name``; fields follow as keywords with units in their names.

    Call it after ``configure``: the logger keeps the sinks of that time.
    """
    return structlog.get_logger().bind(logger=name)
