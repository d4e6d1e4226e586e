"""Which feature buffers an instrument has: those that some model on it reads, each set of columns once.

Owns when a buffer begins to be fed and when nobody reads it any more.  What a buffer makes of events is
``engine.features``, what others it follows ``engine.feeds``.  Part of ``engine.core.TradingCore``.
"""

from __future__ import annotations

from engine.errors import KestrelError
from engine.features.spec import FeatureSpec
from engine.feeds import FedTogether, Feeds
from engine.lanes import Lane, seats_of
from engine.ports import Features


class Buffers:
    """Of one core."""

    def __init__(self) -> None:
        self._fed: dict[str, list[tuple[str, Features]]] = {}  # by instrument: spec and buffer
        self.feeds = Feeds()

    def find(self, instrument: str, spec: str) -> Features | None:
        """One that makes the same numbers as ``spec`` (JSON) says."""
        return next((one for known, one in self._fed.get(instrument, ()) if same_features(known, spec)), None)

    def add(self, instrument: str, spec: str, features: Features) -> None:
        """From now on it takes part."""
        self._fed.setdefault(instrument, []).append((spec, features))
        self.feeds.connect(features)

    def refit(self, lane: Lane) -> None:
        """Buffers that some seat reads are fed together; the first is what strategies read."""
        fed = self._fed.get(lane.instrument.id, [])
        first = main_of(lane.features) if lane.seat is None else lane.seat.features
        wanted = [first, *[seat.features for seat in seats_of(lane)]]
        for spec, one in list(fed):
            if not any(one is other for other in wanted):
                fed.remove((spec, one))
                self.feeds.disconnect(one)
        others = [one for _, one in fed if one is not first]
        lane.features = FedTogether(first, others) if first is not None and others else first
        lane.beside = bool(others or lane.canary or lane.warming or lane.older)


def main_of(features: Features | None) -> Features | None:
    """The buffer that strategies read."""
    return features.first if isinstance(features, FedTogether) else features


def same_features(one: str, other: str) -> bool:
    """Whether two feature specs (JSON) make the same numbers.  What cannot be read is like nothing else."""
    if one == other:
        return True
    try:
        return FeatureSpec.from_json(one).fingerprint() == FeatureSpec.from_json(other).fingerprint()
    except KestrelError:
        return False
