"""What a run says of itself: task, data, parts, epochs, as JSON files hold them.  The trainer writes these types."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from engine.errors import DataError
from models.evaluation.rows import Rows, rows_fingerprint

OpenPart = Literal["train", "validation"]
Part = Literal["train", "validation", "test"]
Kind = Literal["classes", "variance", "return"]


# Those that have an interval, so that a verdict can go by them.
KNOWN_METRICS: Final[dict[Kind, set[str]]] = {
    "classes": {"log_loss", "brier", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc"},
    "variance": {"qlike", "r2_log"},
    "return": {"r2_oos", "mse"},
}
BINARY_METRICS: Final = frozenset({"roc_auc", "pr_auc", "precision", "recall", "f1"})
_HORIZON_S_MAX: Final = 100 * 365 * 86_400.0


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Environment(_Section, frozen=True):
    """What trained: commit (with ``+`` where files differed from it), versions, processor."""

    commit: str
    python: str
    libraries: dict[str, str]
    processor: str = ""


class Figure(_Section, frozen=True):
    """A published figure to beat: of which metric, how much, and where it was measured.  It is held against the fixed
    test of the settings that name it, and against no other rows."""

    name: str
    metric: str
    value: float
    source: str = ""


class Columns(_Section, frozen=True):
    """Feature columns that baselines know by their part; empty where a task has none.

    ``rules``: each is a classifier of its own (sd168, range24).  ``volatility``: what the table is made of.  ``har``:
    log variance of the last day, week and month.  ``regime``: groups the errors (with ``regimes`` as its thirds).
    """

    rules: tuple[str, ...] = ()
    volatility: str = ""
    har: tuple[str, ...] = ()
    regime: str = ""


class Task(_Section, frozen=True):
    """What is learned.  ``horizon_s``: from a row to the end of its label; ``horizon_rows``: the same in bars.

    ``classes``: names in the order of their numbers, for kind ``classes``.  ``down`` and ``up``: the two of them that
    are moves, else empty.  ``signal``: the class that is traded, the second of two; its threshold comes from validation
    rows, and ``break_even`` is the precision from which it pays after costs (0: not told).
    ``primary``: the metric that the verdict is about.  ``stacked``: the network is also judged together with baselines.
    """

    name: str
    kind: Kind
    horizon_s: float
    primary: str
    horizon_rows: int = 1
    classes: tuple[str, ...] = ()
    down: str = ""
    up: str = ""
    signal: str = ""
    break_even: float = 0.0
    columns: Columns = Columns()
    figures: tuple[Figure, ...] = ()
    stacked: bool = False


class PartInfo(_Section, frozen=True):
    rows: int
    first_ns: int
    last_ns: int
    fingerprint: str


class RunData(_Section, frozen=True):
    """What it learned from.  ``fingerprint``: of data, labels and splits; ``sources``: sha256 by file.  ``purged``:
    validation is a fold that was cut out of the training, and all that holds is that the test comes after both.
    ``config_sha256``: of the settings that the run was begun with; empty where an older release began it.  ``test_of``:
    what the test part is of, where it is not the fixed one of the settings: an origin of a walk-forward, a refresh."""

    task: Task
    fingerprint: str
    sources: dict[str, str]
    instruments: tuple[str, ...]
    features: tuple[str, ...]
    parts: dict[Part, PartInfo]
    seeds: tuple[int, ...]
    network: str
    parameters: int = 0
    purged: bool = False
    config_sha256: str = ""
    test_of: str = ""


class EpochLine(_Section, frozen=True):
    """One line of ``metrics.jsonl``: ``train`` and ``validation`` hold metrics by name."""

    seed: int
    epoch: int
    train: dict[str, float]
    validation: dict[str, float]
    learning_rate: float = 0.0
    seconds: float = 0.0


class Trials(_Section, frozen=True):
    """Net returns per period of every strategy that was tried, ``(T, N)``; ``chosen`` is the one that is shown."""

    names: tuple[str, ...]
    chosen: int
    periods_per_year: float
    returns: Any


def describe_part(rows: Rows, instruments: tuple[str, ...]) -> PartInfo:
    """What ``data.json`` says of a part."""
    return PartInfo(
        len(rows),
        int(rows.ts_ns.min()),
        int(rows.ts_ns.max()),
        rows_fingerprint(rows.instrument, rows.ts_ns, instruments),
    )


def check_description(path: Path, data: RunData) -> None:
    """Raises ``DataError`` when the parts of a description contradict each other."""
    task = data.task

    def require(good: bool, seen: str, expected: str) -> None:
        if not good:
            raise DataError(f"{path}: {seen}", expected=expected)

    require(
        set(data.parts) == {"train", "validation", "test"}, f"parts {sorted(data.parts)}", "train, validation, test"
    )
    require(
        bool(task.classes) == (task.kind == "classes"), f"kind {task.kind}", "names of classes for kind classes alone"
    )
    require(len(task.classes) != 1, "one class", "two or more")
    for name in (task.down, task.up, task.signal):
        require(not name or name in task.classes, f"class {name!r}", f"one of {', '.join(task.classes)}")
    # Thresholds, precision and PR-AUC are of the second class: a signal that is the first would be scored upside down.
    require(
        not task.signal or (len(task.classes) == 2 and task.classes[1] == task.signal),
        f"signal {task.signal!r}",
        "the second of two classes",
    )
    columns = task.columns
    optional = tuple(name for name in (columns.volatility, columns.regime) if name)
    for name in (*columns.rules, *columns.har, *optional):
        require(name in data.features, f"column {name!r}", "one of its features")
    require(len(columns.har) in (0, 3), f"{len(columns.har)} columns of HAR", "a day's, a week's and a month's")
    known = KNOWN_METRICS[task.kind] | (BINARY_METRICS if len(task.classes) == 2 else set())
    known |= {"direction_accuracy"} if task.up and task.down else set()
    require(task.primary in known, f"primary {task.primary!r}", f"one of {', '.join(sorted(known))}")
    require(0 <= task.break_even < 1, f"break_even {task.break_even}", "a precision below 1, or 0")
    require(not task.break_even or bool(task.signal), "break_even without a signal", "the class that is traded")
    require(bool(task.up) == bool(task.down), f"up {task.up!r} and down {task.down!r}", "both or neither")
    require(not task.up or task.up != task.down, f"up and down are both {task.up!r}", "two classes")
    require(0 < task.horizon_s < _HORIZON_S_MAX and task.horizon_rows >= 1, "horizon", "more than 0, below 100 years")
    lists: dict[str, tuple[object, ...]] = {
        "seeds": data.seeds,
        "features": data.features,
        "instruments": data.instruments,
    }
    for what, listed in lists.items():
        require(len(listed) > 0, f"no {what}", "one or more")
    for what, listed in {**lists, "classes": task.classes}.items():
        require(len(set(listed)) == len(listed), f"{what} {listed}", "each once")
    orders: tuple[tuple[Part, Part], ...] = (("train", "test" if data.purged else "validation"), ("validation", "test"))
    for earlier, later in orders:
        require(
            data.parts[earlier].last_ns < data.parts[later].first_ns,
            f"the {later} part begins before the {earlier} part ends",
            "parts one after another in time, the same cut for every instrument",
        )
