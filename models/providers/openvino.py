"""OpenVINO on the CPU, by its own API.

Owns compilation: once for each batch, as fixed shapes are what it optimises for; whoever binds the same batch later
shares that.  The library is optional (``pip install -e '.[openvino]'``) and loaded when it is configured.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from models.providers.graph import Array, ProviderError, Run, Source, check_ends, refused

_DEVICE = "CPU"
_SETTINGS = {
    # As with ONNX Runtime: one thread, which is the caller's own core.
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": False,
    # Processors with half-precision units would else be asked for bf16 behind our back.
    "INFERENCE_PRECISION_HINT": "f32",
}


class OpenvinoProvider:
    """Implements ``Provider``."""

    name = "openvino"

    def open(self, source: Source) -> OpenvinoGraph:
        try:
            import openvino
        except ImportError as error:
            raise ProviderError(
                f"the provider openvino needs {error.name or 'openvino'}", do="pip install -e '.[openvino]'"
            ) from None
        return OpenvinoGraph(openvino, source)


class OpenvinoGraph:
    """Implements ``OpenedGraph``."""

    provider = "openvino"

    def __init__(self, library: Any, source: Source) -> None:
        self._library = library
        self._source = source
        self._core = library.Core()
        self.device = f"{self._core.get_property(_DEVICE, 'FULL_DEVICE_NAME')}, one thread"
        try:
            model = self._core.read_model(source.content)
        except Exception as error:  # its frontends raise types of their own
            raise refused(source.version, "load", error) from error
        check_ends(source, _ends(model.inputs), _ends(model.outputs))
        self._compiled: dict[tuple[tuple[int, ...], ...], Any] = {}
        self._compiling = threading.Lock()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Run:
        request = self._of_shape(tuple(array.shape for array in inputs)).create_infer_request()
        for number, array in enumerate(inputs):
            request.set_input_tensor(number, self._library.Tensor(array, shared_memory=True))
        for number, array in enumerate(outputs):
            request.set_output_tensor(number, self._library.Tensor(array, shared_memory=True))
        return _bound_run(request)

    def _of_shape(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        """Compiled for these inputs: 60 ms for the demo CNN, which the loop must not wait for when it needs a twin."""
        with self._compiling:
            if shapes not in self._compiled:
                model = self._core.read_model(self._source.content)
                model.reshape({node: list(shape) for node, shape in zip(model.inputs, shapes, strict=True)})
                self._compiled[shapes] = self._core.compile_model(model, _DEVICE, _SETTINGS)
            return self._compiled[shapes]


def _bound_run(request: Any) -> Run:
    """One inference without the dictionary of results that the public ``infer`` makes: 2 us of 26 for the demo CNN.

    What it passes on to is no public attribute: where that is missing or takes other arguments, ``infer`` is used.
    """
    public: Run = request.infer
    for base in type(request).__mro__:
        if base.__module__ == "openvino._pyopenvino" and "infer" in vars(base):
            compiled: Run = partial(base.infer, request, {}, True, False)  # type: ignore[attr-defined]
            try:
                compiled()
            except Exception:  # it takes other arguments, or raises one of the library's own types
                return public
            return compiled
    return public


def _ends(nodes: Sequence[Any]) -> list[tuple[str, list[int], str]]:
    types = {"f32": "float32", "i64": "int64"}
    return [
        (
            node.any_name,
            [size.get_length() if size.is_static else -1 for size in node.partial_shape],
            types.get(node.element_type.get_type_name(), node.element_type.get_type_name()),
        )
        for node in nodes
    ]
