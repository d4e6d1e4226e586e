"""ONNX Runtime on the CPU: the default, and the reference that every other provider falls back to.

Owns the session's options and the call into the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import onnxruntime as ort

from models.providers.graph import Array, Run, Source, check_ends, not_here, refused

_CPU = "CPUExecutionProvider"
_SLOWER = ["SkipLayerNormFusion"]
"""What the runtime makes of a graph on the CPU and should not: sum and norm in one node, which takes 19 us where the
two take 3 (30 rows of 128)."""
_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class CpuProvider:
    """Implements ``Provider``."""

    name = "cpu"

    def open(self, source: Source) -> CpuGraph:
        return CpuGraph(open_session(source), source)


class CpuGraph:
    """Implements ``OpenedGraph``.  Inferences of several threads on one session do not disturb each other."""

    provider = "cpu"
    device = "CPU, one thread"

    def __init__(self, session: Any, source: Source) -> None:
        self.session = session
        self._source = source

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Run:
        # Raw pointers: the runtime reads and writes these very arrays.
        binding = self.session.io_binding()
        for tensor, array in zip(self._source.inputs, inputs, strict=True):
            binding.bind_input(tensor.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for tensor, array in zip(self._source.outputs, outputs, strict=True):
            binding.bind_output(tensor.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return bound_run(self.session, binding)


def open_session(
    source: Source, providers: Sequence[str | tuple[str, dict[str, str]]] = (_CPU,), options: Any = None
) -> Any:
    """A session of the graph.  Raises ``BundleError`` when it does not load or its ends are not those declared; a
    ``ProviderError`` where that is another provider's than the CPU."""
    try:
        session = ort.InferenceSession(
            source.content,
            options or session_options(),
            providers=list(providers),
            disabled_optimizers=_SLOWER if list(providers) == [_CPU] else None,
            enable_fallback=0,  # it would print on stdout and go on with the CPU: that is chosen, and told, by us
        )
    except Exception as error:  # the runtime raises its own types, one per status code
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if first != _CPU:
            raise not_here(source.version, first, error) from error
        raise refused(source.version, "load", error) from error
    check_ends(source, _ends(session.get_inputs()), _ends(session.get_outputs()))
    return session


def session_options() -> Any:
    """One thread, no spinning: at 130 k parameters a second thread costs more in waking than it saves, and a spinning
    pool would take the core that the event loop runs on."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def bound_run(session: Any, binding: Any, options: Any = None) -> Callable[[], None]:
    """One inference over what ``binding`` holds, with the least between here and the runtime.

    The public ``run_with_iobinding`` asks at each call whether a WebGPU graph is being captured, then passes on to the
    compiled session; going there at once saves 1-2 us a prediction.  That session is no public attribute: where it is
    missing or takes other arguments, and for WebGPU, the public call is used.
    """
    public: Callable[[], None] = partial(session.run_with_iobinding, binding, options)
    compiled = getattr(getattr(session, "_sess", None), "run_with_iobinding", None)
    bound = getattr(binding, "_iobinding", None)
    if compiled is None or bound is None or "WebGpuExecutionProvider" in session.get_providers():
        return public
    try:
        compiled(bound, options)
    except Exception:  # it takes other arguments, or raises one of the runtime's own types
        return public
    return partial(compiled, bound, options)


def _ends(nodes: Sequence[Any]) -> list[tuple[str, list[int], str]]:
    return [
        (node.name, [size if isinstance(size, int) else -1 for size in node.shape], _TYPES.get(node.type, node.type))
        for node in nodes
    ]
