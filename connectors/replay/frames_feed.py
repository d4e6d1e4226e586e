"""Raw recorded messages as a venue: the live streams' own parsers, then the paper exchange and the bus, in data time.

Owns the merge of several files.  Reading is ``connectors.replay.frames``, pace and time are ``connectors.replay.feed``,
what paper orders meet where only books are told ``connectors.paper.levels``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Any

from connectors.replay.feed import Described, Played, ReplayVenue
from connectors.replay.frames import FramesFile, describe_frames
from engine.events import Observation
from engine.ports import Publish


class FramesVenue(ReplayVenue):
    """``ReplayVenue`` of raw messages; ``venue`` and ``books`` are those of ``FramesFile``.

    Either the venue's own best prices are played, or (``books``) its books, whose best levels then make the quotes.  A
    trade is played in both.  Raises ``DataError`` as ``ReplayVenue`` does, and for files of which nothing says the
    venue.
    """

    def __init__(
        self, paths: Sequence[Path | str], publish: Publish, *, venue: str = "", books: bool = False, **options: Any
    ) -> None:
        self._files = [FramesFile(path, venue=venue, quotes=not books, books=books) for path in paths]
        super().__init__(paths, publish, **options)

    def _describe(self) -> Sequence[Described]:
        return describe_frames(self._files, self._only)

    def _market(self) -> Iterator[Played]:
        """Files in one order of the recorder's clock; of those of the same time, in order of the files."""
        known = self._exchange_of.keys()
        streams = [(event for event in file.events() if _subject(event) in known) for file in self._files]
        return merge(*streams, key=attrgetter("ts_recv_ns"))

    def _match(self, event: Played) -> None:
        exchange = self._exchange_of.get(_subject(event))
        if exchange is not None and not isinstance(event, Observation):
            exchange.on_market(event)

    async def run(self, stop: Any) -> Any:
        result = await super().run(stop)
        for file in self._files:
            counters = file.counters
            if counters.malformed or counters.unknown_message:
                unknown = f", the last of them {file.unknown}" if file.unknown else ""
                self._report(
                    f"{file.path}: {counters.malformed} messages could not be read, "
                    f"{counters.unknown_message} are of no known kind{unknown}"
                )
        return result


def _subject(event: Played) -> str:
    """The instrument that an event is about; an observation's series names it behind the colon."""
    instrument: str = event.series.partition(":")[2] if hasattr(event, "series") else event.instrument
    return instrument
