from __future__ import annotations

import numpy as np
import pytest

from engine.errors import BundleError
from engine.events import PredictionStatus
from models.onnx_model import OnnxModel
from models.providers.graph import ProviderError, source_of
from models.providers.openvino import OpenvinoProvider
from models.providers.order import providers_of
from models.serving.bound import BoundGraph


@pytest.fixture(scope="module")
def _installed():
    pytest.importorskip("openvino", reason="openvino is not installed: make setup")


@pytest.mark.usefixtures("_installed")
def test_a_bundle_is_served_by_openvino_as_by_the_cpu(bundle, window):
    """The order of the configuration; the golden tape is held, the bits of one machine are its own."""
    model = OnnxModel(bundle, providers=providers_of(["openvino"]))
    assert model.provider == "openvino"
    assert model.graph.standby.provider == "cpu"
    reference = OnnxModel(bundle)
    for scale in (1.0, 1.01, 0.97):
        scaled = (window * np.float32(scale)).astype(np.float32)
        said = model.predict("A", scaled, 0, 0)
        assert said.status is PredictionStatus.OK
        assert said.values[0] == pytest.approx(reference.predict("A", scaled, 0, 0).values[0], abs=1e-5)


@pytest.mark.usefixtures("_installed")
def test_batches_are_compiled_for_their_own_shape(bundle, window):
    """Seven different windows at once are seven windows one by one."""
    graph = OpenvinoProvider().open(source_of(bundle))
    one, seven = BoundGraph(graph, bundle), BoundGraph(graph, bundle, 7)
    for row in range(7):
        seven.features[row] = window * np.float32(1 + row / 100)
    seven.run()
    for row in range(7):
        one.features[0] = seven.features[row]
        one.run()
        assert one.outputs[0][0, 0] == pytest.approx(seven.outputs[0][row, 0], abs=1e-6)


@pytest.mark.usefixtures("_installed")
def test_a_shape_is_compiled_once_and_shared_by_all_who_bind_it(bundle, window, monkeypatch):
    """60 ms each would be felt by a loop that needs a twin; the buffers are each one's own."""
    model = OnnxModel(bundle, providers=providers_of(["openvino"]))
    monkeypatch.setattr(model.graph.first, "_core", None)  # nothing to compile with
    twin = model.twin()
    said = model.predict("A", window, 0, 0).values
    assert twin.predict("A", window * np.float32(1.01), 0, 0).values != said
    assert twin.predict("A", window, 0, 0).values == said


@pytest.mark.usefixtures("_installed")
def test_noise_is_refused_in_one_line(bundle):
    """Bytes that are no graph."""
    with pytest.raises(BundleError, match="cannot load its graph") as caught:
        OpenvinoProvider().open(source_of(bundle)._replace(content=b"\x00\x01 no graph"))
    assert "\n" not in str(caught.value)


def test_without_the_library_it_says_what_to_install(bundle, monkeypatch):
    """As on a machine without the extra."""
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ProviderError, match=r"openvino.*\[openvino\]"):
        OpenvinoProvider().open(source_of(bundle))
