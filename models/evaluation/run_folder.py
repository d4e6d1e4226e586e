"""A training run on disk: what the trainer writes and the evaluation reads, through the same types.

``config.yaml``, ``environment.json``, ``data.json``, ``metrics.jsonl`` (a line an epoch), ``rows/PART.npz`` (what
baselines are fitted on), ``predictions/PART.npz``, ``checkpoint.pt``; PART is train, validation or test.  Rows and
predictions of the test part are given and taken only against an ``Opening`` of the ledger.  Each file is written whole
or not at all.
"""

from __future__ import annotations

import hashlib
import io
import os
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
from models.evaluation.ledger import Opening, Sealed, TestSet
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
# What reading a file of arrays raises where bytes of it were changed.
_UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class RunFolder:
    def __init__(self, path: Path | str) -> None:
        """Raises ``DataError`` when there is no run at ``path``."""
        self.path = Path(path)
        if not (self.path / DATA).is_file():
            raise DataError(
                f"no run at {self.path}",
                expected=f"a folder with {DATA} (docs/training.md)",
                do="check --run",
            )
        self.data: RunData = self._json(DATA, RunData)
        check_description(self.path / DATA, self.data)

    @classmethod
    def create(cls, path: Path | str, data: RunData, environment: Environment, config: bytes) -> RunFolder:
        """A new run.  ``data`` and the rest are written before it can be read."""
        folder = Path(path)
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
        return hashlib.sha256(self._bytes(CONFIG)).hexdigest()

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

    def append_epoch(self, line: EpochLine) -> None:
        """One line, synced: a run that is killed keeps what it had learned."""
        descriptor = os.open(self.path / METRICS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, msgspec.json.encode(line) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

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
        """What can be known of the test part while it is shut: its files are whole, its predictions of its rows.

        Gives nothing back.  Raises ``DataError``.
        """
        path = self.path / "rows" / "test.npz"
        try:
            with zipfile.ZipFile(path) as stored:
                damaged = stored.testzip()
        except FileNotFoundError:
            raise DataError(f"the run {self.path} has no rows/test.npz", do="train it to the end") from None
        except _UNREADABLE as error:
            raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        if damaged is not None:
            raise DataError(f"{path} is damaged", do="train again")
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
        self._write(f"rows/{part}.npz", arrays)

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
        try:
            trials = Trials(
                tuple(str(name) for name in arrays["names"]),
                int(arrays["chosen"]),
                float(arrays["periods_per_year"]),
                np.asarray(arrays["returns"], np.float64),
            )
        except KeyError as error:
            raise DataError(f"{self.path / TRIALS} has no {error}") from None
        if trials.returns.shape[1:] != (len(trials.names),) or not np.isfinite(trials.returns).all():
            raise DataError(f"{self.path / TRIALS}", expected="finite returns, a column for each name")
        return trials

    def write_trials(self, trials: Trials) -> None:
        arrays = {
            "names": np.array(trials.names),
            "chosen": np.int64(trials.chosen),
            "periods_per_year": np.float64(trials.periods_per_year),
            "returns": np.asarray(trials.returns, np.float64),
        }
        self._write(TRIALS, arrays)

    def importance(self) -> list[Importance]:
        """What the trainer explained of its network; none where it did not."""
        if not (self.path / IMPORTANCE).is_file():
            return []
        found: list[Importance] = self._json(IMPORTANCE, list[Importance])
        return found

    def write_importance(self, found: list[Importance]) -> None:
        self._write_bytes(IMPORTANCE, msgspec.json.format(msgspec.json.encode(found)))

    def _rows(self, part: Part) -> Rows:
        arrays = self._arrays(f"rows/{part}.npz")
        try:
            series = None
            if "series_ts_ns" in arrays:
                series = Series(
                    arrays["series_instrument"].astype(np.int64),
                    arrays["series_ts_ns"].astype(np.int64),
                    arrays["series_log_return"].astype(np.float64),
                )
            past = arrays.get("past_label")
            rows = Rows(
                arrays["instrument"].astype(np.int64),
                arrays["ts_ns"].astype(np.int64),
                arrays["label"].astype(np.float64),
                arrays["features"].astype(np.float32),
                None if past is None else past.astype(np.float64),
                series,
            )
        except KeyError as error:
            raise DataError(f"rows/{part}.npz of {self.path} has no {error}") from None
        self._check(part, rows)
        return rows

    def _check(self, part: Part, rows: Rows) -> None:
        data = self.data
        check_rows(part, rows, features=data.features, instruments=len(data.instruments), classes=self.classes)
        found = rows_fingerprint(rows.instrument, rows.ts_ns, data.instruments)
        if found != data.parts[part].fingerprint:
            raise DataError(
                f"the rows of the {part} part have fingerprint {found[:12]}",
                expected=f"{data.parts[part].fingerprint[:12]}, as {DATA} of {self.path} says",
            )

    def _predictions(self, part: Part) -> Predictions:
        arrays = self._arrays(f"predictions/{part}.npz")
        try:
            said = Predictions(
                arrays["instrument"].astype(np.int64),
                arrays["ts_ns"].astype(np.int64),
                arrays["values"].astype(np.float64),
                tuple(int(seed) for seed in arrays["seeds"]),
            )
        except KeyError as error:
            raise DataError(f"predictions/{part}.npz of {self.path} has no {error}") from None
        data = self.data
        check_predictions(
            part,
            said,
            fingerprint=data.parts[part].fingerprint,
            instruments=data.instruments,
            seeds=data.seeds,
            classes=self.classes,
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
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except FileNotFoundError:
            raise DataError(f"the run {self.path} has no {name}", do="train it to the end") from None
        except _UNREADABLE as error:
            raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None

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
