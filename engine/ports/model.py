"""What computes for an instrument: its features, its model, and who chooses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from engine.events import MarketEvent, Prediction
from engine.instruments import Instrument
from engine.ports.view import FeatureView

Float32Array = npt.NDArray[np.float32]


class Assignment(msgspec.Struct, frozen=True):
    """What serves an instrument: see ``engine.events.ModelAssigned``."""

    model: str = ""
    spec: str = ""
    facts: tuple[tuple[str, float], ...] = ()


class Features(FeatureView, Protocol):
    """The rolling buffer of one instrument."""

    @property
    def follows(self) -> Sequence[str]:
        """Ids of other instruments whose accepted quotes, trades and candles ``update`` is given too."""
        ...

    @property
    def awaits(self) -> Sequence[str]:
        """Names of published series whose observations ``update`` is given too, those before its time included."""
        ...

    def update(self, event: MarketEvent) -> bool:
        """Take in an accepted market event; True when it completed a new row."""
        ...

    def on_timer(self, now_ns: int) -> bool:
        """Close a time bar whose boundary plus lateness has passed; True when that made a new row."""
        ...

    def window(self) -> Float32Array:
        """The last W rows, oldest first: ``(W, F)`` float32, C-contiguous; a view, valid until the next update."""
        ...

    def mark_gap(self, reason: str, of: str = "") -> None:
        """The feed had a hole: not warm until W clean rows have passed.

        ``of`` is one that it follows: what that one costs is unknown until it comes again.
        """
        ...


class Model(Protocol):
    """May have two capabilities besides, which are looked up when it takes its seat, and which never raise:
    ``reset(instrument, reason)``, told where the row that comes does not follow on the one before (a hole in the feed,
    a market that has opened, rows it was not asked about), and ``weigh(weights)``, of ensembles."""

    @property
    def version(self) -> str: ...

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction | None:
        """Never raises: a failure is a ``Prediction`` with that status.  ``window`` is only valid during the call.

        None: it has been asked, and the answer comes as ``PredictionMade`` with these times as those of the row.
        """
        ...


class Assembly(Protocol):
    """Chooses and builds what serves an instrument, when the instrument becomes known."""

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        """Raises ``BundleError`` when a model is asked for and none may be used here."""
        ...

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None: ...

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None: ...
