"""What a column is, and the registry of all columns.

Owns the declaration and its rules.  The functions themselves are in ``engine.features.columns`` (ours) and in files a
user names (``load_columns``); they are put together by ``engine.features.fused``.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from engine.arithmetic import own_context
from engine.errors import DataError
from engine.features.jit import python_source
from engine.features.layout import HISTORY

UNITS = frozenset({"price", "qty", "ratio", "percent", "return", "bps", "count", "log_s"})
INPUTS = frozenset({"quotes", "sizes", "trades", "volume"})
"""What a column may need.  ``volume`` is what the spec declares it to be: traded quantity, or the count of quotes."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One feature: a kernel function and what is said about it.

    ``function(state, [private,] *params, *uses) -> float64`` is called once per row, after the row is in the history.
    ``private`` is passed where ``private_slots`` is not 0: the slot where that many floats of its own begin (zero after
    a restart).  ``params`` are constants; ``uses`` are values of other columns of the same row.  Until row
    ``warm_rows`` after a restart it returns NaN, from then on a finite number.  Raise ``version`` whenever the same
    input may give another number: models trained on the old one are then refused.
    """

    name: str
    function: Callable[..., float]
    formula: str
    unit: str
    inputs: tuple[str, ...]
    warm_rows: int
    version: int = 1
    source: str = ""
    params: tuple[int | float, ...] = ()
    uses: tuple[str, ...] = ()
    private_slots: int = 0

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise DataError(f"column name {self.name!r}", expected="a Python identifier", do="rename the column")
        if self.unit not in UNITS:
            raise DataError(f"column {self.name} has unit {self.unit!r}", expected=f"one of {', '.join(sorted(UNITS))}")
        unknown = set(self.inputs) - INPUTS
        if unknown:
            raise DataError(
                f"column {self.name} needs {', '.join(sorted(unknown))}", expected=f"any of {', '.join(sorted(INPUTS))}"
            )
        if self.warm_rows < 1:
            raise DataError(f"column {self.name} has warm_rows {self.warm_rows}", expected="at least 1")
        for value in self.params:
            if isinstance(value, int) and not 0 <= value < HISTORY:
                raise DataError(
                    f"column {self.name} looks back {value} rows",
                    expected=f"less than {HISTORY}",
                    do="use a shorter span",
                )


_COLUMNS: dict[str, Column] = {}


def register(column: Column) -> Column:
    """Make a column known by its name.  Raises ``DataError`` when the name is taken or a column it uses is unknown."""
    if column.name in _COLUMNS:
        raise DataError(f"column {column.name} is declared twice", do="give one of them another name")
    for used in column.uses:
        lookup(used)
    _COLUMNS[column.name] = column
    return column


def lookup(name: str) -> Column:
    """The column of that name.  Raises ``DataError`` that names the nearest known one."""
    found = _COLUMNS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, _COLUMNS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see docs/features.md for the list"
        raise DataError(f"unknown feature column {name!r}", expected="a registered column", do=hint)
    return found


def known() -> tuple[Column, ...]:
    """All registered columns, in order of registration."""
    return tuple(_COLUMNS.values())


def closure(names: Iterable[str]) -> tuple[Column, ...]:
    """The named columns and all they use, each after what it uses."""
    ordered: dict[str, Column] = {}

    def visit(name: str) -> None:
        if name in ordered:
            return
        column = lookup(name)
        for used in column.uses:
            visit(used)
        ordered[name] = column

    for name in names:
        visit(name)
    return tuple(ordered.values())


def source_files(columns: Iterable[Column]) -> set[Path]:
    """The files that the columns' functions come from."""
    return {Path(python_source(column.function).__code__.co_filename) for column in columns}


def load_columns(folder: Path) -> tuple[str, ...]:
    """Run every ``*.py`` of a user's folder, which calls ``register``; the names registered, in file order.

    Raises ``DataError`` when the folder is missing or a file does not run.
    """
    if not folder.is_dir():
        raise DataError(f"no folder of feature columns at {folder}", expected="a folder with .py files")
    before = set(_COLUMNS)
    for path in sorted(folder.glob("*.py")):
        # The compiled kernel imports column functions by module name, so two folders must not collide.
        tag = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
        module_name = f"kestrel_columns_{tag}_{path.stem}"
        if module_name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise DataError(f"cannot load feature columns from {path}", expected="a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            own_context().run(spec.loader.exec_module, module)
        except DataError:
            del sys.modules[module_name]
            raise
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise DataError(
                f"feature columns in {path} failed: {type(error).__name__}: {error}", do="fix or remove the file"
            ) from error
    return tuple(name for name in _COLUMNS if name not in before)
