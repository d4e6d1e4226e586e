"""Challengers that run on the live market and trade nothing.

Owns which there are (the registry's shadows), their sessions, and what they said (``predictions.jsonl``, bounded).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import BundleError, KestrelError
from engine.events import Prediction
from engine.instruments import Instrument
from engine.ports import Float32Array, Model
from models.bundle import Bundle, load_bundle
from models.observer.blame import Blame
from models.registry.store import Registry

FILE: Final = "predictions.jsonl"
OLDER: Final = "predictions.1.jsonl"
BLAME: Final = "at_work"
_FLUSH_BYTES: Final = 1 << 16

OpenModel = Callable[[Bundle], Model]


def shadows_for(registry: Registry, instrument: Instrument) -> list[str]:
    """Versions that are shadow of a scope which covers the instrument.  Raises ``BundleError``."""
    standings = registry.standings(lambda scope: scope.covers(instrument))
    return [version for standing in standings for version in standing.shadow]


def reasons_against(bundle: Bundle, instrument: Instrument) -> list[str]:
    """Why a shadow cannot run on an instrument.  Its task may be another than strategies trade on."""
    return [one for one in bundle.reasons_against(instrument) if not one.startswith("its task is ")]


class Workshop:
    """Opens bundles and runs them, each with its time taken.  ``folder`` holds what it writes; None: nothing."""

    def __init__(
        self,
        registry: Path | None,
        folder: Path | None,
        open_model: OpenModel,
        *,
        bytes_max: int = 32 << 20,
        stopwatch: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Raises ``KestrelError`` where the folder cannot be written."""
        self._registry = None if registry is None else Registry(registry)
        self._open_model = open_model
        self._stopwatch = stopwatch
        self._models: dict[str, Model] = {}
        self.refused: dict[str, str] = {}
        """Versions that do not run here, and why."""
        self._blame: Blame | None = None
        self._log: BoundedLog | None = None
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                self._blame = Blame(folder / BLAME)
                self._log = BoundedLog(folder, bytes_max)
            except OSError as error:
                raise KestrelError(f"{folder} cannot be written: {error.strerror}") from None
            if self._blame.held:
                self.refused[self._blame.held] = "the process that ran it died while it was at work"
                self._blame.release()

    def model(self, bundle: Bundle) -> Model:
        """Opened once.  Raises ``BundleError`` for one that does not open here, or took this process with it before."""
        version = bundle.version
        if version in self.refused:
            raise BundleError(f"{version} is not run: {self.refused[version]}")
        model = self._models.get(version)
        if model is None:
            self._take(version)
            try:
                model = self._models[version] = self._open_model(bundle)
            except BundleError as error:
                self.refused[version] = str(error)
                raise
            finally:
                self._release()
        return model

    def load(self, version: str) -> Bundle:
        """A version of the registry.  Raises ``BundleError``."""
        if self._registry is None:
            raise BundleError(f"there is no registry to take {version} from")
        bundle = load_bundle(self._registry.path_of(version))
        bundle.check_version(version)
        return bundle

    def run(
        self, model: Model, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int
    ) -> tuple[Prediction, int]:
        """A prediction and how long it took, ns."""
        self._take(model.version)
        begun_ns = self._stopwatch()
        prediction = model.predict(instrument, window, ts_event_ns, ts_recv_ns)
        took_ns = self._stopwatch() - begun_ns
        self._release()
        if prediction is None:  # models are opened here to answer at once
            raise BundleError(f"{model.version} gave no answer")
        return prediction, took_ns

    def keep(self, prediction: Prediction) -> None:
        """Write down what a shadow said."""
        if self._log is not None:
            self._log.add(
                {
                    "ts_recv_ns": prediction.ts_recv_ns,
                    "ts_event_ns": prediction.ts_event_ns,
                    "instrument": prediction.instrument,
                    "model": prediction.model,
                    "status": prediction.status.value,
                    "values": prediction.values,
                    **({"text": prediction.text} if prediction.text else {}),
                }
            )

    def flush(self) -> None:
        if self._log is not None:
            self._log.flush()

    def _take(self, version: str) -> None:
        if self._blame is not None:
            self._blame.take(version)

    def _release(self) -> None:
        if self._blame is not None:
            self._blame.release()


class BoundedLog:
    """JSON lines in two files, the newer one and the one before it, together at most ``bytes_max``."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._path, self._older = folder / FILE, folder / OLDER
        self._half = max(bytes_max // 2, 1)
        self._file = _opened(self._path, "ab")
        self._held = bytearray()

    def add(self, line: dict[str, Any]) -> None:
        self._held += msgspec.json.encode(line) + b"\n"
        if len(self._held) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """A disk that refuses costs these lines, and nothing else."""
        held, self._held = self._held, bytearray()
        try:
            if self._file.tell() + len(held) > self._half:
                self._file.close()
                self._path.replace(self._older)
                self._file = _opened(self._path, "wb")
            self._file.write(held)
            self._file.flush()
        except OSError:
            return


def _opened(path: Path, mode: str) -> Any:
    """For its owner alone."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600))
