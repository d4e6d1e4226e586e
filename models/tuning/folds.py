"""How a trial is judged by several stretches of time instead of one: settings of a run for each.

Walking forward only the validation part is cut: every run learns from what lies before its stretch, is judged on the
stretch, and leaves out what comes after it.  Purged folds cut all that lies before the test, and learn from what comes
after a fold too.  The test part stays where it is and shut.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from engine.errors import ConfigError
from models.splits import cuts_by_text
from models.tuning.plain import Plain, value_at, with_values
from models.tuning.settings import Folds

_DAY: Final = timedelta(days=1)


def runs_of(plain: Plain, folds: Folds) -> list[Plain]:
    """The settings as they are, or those of each fold.  Raises ``ConfigError`` where stretches are to be cut of a split
    that names no days."""
    if folds.kind == "none":
        return [plain]
    if folds.kind == "purged":
        each = range(1, folds.count + 1)
        return [with_values(plain, {"split.purged": {"folds": folds.count, "fold": fold}}) for fold in each]
    return [
        with_values(plain, {"split.validation_from": begin, "split.test_from": end})
        for begin, end in stretches(plain, folds.count)
    ]


def stretches(plain: Plain, count: int) -> list[tuple[str, str]]:
    """Begin and end of ``count`` equally long stretches of the validation part, ISO 8601, UTC.

    What ``models.splits.calendar_split`` leaves out between parts, it leaves out at each of them.
    """
    first, last = value_at(plain, "split.validation_from"), value_at(plain, "split.test_from")
    if not (first and last):
        raise ConfigError(
            "folds of a split by shares",
            expected="split.validation_from and split.test_from in the training settings",
            do="name the days, or take folds none",
        )
    begin, end = (datetime.fromtimestamp(cut / 1e9, UTC) for cut in cuts_by_text(str(first), str(last)))
    length = (end - begin) / count
    if length < _DAY:
        raise ConfigError(f"{count} folds from {first} to {last}", expected="a day or more each", do="take fewer folds")
    cuts = [begin + length * number for number in range(count)]
    texts = [cut.replace(microsecond=0).isoformat() for cut in cuts] + [end.isoformat()]
    return list(pairwise(texts))
