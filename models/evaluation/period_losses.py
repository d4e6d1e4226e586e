"""Losses by period of time: what later comparisons need of a test that was opened, and small enough to be kept.

Owns ``period-losses.json`` of a run folder, and the paired difference of two forecasts of the same rows from two such
files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from engine.durable import write_atomically
from engine.errors import DataError
from models.evaluation.draws import DRAWS, Estimate, rounded, stationary_counts
from models.evaluation.draws import Draws as _Draws
from models.evaluation.scoring import Scored

FILE: Final = "period-losses.json"


class PeriodLosses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of each period: its first row's time, how many rows it has, and by forecast their mean loss.

    ``test``: fingerprint of the rows.  ``block``: mean length of a block of the bootstrap, in periods.
    """

    test: str
    block: int
    first_ns: tuple[int, ...]
    rows: tuple[int, ...]
    losses: dict[str, tuple[float, ...]]

    def only(self, names: Sequence[str]) -> PeriodLosses:
        """The same of these forecasts alone."""
        return msgspec.structs.replace(self, losses={name: self.losses[name] for name in names if name in self.losses})


def period_losses(test: str, ts_ns: np.ndarray, scored: Sequence[Scored], draws: _Draws) -> PeriodLosses:
    """``ts_ns (N,)``: of the test rows, in the order of the losses."""
    first = np.full(draws.periods, np.iinfo(np.int64).max)
    np.minimum.at(first, draws.of_row, ts_ns)
    rows = np.bincount(draws.of_row, minlength=draws.periods)
    losses = {
        one.name: tuple(rounded(v) for v in (draws.sums(one.loss) / np.maximum(rows, 1)).tolist()) for one in scored
    }
    return PeriodLosses(test, draws.block, tuple(first.tolist()), tuple(rows.tolist()), losses)


def write(folder: Path, found: PeriodLosses) -> None:
    """Raises ``OSError``."""
    write_atomically(folder / FILE, msgspec.json.encode(found))


def read(folder: Path) -> PeriodLosses:
    """Raises ``DataError`` where a run has none that can be read."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=PeriodLosses)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{folder / FILE} cannot be read: {error}", do="evaluate the run again") from None


def common(ours: PeriodLosses, theirs: PeriodLosses) -> tuple[PeriodLosses, PeriodLosses]:
    """Both with the periods alone that begin with the same row and have as many.

    Forecasts that are learned together lose the last rows of the shorter labels: their tests begin and end elsewhere
    than those of one alone.
    """
    keys = [set(zip(one.first_ns, one.rows, strict=True)) for one in (ours, theirs)]
    shared = keys[0] & keys[1]
    return _only_periods(ours, shared), _only_periods(theirs, shared)


def _only_periods(one: PeriodLosses, shared: set[tuple[int, int]]) -> PeriodLosses:
    at = [number for number, key in enumerate(zip(one.first_ns, one.rows, strict=True)) if key in shared]
    losses = {name: tuple(values[number] for number in at) for name, values in one.losses.items()}
    return PeriodLosses("common", one.block, tuple(one.first_ns[n] for n in at), tuple(one.rows[n] for n in at), losses)


def paired(
    ours: Sequence[PeriodLosses], theirs: Sequence[PeriodLosses], name: str, other: str, seed: int = 0
) -> Estimate:
    """Mean loss of ``name`` minus that of ``other`` over all rows; several files follow each other in time.

    Periods are drawn by the stationary bootstrap (Politis and Romano 1994), as in ``models.evaluation.draws``.  Raises
    ``DataError`` when the two are not of the same rows.
    """
    if [one.test for one in ours] != [one.test for one in theirs]:
        raise DataError("losses of other test rows", expected="two forecasts of the same rows")
    rows = np.concatenate([np.asarray(one.rows, np.float64) for one in ours])
    gap = _joined(ours, name) - _joined(theirs, other)
    block = max(one.block for one in ours)
    counts = stationary_counts(len(rows), block, DRAWS, seed)
    return Estimate(float(gap @ rows / rows.sum()), (counts @ (gap * rows)) / (counts @ rows))


def _joined(each: Sequence[PeriodLosses], name: str) -> np.ndarray:
    found: list[Mapping[str, tuple[float, ...]]] = [one.losses for one in each]
    if not all(name in one for one in found):
        raise DataError(f"no losses of {name!r}", expected="a forecast that was scored on these rows")
    return np.concatenate([np.asarray(one[name], np.float64) for one in found])
