"""What a column is, and the registry of all columns and families.

Owns the declaration and its rules.  The functions themselves are in ``engine.features.columns`` (ours) and in files a
user names (``load_columns``); they are put together by ``engine.features.fused``.

A *family* makes columns from arguments: ``lag(rsi_14,5)`` names the column that the family ``lag`` makes of ``rsi_14``
and 5.  What it stands for depends on that text alone.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import msgspec

from engine.arithmetic import own_context
from engine.errors import DataError
from engine.features.jit import python_source
from engine.features.layout import HISTORY

UNITS = frozenset(
    {"price", "qty", "ratio", "percent", "return", "variance", "bps", "count", "log_s", "s", "per_s", "rows", "per_row"}
    | {"rad", "label", "value", "bps_per_qty"}
)
INPUTS = frozenset({"price", "quotes", "sizes", "trades", "volume", "depth", "sessions"})
"""What a column may need.  ``price`` is what rows are made of (mids or trade prices, as the sampling says); ``volume``
is what the spec declares it to be: traded quantity, or the count of quotes."""

_CALL = re.compile(r"([A-Za-z_]\w*)\((.*)\)")
Argument = str | int | float


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One feature: a kernel function and what is said about it.

    ``function(state, [private,] [block,] *reads, *params, *uses) -> float64`` is called once per row, after the row is
    in the history.  ``private`` is passed where ``private_slots`` is not 0: the slot where that many floats of its own
    begin (zero after a restart).  ``block`` is passed where ``peer`` (an instrument's id) or ``series`` (the name of a
    published series) is set: the slot where that instrument's or series' part of the record begins.  ``reads`` are
    other columns whose private slots it reads: where each one's begin.  ``params`` are constants; ``uses`` are values
    of other columns of the same row.  Until row ``warm_rows`` after a restart it returns NaN, from then on a finite
    number within ``bounds`` wherever its inputs are known.  Raise ``version`` whenever the same input may give another
    number: models trained on the old one are then refused.

    ``candle``: it reads nothing that a candle does not have (open, high, low, close, volume and times): a spec of such
    columns alone has the smaller record.
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
    reads: tuple[str, ...] = ()
    private_slots: int = 0
    bounds: tuple[float, float] = (-math.inf, math.inf)
    candle: bool = False
    peer: str = ""
    series: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() and _CALL.fullmatch(self.name) is None:
            raise DataError(f"column name {self.name!r}", expected="a Python identifier", do="rename the column")
        if self.peer and self.series:
            raise DataError(f"column {self.name} has a peer and a series", expected="one of the two")
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


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that makes columns: ``make(*arguments)`` returns the column of that name, or raises ``DataError``.

    ``usage`` shows the arguments (``lag(column,rows)``), ``example`` is a name that may be looked up as it stands.
    """

    name: str
    make: Callable[..., Column]
    usage: str
    example: str
    formula: str


_COLUMNS: dict[str, Column] = {}
_FAMILIES: dict[str, Family] = {}
_MADE: dict[str, Column] = {}


def register(column: Column) -> Column:
    """Make a column known by its name.  Raises ``DataError`` when the name is taken or a column it uses is unknown."""
    if column.name in _COLUMNS:
        raise DataError(f"column {column.name} is declared twice", do="give one of them another name")
    for used in column.uses + column.reads:
        lookup(used)
    _COLUMNS[column.name] = column
    return column


def register_family(family: Family) -> Family:
    """Make a family known by its name.  Raises ``DataError`` when the name is taken."""
    if family.name in _FAMILIES:
        raise DataError(f"family {family.name} is declared twice", do="give one of them another name")
    _FAMILIES[family.name] = family
    return family


def lookup(name: str) -> Column:
    """The column of that name.  Raises ``DataError`` that names the nearest known one."""
    found = _COLUMNS.get(name) or _MADE.get(name)
    if found is not None:
        return found
    call = _CALL.fullmatch(name)
    if call is not None and call[1] in _FAMILIES:
        return _make(name, _FAMILIES[call[1]], call[2])
    near = difflib.get_close_matches(call[1] if call else name, [*_COLUMNS, *_FAMILIES], n=1)
    usage = _FAMILIES[near[0]].usage if near and near[0] in _FAMILIES else near[0] if near else ""
    hint = f"did you mean {usage!r}?" if usage else "see docs/features.md for the list"
    raise DataError(f"unknown feature column {name!r}", expected="a registered column", do=hint)


def _make(name: str, family: Family, text: str) -> Column:
    arguments = _arguments(text)
    if name != f"{family.name}({','.join(map(str, arguments))})":
        # One column, one name: names decide identity.
        raise DataError(
            f"feature column {name!r}",
            expected=f"{family.usage} without spaces, numbers in their shortest form",
            do=f"write {family.name}({','.join(map(str, arguments))})",
        )
    try:
        column = family.make(*arguments)
    except (TypeError, ValueError) as error:
        raise DataError(f"feature column {name!r}: {error}", expected=family.usage) from error
    if column.name != name:
        raise DataError(f"family {family.name} made {column.name!r} of {name!r}", expected="a column of that name")
    for used in column.uses + column.reads:
        lookup(used)
    _MADE[name] = column
    return column


def _arguments(text: str) -> list[Argument]:
    """The arguments of a call, split at commas outside parentheses; whole and decimal numbers as such."""
    parts, depth, begin = [], 0, 0
    for i, letter in enumerate(text + ","):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[begin:i].strip())
            begin = i + 1
    return [_number(part) for part in parts]


def _number(text: str) -> Argument:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text


def families() -> tuple[Family, ...]:
    """All registered families, in order of registration."""
    return tuple(_FAMILIES.values())


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
        for used in column.uses + column.reads:
            visit(used)
        ordered[name] = column

    for name in names:
        visit(name)
    return tuple(ordered.values())


def source_files(columns: Iterable[Column]) -> set[Path]:
    """The files that the columns' functions come from, and those that these take functions or numbers from."""
    found: dict[str, Path] = {}
    waiting = [python_source(column.function).__module__ for column in columns]
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in found or module is None or getattr(module, "__file__", None) is None:
            continue
        found[name] = Path(str(module.__file__))
        for value in list(vars(module).values()):
            other = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(other, str) and other.startswith(("engine.features.", "kestrel_columns_")):
                waiting.append(other)
    return set(found.values())


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
