"""What a provider is: it opens a graph on a device, and binds that to arrays of this process.

Owns the interface only.  Nothing else of the project knows which runtime computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from engine.errors import BundleError
from models.bundle import Bundle
from models.manifest_sections import Precision, Tensor

Array = npt.NDArray[Any]
Run = Callable[[], None]
"""One inference over the arrays that were bound.  Raises whatever the runtime raises."""


class ProviderError(BundleError):
    """A provider cannot compute on this machine: it is not installed, has no device, or no engine was built for it."""


class NoProviderError(BundleError):
    """No provider of the order may serve a bundle that has nothing wrong itself."""


class Source(NamedTuple):
    """A graph that is to be opened.  ``version`` of its bundle, which errors name; ``content`` is ONNX."""

    version: str
    content: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    precision: Precision


def source_of(bundle: Bundle) -> Source:
    """The graph that serves."""
    manifest = bundle.manifest
    return Source(bundle.version, bundle.graph, manifest.inputs, manifest.outputs, manifest.precision)


class OpenedGraph(Protocol):
    """A graph on a device.  ``provider`` is its name in the configuration, ``device`` what it runs on, in words."""

    @property
    def provider(self) -> str: ...

    @property
    def device(self) -> str: ...

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Run:
        """An inference that reads ``inputs`` and writes ``outputs``: C-contiguous arrays of this process, in the order
        of the manifest, with the batch in front.  They are read and written in place and must outlive it.

        Takes as long as the device needs to get ready for these shapes; the inference allocates nothing after that.
        """


class Provider(Protocol):
    """Opens graphs.  ``name`` is what the configuration calls it."""

    name: str

    def open(self, source: Source) -> OpenedGraph:
        """Raises ``ProviderError`` where it cannot compute here, ``BundleError`` where the graph is not as declared."""


def check_ends(
    source: Source, inputs: Sequence[tuple[str, list[int], str]], outputs: Sequence[tuple[str, list[int], str]]
) -> None:
    """Raises ``BundleError`` when the ends that a runtime found (name, shape with -1 as batch, type) are others."""
    for kind, declared, seen in (("input", source.inputs, inputs), ("output", source.outputs, outputs)):
        wanted = [(tensor.name, list(tensor.shape), tensor.dtype) for tensor in declared]
        if wanted != list(seen):
            raise BundleError(
                f"bundle {source.version}: its graph has {kind}s {list(seen)}",
                expected=f"{wanted}",
                do="train it again",
            )


def refused(version: str, what: str, error: Exception) -> BundleError:
    """A runtime's own error in one line."""
    return BundleError(
        f"bundle {version}: the runtime cannot {what} its graph: {first_line(error)}", do="train it again"
    )


def not_here(version: str, provider: str, error: Exception) -> ProviderError:
    """The same of a provider other than the CPU: it says nothing against the bundle."""
    return ProviderError(
        f"bundle {version}: {provider} cannot compute it here: {first_line(error)}",
        do="see what it needs under Providers in docs/models.md",
    )


def first_line(error: Exception) -> str:
    """At most 200 characters of what a runtime says."""
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
