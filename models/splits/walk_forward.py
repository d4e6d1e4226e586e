"""Walk-forward with a growing past: each origin trains on all before it and is judged on the stretch that follows.

The result of record: it is how a model is used.  The test stretches follow each other without a hole, so that every day
behind the first origin is judged once; what has to be left out between parts is taken from the older one.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from engine.errors import ConfigError
from models.splits.parts import HeldOutPart, Split, TrainingPart
from models.splits.spans import Spans

ORIGINS_LEAST = 5


def walk_forward(
    spans: Spans,
    *,
    origins: int = ORIGINS_LEAST,
    first_share: float = 0.5,
    validation_share: float = 0.2,
    embargo_ns: int = 0,
) -> list[Split]:
    """``origins`` splits in order of time.

    The moments behind the first ``first_share`` of all are cut into ``origins`` equal test stretches.  Of what lies
    before a stretch the last ``validation_share`` of moments choose (0: nothing does), the rest learn.  No sample of a
    part shares a moment, from window to label, with one of a later part, nor ``embargo_ns`` before that.  Raises
    ``ConfigError`` when a part would be empty.
    """
    if origins < 1 or not 0 < first_share < 1 or not 0 <= validation_share < 1:
        raise ConfigError(
            f"walk-forward with {origins} origins, first {first_share:g}, validation {validation_share:g}",
            expected="an origin or more, and shares between 0 and 1",
        )
    moments = spans.moments
    first = int(len(moments) * first_share)
    edges = np.linspace(first, len(moments), origins + 1).round().astype(int)
    made = []
    for number, (low, high) in enumerate(pairwise(edges.tolist())):
        if low >= high or low < 1:
            raise ConfigError(
                f"{len(moments)} moments for a walk-forward of {origins} origins", expected="more data or fewer origins"
            )
        test = (spans.ts_ns >= moments[low]) & (spans.ts_ns <= moments[high - 1])
        before = spans.ts_ns < moments[low]
        before[before] = spans[before].apart_from(_widened(spans[test], embargo_ns))
        validation = np.zeros(len(spans), bool)
        if validation_share:
            held = int(low * (1 - validation_share))
            validation = before & (spans.ts_ns >= moments[held])
            before &= spans.ts_ns < moments[held]
            before[before] = spans[before].apart_from(_widened(spans[validation], embargo_ns))
        made.append(
            Split(TrainingPart.of(spans, before), HeldOutPart.of(spans, validation), HeldOutPart.of(spans, test))
        )
        if not len(made[-1].train) or (validation_share and not len(made[-1].validation)):
            raise ConfigError(
                f"origin {number + 1} of {origins} has nothing to learn from",
                expected="more data before it than a window and a horizon",
                do="raise first_share or take fewer origins",
            )
    return made


def _widened(spans: Spans, embargo_ns: int) -> Spans:
    """The same, begun that much earlier."""
    return Spans(spans.begin_ns - embargo_ns, spans.ts_ns, spans.end_ns)
