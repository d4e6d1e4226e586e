"""What feature buffers are fed with besides their own instrument: others that they follow, and published series.

Owns who follows whom.  What a buffer makes of it is ``engine.features``.
"""

from __future__ import annotations

from engine.events import MarketEvent, Observation
from engine.ports import Features, Float32Array
from engine.published import Published


class Feeds:
    """Of one core."""

    def __init__(self) -> None:
        self._published = Published()
        self._followers: dict[str, list[Features]] = {}

    def followers_of(self, instrument: str) -> list[Features]:
        """Buffers that are fed with an instrument's events; one list for the life of the core."""
        return self._followers.setdefault(instrument, [])

    def take(self, observation: Observation) -> None:
        """Remember what was published, for buffers that are made later."""
        self._published.take(observation)

    def connect(self, features: Features) -> None:
        """A new buffer takes part: what was published counts for it, what comes is fed to it."""
        for followed in features.follows:
            self.followers_of(followed).append(features)
        for observation in self._published.of(features.awaits):
            features.update(observation)

    def disconnect(self, features: Features) -> None:
        """Nobody reads it any more."""
        for followed in features.follows:
            followers = self.followers_of(followed)
            followers[:] = [one for one in followers if one is not features]


class FedTogether:
    """Several buffers of one instrument, fed alike: implements ``engine.ports.Features`` as the first of them.

    ``made``: which of them the last event completed a row of.
    """

    def __init__(self, first: Features, others: list[Features]) -> None:
        self.first = first
        self.each = (first, *others)
        self.made: list[Features] = []

    @property
    def warm(self) -> bool:
        return self.first.warm

    @property
    def reason(self) -> str:
        return self.first.reason

    def latest(self, column: str) -> float:
        return self.first.latest(column)

    @property
    def follows(self) -> tuple[str, ...]:
        return tuple(self.first.follows)

    @property
    def awaits(self) -> tuple[str, ...]:
        return tuple(self.first.awaits)

    def update(self, event: MarketEvent) -> bool:
        self.made = [one for one in self.each if one.update(event)]
        return bool(self.made)

    def on_timer(self, now_ns: int) -> bool:
        self.made = [one for one in self.each if one.on_timer(now_ns)]
        return bool(self.made)

    def window(self) -> Float32Array:
        return self.first.window()

    def mark_gap(self, reason: str, of: str = "") -> None:
        for one in self.each:
            one.mark_gap(reason, of)
