"""What the members of a live mixture have lost lately, and the weights that follow from it.

Owns the reading of a mixture's facts and the losses of its members, in memory of fixed size.  When an outcome is known
says the track of the mixture; the formula is ``models.observer.weights``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import numpy as np

from engine.seats import MEMBER
from models.mixture.mixture import RECENT, SHARE, members_told
from models.observer.maturing import Matured
from models.observer.outcomes import Ring
from models.observer.weights import recent_weights

EVERY: Final = 100
"""Outcomes between two weighings."""
_KEPT: Final = 4_096
"""Rows whose outcome is waited for, and losses that count."""
_STILL: Final = 0.01
"""Weights that moved less are not worth a record."""


def is_mixture(facts: tuple[tuple[str, float], ...]) -> bool:
    """Whether facts are those of several bundles that serve as one."""
    return any(key.startswith(MEMBER) for key, _ in facts)


class Weighing:
    """Of one mixture on one instrument.  ``places``: of each member's forecast and of its share among the numbers of a
    prediction; ``begin``: the weights that it begins with, empty where they are not told."""

    def __init__(self, places: list[tuple[int, int]], begin: tuple[float, ...] = ()) -> None:
        self._places = places
        self._begin = begin
        self._said: OrderedDict[int, tuple[float, ...]] = OrderedDict()
        self._losses = Ring(_KEPT, len(places))
        self._told: tuple[float, ...] = ()
        self._due = EVERY

    @classmethod
    def of(cls, facts: tuple[tuple[str, float], ...], place: int | None) -> Weighing | None:
        """``place`` of the forecast that is judged.  None for what is no mixture, has fixed weights, or has no such
        forecast."""
        told = dict(facts)
        if place is None or not told.get(RECENT):
            return None
        places = [
            (int(first) + place, int(told[f"{SHARE}{key.removeprefix(MEMBER)}"]))
            for key, first in facts
            if key.startswith(MEMBER)
        ]
        begin = tuple(weight for weight in members_told(facts).values() if weight is not None)
        return cls(places, begin if len(begin) == len(places) else ())

    @property
    def rows(self) -> int:
        """Whose losses count."""
        return len(self._losses)

    def said(self, row: int, values: tuple[float, ...]) -> None:
        """A prediction of a row, with what each member said.  Where one had not answered (no share, and zeros for
        numbers) the row counts for nobody."""
        if not values or any(share >= len(values) for _, share in self._places):
            return
        if any(values[share] == 0.0 and values[place] == 0.0 for place, share in self._places):
            return
        self._said[row] = tuple(values[place] for place, _ in self._places)
        if len(self._said) > _KEPT:
            self._said.popitem(last=False)

    def matured(self, one: Matured) -> None:
        """What came after a row is known.  A return that no scale was known for counts for nobody."""
        said = self._said.pop(one.row, None)
        if said is None:
            return
        losses = [one.loss_of(each) for each in said]
        if not any(map(math.isnan, losses)):
            self._losses.add(*losses)

    def due(self) -> tuple[float, ...]:
        """Weights to be told of, in the members' order; empty while there is nothing new."""
        if self._losses.count < self._due:
            return ()
        self._due = self._losses.count + EVERY
        weights = recent_weights(list(self._losses.all().T), begin=self._begin, seen=self._losses.count)
        if self._told and np.abs(np.subtract(weights, self._told)).max() < _STILL:
            return ()
        self._told = weights
        return weights
