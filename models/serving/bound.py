"""A graph with its buffers: inputs and outputs of a fixed batch, bound to what computes them once.

Shapes never change after that, and neither do addresses: what a provider can capture or pin, it can do here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from engine.ports import Float32Array
from models.bundle import Bundle
from models.manifest import ASSET, FEATURES
from models.providers.graph import Array, OpenedGraph


class Bound(Protocol):
    """What is asked by buffers, as ``BoundGraph`` says; ``outputs`` may be followed by what another graph tells."""

    @property
    def batch(self) -> int: ...

    @property
    def features(self) -> Float32Array: ...

    @property
    def asset(self) -> Array: ...

    @property
    def outputs(self) -> Sequence[Float32Array]: ...

    @property
    def run(self) -> Callable[[], None]: ...


class BoundGraph:
    """``run`` makes ``outputs`` of ``features``.  Not thread-safe; several may share a graph.

    ``features (B, W, F)`` float32 and ``asset (B,)`` int64 are written before; ``outputs``, each ``(B, ...)``
    float32, in the manifest's order, are read after.  A graph that takes no asset leaves that array alone.
    """

    def __init__(self, graph: OpenedGraph, bundle: Bundle, batch: int = 1) -> None:
        manifest = bundle.manifest
        self.batch = batch
        self.features = np.zeros((batch, bundle.spec.window, len(bundle.spec.columns)), np.float32)
        self.asset = np.zeros(batch, np.int64)
        self.outputs = [np.zeros((batch, *tensor.shape[1:]), np.float32) for tensor in manifest.outputs]
        inputs: dict[str, Array] = {FEATURES: self.features, ASSET: self.asset}
        # It reads and writes these very arrays.
        self.run = graph.bind([inputs[tensor.name] for tensor in manifest.inputs], self.outputs)
