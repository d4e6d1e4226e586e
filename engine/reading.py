"""What strategies and risk read of an instrument's features, and which columns those were."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.lanes import Lane


class FeatureReading:
    """Of one lane, whatever its features are at the time; not to be asked where there are none.

    ``columns``: what has been read, as far as it was there.
    """

    __slots__ = ("_lane", "columns")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.columns: set[str] = set()

    @property
    def warm(self) -> bool:
        features = self._lane.features
        return features is not None and features.warm

    @property
    def reason(self) -> str:
        features = self._lane.features
        return "no features" if features is None else features.reason

    def latest(self, column: str) -> float:
        """Raises ``KeyError`` for unknown names."""
        features = self._lane.features
        if features is None:
            raise KeyError(column)
        value = features.latest(column)
        self.columns.add(column)
        return value
