"""What a download has stored already: spans of time of one series, noted in the catalogue together with the rows.

Owns the meaning of those marks and the arithmetic of spans.  A mark becomes visible in the same commit as the rows it
speaks of, so no kill can part them; it is an integer under a name.  Here they are two for each span, named by its start
(where it ends, how many rows lay in it), and one that counts the batches of the series, by which a second download of
it is noticed.  A span that has fewer rows now has lost some and is fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec


class Marks(Protocol):
    """Where marks are set: a batch of the catalogue."""

    def mark(self, name: str, value: int, *, expected: int | None) -> None:
        """Set with the rows of the batch, if it is still ``expected`` then (None: not there)."""
        ...


class Span(msgspec.Struct, frozen=True):
    """``[start_ns, end_ns)`` was fetched whole; ``rows`` lay in it when that was noted."""

    start_ns: int
    end_ns: int
    rows: int


class Coverage:
    """The spans of one series.  ``folder`` is its place in the catalogue, the name of its marks."""

    def __init__(self, folder: str, marks: Mapping[str, int]) -> None:
        self._batches = f"download of {folder}"
        self._ends = f"fetched {folder} "
        self._rows = f"fetched rows {folder} "
        own = (self._ends, self._rows)
        self._marks = {n: value for n, value in marks.items() if n == self._batches or n.startswith(own)}
        self.spans: dict[int, Span] = {}
        """By start.  They may touch each other."""
        for name, end_ns in self._marks.items():
            if not name.startswith(self._ends):
                continue
            start_ns = int(name.removeprefix(self._ends))
            self.spans[start_ns] = Span(start_ns, end_ns, self._marks.get(f"{self._rows}{start_ns}", 0))

    def verify(self, rows: Callable[[int, int], int]) -> None:
        """Forget the spans of which the catalogue has fewer ``rows(start_ns, end_ns)`` than it had."""
        self.spans = {
            span.start_ns: span
            for span in self.spans.values()
            if not span.rows or rows(span.start_ns, span.end_ns) >= span.rows
        }

    def missing(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """The parts of ``[start_ns, end_ns)`` that no span covers, in order."""
        found = []
        at_ns = start_ns
        for _, span in sorted(self.spans.items()):
            if span.end_ns <= at_ns:
                continue
            if span.start_ns >= end_ns:
                break
            if span.start_ns > at_ns:
                found.append((at_ns, span.start_ns))
            at_ns = span.end_ns
        if at_ns < end_ns:
            found.append((at_ns, end_ns))
        return found

    def claim(self, batch: Marks) -> None:
        """Let ``batch`` be published only if no other download of the series was, since the last one that was ours."""
        batch.mark(self._batches, self._marks.get(self._batches, 0) + 1, expected=self._marks.get(self._batches))

    def note(self, batch: Marks, start_ns: int, end_ns: int, rows: int) -> Span:
        """Mark ``[start_ns, end_ns)``, of which the catalogue will hold ``rows``, as stored with this batch.

        It prolongs the span that ends where it starts, if there is one.
        """
        before = next((span for span in self.spans.values() if span.end_ns == start_ns), None)
        span = Span(start_ns, end_ns, rows)
        if before is not None:
            span = Span(before.start_ns, end_ns, before.rows + rows)
        for name, value in self._of(span).items():
            batch.mark(name, value, expected=self._marks.get(name))
        return span

    def published(self, span: Span | None) -> None:
        """The batch that was claimed is visible, and the span that was noted with it, if any."""
        self._marks[self._batches] = self._marks.get(self._batches, 0) + 1
        if span is not None:
            self._marks |= self._of(span)
            self.spans[span.start_ns] = span

    def _of(self, span: Span) -> dict[str, int]:
        return {f"{self._ends}{span.start_ns}": span.end_ns, f"{self._rows}{span.start_ns}": span.rows}
