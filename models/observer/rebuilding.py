"""Books and feature windows of a session, made again from its journal by the very parts that made them.

Owns a core without strategies: the quality gate, books, consolidated prices and feature buffers of a session, fed by
its recorded market.  What is asked of the rows is the caller's (``on_row``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine import events as e
from engine.carried import decode_carried
from engine.codec import Record
from engine.core import KEEP, TradingCore
from engine.errors import KestrelError
from engine.features import FeatureBuffer, FeatureSpec
from engine.instruments import Instrument
from engine.lanes import StrategySlot, never_acts
from engine.ports import Assignment, Features, Model
from engine.published import Published

ROWS_KEPT: Final = 8_192
"""Rows of which price and times are known; no label looks farther."""

CoreOf = Callable[..., TradingCore]
"""``core(recorder=..., assembly=..., slots=...)``: of the session's own settings (``config.observing``)."""


class Rows:
    """The rows of one feature spec on one instrument, numbered from 0.  ``on_row`` is told of each warm one."""

    def __init__(self, spec: FeatureSpec, instrument: Instrument, on_row: Callable[[Rows], None]) -> None:
        """Raises ``DataError`` when the instrument does not give what a column needs."""
        self.instrument = instrument.id
        self.spec = spec
        self.buffer = FeatureBuffer(spec, instrument)
        self.buffer.on_bar = self._note
        self._on_row = on_row
        self._px = np.full(ROWS_KEPT, np.nan)
        self._log_ranges = np.full(ROWS_KEPT, np.nan)
        self._times = np.zeros((ROWS_KEPT, 2), np.int64)
        self.count = 0
        """Rows so far; the newest is ``count - 1``."""
        self.begun = 0
        """The first row since the feed last broke: no label reaches across that."""
        self._restarts = 0
        self.ts_event_ns = self.ts_recv_ns = 0
        """Of the newest row, as the core tells them to the model."""

    def update(self, event: e.MarketEvent) -> None:
        made = self.buffer.update(event)
        self._look_for_break()
        if made and type(event) is not e.Bar:
            self._made(event.ts_event_ns, event.ts_recv_ns)

    def on_timer(self, timer: e.Timer) -> None:
        made = self.buffer.on_timer(timer.ts_recv_ns)
        self._look_for_break()
        if made:
            self._made(timer.ts_event_ns, timer.ts_recv_ns)

    def mark_gap(self, reason: str, of: str) -> None:
        self.buffer.mark_gap(reason, of)
        self._look_for_break()

    def px(self, row: int) -> float:
        """Close of a row; NaN of one that is too old or not there yet."""
        return float(self._px[row % ROWS_KEPT]) if self.count - ROWS_KEPT <= row < self.count else float("nan")

    def pxs(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Closes of the rows from ``first`` to ``last``, both included and known."""
        found: npt.NDArray[np.float64] = self._px[np.arange(first, last + 1) % ROWS_KEPT]
        return found

    def log_ranges(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """``ln(high / low)`` of the same rows; NaN where a price is not positive."""
        found: npt.NDArray[np.float64] = self._log_ranges[np.arange(first, last + 1) % ROWS_KEPT]
        return found

    def recv_ns(self, row: int) -> int:
        """When a row was made; 0 where that is not known any more."""
        return int(self._times[row % ROWS_KEPT, 1]) if self.count - ROWS_KEPT <= row < self.count else 0

    def find(self, ts_event_ns: int, ts_recv_ns: int) -> int:
        """The newest row of these times among the last thousand; -1 where there is none."""
        for row in range(self.count - 1, max(self.count - 1_024, -1), -1):
            told = self._times[row % ROWS_KEPT]
            if told[1] == ts_recv_ns and told[0] == ts_event_ns:
                return row
            if 0 < told[1] < ts_recv_ns:
                return -1
        return -1

    def _look_for_break(self) -> None:
        if self.buffer.restarts != self._restarts:
            self._restarts = self.buffer.restarts
            self.begun = self.buffer.rows

    def _note(self) -> None:
        """A row is there.  Of several that one event completes, a model is asked of the last alone."""
        at = self.count % ROWS_KEPT
        self._px[at] = self.buffer.mid_px
        high_px, low_px = self.buffer.range_px
        self._log_ranges[at] = math.log(high_px / low_px) if 0.0 < low_px <= high_px else math.nan
        self._times[at] = 0
        self.count += 1

    def _made(self, ts_event_ns: int, ts_recv_ns: int) -> None:
        if self.count < self.buffer.rows:
            self._note()
        self._times[(self.count - 1) % ROWS_KEPT] = ts_event_ns, ts_recv_ns
        self.ts_event_ns, self.ts_recv_ns = ts_event_ns, ts_recv_ns
        if self.buffer.warm:
            self._on_row(self)


class _Followed:
    """Implements ``engine.ports.Features`` for the core: hands everything on to the rows, and has none itself."""

    warm = False
    reason = "rows are made beside the core"
    awaits: tuple[str, ...] = ()

    def __init__(self, rebuilding: Rebuilding, instrument: Instrument) -> None:
        self._rebuilding = rebuilding
        self.instrument = instrument
        self.rows: dict[str, Rows] = {}

    @property
    def follows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(peer for one in self.rows.values() for peer in one.buffer.follows))

    def update(self, event: e.MarketEvent) -> bool:
        for rows in tuple(self.rows.values()):
            rows.update(event)
        return False

    def on_timer(self, now_ns: int) -> bool:  # noqa: ARG002 -- the event being handled has both times
        timer = self._rebuilding.event
        if isinstance(timer, e.Timer):
            for rows in tuple(self.rows.values()):
                rows.on_timer(timer)
        return False

    def mark_gap(self, reason: str, of: str = "") -> None:
        for rows in self.rows.values():
            rows.mark_gap(reason, of)

    def window(self) -> Any:
        raise NotImplementedError("the core is not to ask for rows")

    def latest(self, column: str) -> float:
        raise KeyError(column)


class _Assembly:
    """Implements ``engine.ports.Assembly``: every instrument has rows, none has a model."""

    def __init__(self, rebuilding: Rebuilding) -> None:
        self._rebuilding = rebuilding

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:  # noqa: ARG002
        return Assignment()

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:  # noqa: ARG002
        return self._rebuilding.followed(instrument)

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None:  # noqa: ARG002
        return None


class _Forgetful:
    """Implements ``engine.ports.Recorder``: what this core derives is nobody's business."""

    def record(self, record: Record) -> int:  # noqa: ARG002
        return 0


class _Listener:
    """A strategy that listens to every instrument and never acts: the core makes a lane where somebody listens."""

    name = "observer"

    def on_model(self, *_: Any) -> None: ...

    @never_acts
    def on_prediction(self, *_: Any) -> Sequence[Any]:
        return ()

    on_row = on_quote = on_fill = on_timer = on_prediction

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


class Rebuilding:
    """``take`` the recorded inputs in order; ``add`` says which rows are wanted."""

    def __init__(self, core_of: CoreOf, on_row: Callable[[Rows], None]) -> None:
        self._on_row = on_row
        self._followed: dict[str, _Followed] = {}
        self._published = Published()
        self.event: e.Event | None = None
        """What is being handled."""
        slots = [StrategySlot(_Listener(), uses_model=False)]
        self.core = core_of(recorder=_Forgetful(), assembly=_Assembly(self), slots=slots)
        self._market = frozenset(self.core.market.handlers())
        self._joint: dict[str, list[str]] = {}
        """By member: the consolidated instruments that it gives a price to."""

    def take(self, event: Record) -> bool:
        """Feed an input; False for what says nothing of the market."""
        if isinstance(event, e.StateCarried):
            self.core.market.restore_px(decode_carried(event.state).known_px)
            return False
        if isinstance(event, e.Timer):
            if event.name == KEEP:
                return False
        elif type(event) not in self._market:
            return False
        assert isinstance(event, e.InputEvent)
        if isinstance(event, e.Observation):
            self._published.take(event)
        self.event = event
        self.core.on_event(event)
        if isinstance(event, e.InstrumentDefined):
            self._connect()
            self._joint = {}
            for name in self.core.lanes:
                for member in self.members_of(name):
                    self._joint.setdefault(member, []).append(name)
        return True

    def followed(self, instrument: Instrument) -> _Followed:
        """The core asks for what it feeds of an instrument that it hears of."""
        found = self._followed[instrument.id] = _Followed(self, instrument)
        return found

    def instrument(self, name: str) -> Instrument | None:
        """As last defined; None before that."""
        lane = self.core.lanes.get(name)
        return None if lane is None else lane.instrument

    def members_of(self, name: str) -> tuple[str, ...]:
        """Of a consolidated instrument; empty for one that has a market of its own."""
        lane = self.core.lanes.get(name)
        return () if lane is None or lane.consolidator is None else tuple(lane.consolidator.definition.members)

    def priced_by(self, name: str) -> Sequence[str]:
        """Whose best prices a change of this instrument's may have changed: its own, and those of what it is a member
        of."""
        return (name, *self._joint.get(name, ()))

    @property
    def instruments(self) -> list[Instrument]:
        return [lane.instrument for lane in self.core.lanes.values()]

    def add(self, instrument: str, spec: FeatureSpec) -> Rows:
        """The rows of a spec from the next event on, or those that there are.

        Raises ``KestrelError`` when the instrument is not known, or cannot feed the spec.
        """
        followed = self._followed.get(instrument)
        if followed is None:
            raise KestrelError(f"{instrument} is not listed in this session")
        rows = followed.rows.get(spec.fingerprint())
        if rows is None:
            rows = followed.rows[spec.fingerprint()] = Rows(spec, followed.instrument, self._on_row)
            for observation in self._published.of(rows.buffer.awaits):
                rows.buffer.update(observation)
            self._connect()
        return rows

    def keep_only(self, instrument: str, wanted: Collection[Rows]) -> None:
        """Forget all other rows of an instrument: nobody asks for them any more."""
        followed = self._followed.get(instrument)
        if followed is not None:
            followed.rows = {name: rows for name, rows in followed.rows.items() if rows in wanted}

    def _connect(self) -> None:
        """Rows that read other instruments are given their events, whichever of the two was there first."""
        for followed in self._followed.values():
            for peer in followed.follows:
                lane = self.core.lanes.get(peer)
                if lane is not None and followed not in lane.followers:
                    lane.followers.append(followed)
