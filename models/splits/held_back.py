"""The last rows of a training part, kept from what is trained first: what combines networks learns from those."""

from __future__ import annotations

from models.splits.parts import TrainingPart
from models.splits.spans import Spans


def held_back(part: TrainingPart, spans: Spans, share: float) -> tuple[TrainingPart, TrainingPart]:
    """In time: all but the last ``share`` of the samples, less those whose label is not known by then; and the last."""
    cut = int(len(part) * (1.0 - share))
    later = part.index[cut:]
    if not len(later):
        return part, TrainingPart(later)
    earlier = part.index[:cut]
    known = spans.end_ns[earlier] < spans.ts_ns[later].min()
    return TrainingPart(earlier[known]), TrainingPart(later)
