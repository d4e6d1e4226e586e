"""A graph with its buffers: inputs and outputs of a fixed batch, bound to a session of the runtime once.

Shapes never change after that, and neither do addresses: what a provider can capture or pin, it can do here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from models.manifest import ASSET, FEATURES, Bundle


class BoundGraph:
    """``run`` makes ``outputs`` of ``features``.  Not thread-safe; several may share a session.

    ``features (B, W, F)`` float32 and ``asset (B,)`` int64 are written before; ``outputs``, each ``(B, ...)``
    float32, in the manifest's order, are read after.  A graph that takes no asset leaves that array alone.
    """

    def __init__(self, session: Any, bundle: Bundle, batch: int = 1) -> None:
        manifest = bundle.manifest
        self.batch = batch
        self.features = np.zeros((batch, bundle.spec.window, len(bundle.spec.columns)), np.float32)
        self.asset = np.zeros(batch, np.int64)
        self.outputs = [np.zeros((batch, *tensor.shape[1:]), np.float32) for tensor in manifest.outputs]
        # Raw pointers: the runtime reads and writes these very arrays; they live as long as this object.
        self.binding = session.io_binding()
        self.binding.bind_input(FEATURES, "cpu", 0, np.float32, self.features.shape, self.features.ctypes.data)
        if bundle.assets is not None:
            self.binding.bind_input(ASSET, "cpu", 0, np.int64, self.asset.shape, self.asset.ctypes.data)
        for tensor, output in zip(manifest.outputs, self.outputs, strict=True):
            self.binding.bind_output(tensor.name, "cpu", 0, np.float32, output.shape, output.ctypes.data)
        self.run = bound_run(session, self.binding)


def bound_run(session: Any, binding: Any) -> Callable[[], None]:
    """One inference over what ``binding`` holds, with the least between here and the runtime.

    The public ``run_with_iobinding`` asks at each call whether a WebGPU graph is being captured, then passes on to the
    compiled session; going there at once saves 1-2 us a prediction.  That session is no public attribute: where it is
    missing or takes other arguments, and for WebGPU, the public call is used.
    """
    public: Callable[[], None] = partial(session.run_with_iobinding, binding)
    compiled = getattr(getattr(session, "_sess", None), "run_with_iobinding", None)
    bound = getattr(binding, "_iobinding", None)
    if compiled is None or bound is None or "WebGpuExecutionProvider" in session.get_providers():
        return public
    try:
        compiled(bound, None)
    except Exception:  # it takes other arguments, or raises one of the runtime's own types
        return public
    return partial(compiled, bound, None)
