"""Graphs beside the one that serves: they open as declared, and agree with the golden tape.

Owns these checks, which are made when a bundle is verified, and where a session opens one (``models.mixture.spread``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import BundleError
from models.assets import UNKNOWN
from models.bundle import Bundle
from models.facts import SPREAD
from models.manifest import ASSET, FEATURES
from models.manifest_sections import SideGraph
from models.providers.graph import Source
from models.providers.onnx_runtime import open_session

Arrays = dict[str, npt.NDArray[Any]]


def check_side_graphs(bundle: Bundle) -> None:
    """Raises ``BundleError`` when a graph does not open, is not as declared, or says something impossible."""
    manifest, spec = bundle.manifest, bundle.spec
    window = np.frombuffer(bundle.golden.window, "<f4").reshape(1, spec.window, len(spec.columns))
    if manifest.explanation is not None and manifest.explanation.graph is not None:
        check_explanation(bundle, manifest.explanation.graph, _open(bundle, manifest.explanation.graph))
    if manifest.step is not None and manifest.step.graph is not None:
        _check_steps(bundle, manifest.step.graph, window)


def check_explanation(bundle: Bundle, graph: SideGraph, session: Any) -> None:
    """What an open session of it says of the golden window.  Raises ``BundleError``."""
    spec, manifest = bundle.spec, bundle.manifest
    window = np.frombuffer(bundle.golden.window, "<f4").reshape(1, spec.window, len(spec.columns))
    said = _run(bundle, session, _feeds(graph, window))
    for name, values in said.items():
        if not np.isfinite(values).all() or values.min() < 0:
            raise _wrong(bundle, graph, f"says {name} below 0 or not finite on the golden window")
    # What each row reads adds up to all of it.
    if "attention" in said and not np.allclose(said["attention"].sum(axis=-1), 1.0, atol=1e-4):
        raise _wrong(bundle, graph, "gives attention weights that do not sum to 1")
    wanted = bundle.golden.spreads
    seen = [number for name, values in said.items() if name.endswith(SPREAD) for number in values.ravel().tolist()]
    if not wanted or not seen:
        return  # of before these were kept on the tape, or without any
    if len(seen) != len(wanted):
        raise _wrong(bundle, graph, f"tells {len(seen)} deviations, and its golden tape {len(wanted)}")
    off = float(np.abs(np.array(seen) - np.array(wanted)).max())
    if not off <= manifest.tolerance.outputs_abs:
        raise _wrong(bundle, graph, f"tells a deviation that is {off:.2g} off the golden tape")


def _check_steps(bundle: Bundle, graph: SideGraph, window: npt.NDArray[np.float32]) -> None:
    """From a state of zeros, the golden window's last row must give the tape's last prediction."""
    session = _open(bundle, graph)
    states = {
        tensor.name: np.zeros([1 if size < 0 else size for size in tensor.shape], np.float32)
        for tensor in graph.inputs
        if tensor.name not in (FEATURES, ASSET)
    }
    said: Arrays = {}
    for row in range(window.shape[1]):
        said = _run(bundle, session, _feeds(graph, window[:, row : row + 1]) | states)
        states = {name: said[f"{name}_next"] for name in states}
    names = [tensor.name for tensor in bundle.manifest.outputs]
    seen = np.concatenate([said[name].ravel() for name in names])
    off = float(np.abs(seen - np.array(bundle.golden.outputs[-len(seen) :])).max())
    if not off <= bundle.manifest.tolerance.outputs_abs:
        raise _wrong(bundle, graph, f"is {off:.2g} off the golden tape after {window.shape[1]} rows")


def _open(bundle: Bundle, graph: SideGraph) -> Any:
    return open_session(
        Source(bundle.version, bundle.side_graphs[graph.file], graph.inputs, graph.outputs, bundle.manifest.precision)
    )


def _feeds(graph: SideGraph, rows: npt.NDArray[np.float32]) -> Arrays:
    feeds: Arrays = {FEATURES: np.ascontiguousarray(rows)}
    if any(tensor.name == ASSET for tensor in graph.inputs):
        feeds[ASSET] = np.full(1, UNKNOWN, np.int64)
    return feeds


def _run(bundle: Bundle, session: Any, feeds: Arrays) -> Arrays:
    names = [node.name for node in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as error:  # the runtime raises its own types
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BundleError(f"bundle {bundle.version}: a side graph does not run: {text}", do="train it again") from error


def _wrong(bundle: Bundle, graph: SideGraph, text: str) -> BundleError:
    return BundleError(f"bundle {bundle.version}: {graph.file} {text}", do="train it again")
