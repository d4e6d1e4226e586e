"""TensorRT by ONNX Runtime: engines that are built beforehand, by ``models verify NAME --build``.

Owns the folder of engines.  An engine is of one graph, one GPU, one driver and one version of each library; its folder
is named after all of them.  Opening never builds: that takes minutes, and belongs to no market's open.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import re
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import onnxruntime as ort

from engine.errors import BundleError
from models.providers.capturing import CAPTURES
from models.providers.gpu import DeviceGraph, Gpu, captured_if_possible, find_gpu, require, require_used
from models.providers.graph import ProviderError, Source
from models.providers.onnx_runtime import open_session

_TENSORRT = "TensorrtExecutionProvider"
_CUDA = "CUDAExecutionProvider"
READY = "engine.json"
"""Written last: a folder without it was not finished."""
BATCH_MAX = 64
"""Greatest batch that an engine takes; it is tuned for one window."""
_PACKAGES = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")


class Built(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``READY`` says: of what the engine was built, and its files with their sha256."""

    graph: str
    gpu: str
    driver: str
    runtime: str
    tensorrt: str
    precision: str
    files: dict[str, str]


class TensorrtProvider:
    """Implements ``Provider``.  ``folder`` holds the engines of all bundles."""

    name = "tensorrt"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, source: Source) -> DeviceGraph:
        _require_tensorrt()
        gpu = find_gpu()
        place = engine_folder(self._folder, source, gpu)
        check_engine(place, source, gpu)
        return captured_if_possible(lambda captured: _opened(source, gpu, place, captured=captured))

    def build(self, source: Source) -> Path:
        """Build engine and timing cache, run them, and put them into place; the folder.

        Raises ``ProviderError`` where TensorRT cannot run here.
        """
        _require_tensorrt()
        gpu = find_gpu()
        place = engine_folder(self._folder, source, gpu)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{place.name[:40]}-", dir=place.parent))
        except OSError as error:
            raise BundleError(f"cannot write to {place.parent}: {error.strerror}", do="set models.engines") from error
        try:
            _opened(source, gpu, draft).try_out()
            finish_engine(draft, place, source, gpu)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return place


def _require_tensorrt() -> None:
    """Raises ``ProviderError`` when the runtime that is installed has not got it."""
    require(_TENSORRT, TensorrtProvider.name)
    # The runtime loads CUDA's packages by itself and not this one: importing it loads what is in it.  Without it the
    # libraries are the system's, or the session says that they are missing.
    with contextlib.suppress(ImportError, OSError):
        importlib.import_module("tensorrt_libs")


def engine_folder(folder: Path, source: Source, gpu: Gpu) -> Path:
    """Where the engine of a graph on a GPU lies."""
    words = (_sha(source), gpu.name, gpu.driver, ort.__version__, _library(), source.precision)
    return folder / "tensorrt" / "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", word) for word in words)


def check_engine(place: Path, source: Source, gpu: Gpu) -> None:
    """Raises ``ProviderError`` when there is no finished engine, or a file of it is not as it was built."""
    try:
        built = msgspec.json.decode((place / READY).read_bytes(), type=Built)
    except FileNotFoundError:
        raise ProviderError(
            f"no TensorRT engine of {source.version} for {gpu.name}, driver {gpu.driver}, in {place.parent}",
            do=f"python run.py models verify {source.version} --build --engines {place.parent.parent}",
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise ProviderError(f"{place / READY} cannot be read: {error}", do="build the engine again") from None
    for name, sha in built.files.items():
        try:
            seen = hashlib.sha256((place / name).read_bytes()).hexdigest()
        except OSError:
            seen = "missing"
        if seen != sha:
            raise ProviderError(
                f"{place / name} is {seen[:12]}", expected=sha[:12], do="build the engine again: it was changed"
            )


def finish_engine(draft: Path, place: Path, source: Source, gpu: Gpu) -> None:
    """Says of what it was built and moves it into place, whole or not at all.  Raises ``BundleError``."""
    files = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(draft.iterdir()) if file.is_file()
    }
    if not files:
        raise BundleError(f"TensorRT wrote no engine of {source.version}", do="see what the runtime says on stderr")
    built = Built(_sha(source), gpu.name, gpu.driver, ort.__version__, _library(), source.precision, files)
    (draft / READY).write_bytes(msgspec.json.format(msgspec.json.encode(built), indent=1))
    old = place.with_name(f".{place.name[:40]}-old-{os.getpid()}")
    if place.exists():
        place.rename(old)
    draft.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _opened(source: Source, gpu: Gpu, place: Path, *, captured: bool = False) -> DeviceGraph:
    """``captured``: the launches of the whole graph as one, for the shapes that are bound."""
    # What TensorRT does not take over goes to CUDA.
    settings = engine_settings(source, place) | {"trt_cuda_graph_enable": "1" if captured else "0"}
    with CAPTURES.beside():
        session = open_session(source, [(_TENSORRT, settings), (_CUDA, {"device_id": "0", "use_tf32": "0"})])
    require_used(session, _TENSORRT, TensorrtProvider.name)
    return DeviceGraph(TensorrtProvider.name, gpu.name, session, source, captured=captured)


def engine_settings(source: Source, place: Path) -> dict[str, str]:
    """Of the runtime's TensorRT provider.  One profile: batches of 1 to ``BATCH_MAX``, tuned for 1."""

    def shapes(batch: int) -> str:
        return ",".join(
            f"{tensor.name}:{'x'.join(str(batch if size < 0 else size) for size in tensor.shape)}"
            for tensor in source.inputs
        )

    return {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(place),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(place),
        "trt_profile_min_shapes": shapes(1),
        "trt_profile_opt_shapes": shapes(1),
        "trt_profile_max_shapes": shapes(BATCH_MAX),
        # Half precision is what the bundle says, never what a provider finds faster.
        "trt_fp16_enable": "1" if source.precision == "fp16" else "0",
        "trt_bf16_enable": "1" if source.precision == "bf16" else "0",
    }


def _sha(source: Source) -> str:
    return hashlib.sha256(source.content).hexdigest()[:16]


def _library() -> str:
    for name in _PACKAGES:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "system"
