from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest

from engine.errors import BundleError
from models.manifest_sections import Tensor
from models.providers.gpu import CudaProvider, DeviceGraph
from models.providers.graph import ProviderError, Source, source_of
from models.providers.onnx_runtime import CpuProvider, bound_run, open_session, session_options


class _Public:
    """A session as another version of the runtime may have it: only what is documented."""

    def __init__(self, session):
        self._session = session
        self.calls = 0

    def get_providers(self):
        return self._session.get_providers()

    def run_with_iobinding(self, binding, options=None):
        self.calls += 1
        self._session.run_with_iobinding(binding, options)


class _Changed(_Public):
    """A session whose compiled part takes other arguments than today's."""

    def __init__(self, session):
        super().__init__(session)
        self._sess = SimpleNamespace(run_with_iobinding=lambda binding: None)


def arrays(window, batch=1):
    return [np.repeat(window[None], batch, axis=0)], [np.zeros((batch, 1), np.float32)]


def test_a_sum_and_its_norm_stay_two_nodes(tmp_path):
    """In one they take six times as long on the CPU; on the same graph the runtime would fuse them."""
    onnx = pytest.importorskip("onnx", reason="the trainer is not installed")
    helper = onnx.helper
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3, 8]) for name in ("a", "b", "normed")
    ]
    ones = onnx.numpy_helper.from_array(np.ones(8, np.float32), "scale")
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"]),
        helper.make_node("LayerNormalization", ["total", "scale"], ["normed"], axis=-1),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "test", ends[:2], ends[2:], [ones]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    tensors = [Tensor(name, (-1, 3, 8), "float32") for name in ("a", "b", "normed")]
    source = Source("test@0", model.SerializeToString(), tuple(tensors[:2]), tuple(tensors[2:]), "fp32")
    kinds = {}
    for name, open_one in (
        ("ours", lambda options: open_session(source, options=options)),
        ("theirs", lambda options: ort.InferenceSession(source.content, options, providers=["CPUExecutionProvider"])),
    ):
        options = session_options()
        options.optimized_model_filepath = str(tmp_path / f"{name}.onnx")
        open_one(options)
        kinds[name] = [node.op_type for node in onnx.load(tmp_path / f"{name}.onnx").graph.node]
    assert kinds == {"ours": ["Add", "LayerNormalization"], "theirs": ["SkipLayerNormalization"]}


@pytest.mark.parametrize("kind", [_Public, _Changed])
def test_the_direct_call_and_the_public_one_give_the_same_bits(bundle, window, kind):
    """Predicts through the compiled session, then with sessions on which that way is missing or changed."""
    graph = CpuProvider().open(source_of(bundle))
    inputs, outputs = arrays(window)
    direct = graph.bind(inputs, outputs)
    assert direct.func == graph.session._sess.run_with_iobinding
    session = kind(graph.session)
    binding = graph.session.io_binding()
    binding.bind_cpu_input("features", inputs[0])
    other = np.zeros((1, 1), np.float32)
    binding.bind_output("p_up", "cpu", 0, np.float32, other.shape, other.ctypes.data)
    fallback = bound_run(session, binding)
    for scale in (1.0, 1.01, 0.5):
        inputs[0][0] = window * np.float32(scale)
        binding.bind_cpu_input("features", inputs[0])
        direct()
        fallback()
        assert outputs[0][0, 0] == other[0, 0] != 0
    assert session.calls == 3


def test_device_buffers_give_what_the_bound_arrays_give(bundle, window):
    """The GPU's way of binding (buffers of the runtime, copied to and fro), with the CPU as its device, in batches."""
    source = source_of(bundle)
    plain = CpuProvider().open(source)
    device = DeviceGraph("cuda", "the CPU", open_session(source), source, device_type="cpu")
    for batch in (1, 7):
        inputs, wanted = arrays(window, batch)
        _, seen = arrays(window, batch)
        runs = plain.bind(inputs, wanted), device.bind(inputs, seen)
        for scale in (1.0, 1.02):
            inputs[0][:] = window * np.float32(scale)
            for run in runs:
                run()
            np.testing.assert_array_equal(seen[0], wanted[0])
    device.try_out()


def test_cuda_is_not_in_the_runtime_of_the_cpu_and_says_what_to_install(bundle):
    """The runtime without CUDA: one line that names the extra."""
    with pytest.raises(ProviderError, match=r"provider cuda is not in this runtime.*\[gpu\]"):
        CudaProvider().open(source_of(bundle))


def test_bytes_that_are_no_graph_are_refused_in_one_line(bundle):
    """Noise instead of a graph."""
    with pytest.raises(BundleError, match="cannot load its graph") as caught:
        CpuProvider().open(source_of(bundle)._replace(content=b"\x00\x01 no graph"))
    assert "\n" not in str(caught.value)


def test_a_provider_that_does_not_start_is_an_error_and_no_other_runtime_without_a_word(bundle, monkeypatch, capsys):
    """The runtime would print a page and go on with the CPU."""
    create = ort.InferenceSession._create_inference_session

    def fail(self, providers, *rest):
        if providers[0] != "CPUExecutionProvider":
            raise RuntimeError("CUDA driver version is insufficient")
        create(self, providers, *rest)

    monkeypatch.setattr(ort.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(ProviderError, match="CUDAExecutionProvider cannot compute it here: CUDA driver version is"):
        open_session(source_of(bundle), [("CUDAExecutionProvider", {})])
    assert capsys.readouterr().out == ""
