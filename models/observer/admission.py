"""What the daemon would make of a version: whether it may serve here, what it takes, and when it would answer.

Owns the checks of ``models.life.checking``, one after another, beside the reading of the record.  A graph that crashes
takes its check with it and not the process that watches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from queue import SimpleQueue
from typing import Final

from models.bundle import Bundle
from models.life.checking import GIVEN_UP, Checked
from models.observer.turns import Turns
from models.serving.schedule import Wanted, decide

RETRY_NS: Final = 300 * 10**9
"""Of the record's time, after a check in whose way the machine was."""

CheckBundle = Callable[[Bundle, Callable[[], bool]], Checked]
"""Waits for the verdict, or until nobody wants it any more."""


class Admission:
    """``in_background``: a check is asked for, and its verdict is there some time later; else at once.

    ``schedule`` and ``cores`` are the daemon's; ``one_by_one``: versions' names that it serves row by row, in its loop.
    """

    def __init__(
        self,
        check: CheckBundle,
        *,
        deadline_us: float,
        schedule: Wanted,
        cores: int,
        one_by_one: Collection[str] = (),
        in_background: bool = False,
    ) -> None:
        self._check = check
        self._deadline_us = deadline_us
        self._schedule: Wanted = schedule
        self._cores = cores
        self._one_by_one = frozenset(one_by_one)
        self._in_background = in_background
        self._asked: SimpleQueue[Bundle] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._at_work: set[str] = set()
        self._checked: dict[str, Checked] = {}
        self._since_ns: dict[str, int] = {}
        self._turns: dict[str, Turns] = {}
        self._closed = False

    def ask(self, bundle: Bundle, now_ns: int) -> Checked | None:
        """The verdict on a version; None while it is being checked.  ``now_ns``: the record's time."""
        version = bundle.version
        with self._lock:
            found = self._checked.get(version)
            since_ns = self._since_ns.setdefault(version, now_ns)
            if found is not None and (not found.passing or now_ns - since_ns < RETRY_NS):
                return found
            if version in self._at_work:
                return found
            self._since_ns[version] = now_ns
            self._at_work.add(version)
        if not self._in_background:
            self._run(bundle)
            return self._checked[version]
        self._asked.put(bundle)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="kestrel-checks", daemon=True)
            self._thread.start()
        return found

    def turns(self, bundle: Bundle) -> Turns:
        """When the daemon would answer for a version that was checked."""
        found = self._turns.get(bundle.version)
        if found is None:
            median_us = self._checked[bundle.version].median_us
            on_worker = decide(self._schedule, median_us, self._cores).on_worker
            on_worker = on_worker and bundle.manifest.name not in self._one_by_one
            found = self._turns[bundle.version] = Turns(self._deadline_us, on_worker=on_worker)
        return found

    def begin_anew(self) -> None:
        """Who waits for a turn is not answered any more."""
        self._turns.clear()

    def p99_us(self, version: str) -> float | None:
        """Of its predictions, as checked; None where that is not known yet."""
        checked = self._checked.get(version)
        return None if checked is None or checked.problem else checked.p99_us

    def keep_only(self, versions: Collection[str]) -> None:
        """All others are forgotten."""
        with self._lock:
            for held in (self._checked, self._since_ns, self._turns):
                for version in [one for one in held if one not in versions and one not in self._at_work]:
                    del held[version]

    def close(self) -> None:
        """Nobody waits for a verdict any more."""
        self._closed = True

    def _work(self) -> None:
        while not self._closed:
            self._run(self._asked.get())

    def _run(self, bundle: Bundle) -> None:
        checked = self._check(bundle, lambda: self._closed)
        with self._lock:
            self._at_work.discard(bundle.version)
            if checked.problem != GIVEN_UP:
                self._checked[bundle.version] = checked
