"""Models of a simulation: versions that answer what their rows make of them, some of them sick at times.

Owns what a version is and what it answers: drawn from its name, so that a session that is replayed finds the same ones.
Who serves when is ``rollout``'s.  Rows are those of real feature buffers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from engine.errors import BundleError
from engine.events import Prediction, PredictionMade, PredictionStatus
from engine.features.buffer import FeatureBuffer
from engine.features.sampling import GapPolicy, Sampling
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from engine.ports import Assignment, Features, Float32Array, Model
from engine.seats import ASYNCHRONOUS, EXPIRES_NS

VERSIONS = 8
"""How many there are, beside those that are made for a while only."""
ABSENT = "walker@gone"
"""One that is offered and cannot be had."""
SPECS = tuple(
    FeatureSpec(
        f"simulated{window}",
        ("ret_1", "ret_2"),
        window,
        Sampling.time_bar(10_000_000_000, 1_000_000_000),
        gap=GapPolicy(flat_rows_max=window - 1),
    )
    .to_json()
    .decode()
    for window in (2, 4)
)
SICK_NS = 120_000_000_000
"""How long a version is sick, if it is."""


class Ills(NamedTuple):
    """Shares: of a version's stretches of ``SICK_NS`` in which it is ``late`` or fails, and of its rows (``odd``)."""

    late: float = 0.0
    failed: float = 0.0
    odd: float = 0.0


class Row(NamedTuple):
    """What an answer off the loop is about, and what it will be."""

    instrument: str
    model: str
    event_ns: int
    recv_ns: int
    status: PredictionStatus
    values: tuple[float, ...]

    def answer(self, now_ns: int) -> PredictionMade:
        text = "" if self.values else "drawn"
        return PredictionMade(
            now_ns, now_ns, self.instrument, self.model, self.event_ns, self.recv_ns, self.status, self.values, text
        )


class Heard(NamedTuple):
    """Who hears of models while they serve; in a replay nobody does.  ``asked``: an answer is to come.  ``sick``: by
    the name of the kind."""

    asked: Callable[[Row], None] = lambda _row: None
    sick: Callable[[str], None] = lambda _kind: None


def version_of(number: int) -> str:
    return f"walker@{number}"


def facts_of(version: str, expires_ns: int = 0) -> tuple[tuple[str, float], ...]:
    """Every third answers off the loop."""
    found: tuple[tuple[str, float], ...] = ()
    if _number(version) % 3 == 2:
        found += ((ASYNCHRONOUS, 1.0),)
    return ((*found, (EXPIRES_NS, float(expires_ns)))) if expires_ns else found


def spec_of(version: str) -> str:
    """Two kinds of rows."""
    return SPECS[_number(version) // 3 % len(SPECS)]


def _number(version: str) -> int:
    text = version.rpartition("@")[2]
    return int(text) if text.isdigit() else 0


class SimulatedModel:
    """One number from 0 to 1 for each row; it depends on the rows since the last reset too.  ``ills`` end at
    ``until_ns`` of a row's time."""

    def __init__(self, version: str, ills: Ills, until_ns: int, heard: Heard) -> None:
        self.version = version
        self._answers_later = dict(facts_of(version)).get(ASYNCHRONOUS) == 1.0
        self._ills = ills
        self._until_ns = until_ns
        self._heard = heard
        self._steps: dict[str, int] = {}

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction | None:
        steps = self._steps[instrument] = self._steps.get(instrument, 0) + 1
        seen = zlib.crc32(np.ascontiguousarray(window).tobytes(), zlib.crc32(f"{self.version}/{steps}".encode()))
        status = self._status(instrument, ts_recv_ns)
        values = () if status is PredictionStatus.FAILED else (seen / 2**32,)
        row = Row(instrument, self.version, ts_event_ns, ts_recv_ns, status, values)
        if self._answers_later:
            self._heard.asked(row)
            return None
        text = "" if values else "drawn"
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, status, values, text)

    def _status(self, instrument: str, now_ns: int) -> PredictionStatus:
        if now_ns >= self._until_ns:
            return PredictionStatus.OK
        stretch = _drawn(f"{self.version}/{instrument}/{now_ns // SICK_NS}")
        for kind, status, share in (
            ("model_late", PredictionStatus.LATE, self._ills.late),
            ("model_failed", PredictionStatus.FAILED, self._ills.failed),
        ):
            if stretch < share:
                self._heard.sick(kind)
                return status
            stretch -= share
        if _drawn(f"{self.version}/{instrument}/{now_ns}") < self._ills.odd:
            self._heard.sick("model_odd")
            return PredictionStatus.FAILED
        return PredictionStatus.OK

    def reset(self, instrument: str, reason: str) -> None:  # noqa: ARG002
        self._steps.pop(instrument, None)


def _drawn(text: str) -> float:
    return zlib.crc32(text.encode()) / 2**32


class Shelf:
    """The assembly of one session: ``first`` serves each instrument that becomes known (name to version and facts)."""

    def __init__(self, first: Mapping[str, Assignment], ills: Ills, until_ns: int, heard: Heard) -> None:
        self._first = first
        self._ills = ills
        self._until_ns = until_ns
        self._heard = heard
        self._open: dict[str, SimulatedModel] = {}

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        return self._first[instrument.id] if uses_model else Assignment()

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:
        return FeatureBuffer(FeatureSpec.from_json(assignment.spec), instrument) if assignment.spec else None

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None:  # noqa: ARG002
        version = assignment.model
        if not version:
            return None
        if version == ABSENT:
            raise BundleError(f"bundle {version} is gone")
        if version not in self._open:
            self._open[version] = SimulatedModel(version, self._ills, self._until_ns, self._heard)
        return self._open[version]
