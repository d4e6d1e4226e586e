"""The process that watches a session's models: it follows the journal, and tells the daemon what is to be done.

Owns the loop of that process, what it asks of the daemon, and ``report.json``.  What is seen in the record is
``models.observer``'s, which ``run.py`` gives.  Its stdin is a leash: when the daemon closes it or dies, what is left of
the record is read and the process ends.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from engine.codec import Record
from engine.durable import write_atomically
from engine.errors import JournalError, KestrelError
from engine.runtime.control import RefusedError, ask
from engine.runtime.journal_tail import JournalTail
from engine.runtime.model_requests import (
    ALARM,
    BEHIND,
    BY_RULES,
    FIGURES,
    HITS,
    MODELS_MAX,
    REPORT,
    TEXT_MAX,
    WEIGH,
    WORDS,
)
from engine.runtime.observer_pace import Pace
from engine.runtime.storing import is_let_go

POLL_S: Final = 0.2
LOOK_S: Final = 2.0
"""Between two looks for alarms."""
REPORT_S: Final = 10.0
"""Between two reports of figures: each is work for the daemon's loop, and a file that is synced."""
PATIENCE_S: Final = 3.0
"""A daemon that has let go closes its journal soon; one that died does not."""
REPORT_FILE: Final = "report.json"
UNTOLD_MAX: Final = 4_096
"""Requests that a daemon has not answered; the oldest is given up."""
FAILED, DAMAGED = 1, 3
"""Exit statuses.  After the second nobody starts it again: it would end at the same record."""


def say(text: object) -> None:
    """A line for the log, with its time.  A disk that is full costs that line, and no alarm that comes after it."""
    with contextlib.suppress(OSError):
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, file=sys.stderr, flush=True)


class Watching(Protocol):
    """What looks at the record (``models.observer.observer.Observer``)."""

    def take(self, record: Record) -> None: ...

    def look(self, *, caught_up: bool, is_live: bool) -> Iterable[Any]: ...

    def pause_shadows(self, paused: bool) -> None: ...

    def figures(self) -> Iterable[tuple[str, str, Mapping[str, Any]]]: ...

    def summary(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


class Telling:
    """Requests to one daemon, in order.  ``socket`` None: there is none any more."""

    def __init__(self, socket: Path | None, ask_daemon: Callable[..., Any] = ask) -> None:
        self._socket = socket
        self._ask = ask_daemon
        self._untold: deque[tuple[str, dict[str, Any]]] = deque(maxlen=UNTOLD_MAX)
        self._said = ""

    def add(self, command: str, arguments: dict[str, Any]) -> None:
        self._untold.append((command, arguments))

    def tell(self) -> None:
        """What waits; what a busy daemon does not answer is told at the next look, what it refuses is not."""
        while self._untold and self._socket is not None:
            command, arguments = self._untold[0]
            try:
                self._ask(self._socket, command, arguments)
            except KestrelError as error:
                text = str(error)
                if text != self._said:
                    self._said = text
                    say(text)
                if not isinstance(error, RefusedError):
                    return
            self._untold.popleft()

    @property
    def waiting(self) -> int:
        return len(self._untold)

    @property
    def is_over(self) -> bool:
        return self._socket is None

    def end(self) -> None:
        """The daemon has ended: nobody is left to tell."""
        self._socket = None
        self._untold.clear()


class Watch:
    """One session.  ``on_told`` is given all that ``look`` says; ``now_s``: monotonic."""

    def __init__(
        self,
        folder: Path,
        watching: Watching,
        telling: Telling,
        on_told: Callable[[Any], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tail = JournalTail(folder / "journal")
        self._report = folder / "observer" / REPORT_FILE
        self._watching = watching
        self._telling = telling
        self._on_told = on_told
        self._now_s = now_s
        self._pace = Pace(now_s())

    def step(self, records_max: int = 5_000) -> int:
        """Read on; how many records there were.  Raises ``JournalError`` for a damaged journal."""
        found = self._tail.poll(records_max)
        for item in found:
            self._watching.take(item.record)
        self._keep_pace(to_end=len(found) < records_max)
        return len(found)

    def _keep_pace(self, *, to_end: bool) -> None:
        before = self._pace.is_paused
        if said := self._pace.read(self._now_s(), to_end=to_end, is_over=self._telling.is_over):
            say(said)
        if self._pace.is_paused != before:
            self._watching.pause_shadows(self._pace.is_paused)

    @property
    def is_over(self) -> bool:
        """The journal was closed, and all of it was read."""
        return self._tail.closed

    def close(self) -> None:
        """The last look."""
        self.look()
        self.report()
        self._watching.close()

    def look(self) -> None:
        """Alarms and verdicts as of now.  The daemon hears of them first: what else is done may take seconds."""
        is_live = self._pace.is_current(self._now_s()) and not self._telling.is_over
        caught_up = is_live or (self._telling.is_over and self._pace.reached)
        found = list(self._watching.look(caught_up=caught_up, is_live=is_live))
        for told in found:
            command, arguments = request_of(told)
            if command:
                self._telling.add(command, arguments)
        self._telling.tell()
        for told in found:
            self._on_told(told)

    def report(self) -> None:
        """Figures as of now: to the daemon, of as many models as it keeps, and all of them into a file."""
        everything: list[dict[str, Any]] = []
        behind_s = round(self._pace.behind_s(self._now_s()), 1)
        for instrument, model, figures in self._watching.figures():
            everything.append({"instrument": instrument, "model": model, **figures})
            numbers = {BEHIND: behind_s, **{name: figures[name] for name in FIGURES if name in figures}}
            if len(everything) <= MODELS_MAX and not self._telling.waiting:  # figures are old by the next look
                said = {name: str(figures.get(name, ""))[:most] for name, most in WORDS.items()}
                hits = {HITS: figures[HITS]} if HITS in figures else {}
                arguments = {"instrument": instrument, "model": model, "figures": numbers, **hits, **said}
                self._telling.add(REPORT, arguments)
                self._telling.tell()
        content = {**self._watching.summary(), BEHIND: behind_s, "models": everything}
        try:
            write_atomically(self._report, json.dumps(content, indent=1).encode() + b"\n")
        except OSError as error:
            say(f"{self._report} cannot be written: {error.strerror}")


def request_of(told: Any) -> tuple[str, dict[str, Any]]:
    """The request that says it; an empty command for what is no request."""
    fields = told._asdict()
    if "action" in fields:
        return ALARM, {**fields, "text": fields["text"][:TEXT_MAX], BY_RULES: True}
    if "weights" in fields:
        return WEIGH, {**fields, "weights": list(fields["weights"])}
    return "", {}


def follow(watch: Watch, telling: Telling, let_go: Callable[[float], bool] = is_let_go) -> int:
    """Watch until the session has ended; the exit status of the process."""
    looked_s = reported_s = -REPORT_S
    left_s = 0.0
    while True:
        try:
            read = watch.step()
        except JournalError as error:
            say(error)
            return DAMAGED
        now_s = time.monotonic()
        if now_s - looked_s >= LOOK_S:
            looked_s = now_s
            watch.look()
        if now_s - reported_s >= REPORT_S:
            reported_s = now_s
            watch.report()
        if watch.is_over or (left_s and not read and now_s - left_s > PATIENCE_S):
            watch.close()
            return 0
        if left_s:
            time.sleep(0.0 if read else POLL_S)
        elif let_go(0.0 if read else POLL_S):
            left_s = now_s
            telling.end()
