from __future__ import annotations

import os
import re
import sys
from functools import partial

import pytest

from engine.errors import BundleError
from models.onnx_model import OnnxModel
from models.providers import gpu, tensorrt
from models.providers.gpu import DeviceGraph, Gpu, find_gpu
from models.providers.graph import ProviderError, source_of
from models.providers.onnx_runtime import CpuProvider, open_session
from models.providers.tensorrt import (
    READY,
    TensorrtProvider,
    check_engine,
    engine_folder,
    engine_settings,
    finish_engine,
)

GPU = Gpu("NVIDIA H100 80GB HBM3", "580.95.05")


@pytest.fixture
def built(bundle, tmp_path):
    """An engine of two files in its place, as a build leaves it."""
    source = source_of(bundle)
    draft = tmp_path / "draft"
    draft.mkdir()
    (draft / "model.engine").write_bytes(b"engine")
    (draft / "model.timing").write_bytes(b"timing")
    place = engine_folder(tmp_path, source, GPU)
    place.parent.mkdir(parents=True)
    finish_engine(draft, place, source, GPU)
    return place


def test_a_finished_engine_is_accepted_and_a_new_build_takes_its_place(bundle, built, tmp_path):
    """Nothing of a draft is left; a second build replaces the first whole."""
    source = source_of(bundle)
    check_engine(built, source, GPU)
    draft = tmp_path / "again"
    draft.mkdir()
    (draft / "model.engine").write_bytes(b"another")
    finish_engine(draft, built, source, GPU)
    check_engine(built, source, GPU)
    assert sorted(file.name for file in built.iterdir()) == [READY, "model.engine"]
    assert [one.name for one in built.parent.iterdir()] == [built.name]


@pytest.mark.parametrize(
    "other",
    [
        {"gpu": Gpu("NVIDIA H200", GPU.driver)},
        {"gpu": Gpu(GPU.name, "590.01")},
        {"content": b"another graph"},
        {"precision": "fp16"},
    ],
)
def test_an_engine_is_of_one_graph_gpu_driver_and_precision(bundle, built, tmp_path, other):
    """Any other of them is another folder, which has no engine: it says how one is built."""
    device = other.pop("gpu", GPU)
    source = source_of(bundle)._replace(**other)
    place = engine_folder(tmp_path, source, device)
    assert place != built
    advice = f"models verify {source.version} --build --engines {tmp_path}"
    with pytest.raises(ProviderError, match=re.escape(advice)):
        check_engine(place, source, device)


def test_a_changed_or_missing_file_of_an_engine_is_noticed(bundle, built):
    """An engine holds machine code: what was not built here is not loaded."""
    (built / "model.engine").write_bytes(b"other code")
    with pytest.raises(ProviderError, match=r"model\.engine.*expected"):
        check_engine(built, source_of(bundle), GPU)
    (built / "model.engine").unlink()
    with pytest.raises(ProviderError, match="missing"):
        check_engine(built, source_of(bundle), GPU)


def test_a_build_that_wrote_nothing_is_no_engine(bundle, tmp_path):
    """The runtime can take the whole graph to CUDA without a word."""
    draft = tmp_path / "draft"
    draft.mkdir()
    with pytest.raises(BundleError, match="wrote no engine"):
        finish_engine(draft, tmp_path / "place", source_of(bundle), GPU)


def test_profiles_are_fixed_and_half_precision_is_only_what_the_bundle_says(bundle, tmp_path):
    """Batches of 1 to 64, the window as it is."""
    settings = engine_settings(source_of(bundle), tmp_path)
    assert settings["trt_profile_opt_shapes"] == "features:1x30x40"
    assert settings["trt_profile_max_shapes"] == "features:64x30x40"
    assert settings["trt_fp16_enable"] == "0"
    for precision in ("fp32", "fp16", "bf16"):
        made = engine_settings(source_of(bundle)._replace(precision=precision), tmp_path)
        assert made["trt_fp16_enable"] == ("1" if precision == "fp16" else "0")
        assert made["trt_bf16_enable"] == ("1" if precision == "bf16" else "0")


@pytest.mark.parametrize("runtime", ["captures", "captures once", "cannot capture"])
def test_an_engine_is_opened_with_its_launches_captured_and_without_where_that_fails(
    bundle, built, window, monkeypatch, runtime
):
    """A session of the CPU in its place: options, device buffers and the golden tape are as on the GPU.  A runtime that
    captures once for all buffers (TensorRT's part of ONNX Runtime) computes the first set whichever is asked."""
    asked = []

    class Session:
        def __init__(self, real, providers):
            self.real, self.captured = real, providers[0][1]["trt_cuda_graph_enable"] == "1"
            self._sess = self
            self.first = None

        def io_binding(self):
            return self.real.io_binding()

        def get_providers(self):
            return ["TensorrtExecutionProvider"]

        def run_with_iobinding(self, binding, options):
            if self.captured and runtime == "cannot capture":
                raise RuntimeError("TensorRT EP: this graph cannot be captured")
            if self.captured and runtime == "captures once":
                self.first = binding = self.first or binding
            self.real._sess.run_with_iobinding(getattr(binding, "_iobinding", binding), options)

    def opened(source, providers):
        asked.append(providers)
        return Session(open_session(source), providers)

    monkeypatch.setattr(tensorrt, "require", lambda *_: None)
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: GPU)
    monkeypatch.setattr(tensorrt, "open_session", opened)
    monkeypatch.setattr(tensorrt, "DeviceGraph", partial(DeviceGraph, device_type="cpu"))
    model = OnnxModel(bundle, providers=[TensorrtProvider(built.parents[1]), CpuProvider()])
    assert model.provider == "tensorrt"
    wanted = OnnxModel(bundle).predict("A", window, 0, 0).values
    assert [one.predict("A", window, 0, 0).values for one in (model, model.twin())] == [wanted] * 2
    captured = [providers[0][1]["trt_cuda_graph_enable"] for providers in asked]
    assert captured == (["1"] if runtime == "captures" else ["1", "0"])
    assert all(providers[1] == ("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"}) for providers in asked)


def test_a_machine_without_it_says_so_and_builds_nothing(bundle, tmp_path):
    """The CPU's runtime has no TensorRT."""
    for call in (TensorrtProvider(tmp_path).open, TensorrtProvider(tmp_path).build):
        with pytest.raises(ProviderError, match="tensorrt is not in this runtime"):
            call(source_of(bundle))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'NVIDIA H100 80GB HBM3, 580.95.05'", None),
        ("echo 'NVIDIA-SMI has failed'; exit 9", "no GPU answers"),
        ("true", "no GPU answers"),
    ],
)
def test_the_driver_is_asked_for_the_gpu(tmp_path, monkeypatch, script, said):
    """A program in its place answers as it does, fails, and says nothing."""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if said is None:
        assert find_gpu() == GPU
    else:
        with pytest.raises(ProviderError, match=said):
            find_gpu()


@pytest.mark.parametrize(("visible", "asked"), [("1", "1"), ("GPU-5a5c, 0", "GPU-5a5c"), ("", None), ("-1", None)])
def test_the_gpu_is_the_one_that_the_process_sees_first(tmp_path, monkeypatch, visible, asked):
    """An engine is named after it: another one of the machine would have it built for the wrong one."""
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\nfor one; do echo "$one, 580"; done | tail -n 1\n')
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if asked is not None:
        assert find_gpu() == Gpu(f"--id={asked}", "580")
    else:
        with pytest.raises(ProviderError, match="CUDA_VISIBLE_DEVICES hides them all"):
            find_gpu()


def test_libraries_are_loaded_without_tf32_before_anybody_asks_what_the_runtime_has(monkeypatch):
    """Libraries read the switch, and TensorRT has no other; a runtime whose CUDA is a plug-in has it when they are
    loaded."""
    names = ("NVIDIA_TF32_OVERRIDE", "CUDA_DEVICE_ORDER")
    monkeypatch.setenv(names[0], "1")
    monkeypatch.setenv(names[1], "FASTEST_FIRST")
    seen = []
    monkeypatch.setattr(gpu.ort, "preload_dlls", lambda: seen.extend(os.environ[name] for name in names))
    monkeypatch.setattr(gpu.ort, "get_available_providers", lambda: ["CUDAExecutionProvider"] if seen else [])
    gpu.require("CUDAExecutionProvider", "cuda")
    assert seen == ["0", "PCI_BUS_ID"]


@pytest.mark.parametrize(
    "content", ["import os; os.environ['LOADED'] = '1'", "raise OSError('libcudart.so.13: no such file')"]
)
def test_libraries_of_the_package_are_loaded_before_the_session(tmp_path, monkeypatch, bundle, content):
    """A package in place of NVIDIA's; one whose libraries do not load leaves it to the session to say so."""
    (tmp_path / "tensorrt_libs.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt_libs", raising=False)
    monkeypatch.setenv("LOADED", "0")
    monkeypatch.setattr(tensorrt, "require", lambda *_: None)
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: GPU)
    with pytest.raises(ProviderError, match="no TensorRT engine"):
        TensorrtProvider(tmp_path).open(source_of(bundle))
    assert os.environ["LOADED"] == ("1" if "environ" in content else "0")
    sys.modules.pop("tensorrt_libs", None)


def test_a_machine_without_a_driver_has_no_gpu(tmp_path, monkeypatch):
    """No such program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ProviderError, match="nvidia-smi is not installed"):
        find_gpu()
