"""Made-up files in the format of FI-2010: ten levels of a market that its imbalance moves, with labels of the paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.fi2010.files import FEATURES, HORIZONS_EVENTS

THRESHOLD = 0.002
"""Of the mean of the next mids against this one (Ntakaris et al. 2018)."""


def made_up_table(rows: int, seed: int) -> np.ndarray:
    """(149, rows), as a file has it: z-scores of the book, other features that say nothing, labels 1 to 3."""
    random = np.random.default_rng(seed)
    ahead = max(HORIZONS_EVENTS) // 10
    lean = np.zeros(rows + ahead)
    for row in range(1, len(lean)):
        lean[row] = 0.9 * lean[row - 1] + 0.4 * random.normal()
    mid = 100 * np.exp(np.cumsum(np.r_[0.0, 0.003 * lean[:-1]]))
    table = np.zeros((FEATURES + len(HORIZONS_EVENTS), rows))
    for level in range(10):
        away = 0.01 * (level + 1)
        sizes = random.exponential(100, (2, rows)) * np.exp(np.array([[-1.0], [1.0]]) * lean[:rows])
        table[4 * level : 4 * level + 4] = mid[:rows] + away, sizes[0], mid[:rows] - away, sizes[1]
    book = table[:40]
    table[:40] = (book - book.mean(axis=1, keepdims=True)) / book.std(axis=1, keepdims=True)
    table[40:FEATURES] = random.normal(size=(FEATURES - 40, rows))
    for line, events in enumerate(HORIZONS_EVENTS):
        further = events // 10
        mean = np.mean([mid[step : step + rows] for step in range(1, further + 1)], axis=0)
        change = mean / mid[:rows] - 1
        table[FEATURES + line] = np.select([change > THRESHOLD, change < -THRESHOLD], [1, 3], 2)
    return table


def write_table(path: Path, table: np.ndarray) -> Path:
    """In the published files' notation: three blanks, seven digits of a mantissa."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "   %.7e" * table.shape[1] + "\n"
    path.write_text("".join(form % tuple(line) for line in table.tolist()))
    return path


def write_data_set(folder: Path, days: int = 10, rows: int = 60, normalisation: str = "ZScore") -> Path:
    """Ten days: the training file of fold k holds days 1 to k, its test file day k + 1."""
    made = [made_up_table(rows, seed=day) for day in range(days)]
    for fold in range(1, days):
        for part, table in (("Train", np.hstack(made[:fold])), ("Test", made[fold])):
            place = folder / "NoAuction" / f"NoAuction_{part}ing"
            write_table(place / f"{part}_Dst_NoAuction_{normalisation}_CF_{fold}.txt", table)
    return folder
