"""Challengers that run on the live market and trade nothing.

Owns which there are (the registry's shadows), their sessions, and what they said (``predictions.jsonl``, bounded).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import BundleError, KestrelError
from engine.events import Prediction
from engine.instruments import Instrument
from engine.ports import Float32Array, Model
from models.bundle import Bundle, load_bundle
from models.observer.blame import Blame
from models.refusals import problem_of
from models.registry.store import Registry

FILE: Final = "predictions.jsonl"
OLDER: Final = "predictions.1.jsonl"
_FLUSH_BYTES: Final = 1 << 16

OpenModel = Callable[[Bundle], Model]


def reasons_against(bundle: Bundle, instrument: Instrument) -> list[str]:
    """Why a shadow cannot run on an instrument.  Its task may be another than strategies trade on."""
    return [one for one in bundle.reasons_against(instrument) if not one.startswith("its task is ")]


class Workshop:
    """Opens bundles and runs them, each with the processor's time that it takes: others may be at work on this core.
    ``folder`` holds what it writes; None: nothing."""

    def __init__(
        self,
        registry: Path | None,
        folder: Path | None,
        open_model: OpenModel,
        *,
        bytes_max: int = 32 << 20,
        stopwatch: Callable[[], int] = time.process_time_ns,
    ) -> None:
        """Raises ``KestrelError`` where the folder cannot be written."""
        self._registry = None if registry is None else Registry(registry)
        self._open_model = open_model
        self._stopwatch = stopwatch
        self._models: dict[str, Model] = {}
        self._bundles: dict[str, Bundle] = {}
        self.refused: dict[str, str] = {}
        """Versions that do not run here, and why."""
        self._died: tuple[str, ...] = ()
        self._blame: Blame | None = None
        self._log: BoundedLog | None = None
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                self._blame = Blame(folder)
                self._log = BoundedLog(folder, bytes_max)
            except OSError as error:
                raise KestrelError(f"{folder} cannot be written: {error.strerror}") from None
            self._died = tuple(self._blame.died())
            for version in self._died:
                self.refused[version] = "the process that ran it died while it was at work"

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
            except Exception as error:  # each runtime has types of its own
                self.refuse(version, problem_of(error))
                raise BundleError(self.refused[version]) from error
            finally:
                self._release()
        return model

    def load(self, version: str) -> Bundle:
        """A version of the registry, read once.  Raises ``BundleError``."""
        if self._registry is None:
            raise BundleError(f"there is no registry to take {version} from")
        bundle = self._bundles.get(version)
        if bundle is None:
            try:
                bundle = load_bundle(self._registry.path_of(version))
                bundle.check_version(version)
            except Exception as error:
                raise BundleError(problem_of(error)) from error
            self._bundles[version] = bundle
        return bundle

    def refuse(self, version: str, why: str) -> None:
        """It is not run here any more."""
        self.refused[version] = why
        self._models.pop(version, None)

    def keep_only(self, versions: Collection[str]) -> None:
        """All others are closed: over months many come and go."""
        self._models = {version: model for version, model in self._models.items() if version in versions}
        self._bundles = {version: bundle for version, bundle in self._bundles.items() if version in versions}
        kept = {*versions, *self._died}
        self.refused = {version: why for version, why in self.refused.items() if version in kept}

    @property
    def opened(self) -> tuple[str, ...]:
        return tuple(self._models)

    def run(
        self, model: Model, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int
    ) -> tuple[Prediction, int]:
        """A prediction and what it took of a processor, ns.  Raises ``BundleError`` for a model that raises, or says
        nothing: it is not run any more."""
        self._take(model.version)
        begun_ns = self._stopwatch()
        try:
            prediction = model.predict(instrument, window, ts_event_ns, ts_recv_ns)
            if prediction is None:  # models are opened here to answer at once
                raise BundleError(f"{model.version} gave no answer")
        except Exception as error:
            self.refuse(model.version, f"it failed while it ran: {problem_of(error)}")
            raise BundleError(self.refused[model.version]) from error
        finally:
            self._release()
        return prediction, self._stopwatch() - begun_ns

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
        self._descriptor = _opened(self._path)
        self._size = os.fstat(self._descriptor).st_size
        self._held = bytearray()

    def add(self, line: dict[str, Any]) -> None:
        self._held += msgspec.json.encode(line) + b"\n"
        if len(self._held) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """A disk that refuses costs these lines, and nothing else: what was written in part is taken back."""
        held, self._held = self._held, bytearray()
        with contextlib.suppress(OSError):
            if self._size + len(held) > self._half:
                with contextlib.suppress(FileNotFoundError):  # moved before, and then no new one could be made
                    self._path.replace(self._older)
                fresh = _opened(self._path)
                os.close(self._descriptor)
                self._descriptor, self._size = fresh, 0
            written = os.write(self._descriptor, held)
            if written < len(held):
                os.ftruncate(self._descriptor, self._size)
            else:
                self._size += written


def _opened(path: Path) -> int:
    """For its owner alone."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
