"""Rows on disk: written once, whole or not at all, mapped into memory when they are read.

    STORE/<fingerprint>/
      manifest.json     what the rows are made of, and the size and sha256 of every file
      values.f32        (R, F), row after row
      close_px.f64 ...  one file a column of ``RowTable``, little-endian, no header
      label.<name>.values.f64, label.<name>.last.i64

The fingerprint is a sha256 over all that decides the numbers: the features' fingerprint, the sha256 of the data, the
slice of time, the labels and the code that makes rows and labels.  Rows of anything else are another folder, and rows
that are not those asked for are refused.  A draft lies beside its place until it is complete and synced, and is renamed
then; what a killed writer left is taken away by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np

from engine.durable import sync_folder
from engine.errors import DataError
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.labels import Labels, LabelSpec
from models.trainer.recorded import Recorded
from models.windows.rows import InstrumentRows, instrument_rows, once
from models.windows.table import RowTable

SCHEMA: Final = 2
MANIFEST: Final = "manifest.json"
_LOCK: Final = ".lock"
_DRAFT: Final = ".draft-"
_ROOT: Final = Path(__file__).resolve().parents[2]
_MADE_BY: Final = (
    "engine/data/books.py",
    "engine/data/calendars",
    "engine/data/instruments.py",
    "engine/data/kinds.py",
    "engine/data/merging.py",
    "engine/data/parquet.py",
    "engine/data/playback.py",
    "engine/data/published.py",
    "engine/data/schema.py",
    "engine/features",
    "engine/published.py",
    "engine/quality",
    "models/labels",
    "models/trainer/candle_files.py",
    "models/trainer/recorded.py",
    "models/windows/rows.py",
)
"""Sources and calendars whose change may change a row or a label."""
_KINDS: Final = (".py", ".npz")
_COLUMNS: Final[dict[str, tuple[str, np.dtype[Any]]]] = {
    "values": ("f32", np.dtype("<f4")),
    "ts_event_ns": ("i64", np.dtype("<i8")),
    "ts_ns": ("i64", np.dtype("<i8")),
    "close_px": ("f64", np.dtype("<f8")),
    "high_px": ("f64", np.dtype("<f8")),
    "low_px": ("f64", np.dtype("<f8")),
    "warm": ("b1", np.dtype("?")),
}

Progress = Callable[[str, float], None]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides the rows: what is fingerprinted.  ``markets``: each instrument, whose tick makes labels too,
    with names and sha256 of what is read of it."""

    features: str
    spec: dict[str, Any]
    markets: tuple[tuple[Instrument, tuple[tuple[str, str], ...]], ...]
    start_ns: int | None
    end_ns: int | None
    labels: dict[str, LabelSpec]
    code: str

    def fingerprint(self) -> str:
        """sha256 (hex)."""
        content = {"schema": SCHEMA, "asked": msgspec.to_builtins(self)}
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


class _File(msgspec.Struct, frozen=True):
    size: int
    sha256: str


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    fingerprint: str
    asked: Asked
    instruments: tuple[Instrument, ...]
    starts: tuple[int, ...]
    files: dict[str, _File]
    widths: dict[str, int]
    """Values a row of each label, 0 where it is one number."""


def ask(
    markets: Sequence[Recorded],
    spec: FeatureSpec,
    labels: Mapping[str, LabelSpec],
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Asked:
    """What rows of these markets would be known by; nothing is read for it but what names them."""
    for name in labels:
        if not name.isidentifier():
            raise DataError(f"a label called {name!r}", expected="a name of letters, digits and _")
    return Asked(
        features=spec.fingerprint(),
        spec=msgspec.to_builtins(spec),
        markets=tuple((market.instrument, market.sources) for market in markets),
        start_ns=start_ns,
        end_ns=end_ns,
        labels=dict(labels),
        code=_code_fingerprint(),
    )


def stored(
    folder: Path,
    markets: Sequence[Recorded],
    spec: FeatureSpec,
    labels: Mapping[str, LabelSpec],
    start_ns: int | None = None,
    end_ns: int | None = None,
    progress: Progress = lambda _text, _share: None,
) -> RowTable:
    """The rows of these markets from ``folder``, written there first where they are not.

    Raises ``DataError`` when they cannot be made, written or read; nothing half-written is ever left in their place.
    """
    asked = ask(markets, spec, labels, start_ns, end_ns)
    place = folder / asked.fingerprint()[:24]
    if not place.is_dir():
        with _disk_errors(folder):
            _write(folder, place, asked, markets, spec, progress)
    return open_rows(place, asked.fingerprint(), verify=True)


def open_rows(place: Path, fingerprint: str = "", *, verify: bool = False) -> RowTable:
    """Stored rows, mapped.  ``fingerprint``: those that are wanted; ``verify``: read all and compare their sha256.

    Raises ``DataError`` for rows that are not whole, of another release, or of something else than was asked for.
    """
    manifest = _read_manifest(place)
    if manifest.fingerprint != manifest.asked.fingerprint():
        raise DataError(f"{place / MANIFEST} was changed after it was written", do=_again(place))
    if fingerprint and manifest.fingerprint != fingerprint:
        raise DataError(
            f"the rows in {place} are of fingerprint {manifest.fingerprint[:12]}",
            expected=f"{fingerprint[:12]}: other data, features, labels or code",
            do=_again(place),
        )
    for name, file in manifest.files.items():
        _check_file(place / name, file, verify=verify)
    spec = msgspec.convert(manifest.asked.spec, FeatureSpec)
    rows = manifest.starts[-1]

    def column(name: str, width: int = 0) -> Any:
        ending, dtype = _COLUMNS[name]
        return _mapped(place / f"{name}.{ending}", dtype, (rows, width) if width else (rows,))

    def label(name: str) -> Labels:
        width = manifest.widths[name]
        values = _mapped(place / f"label.{name}.values.f64", np.dtype("<f8"), (rows, width) if width else (rows,))
        return Labels(values, _mapped(place / f"label.{name}.last.i64", np.dtype("<i8"), (rows,)))

    return RowTable(
        spec=spec,
        instruments=manifest.instruments,
        starts=np.array(manifest.starts, np.int64),
        values=column("values", len(spec.columns)),
        **{name: column(name) for name in _COLUMNS if name != "values"},
        sources=once([sources for _, sources in manifest.asked.markets]),
        labels={name: label(name) for name in manifest.asked.labels},
        fingerprint=manifest.fingerprint,
    )


# --- writing ------------------------------------------------------------------------------------------------------


def _write(
    folder: Path, place: Path, asked: Asked, markets: Sequence[Recorded], spec: FeatureSpec, progress: Progress
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(f"{_DRAFT}*"):  # nobody else writes while we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        if place.is_dir():  # another process was first
            return
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder))
        try:
            _fill(draft, asked, markets, spec, progress)
            sync_folder(draft)
            draft.chmod(0o755)
            draft.rename(place)
            sync_folder(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _fill(draft: Path, asked: Asked, markets: Sequence[Recorded], spec: FeatureSpec, progress: Progress) -> None:
    """One instrument after another: memory holds the rows of one."""
    starts, instruments = [0], []
    widths = dict.fromkeys(asked.labels, 0)
    with _Files(draft) as files:
        for number, market in enumerate(markets):
            progress("rows", number / len(markets))
            made = instrument_rows(market, spec, asked.start_ns, asked.end_ns)
            instruments.append(made.instrument)
            for name, column in _columns_of(made).items():
                ending, dtype = _COLUMNS[name]
                files.append(f"{name}.{ending}", np.ascontiguousarray(column, dtype))
            for name, labels in made.labelled(asked.labels).items():
                widths[name] = labels.values.shape[1] if labels.values.ndim == 2 else 0
                files.append(f"label.{name}.values.f64", np.ascontiguousarray(labels.values, "<f8"))
                last = np.where(labels.known, labels.last + starts[-1], -1)
                files.append(f"label.{name}.last.i64", last.astype("<i8"))
            starts.append(starts[-1] + len(made.rows.ts_recv_ns))
        written = files.finish()
    if not starts[-1]:
        raise DataError("no market gave a row", expected="data that completes rows", do="look at data and sampling")
    manifest = _Manifest(SCHEMA, asked.fingerprint(), asked, tuple(instruments), tuple(starts), written, widths)
    with open(draft / MANIFEST, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
    progress("rows", 1.0)


def _columns_of(made: InstrumentRows) -> dict[str, Any]:
    rows = made.rows
    return {
        "values": rows.values,
        "ts_event_ns": rows.ts_event_ns,
        "ts_ns": rows.ts_recv_ns,
        "close_px": rows.mid_px,
        "high_px": made.high_px,
        "low_px": made.low_px,
        "warm": rows.warm,
    }


class _Files:
    """Files that grow side by side; their sha256 is taken on the way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, tuple[BinaryIO, Any]] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        for file, _digest in self._open.values():
            file.close()

    def append(self, name: str, column: Any) -> None:
        if name not in self._open:
            self._open[name] = (open(self._folder / name, "wb"), hashlib.sha256())  # noqa: SIM115 - closed at exit
        file, digest = self._open[name]
        content = memoryview(column).cast("B") if column.size else b""
        file.write(content)
        digest.update(content)

    def finish(self) -> dict[str, _File]:
        """Synced to disk; their sizes and checksums."""
        found = {}
        for name, (file, digest) in self._open.items():
            file.flush()
            os.fsync(file.fileno())
            found[name] = _File(file.tell(), digest.hexdigest())
        return found


# --- reading ------------------------------------------------------------------------------------------------------


def _read_manifest(place: Path) -> _Manifest:
    path = place / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", expected="rows that were written whole", do=_again(place)
        ) from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is no list of rows: {error}", do=_again(place)) from error
    if manifest.schema != SCHEMA:
        raise DataError(f"{path} is of schema {manifest.schema}", expected=f"{SCHEMA}", do=_again(place))
    return manifest


def _check_file(path: Path, file: _File, *, verify: bool) -> None:
    size = path.stat().st_size if path.exists() else -1
    if size != file.size:
        seen = "is missing" if size < 0 else f"has {size:,} bytes"
        raise DataError(f"{path} {seen}", expected=f"{file.size:,} bytes as written", do=_again(path.parent))
    if verify:
        with open(path, "rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                raise DataError(f"{path} is damaged", expected="what was written", do=_again(path.parent))


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """A read-only view of a file; a plain array to everybody else."""
    if not shape[0]:
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))


def _again(place: Path) -> str:
    return f"remove {place}: the next run writes it again"


def _code_fingerprint() -> str:
    digest = hashlib.sha256()
    for name in _MADE_BY:
        path = _ROOT / name
        for source in sorted(each for each in path.rglob("*.*") if each.suffix in _KINDS) if path.is_dir() else [path]:
            digest.update(source.relative_to(_ROOT).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write rows to {folder}: {error.strerror or error}",
            expected="a folder with room and the right to write there",
            do="free some, or name another folder",
        ) from error
