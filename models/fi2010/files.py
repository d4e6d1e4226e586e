"""Files of FI-2010 as arrays: ten levels, features and labels of five stocks in Helsinki, 1 to 14 June 2010.

Source: Ntakaris, Magris, Kanniainen, Gabbouj and Iosifidis (2018), "Benchmark dataset for mid-price forecasting of
limit order book data with machine learning methods", Journal of Forecasting 37(8).  A file is text with 149 lines, one
column per ten events: 40 lines of the book (ask price, ask size, bid price, bid size of each level), 104 of made
features, 5 of labels for the next 10, 20, 30, 50 and 100 events (1 up, 2 stationary, 3 down).

One file holds stock after stock and does not say where one ends.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from engine.errors import DataError

Normalisation = Literal["ZScore", "MinMax", "DecPre"]
LEVELS: Final = 10
BOOK_COLUMNS: Final = tuple(
    f"{side}_{what}_{level}" for level in range(1, LEVELS + 1) for side in ("ask", "bid") for what in ("px", "qty")
)
FEATURES: Final = 144
HORIZONS_EVENTS: Final = (10, 20, 30, 50, 100)
CLASSES: Final = ("down", "stationary", "up")
FOLDS: Final = 9


@dataclass(frozen=True)
class Recording:
    """``values (N, 144)`` float32, the book in the first 40 columns; ``labels (N, 5)``: classes 0 to 2 by horizon."""

    path: Path
    values: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    @property
    def book(self) -> npt.NDArray[np.float32]:
        """(N, 40), named by ``BOOK_COLUMNS``."""
        return self.values[:, : len(BOOK_COLUMNS)]


def read_recording(path: Path) -> Recording:
    """Raises ``DataError`` for what is no file of the data set."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file: it is refused below
            table = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise _no_such(path, f"is not a table of numbers ({str(error).splitlines()[0]})") from None
    lines = FEATURES + len(HORIZONS_EVENTS)
    if table.shape[0] != lines:
        raise _no_such(path, f"has {table.shape[0]} lines")
    values, told = table[:FEATURES], table[FEATURES:]
    if not np.isfinite(values).all():
        line, column = np.argwhere(~np.isfinite(values))[0]
        raise _no_such(path, f"has {values[line, column]} in line {line + 1}, column {column + 1}")
    if not np.isin(told, (1, 2, 3)).all():
        line, column = np.argwhere(~np.isin(told, (1, 2, 3)))[0]
        raise _no_such(path, f"has the label {told[line, column]:g} in line {FEATURES + line + 1}, column {column + 1}")
    labels = np.ascontiguousarray(3 - told.T).astype(np.int64)
    return Recording(path, np.ascontiguousarray(values.T, dtype=np.float32), labels)


def fold_paths(folder: Path, normalisation: Normalisation, fold: int) -> tuple[Path, Path]:
    """Training and test file of fold 1 to 9, under the data set's own names, wherever in ``folder`` they lie."""
    found = []
    for part in ("Train", "Test"):
        name = f"{part}_Dst_NoAuction_{normalisation}_CF_{fold}.txt"
        there = sorted(folder.rglob(name))
        if len(there) != 1:
            raise DataError(
                f"{len(there)} files {name} in {folder}",
                expected="the data set as it is published, without auctions",
                do="unpack it there; it is not part of this project",
            )
        found.append(there[0])
    return found[0], found[1]


def _no_such(path: Path, seen: str) -> DataError:
    wanted = f"{FEATURES} lines of values and {len(HORIZONS_EVENTS)} of labels 1 to 3, a column per ten events"
    return DataError(f"{path} {seen}", expected=wanted, do="unpack the FI-2010 files again")
