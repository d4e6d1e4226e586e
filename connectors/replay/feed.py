"""Recorded market data as a venue: files play through the paper exchange into the bus, in data time.

Owns pace, data time and its timers.  Published series come between the rows as of their publication, and those of
before at the start.  Reading and merging files is ``engine.data.parquet``, matching is
``connectors.paper``.  The core drops bad rows; this feed only hands them on.

Time.  The core's time is ``ts_recv_ns`` of events, here the recorded merge key, and it never steps back: a row that is
earlier than what was already played keeps its place in the file and its ``ts_event_ns``, gets the time already reached
as ``ts_recv_ns``, and is counted; the first one is reported.  Re-sorting instead would show the strategy an order of
events that nobody ever received.

Timers come from data time as well, one each ``timer_ms``.  In a pause of the data they thin out: each comes at four
times the pause so far, but at least once a minute.  Nothing can trade at a new price before the next row, and two weeks
of FX quotes would otherwise be nine million timers among half a million quotes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from connectors.matching.mirror import ASSUMED_NOTIONAL
from connectors.paper.exchange import DEFAULT_BALANCE, LATENCY_NS, PaperExchange
from engine.data.parquet import describe_files, read_events
from engine.data.published import with_published
from engine.errors import DataError
from engine.events import FeedDown, Observation, Timer
from engine.instruments import Instrument
from engine.ports import Clock, Publish
from engine.published import known_before
from engine.quality.gate import DEFAULT
from engine.quality.tolerances import Tolerances

_SECOND_NS = 1_000_000_000
_MS_NS = 1_000_000
_YIELD_NS = 4 * _MS_NS
_EVENTS_PER_CLOCK_READ = 64

Speed = float | Literal["max"]
Played = Any
"""Quotes, trades and observations; from raw messages also books, candles and gaps."""


class Described(Protocol):
    """What is known of a file before it is played: of which instrument it is, and what was assumed about it."""

    @property
    def instrument(self) -> Instrument: ...

    @property
    def note(self) -> str: ...


class ReplayResult(msgspec.Struct):
    """What was played.  ``finished`` is False when it was stopped before the end of the data."""

    events: int = 0
    timers: int = 0
    backwards: int = 0
    first_ns: int = 0
    last_ns: int = 0
    finished: bool = False


class ReplayVenue:
    """Plays files; has the shape of a live venue (``start stop name gateway``), one paper exchange per recorded venue.

    ``paths`` may hold several instruments of several venues; ``instruments`` (ids) keeps only those; ``overrides``
    replaces rules (fees, steps) of an instrument by id.  ``speed`` is a factor of recorded pace or ``"max"``.
    ``clock`` only serves to keep pace and to give other tasks their turn.  ``report`` gets a line about each oddity of
    the data.  ``published`` are observations in order of publication; those of the last ``history_ns`` before the first
    row, and of each series the last two periods before that, come at the start.  ``balances`` (of each venue),
    ``default_balance``, ``latency_ns``, ``id_prefix``, ``assumed_notional`` and ``tolerances`` are those of
    ``PaperExchange``.

    Raises ``DataError`` for missing or wrong files and for a speed that is no positive number.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        publish: Publish,
        *,
        clock: Clock,
        speed: Speed = "max",
        timer_ms: int = 100,
        timer_name: str = "tick",
        instruments: Sequence[str] | None = None,
        overrides: Mapping[str, Instrument] | None = None,
        report: Callable[[str], None] = lambda _line: None,
        published: Sequence[Observation] = (),
        history_ns: int = 0,
        balances: Mapping[str, Decimal] | None = None,
        default_balance: Decimal = DEFAULT_BALANCE,
        latency_ns: int = LATENCY_NS,
        id_prefix: str = "paper",
        assumed_notional: Decimal = ASSUMED_NOTIONAL,
        tolerances: Tolerances = DEFAULT,
    ) -> None:
        if not isinstance(speed, str) and not 0 < speed < float("inf"):
            raise DataError(f"replay speed {speed}", expected='a positive number or "max"', do="change --speed")
        if timer_ms < 1:
            raise DataError(f"timer_ms {timer_ms}", expected="at least 1", do="change timer_ms")
        self._paths = [Path(path) for path in paths]
        self._only = None if instruments is None else frozenset(instruments)
        self.files: Sequence[Described] = self._describe()
        self.result = ReplayResult()
        self._publish = publish
        self._clock = clock
        self._speed: Speed = speed
        self._timer_ns = timer_ms * _MS_NS
        self._timer_name = timer_name
        self._report = report
        self._published = published
        self._history_ns = history_ns
        self._now_ns = 0
        self._next_timer_ns = 0
        self._last_event_ns = 0
        self._events: Iterator[Played] | None = None
        self._turns = 0
        overrides = overrides or {}
        rules: dict[str, Instrument] = {}
        for info in self.files:
            rules[info.instrument.id] = overrides.get(info.instrument.id, info.instrument)
        self.exchanges: dict[str, PaperExchange] = {
            venue: PaperExchange(
                publish,
                [instrument for instrument in rules.values() if instrument.venue == venue],
                venue=venue,
                balances=balances,
                default_balance=default_balance,
                latency_ns=latency_ns,
                id_prefix=id_prefix if len({i.venue for i in rules.values()}) == 1 else f"{id_prefix}-{venue}",
                assumed_notional=assumed_notional,
                tolerances=tolerances,
            )
            for venue in dict.fromkeys(instrument.venue for instrument in rules.values())
        }
        self._exchange_of = {instrument.id: self.exchanges[instrument.venue] for instrument in rules.values()}

    # --- what is played ---------------------------------------------------------------------------------------------

    def _describe(self) -> Sequence[Described]:
        """The files and their instruments.  Raises ``DataError``."""
        return [info for info in describe_files(self._paths) if self._only is None or info.instrument.id in self._only]

    def _market(self) -> Iterator[Played]:
        """Their rows in order; of ``_only`` where it is given."""
        return read_events(self._paths, self._only)

    def _match(self, event: Played) -> None:
        """The market of a paper exchange moves."""
        if not isinstance(event, Observation):
            self._exchange_of[event.instrument].on_market(event)

    # --- shape of a venue -------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Names of the recorded venues, joined."""
        return "+".join(self.exchanges)

    @property
    def gateways(self) -> tuple[PaperExchange, ...]:
        """One gateway per recorded venue: register each with the router."""
        return tuple(self.exchanges.values())

    @property
    def gateway(self) -> PaperExchange:
        """The only gateway.  Raises ``DataError`` when the files are of several venues."""
        if len(self.exchanges) != 1:
            raise DataError(
                f"files of {len(self.exchanges)} venues", expected="one venue", do="use the list of gateways"
            )
        return next(iter(self.exchanges.values()))

    def now_ns(self) -> int:
        """Data time: what a replaying session stamps its own events with."""
        return self._now_ns

    async def start(self) -> None:
        """Publish instruments, balances and streams, stamped with the time of the first row."""
        market = self._market()
        first = next(market)  # a described file has at least one row
        first_ns = first.ts_recv_ns
        later = [observation for observation in self._published if observation.ts_event_ns >= first_ns]
        self._events = with_published(itertools.chain((first,), market), later)
        self._now_ns = self._last_event_ns = self.result.first_ns = self.result.last_ns = first_ns
        self._next_timer_ns = first_ns + self._timer_ns
        for info in self.files:
            if info.note:
                self._report(info.note)
        # Before the instruments: the core hands them to every buffer that it makes.
        for observation in known_before(self._published, first_ns, self._history_ns):
            self._publish(msgspec.structs.replace(observation, ts_recv_ns=first_ns))
        for exchange in self.exchanges.values():
            exchange.start(first_ns)

    async def run(self, stop: asyncio.Event) -> ReplayResult:
        """Play until the data ends or ``stop`` is set.  Raises ``DataError`` where a file turns out damaged."""
        if self._events is None:
            await self.start()
        assert self._events is not None
        if self._speed == "max":
            await self._run_at_full_speed(self._events, stop)
        else:
            await self._run_paced(self._events, float(self._speed), stop)
        self.drain()
        result = self.result
        if result.backwards > 1:
            self._report(f"{result.backwards} rows in all were earlier than a row before them")
        return result

    def drain(self) -> None:
        """Let what is on its way arrive, in data time: after the data's end and after orders were cancelled."""
        for _ in range(4):  # an answer may cause an order, and its answer one more; then it is a loop, not a tail
            waiting = [exchange for exchange in self.exchanges.values() if exchange.pending]
            if not waiting:
                return
            for exchange in waiting:
                due_ns = exchange.last_due_ns
                self._now_ns = max(self._now_ns, due_ns)
                exchange.advance(self._now_ns)

    async def stop(self) -> None:
        """Deliver what is on its way and report the streams down."""
        self.drain()
        for venue in self.exchanges:
            for stream in ("market", "user"):
                self._publish(FeedDown(self._now_ns, self._now_ns, venue, stream, "replay ended"))

    # --- pace -------------------------------------------------------------------------------------------------------

    async def _run_at_full_speed(self, events: Iterator[Played], stop: asyncio.Event) -> None:
        now_ns = self._clock.now_ns
        turn_ns = now_ns()
        left = _EVENTS_PER_CLOCK_READ
        for event in events:
            self._play(event)
            left -= 1
            if left:
                continue
            left = _EVENTS_PER_CLOCK_READ
            if now_ns() - turn_ns >= _YIELD_NS:
                await asyncio.sleep(0)
                if stop.is_set():
                    return
                turn_ns = now_ns()
        self.result.finished = True

    async def _run_paced(self, events: Iterator[Played], speed: float, stop: asyncio.Event) -> None:
        start_ns = self._clock.now_ns()
        first_ns = self._now_ns
        for event in events:
            due_ns = max(event.ts_recv_ns, self._now_ns)
            # Timers keep firing while nothing is recorded, each at its own moment.
            while self._next_timer_ns <= due_ns:
                if await self._wait(start_ns + int((self._next_timer_ns - first_ns) / speed), stop):
                    return
                self._fire_timer()
            if await self._wait(start_ns + int((due_ns - first_ns) / speed), stop):
                return
            self._play(event)
        self.result.finished = True

    async def _wait(self, until_ns: int, stop: asyncio.Event) -> bool:
        """Sleep until the clock says ``until_ns``; True when stopped.  Behind schedule it only gives others a turn."""
        left_ns = until_ns - self._clock.now_ns()
        if left_ns > _MS_NS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_ns / _SECOND_NS):
                    await stop.wait()
        else:
            self._turns += 1
            if self._turns % _EVENTS_PER_CLOCK_READ == 0:
                await asyncio.sleep(0)
        return stop.is_set()

    # --- playing ----------------------------------------------------------------------------------------------------

    def _play(self, event: Played) -> None:
        ts_ns = event.ts_recv_ns
        result = self.result
        if ts_ns < self._now_ns:
            result.backwards += 1
            if result.backwards == 1:
                self._report(self._backwards_line(event))
            ts_ns = self._now_ns
            event = msgspec.structs.replace(event, ts_recv_ns=ts_ns)
        else:
            while self._next_timer_ns <= ts_ns:
                self._fire_timer()
            self._now_ns = ts_ns
            # Timers thinned out in a pause: from the next row on they come at their usual pace.
            self._next_timer_ns = min(self._next_timer_ns, ts_ns + self._timer_ns)
        self._last_event_ns = ts_ns
        for exchange in self.exchanges.values():
            exchange.advance(ts_ns)
        self._publish(event)
        self._match(event)
        result.events += 1
        result.last_ns = ts_ns

    def _backwards_line(self, event: Played) -> str:
        of = event.series if isinstance(event, Observation) else event.instrument
        error = DataError(
            f"{of}: a row at {event.ts_recv_ns} ns comes after {self._now_ns} ns",
            expected="rows in order of time",
            do="played in file order at the time already reached",
        )
        return str(error)

    def _fire_timer(self) -> None:
        ts_ns = self._next_timer_ns
        self._now_ns = ts_ns
        for exchange in self.exchanges.values():
            exchange.advance(ts_ns)
        self._publish(Timer(ts_ns, ts_ns, self._timer_name))
        self.result.timers += 1
        idle_ns = ts_ns - self._last_event_ns
        pause_ns = min(3 * idle_ns, 60 * _SECOND_NS) if idle_ns >= self._timer_ns else 0
        self._next_timer_ns = ts_ns + max(self._timer_ns, pause_ns)
