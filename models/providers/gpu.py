"""Graphs on an NVIDIA GPU by ONNX Runtime: CUDA, with the launches of a whole graph captured where that is possible.

Owns device buffers and what both GPU providers need to know of the machine.  TensorRT is ``models.providers.tensorrt``.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from engine.errors import BundleError
from models.providers.graph import Array, ProviderError, Run, Source, first_line
from models.providers.onnx_runtime import bound_run, open_session

_CUDA = "CUDAExecutionProvider"
_ASK_TIMEOUT_S = 10.0
_TRIALS = 3
"""Runs that show whether a graph can be captured: the first captures, those after it replay."""


class Gpu(NamedTuple):
    """The first GPU as the driver names it."""

    name: str
    driver: str


def find_gpu() -> Gpu:
    """Raises ``ProviderError`` where there is none, or where its driver does not answer."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader", "--id=0"]
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
    if execution_provider not in ort.get_available_providers():
        raise ProviderError(
            f"the provider {name} is not in this runtime",
            expected=f"{execution_provider} among {', '.join(ort.get_available_providers())}",
            do="pip uninstall onnxruntime; pip install -e '.[gpu]'",
        )
    # Libraries that came as packages are found by nobody else.  It prints what it cannot find, and says it again when
    # the session is made.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()


class CudaProvider:
    """Implements ``Provider``.  No TF32: the golden tape is held in float32."""

    name = "cuda"

    def open(self, source: Source) -> DeviceGraph:
        require(_CUDA, self.name)
        gpu = find_gpu()
        plain = {"device_id": "0", "use_tf32": "0"}
        try:
            graph = self._open(source, gpu, plain | {"enable_cuda_graph": "1"})
            graph.try_out()
        except Exception:  # what cannot be captured says so in many ways; it may run all the same
            graph = self._open(source, gpu, plain)
        return graph

    def _open(self, source: Source, gpu: Gpu, settings: dict[str, str]) -> DeviceGraph:
        session = open_session(source, [(_CUDA, settings)])
        require_used(session, _CUDA, self.name)
        return DeviceGraph(self.name, gpu.name, session, source)


def require_used(session: Any, execution_provider: str, name: str) -> None:
    """The runtime goes to the CPU without a word when a GPU's library does not load.  Raises ``ProviderError``."""
    if (used := session.get_providers()[0]) != execution_provider:
        raise ProviderError(
            f"the provider {name} does not start: the runtime took {used}",
            expected=execution_provider,
            do="check CUDA and cuDNN: the versions that onnxruntime-gpu asks for",
        )


class DeviceGraph:
    """Implements ``OpenedGraph``.  Inputs and outputs live at fixed addresses of the device, as a captured graph needs.

    ``device_type`` as the runtime names it.
    """

    def __init__(self, provider: str, device: str, session: Any, source: Source, device_type: str = "cuda") -> None:
        self.provider = provider
        self.device = device
        self.session = session
        self._source = source
        self._device_type = device_type
        self._bound = 0
        self._running = threading.Lock()
        """Captured graphs of one session do not run at once: a thread that opens a shadow binds beside who serves."""

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Run:
        binding = self.session.io_binding()
        values = [ort.OrtValue.ortvalue_from_numpy(array, self._device_type, 0) for array in inputs]
        results = [
            ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype.type, self._device_type, 0)
            for array in outputs
        ]
        for tensor, value in zip(self._source.inputs, values, strict=True):
            binding.bind_ortvalue_input(tensor.name, value)
        for tensor, value in zip(self._source.outputs, results, strict=True):
            binding.bind_ortvalue_output(tensor.name, value)
        # Each set of buffers is a captured graph of its own.
        with self._running:
            self._bound += 1
            options = ort.RunOptions()
            options.add_run_config_entry("gpu_graph_id", str(self._bound))
            compute = bound_run(self.session, binding, options)

        def run() -> None:
            with self._running:
                for value, array in zip(values, inputs, strict=True):
                    value.update_inplace(array)
                compute()
                for result, array in zip(results, outputs, strict=True):
                    array[...] = result.numpy()

        return run

    def try_out(self) -> None:
        """Runs a batch of one a few times; raises what the runtime raises."""
        inputs = [
            np.zeros([1, *tensor.shape[1:]], np.int64 if tensor.dtype == "int64" else np.float32)
            for tensor in self._source.inputs
        ]
        outputs = [np.zeros([1, *tensor.shape[1:]], np.float32) for tensor in self._source.outputs]
        run = self.bind(inputs, outputs)
        for _ in range(_TRIALS):
            run()
        if not all(np.isfinite(array).all() for array in outputs):
            raise BundleError(f"bundle {self._source.version}: a captured graph gives no numbers")
