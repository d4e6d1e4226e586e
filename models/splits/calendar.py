"""One cut of the calendar into training, validation and test: the same moments for every instrument.

A training label is known before the cut (purge of its horizon); a later part begins with the first sample whose whole
window lies behind the cut (embargo of the window).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from engine.errors import ConfigError
from models.splits.parts import HeldOutPart, Split, TrainingPart
from models.splits.spans import Spans


def cuts_by_share(spans: Spans, shares: Sequence[float]) -> tuple[int, int]:
    """The two times that have these shares of the samples before them: 0.6 and 0.2, or 0.7 and 0.15; the rest is test.

    Raises ``ConfigError`` for shares that leave a part empty.
    """
    train, validation = shares
    if not (train > 0 and validation > 0 and train + validation < 1):
        raise ConfigError(f"shares of {train:g} and {validation:g}", expected="above 0, and some left for the test")
    times = np.sort(spans.ts_ns)
    if not len(times):
        raise ConfigError("no samples to cut", expected="rows with a label")
    first, second = (int(times[int(len(times) * share)]) for share in (train, train + validation))
    return first, second


def cuts_by_text(first: str, second: str) -> tuple[int, int]:
    """Two ISO 8601 times, UTC where they name no zone.  Raises ``ConfigError`` for others, or where they go back."""
    cuts = []
    for text in (first, second):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ConfigError(f"a cut at {text!r}", expected="an ISO 8601 time such as 2022-01-24") from error
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        cuts.append(int(moment.timestamp()) * 1_000_000_000)
    if cuts[0] >= cuts[1]:
        raise ConfigError(f"cuts at {first} and {second}", expected="the first before the second")
    return cuts[0], cuts[1]


def calendar_split(spans: Spans, cuts_ns: tuple[int, int]) -> Split:
    """Training before the first cut, test after the second, validation between; see the module for what is left out."""
    first, second = cuts_ns
    if first > second:
        raise ConfigError(f"cuts at {first} and {second} ns", expected="the first before the second")
    return Split(
        TrainingPart.of(spans, spans.end_ns < first),
        HeldOutPart.of(spans, (spans.begin_ns >= first) & (spans.end_ns < second)),
        HeldOutPart.of(spans, spans.begin_ns >= second),
    )
