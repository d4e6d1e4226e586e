"""Rows that were chosen by what is stored, when something else is stored before they are published.

Owns noticing it, under the catalogue's lock, and choosing anew.  An import leaves out bars that are there, a download
rows that it knows, a recording trades that somebody fetched: two of them at once would each miss what the other is
about to publish, and both would store it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeVar

from engine.data.parts import Part
from engine.errors import DataError

_TRIES: Final = 8
"""Each one after the first means that another process has published rows of the same series and time."""
_Result = TypeVar("_Result")


class StoredMeanwhile(DataError):  # noqa: N818 - said as users say it
    """Rows of the same series and time were published since these were chosen; nothing of these is."""


class Choice:
    """The parts (their files) that were visible when rows were chosen."""

    def __init__(self, seen: Collection[str]) -> None:
        self._seen = frozenset(seen)

    def knew(self, part: Part) -> bool:
        return part.file in self._seen

    def check(self, staged: Iterable[Part], visible: Iterable[Part]) -> None:
        """Raises ``StoredMeanwhile`` when a visible part that was not known has rows in the span of a staged one."""
        spans: dict[tuple[object, ...], tuple[int, int]] = {}
        for part in staged:
            low, high = spans.get(part.series.key, (part.first_ns, part.last_ns))
            spans[part.series.key] = (min(low, part.first_ns), max(high, part.last_ns))
        for part in visible:
            span = spans.get(part.series.key)
            if span is None or self.knew(part) or part.first_ns > span[1] or part.last_ns < span[0]:
                continue
            raise StoredMeanwhile(
                f"{part.series.kind} of {part.instrument} were stored meanwhile, from {part.source.name}",
                expected="nobody else to store the same series and time",
                do="run it again: nothing was stored",
            )


def chosen_anew(work: Callable[[], _Result]) -> _Result:
    """``work`` until nothing comes between its choice and its commit; each call sees what is stored by then."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(StoredMeanwhile):
            return work()
    return work()
