"""Which rows learn, which choose and which judge: cuts in time, the same for every instrument.

``spans`` says what of time a sample touches; ``parts`` are the types of what a split gives; ``calendar`` cuts once,
``walk_forward`` several times, ``folds`` and ``combinatorial`` test every stretch.  What is between parts is left out:
labels that reach over a cut (purge) and windows that reach back over it (embargo).
"""

from __future__ import annotations

from models.splits.calendar import calendar_split, cuts_by_share, cuts_by_text
from models.splits.combinatorial import CombinatorialSplit, combinatorial_purged, paths
from models.splits.folds import purged_fold, purged_folds
from models.splits.parts import HeldOutPart, Split, TrainingPart
from models.splits.spans import Spans
from models.splits.walk_forward import walk_forward

__all__ = [
    "CombinatorialSplit",
    "HeldOutPart",
    "Spans",
    "Split",
    "TrainingPart",
    "calendar_split",
    "combinatorial_purged",
    "cuts_by_share",
    "cuts_by_text",
    "paths",
    "purged_fold",
    "purged_folds",
    "walk_forward",
]
