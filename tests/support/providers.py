"""A GPU that can be lost: the CPU's own runtime behind the interface of a provider, with what goes wrong on a device.

Owns the failures.  What it computes is real: the golden tape is held against it like against any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.providers.graph import Array, OpenedGraph, ProviderError, Run, Source
from models.providers.onnx_runtime import CpuProvider


class FakeGpu:
    """Implements ``Provider``.

    ``missing``: it cannot be opened, and why; ``broken``: the runtime's own words when it is.  ``memory_batch``: a
    greater batch does not fit into its memory when it is bound.  ``off``: what it computes differs from the CPU by up
    to this, other at each call.  ``fail`` loses it.
    """

    def __init__(
        self,
        name: str = "cuda",
        *,
        missing: str = "",
        broken: str = "",
        memory_batch: int = 1 << 30,
        off: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.name = name
        self.missing = missing
        self.broken = broken
        self.memory_batch = memory_batch
        self.off = off
        self.error: Exception | None = None
        self.runs = 0
        self.draws = np.random.default_rng(seed)

    def open(self, source: Source) -> OpenedGraph:
        if self.missing:
            raise ProviderError(self.missing)
        if self.broken:
            raise RuntimeError(self.broken)
        return _FakeGraph(self, CpuProvider().open(source))

    def fail(self, text: str) -> None:
        """From now on each call raises as the runtime does when the device is gone."""
        self.error = RuntimeError(text)


class _FakeGraph:
    device = "a device that can be lost"

    def __init__(self, gpu: FakeGpu, real: OpenedGraph) -> None:
        self.provider = gpu.name
        self._gpu = gpu
        self._real = real

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Run:
        gpu, compute = self._gpu, self._real.bind(inputs, outputs)
        if len(inputs[0]) > gpu.memory_batch:
            raise MemoryError("CUDA out of memory: Failed to allocate memory for requested buffer of size 123")

        def run() -> None:
            gpu.runs += 1
            if gpu.error is not None:
                raise gpu.error
            compute()
            for array in outputs:
                if gpu.off:
                    array[...] += gpu.draws.uniform(-gpu.off, gpu.off, array.shape).astype(np.float32)

        return run
