"""What ``data fetch`` shows while it runs: a bar for each series, and what a venue makes it wait for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Final

_NS: Final = 1_000_000_000


class Board:
    """Progress on a terminal's stderr; elsewhere only what has to be said, a line each."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextlib.contextmanager
    def task(self, name: str, start_ns: int, end_ns: int) -> Iterator[Callable[[int, int], None]]:
        """``advance(reached_ns, rows)`` moves the bar of one series."""
        made = self._progress.add_task(name, total=(end_ns - start_ns) / _NS, rows=0, said="")

        def advance(reached_ns: int, rows: int) -> None:
            self._progress.update(made, completed=(reached_ns - start_ns) / _NS, rows=rows)

        yield advance

    def say(self, text: str) -> None:
        """A wait, and with an empty text its end."""
        if self._console.is_terminal:
            for task in self._progress.task_ids:
                self._progress.update(task, said=text)
        elif text:
            print(text, file=sys.stderr, flush=True)
