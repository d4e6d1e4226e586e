"""Graphs on an NVIDIA GPU by ONNX Runtime: CUDA, with the launches of a whole graph captured where that is possible.

Owns device buffers and what both GPU providers need to know of the machine.  TensorRT is ``models.providers.tensorrt``.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from engine.errors import BundleError
from models.providers.capturing import CAPTURES
from models.providers.graph import Array, ProviderError, Run, Source, first_line
from models.providers.onnx_runtime import bound_run, open_session

_CUDA = "CUDAExecutionProvider"
_ASK_TIMEOUT_S = 10.0
_TRIALS = 3
"""Runs that show whether a graph can be captured: the first captures, those after it replay."""
_ALIKE = 1e-2
"""Of two runs of one graph on the same numbers, in any precision."""
_NO_CAPTURE = -1


class Gpu(NamedTuple):
    """The first GPU as the driver names it."""

    name: str
    driver: str


def find_gpu() -> Gpu:
    """The one that the runtime calls 0.  Raises ``ProviderError`` where there is none, or where its driver does not
    answer."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if visible in ("", "-1"):
        raise ProviderError("no GPU: CUDA_VISIBLE_DEVICES hides them all", do="unset it, or use cpu")
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader", f"--id={visible}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=True).stdout
        name, driver = said.strip().splitlines()[0].rsplit(", ", 1)
    except FileNotFoundError:
        raise ProviderError("no GPU: nvidia-smi is not installed", do="install its driver, or use cpu") from None
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise ProviderError(f"no GPU answers: {first_line(error)}", do="see what nvidia-smi says") from None
    return Gpu(name, driver)


def require(execution_provider: str, name: str) -> None:
    """Raises ``ProviderError`` when the runtime that is installed has not got it."""
    # Read when the first session is made.  TensorRT has no other switch for TF32, whose ten bits would miss the golden
    # tape of every bundle in float32; and the runtime is to count GPUs as nvidia-smi does.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    # Libraries that came as packages are found by nobody else, and a runtime whose CUDA is a plug-in has it from here
    # on.  It prints what it cannot find, and says it again when the session is made.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    if execution_provider not in ort.get_available_providers():
        raise ProviderError(
            f"the provider {name} is not in this runtime",
            expected=f"{execution_provider} among {', '.join(ort.get_available_providers())}",
            do="pip uninstall onnxruntime; pip install -e '.[gpu]'",
        )


class CudaProvider:
    """Implements ``Provider``.  No TF32: the golden tape is held in float32."""

    name = "cuda"

    def open(self, source: Source) -> DeviceGraph:
        require(_CUDA, self.name)
        gpu = find_gpu()

        def opened(captured: bool) -> DeviceGraph:
            settings = {"device_id": "0", "use_tf32": "0"} | ({"enable_cuda_graph": "1"} if captured else {})
            with CAPTURES.beside():
                session = open_session(source, [(_CUDA, settings)])
            require_used(session, _CUDA, self.name)
            return DeviceGraph(self.name, gpu.name, session, source, captured=captured)

        return captured_if_possible(opened)


def captured_if_possible(opened: Callable[[bool], DeviceGraph]) -> DeviceGraph:
    """With the launches of the whole graph captured, else without: what cannot be captured says so in many ways, and
    may run all the same."""
    return _tried_out(opened) or opened(False)


def _tried_out(opened: Callable[[bool], DeviceGraph]) -> DeviceGraph | None:
    """A session that failed is gone when this returns: half a capture of it would be in the way of the next one."""
    try:
        graph = opened(True)
        graph.try_out()
    except Exception:
        return None
    return graph


def require_used(session: Any, execution_provider: str, name: str) -> None:
    """The runtime goes to the CPU without a word when a GPU's library does not load.  Raises ``ProviderError``."""
    if (used := session.get_providers()[0]) != execution_provider:
        raise ProviderError(
            f"the provider {name} does not start: the runtime took {used}",
            expected=execution_provider,
            do="check CUDA, cuDNN and, for tensorrt, TensorRT: the versions that onnxruntime-gpu asks for",
        )


class DeviceGraph:
    """Implements ``OpenedGraph``.  Inputs and outputs live at fixed addresses of the device, as a captured graph needs.

    ``device_type`` as the runtime names it; ``captured``: the session replays launches that it has captured, each set
    of buffers and each thread its own.
    """

    def __init__(
        self,
        provider: str,
        device: str,
        session: Any,
        source: Source,
        *,
        captured: bool = False,
        device_type: str = "cuda",
    ) -> None:
        self.provider = provider
        self.device = device
        self.session = session
        self._source = source
        self._captured = captured
        self._device_type = device_type
        self._bound = 0
        self._running = threading.Lock()
        """Captured graphs of one session do not run at once: a thread that opens a shadow binds beside who serves."""

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Run:
        with self._running:
            self._bound += 1
            with CAPTURES.beside():
                values, results, binding = self._buffers(inputs, outputs)
                # What is prepared once for these shapes takes long, and belongs to no capture.
                plain = bound_run(self.session, binding, _options(_NO_CAPTURE) if self._captured else None)
            replayed = plain
            if self._captured:
                with CAPTURES.alone():
                    replayed = bound_run(self.session, binding, _options(self._bound))
        by_thread = threading.local()
        by_thread.has_captured = True

        def run() -> None:
            with self._running:
                if not self._captured or hasattr(by_thread, "has_captured"):
                    with CAPTURES.beside():
                        compute(replayed)
                    return
                # A thread's first run captures.  Whoever predicts must not wait for one who opens a session.
                with CAPTURES.alone_at_once() as may_capture:
                    if may_capture:
                        compute(replayed)
                        by_thread.has_captured = True
                if not may_capture:
                    with CAPTURES.beside():
                        compute(plain)

        def compute(launch: Run) -> None:
            for value, array in zip(values, inputs, strict=True):
                value.update_inplace(array)
            launch()
            for result, array in zip(results, outputs, strict=True):
                array[...] = result.numpy()

        return run

    def _buffers(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> tuple[list[Any], list[Any], Any]:
        """Of the device, bound.  What a run leaves alone is no number, and never one of before."""
        made = self._device_type, 0
        values = [ort.OrtValue.ortvalue_from_numpy(array, *made) for array in inputs]
        results = [ort.OrtValue.ortvalue_from_numpy(np.full_like(array, np.nan), *made) for array in outputs]
        binding = self.session.io_binding()
        for tensor, value in zip(self._source.inputs, values, strict=True):
            binding.bind_ortvalue_input(tensor.name, value)
        for tensor, value in zip(self._source.outputs, results, strict=True):
            binding.bind_ortvalue_output(tensor.name, value)
        return values, results, binding

    def try_out(self) -> None:
        """Runs two sets of buffers in turns, a batch of one each.  Raises what the runtime raises, and ``BundleError``
        where the second is not computed by itself: TensorRT's part of the runtime captures once for all buffers."""
        trials = [self._trial(), self._trial()]
        for value in (0.0, 1.0):
            for inputs, _, run in trials:
                for array in inputs:
                    array[...] = value if array.dtype == np.float32 else 0
                for _ in range(_TRIALS):
                    run()
            first, second = (np.concatenate([array.ravel() for array in outputs]) for _, outputs, _ in trials)
            if not np.allclose(first, second, rtol=_ALIKE, atol=_ALIKE):
                raise BundleError(f"bundle {self._source.version}: on the GPU one set of buffers is not like another")

    def _trial(self) -> tuple[list[Array], list[Array], Run]:
        inputs: list[Array] = [
            np.zeros([1, *tensor.shape[1:]], np.int64 if tensor.dtype == "int64" else np.float32)
            for tensor in self._source.inputs
        ]
        outputs: list[Array] = [np.zeros([1, *tensor.shape[1:]], np.float32) for tensor in self._source.outputs]
        return inputs, outputs, self.bind(inputs, outputs)


def _options(number: int) -> Any:
    """Of a run: which captured graph it is."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options
