"""A training run on disk: what the trainer writes and the evaluation reads, through the same types.

``config.yaml``, ``environment.json``, ``data.json``, ``metrics.jsonl`` (a line an epoch), ``rows/PART.npz`` (what
baselines are fitted on), ``predictions/PART.npz``, ``checkpoint.pt``; PART is train, validation or test.  Rows and
predictions of the test part are given and taken only against an ``Opening`` of the ledger.  Each file is written whole
or not at all.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.durable import write_atomically
from engine.errors import DataError
from models.evaluation.description import (
    Environment,
    EpochLine,
    OpenPart,
    Part,
    RunData,
    Trials,
    check_description,
)
from models.evaluation.importance import Importance
from models.evaluation.ledger import Line, Opening, Sealed, TestSet
from models.evaluation.outcome import OUTCOME
from models.evaluation.rows import (
    Predictions,
    Rows,
    Series,
    check_predictions,
    check_rows,
    rows_fingerprint,
)

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
DATA = "data.json"
METRICS = "metrics.jsonl"
TRIALS = "trials.npz"
IMPORTANCE = "importance.json"
_ROWS = "rows/{part}.npz"
_AXES = {"features": 2, "values": 3, "returns": 2, "chosen": 0, "periods_per_year": 0}
"""Axes of an array; all others have one."""
_NAMED_MAX = 6
# What reading a file of arrays raises where bytes of it were changed.
_UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def no_run(folder: Path, file: str) -> DataError:
    """What is wrong with a folder that is no run, having no ``file``; where runs are in it, as origins of a
    walk-forward and forecasts of a run are, which."""
    places = ("[!.]*", "[!.]*/[!.]*")
    found = next((sorted(one) for place in places if (one := list(folder.glob(f"{place}/{file}")))), [])
    if not found:
        return DataError(
            f"no run at {folder}", expected=f"a folder with {file} (docs/training.md)", do="check its name"
        )
    names = [str(path.parent.relative_to(folder)) for path in found]
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return DataError(
        f"{folder} holds several runs",
        expected=f"one of them: {', '.join(names[:_NAMED_MAX])}{more}",
        do=f"name {found[0].parent}",
    )


class _Evaluated(msgspec.Struct, frozen=True):
    """What is read of an ``Outcome``, also of one that an older release wrote."""

    opening: Line


class RunFolder:
    def __init__(self, path: Path | str) -> None:
        """Raises ``DataError`` when there is no run at ``path``."""
        self.path = Path(path)
        if not (self.path / DATA).is_file():
            raise no_run(self.path, DATA)
        self.data: RunData = self._json(DATA, RunData)
        check_description(self.path / DATA, self.data)

    @classmethod
    def create(cls, path: Path | str, data: RunData, environment: Environment, config: bytes) -> RunFolder:
        """A new run.  ``data`` and the rest are written before it can be read."""
        folder = Path(path)
        data = msgspec.structs.replace(data, config_sha256=hashlib.sha256(config).hexdigest())
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        (folder / "predictions").mkdir(exist_ok=True)
        write_atomically(folder / CONFIG, config)
        write_atomically(folder / ENVIRONMENT, msgspec.json.format(msgspec.json.encode(environment)))
        write_atomically(folder / DATA, msgspec.json.format(msgspec.json.encode(data)))
        return cls(folder)

    @property
    def classes(self) -> int:
        return len(self.data.task.classes)

    @property
    def environment(self) -> Environment:
        found: Environment = self._json(ENVIRONMENT, Environment)
        return found

    @property
    def config_sha256(self) -> str:
        """Raises ``DataError`` where the file is no more the one that the run was begun with."""
        self.check_config(self.path / CONFIG)
        return hashlib.sha256(self._bytes(CONFIG)).hexdigest()

    def check_config(self, path: Path) -> None:
        """Raises ``DataError`` unless the file at ``path`` holds the settings that the run was begun with, as far as
        that was kept: what it came to would pass for the result of others."""
        try:
            seen = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}", do="bring it back") from None
        if self.data.config_sha256 not in ("", seen):
            raise DataError(
                f"{path} is not the one that the run was begun with",
                expected=f"sha256 {self.data.config_sha256[:12]}, as {self.path / DATA} says",
                do="bring it back, or train it as a run of its own",
            )

    def epochs(self) -> list[EpochLine]:
        """Lines of ``metrics.jsonl``; none where the run has no such file, and no line that a kill cut off."""
        if not (self.path / METRICS).exists():
            return []
        found = []
        for number, raw in enumerate(self._bytes(METRICS).split(b"\n"), 1):
            try:
                found += [msgspec.json.decode(raw, type=EpochLine)] if raw else []
            except msgspec.ValidationError as error:
                raise DataError(f"line {number} of {self.path / METRICS}: {error}") from None
            except msgspec.DecodeError:
                continue
        return found

    def test_set(self) -> TestSet:
        """What a ledger line says of this run's test part."""
        info, data = self.data.parts["test"], self.data
        return TestSet(data.task.name, info.fingerprint, info.rows, info.first_ns, info.last_ns, data.instruments)

    def rows(self, part: OpenPart) -> Rows:
        """Raises ``DataError`` when the file is missing, damaged, or not of the rows that ``data.json`` tells."""
        return self._rows(part)

    def sealed_test(self) -> Sealed[Rows]:
        return Sealed(self.data.parts["test"].fingerprint, lambda: self._rows("test"))

    def predictions(self, part: OpenPart) -> Predictions:
        """Raises ``DataError`` when they are not of exactly the rows and seeds that ``data.json`` tells."""
        return self._predictions(part)

    def test_predictions(self, opening: Opening) -> Predictions:
        opening.check(self.data.parts["test"].fingerprint)
        return self._predictions("test")

    def check_test(self) -> None:
        """What can be known of the test part while it is shut: its rows can be scored, its predictions are of them.

        Gives nothing back.  Raises ``DataError``.
        """
        rows = self._rows("test")
        train = self.path / _ROWS.format(part="train")
        try:
            with zipfile.ZipFile(train) as stored:
                names = stored.namelist()
        except _UNREADABLE as error:
            raise DataError(f"{train} cannot be read: {' '.join(str(error).split())}") from None
        for key, there in (("past_label", rows.past_label is not None), ("series_ts_ns", rows.series is not None)):
            if (f"{key}.npy" in names) != there:
                raise DataError(f"{key} is in the rows of the train or the test part, and not in both", expected="both")
        if self.has_predictions("test"):
            self._predictions("test")

    def has_predictions(self, part: Part) -> bool:
        return (self.path / "predictions" / f"{part}.npz").is_file()

    def write_rows(self, part: Part, rows: Rows) -> None:
        """The test part may be stored before it is opened; nothing of ours gives it back without an opening."""
        self._check(part, rows)
        arrays: dict[str, Any] = {
            "instrument": rows.instrument,
            "ts_ns": rows.ts_ns,
            "label": rows.label,
            "features": rows.features,
        }
        if rows.past_label is not None:
            arrays["past_label"] = rows.past_label
        if rows.series is not None:
            arrays |= {
                "series_instrument": rows.series.instrument,
                "series_ts_ns": rows.series.ts_ns,
                "series_log_return": rows.series.log_return,
            }
        self._write(_ROWS.format(part=part), arrays)

    def write_predictions(self, part: OpenPart, said: Predictions) -> None:
        self._write_predictions(part, said)

    def write_test_predictions(self, said: Predictions, opening: Opening) -> None:
        opening.check(self.data.parts["test"].fingerprint)
        self._write_predictions("test", said)

    def trials(self) -> Trials | None:
        """None where the run has no results of a strategy."""
        if not (self.path / TRIALS).is_file():
            return None
        arrays = self._arrays(TRIALS)
        trials = Trials(
            tuple(str(name) for name in np.atleast_1d(arrays.get("names", ()))),
            int(self._numbers(TRIALS, arrays, "chosen", np.int64)),
            float(self._numbers(TRIALS, arrays, "periods_per_year", np.float64)),
            self._numbers(TRIALS, arrays, "returns", np.float64),
        )
        if trials.returns.shape[1:] != (len(trials.names),) or not np.isfinite(trials.returns).all():
            raise DataError(f"{self.path / TRIALS}: no strategy's results", expected="finite returns, a column a name")
        if not (0 <= trials.chosen < len(trials.names) and 0 < trials.periods_per_year < np.inf):
            raise DataError(
                f"{self.path / TRIALS}: number {trials.chosen} is shown, {trials.periods_per_year:g} periods a year",
                expected=f"0 to {len(trials.names) - 1}, and more than 0",
            )
        return trials

    def write_trials(self, trials: Trials) -> None:
        arrays = {
            "names": np.array(trials.names),
            "chosen": np.int64(trials.chosen),
            "periods_per_year": np.float64(trials.periods_per_year),
            "returns": np.asarray(trials.returns, np.float64),
        }
        self._write(TRIALS, arrays)

    def opened(self) -> Line | None:
        """The opening that the run's last evaluation made; None where it was never evaluated."""
        if not (self.path / OUTCOME).is_file():
            return None
        last: _Evaluated = self._json(OUTCOME, _Evaluated)
        return last.opening

    def importance(self) -> list[Importance]:
        """What the trainer explained of its network; none where it did not."""
        if not (self.path / IMPORTANCE).is_file():
            return []
        found: list[Importance] = self._json(IMPORTANCE, list[Importance])
        return found

    def write_importance(self, found: list[Importance]) -> None:
        self._write_bytes(IMPORTANCE, msgspec.json.format(msgspec.json.encode(found)))

    def _rows(self, part: Part) -> Rows:
        name = _ROWS.format(part=part)
        arrays = self._arrays(name)

        def column(key: str, kind: Any) -> Any:
            return self._numbers(name, arrays, key, kind)

        series = None
        if "series_ts_ns" in arrays:
            series = Series(
                column("series_instrument", np.int64),
                column("series_ts_ns", np.int64),
                column("series_log_return", np.float64),
            )
        rows = Rows(
            column("instrument", np.int64),
            column("ts_ns", np.int64),
            column("label", np.float64),
            column("features", np.float32),
            column("past_label", np.float64) if "past_label" in arrays else None,
            series,
        )
        self._check(part, rows)
        return rows

    def _check(self, part: Part, rows: Rows) -> None:
        data = self.data
        check_rows(
            part,
            rows,
            features=data.features,
            instruments=len(data.instruments),
            classes=self.classes,
            positive=data.task.kind == "variance",
        )
        self._check_identity(part, rows.instrument, rows.ts_ns)

    def _check_identity(self, part: Part, instrument: Any, ts_ns: Any) -> None:
        """Raises ``DataError`` unless rows of these instruments and times are those that ``data.json`` tells of, and so
        those that a line of the ledger would tell of."""
        info = self.data.parts[part]
        if not len(ts_ns):
            raise DataError(f"the {part} part has no rows")
        found = rows_fingerprint(instrument, ts_ns, self.data.instruments)
        if found != info.fingerprint:
            raise DataError(
                f"the rows of the {part} part have fingerprint {found[:12]}",
                expected=f"{info.fingerprint[:12]}, as {DATA} of {self.path} says",
            )
        told, there = (info.rows, info.first_ns, info.last_ns), (len(ts_ns), int(ts_ns.min()), int(ts_ns.max()))
        if told != there:
            raise DataError(
                f"{DATA} of {self.path} tells of {told[0]:,} rows of the {part} part, {told[1]} to {told[2]} ns",
                expected=f"{there[0]:,}, {there[1]} to {there[2]} ns",
            )

    def _predictions(self, part: Part) -> Predictions:
        name = f"predictions/{part}.npz"
        arrays = self._arrays(name)
        said = Predictions(
            self._numbers(name, arrays, "instrument", np.int64),
            self._numbers(name, arrays, "ts_ns", np.int64),
            self._numbers(name, arrays, "values", np.float64),
            tuple(self._numbers(name, arrays, "seeds", np.int64).tolist()),
        )
        data = self.data
        check_predictions(
            part,
            said,
            fingerprint=data.parts[part].fingerprint,
            instruments=data.instruments,
            seeds=data.seeds,
            classes=self.classes,
            positive=data.task.kind == "variance",
        )
        return said

    def _write_predictions(self, part: Part, said: Predictions) -> None:
        arrays = {
            "instrument": said.instrument,
            "ts_ns": said.ts_ns,
            "values": said.values.astype(np.float32),
            "seeds": np.asarray(said.seeds, np.int64),
        }
        self._write(f"predictions/{part}.npz", arrays)

    def _write(self, name: str, arrays: dict[str, Any]) -> None:
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        self._write_bytes(name, content.getvalue())

    def _write_bytes(self, name: str, content: bytes) -> None:
        path = self.path / name
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}", do="check the disk") from None

    def _arrays(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            with zipfile.ZipFile(path):  # NumPy would read a file of one array too, as something else
                pass
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except FileNotFoundError:
            raise DataError(f"the run {self.path} has no {name}", do="train it to the end") from None
        except _UNREADABLE as error:
            raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None

    def _numbers(self, name: str, arrays: dict[str, Any], key: str, kind: Any) -> Any:
        """One array of a file as ``kind``.  Raises ``DataError`` where it is missing, of other axes or no numbers."""
        if key not in arrays:
            raise DataError(f"{name} of {self.path} has no '{key}'")
        found, axes = arrays[key], _AXES.get(key, 1)
        # A time that went through a float has lost its last digits.
        kinds = "iu" if np.dtype(kind).kind == "i" else "iufb"
        if not isinstance(found, np.ndarray) or found.ndim != axes or found.dtype.kind not in kinds:
            seen = f"{found.dtype} of {found.ndim} axes" if isinstance(found, np.ndarray) else "no array"
            wanted = "whole numbers" if kinds == "iu" else "numbers"
            raise DataError(f"{key} in {name} of {self.path} is {seen}", expected=f"{wanted} of {axes} axes")
        return found.astype(kind)

    def _bytes(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be read: {error.strerror}") from None

    def _json(self, name: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(self._bytes(name), type=kind)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise DataError(f"{self.path / name}: {error}") from None
