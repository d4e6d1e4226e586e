"""In which order the spots come, and which of their calls kills."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.support.kills.spots import SPOTS, Spot


def plan(count: int, seed: int, only: str = "") -> list[tuple[Spot, int]]:
    """Every spot (that has ``only`` in its name) about equally often, in an order and with numbers that ``seed``
    decides."""
    rng = random.Random(seed)
    spots = [spot for spot in SPOTS if only in spot.call]
    chosen: list[Spot] = []
    while len(chosen) < count:
        chosen += _round(spots, rng)
    return [(spot, rng.randint(1, spot.most)) for spot in chosen[:count]]


def _round(spots: Sequence[Spot], rng: random.Random) -> list[Spot]:
    """Each of them once; what dies before it is compared comes right before one that is."""
    starting, trading = ([one for one in spots if one.starting is starts] for starts in (True, False))
    if len(starting) > len(trading):
        return rng.sample(spots, len(spots))
    starting, trading = rng.sample(starting, len(starting)), rng.sample(trading, len(trading))
    preceded = set(rng.sample(range(len(trading)), len(starting)))
    mixed: list[Spot] = []
    for number, one in enumerate(trading):
        mixed += [starting.pop(), one] if number in preceded else [one]
    return mixed
