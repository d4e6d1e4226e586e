"""The two protocols in which FI-2010 results are told: which files are learned from, what is judged, and how.

``anchored``: nine folds; fold k learns from days 1 to k and is judged on day k + 1, and the scores are the folds' mean
and standard deviation (Ntakaris et al. 2018, setup of all folds; Tran et al. 2019).  ``seven_days``: learns from the
first seven days and is judged on the last three as one (Tsantekidis et al. 2017, Zhang et al. 2019, DeepLOB).

A window ends at the row whose label it has and never reaches into another file.  Where two stocks follow each other in
a file, up to ``window - 1`` windows hold rows of both: the published results have them as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.evaluation.losses import confusion
from models.evaluation.metrics import TABLE_SCORES
from models.fi2010.files import CLASSES, FOLDS, HORIZONS_EVENTS, Normalisation, fold_paths, read_recording

Setup = Literal["anchored", "seven_days"]
LEARNED_DAYS: Final = 7
_ROWS_AT_ONCE: Final = 65_536


@dataclass(frozen=True)
class Part:
    """Windows of one or more files.  ``ends (M,)``: the last row of each, in ``book (N, 40)``; ``label (M,)``."""

    book: npt.NDArray[np.float32]
    ends: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    window: int

    def __len__(self) -> int:
        return len(self.ends)

    def windows(self, numbers: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.float32]:
        """(n, window, 40) of these windows, oldest row first."""
        before = np.arange(1 - self.window, 1)
        taken: npt.NDArray[np.float32] = self.book[self.ends[numbers][:, None] + before]
        return taken


Predict = Callable[[Part], npt.NDArray[np.int64]]
"""Classes (M,) of a part's windows; it must not look at their labels."""
Learn = Callable[[Part], Predict]


def part_of(paths: list[Path], horizon_events: int, window: int) -> Part:
    """The files' windows, one file after the other.  Raises ``DataError``."""
    if horizon_events not in HORIZONS_EVENTS:
        known = ", ".join(map(str, HORIZONS_EVENTS))
        raise DataError(f"FI-2010 has no labels for the next {horizon_events} events", expected=f"one of {known}")
    if window < 1:
        raise DataError(f"a window of {window} rows", expected="at least 1")
    at = HORIZONS_EVENTS.index(horizon_events)
    books, ends, labels = [], [], []
    begin = 0
    for path in paths:
        recording = read_recording(path)
        rows = len(recording.book)
        if rows < window:
            raise DataError(f"{path} has {rows} rows", expected=f"at least a window of {window}")
        books.append(recording.book)
        ends.append(np.arange(begin + window - 1, begin + rows))
        labels.append(recording.labels[window - 1 :, at])
        begin += rows
    return Part(np.concatenate(books), np.concatenate(ends), np.concatenate(labels), window)


def splits(
    folder: Path, setup: Setup, *, normalisation: Normalisation = "ZScore", horizon_events: int = 10, window: int = 10
) -> Iterator[tuple[Part, Part]]:
    """What is learned from and what is judged, fold by fold; one after the other, as a late fold fills a gigabyte."""
    if setup == "seven_days":
        learned, _ = fold_paths(folder, normalisation, LEARNED_DAYS)
        tests = [fold_paths(folder, normalisation, fold)[1] for fold in range(LEARNED_DAYS, FOLDS + 1)]
        yield part_of([learned], horizon_events, window), part_of(tests, horizon_events, window)
        return
    for fold in range(1, FOLDS + 1):
        learned, test = fold_paths(folder, normalisation, fold)
        yield part_of([learned], horizon_events, window), part_of([test], horizon_events, window)


@dataclass(frozen=True)
class Score:
    """Over the folds; ``spread``: their standard deviation (of the population), 0 of one."""

    mean: float
    spread: float
    folds: tuple[float, ...]


def judge(learn: Learn, parts: Iterator[tuple[Part, Part]]) -> dict[str, Score]:
    """Learns and predicts fold by fold; accuracy, macro and weighted F1 and what else a table of classes gives.

    Raises ``DataError`` when a prediction is none of the classes or not one for each window.
    """
    found: dict[str, list[float]] = {name: [] for name in TABLE_SCORES}
    for learned, test in parts:
        said = np.asarray(learn(learned)(test))
        if said.shape != test.label.shape or not np.isin(said, range(len(CLASSES))).all():
            raise DataError(f"a prediction of shape {said.shape}", expected=f"{len(test)} classes 0 to 2")
        table = np.zeros((len(CLASSES), len(CLASSES)))
        for first in range(0, len(test), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            table += confusion(test.label[rows], said[rows], len(CLASSES)).sum(axis=0)
        for name, of in TABLE_SCORES.items():
            found[name].append(float(of(table)))
    return {name: Score(float(np.mean(one)), float(np.std(one)), tuple(one)) for name, one in found.items()}


def most_frequent(learned: Part) -> Predict:
    """The baseline of every table: the class that was there most often."""
    said = int(np.bincount(learned.label, minlength=len(CLASSES)).argmax())
    return lambda part: np.full(len(part), said)
