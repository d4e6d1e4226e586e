"""Recorded files as a venue: played in data time, with fills in this process.

Quotes and trades in Parquet, or raw messages of a venue's streams (``.jsonl``, ``.jsonl.gz``); never both at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from config.schema import Settings
from config.venues import MS_NS, configured_series, with_paper_fees
from connectors.paper.exchange import DEFAULT_BALANCE
from connectors.replay.feed import ReplayVenue, Speed
from connectors.replay.frames import FramesFile, FramesInfo, describe_frames
from connectors.replay.frames_feed import FramesVenue
from engine.data.parquet import FileInfo, describe_files
from engine.data.published import split_files
from engine.errors import DataError
from engine.events import Observation
from engine.ports import Clock, FeedCounts, Publish, VenueGateway

RAW = (".jsonl", ".jsonl.gz")


def split_recordings(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Files of markets, and those of published series.  Raises ``DataError`` for files that cannot be played together,
    or at all."""
    raw = [path for path in paths if path.name.endswith(RAW)]
    market, published = split_files([path for path in paths if path not in raw])
    if raw and market:
        raise DataError(
            f"{raw[0]} has raw messages, {market[0]} has rows",
            expected="files of one kind",
            do="play them in two sessions, or import the raw messages (data import)",
        )
    return raw or market, published


def describe_recordings(paths: Sequence[Path], settings: Settings) -> Sequence[FileInfo | FramesInfo]:
    """What the files are about.  Raises ``DataError`` for files that cannot be played."""
    if not _is_raw(paths):
        return describe_files(paths)
    books = _plays_books(settings)
    return describe_frames([FramesFile(path, quotes=not books, books=books) for path in paths])


def _is_raw(paths: Sequence[Path]) -> bool:
    return bool(paths) and paths[0].name.endswith(RAW)


def _plays_books(settings: Settings) -> bool:
    """Of raw messages, the books with all their levels instead of the best prices that the venue tells."""
    return "level2" in settings.venue.channels


class Recording:
    """Recorded files, played through paper exchanges in data time."""

    def __init__(
        self,
        settings: Settings,
        paths: Sequence[Path],
        speed: Speed,
        publish: Publish,
        clock: Clock,
        report: Callable[[str], None],
        id_prefix: str,
        known: Sequence[str] = (),
        published: Sequence[Observation] = (),
    ) -> None:
        """``known``: what is odd about the data before it is opened; ``published``: observations that are played with
        it, beside those of ``exogenous.series``.  Raises ``DataError`` for files that cannot be played."""
        own = settings.sources.get("paper.balances", "default") != "default"
        self._notes: list[str] = []

        def note(text: str) -> None:
            self._notes.append(text)
            report(text)

        for text in known:
            note(text)
        made = partial(FramesVenue, books=_plays_books(settings)) if _is_raw(paths) else ReplayVenue
        self._venue: ReplayVenue = made(
            paths,
            publish,
            clock=clock,
            speed=speed,
            timer_ms=settings.engine.timer_ms,
            overrides={
                info.instrument.id: with_paper_fees(info.instrument, settings)
                for info in describe_recordings(paths, settings)
            },
            report=note,
            published=sorted(
                dict.fromkeys((*published, *configured_series(settings))),
                key=lambda one: (one.ts_event_ns, one.period_end_ns, one.series),
            ),
            history_ns=settings.exogenous.history_ns,
            balances=settings.paper.balances if own else None,
            default_balance=settings.paper.balances.get(settings.portfolio.currency, DEFAULT_BALANCE),
            latency_ns=int(settings.paper.latency_ms * MS_NS),
            id_prefix=id_prefix,
            assumed_notional=settings.paper.assumed_quote_notional,
            tolerances=settings.quality.tolerances(),
        )
        self._stop = asyncio.Event()

    @property
    def name(self) -> str:
        return self._venue.name

    @property
    def gateways(self) -> tuple[VenueGateway, ...]:
        return self._venue.gateways

    async def start(self) -> None:
        await self._venue.start()

    async def finished(self) -> None:
        await self._venue.run(self._stop)

    @property
    def notes(self) -> Sequence[str]:
        """What was odd about the data: rows out of order, times without a zone."""
        return self._notes

    def confirm(self) -> None:
        """The account is in this process."""

    def settle(self) -> None:
        """After the end of the data: let cancels and their answers arrive, in data time."""
        self._venue.drain()

    def counts(self) -> FeedCounts:
        return FeedCounts()

    async def stop(self) -> None:
        self._stop.set()
        await self._venue.stop()
