"""Predictions on a GPU, by themselves: which batch makes it worth its while.

    python benchmarks/gpu.py --out gpu.json                  # torch, and what onnxruntime-gpu and tensorrt are there
    python benchmarks/gpu.py --networks cnn,lstm --seconds 60

For a machine of its own: Python 3.11 or newer with torch for CUDA, numpy, msgspec, onnx, onnxscript, and this checkout.
Networks have the reference sizes and random weights.  For each network, way and batch it times whole predictions, host
to host: copy in, compute, copy out, synchronise.  The CPU's ONNX Runtime and torch on one thread stand beside it.  A
way whose library is missing or that fails is in the result with its reason.  Each has a budget, the whole run another.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 8, 64, 512, 4096)
NETWORKS = ("cnn", "lstm", "attention", "ensemble")
_WARM_UP = 10
_RUNS_MAX = 2_000
_WAY_S = 2.0
"""For one way at one batch, warm-up and compilation aside."""

Call = Callable[[], None]


def main() -> None:
    """Writes the result after each network, so that a run that is cut off has left what it had."""
    arguments = _arguments()
    sys.path.insert(0, str(ROOT))
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # all ways in float32; read as libraries are loaded
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU; expected one with CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    end_s = time.monotonic() + arguments.seconds
    result: dict[str, Any] = {"machine": _machine(), "rows": []}
    for name in arguments.networks.split(","):
        for row in _network(name, end_s):
            result["rows"].append(row)
            figure = f"{row['p50_us']:>10.1f} us" if "p50_us" in row else row["error"]
            print(f"{row['network']:<10} {row['way']:<22} {row['batch']:>5}  {figure}", flush=True)
            arguments.out.write_text(json.dumps(result, indent=1))
    result["gpu_wins_from"] = _wins(result["rows"])
    arguments.out.write_text(json.dumps(result, indent=1))
    print(json.dumps(result["gpu_wins_from"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="where the result goes")
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"some of {','.join(NETWORKS)}")
    parser.add_argument("--seconds", type=float, default=540.0, help="budget of the whole run")
    return parser.parse_args()


def _network(name: str, end_s: float) -> Iterator[dict[str, Any]]:
    import torch

    from models.networks import COLUMNS, WINDOW, build

    torch.manual_seed(1)
    network = build(name).eval()
    failed: set[str] = set()
    for batch in BATCHES:
        x = torch.randn(batch, WINDOW, COLUMNS)
        with torch.no_grad():
            wanted = network(x)
        for way, make in _ways(network, name).items():
            row: dict[str, Any] = {"network": name, "way": way, "batch": batch}
            if time.monotonic() > end_s:
                yield row | {"error": "the budget of the run was spent"}
                continue
            try:
                call, said = make(x)
                row |= _timed(call)
                row["off"] = float((said() - wanted).abs().max())
            except Exception as error:  # each library has its own, and the others go on
                row["error"] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            if row.get("error", "") not in failed:  # what is missing is missing for every batch
                yield row
            failed |= {row["error"]} if "error" in row else set()


def _ways(network: Any, name: str) -> dict[str, Callable[[Any], tuple[Call, Callable[[], Any]]]]:
    """Each makes of a batch on the host one whole prediction, and who reads what it said."""
    return {
        "torch cpu, one thread": lambda x: _torch_cpu(network, x),
        "ort cpu, one thread": lambda x: _ort(network, name, x, "CPUExecutionProvider"),
        "torch eager": lambda x: _torch(network, x, "eager"),
        "torch.compile": lambda x: _torch(network, x, "compile"),
        "torch cuda graph": lambda x: _torch(network, x, "graph"),
        "ort cuda": lambda x: _ort(network, name, x, "CUDAExecutionProvider"),
        "ort tensorrt": lambda x: _ort(network, name, x, "TensorrtExecutionProvider"),
    }


def _torch_cpu(network: Any, x: Any) -> tuple[Call, Callable[[], Any]]:
    import torch

    torch.set_num_threads(1)
    said: list[Any] = [None]

    def call() -> None:
        with torch.inference_mode():
            said[0] = network(x)

    return call, lambda: said[0]


def _torch(network: Any, x: Any, how: str) -> tuple[Call, Callable[[], Any]]:
    """Pinned host memory, fixed device buffers, and no gradients."""
    from copy import deepcopy

    import torch

    torch.compiler.reset()  # each batch is a static shape of its own, and no more of them than are kept
    module = deepcopy(network).cuda().eval().requires_grad_(False)
    host = x.pin_memory()
    device = host.cuda()
    out = torch.empty_like(network(x[:1]).detach().expand(len(x), -1).contiguous()).pin_memory()
    compute: Callable[[Any], Any] = torch.compile(module, dynamic=False) if how == "compile" else module
    with torch.inference_mode():
        if how == "graph":
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    compute(device)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                captured = compute(device)
        else:
            compute(device)

    def call() -> None:
        with torch.inference_mode():
            device.copy_(host, non_blocking=True)
            if how == "graph":
                graph.replay()
                out.copy_(captured, non_blocking=True)
            else:
                out.copy_(compute(device), non_blocking=True)
            torch.cuda.current_stream().synchronize()

    return call, lambda: out


def _ort(network: Any, name: str, x: Any, provider: str) -> tuple[Call, Callable[[], Any]]:
    """ONNX Runtime with IO binding; on a GPU with device buffers at fixed addresses and its CUDA graphs."""
    import numpy as np
    import onnxruntime as ort
    import torch

    if provider != "CPUExecutionProvider" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # a runtime whose CUDA is a plug-in has it from here on
    if provider not in ort.get_available_providers():
        raise RuntimeError(f"{provider} is not in onnxruntime {ort.__version__}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    settings: dict[str, dict[str, str]] = {
        "CPUExecutionProvider": {},
        "CUDAExecutionProvider": {"use_tf32": "0", "enable_cuda_graph": "1"},
        "TensorrtExecutionProvider": {"trt_cuda_graph_enable": "1", "trt_fp16_enable": "0"},
    }
    if provider == "TensorrtExecutionProvider":
        with contextlib.suppress(ImportError):  # else the system's libraries
            importlib.import_module("tensorrt_libs")
    wanted: list[Any] = [(provider, settings[provider])]
    if provider == "TensorrtExecutionProvider":
        wanted.append(("CUDAExecutionProvider", {"use_tf32": "0"}))
    session = ort.InferenceSession(_exported(network, name, len(x)), options, providers=wanted, enable_fallback=0)
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"the runtime took {session.get_providers()[0]} instead")
    device = "cpu" if provider == "CPUExecutionProvider" else "cuda"
    features = np.ascontiguousarray(x.numpy())
    given = ort.OrtValue.ortvalue_from_numpy(features, device, 0)
    width = int(network(x[:1]).shape[1])
    made = ort.OrtValue.ortvalue_from_shape_and_type([len(x), width], np.float32, device, 0)
    binding = session.io_binding()
    binding.bind_ortvalue_input("features", given)
    binding.bind_ortvalue_output("said", made)
    said: list[Any] = [None]

    def call() -> None:
        given.update_inplace(features)
        session.run_with_iobinding(binding)
        said[0] = made.numpy()

    return call, lambda: torch.from_numpy(said[0])


_EXPORTED: dict[tuple[str, int], bytes] = {}


def _exported(network: Any, name: str, batch: int) -> bytes:
    """With a fixed batch: what is captured or built as an engine has one shape."""
    import torch

    from models.networks import COLUMNS, WINDOW
    from models.networks.served_form import served_form

    if (name, batch) not in _EXPORTED:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            torch.onnx.export(
                served_form(network).requires_grad_(False),
                (torch.zeros(batch, WINDOW, COLUMNS),),
                path,
                dynamo=True,
                opset_version=20,
                input_names=["features"],
                output_names=["said"],
                external_data=False,
                verbose=False,
            )
            _EXPORTED[name, batch] = path.read_bytes()
    return _EXPORTED[name, batch]


def _timed(call: Call) -> dict[str, float]:
    for _ in range(_WARM_UP):
        call()
    samples_us: list[float] = []
    end_s = time.monotonic() + _WAY_S
    while time.monotonic() < end_s and len(samples_us) < _RUNS_MAX:
        before_ns = time.perf_counter_ns()
        call()
        samples_us.append((time.perf_counter_ns() - before_ns) / 1e3)
    ordered = sorted(samples_us)
    return {
        "p50_us": round(statistics.median(ordered), 2),
        "p99_us": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 2),
        "runs": len(ordered),
    }


def _wins(rows: list[dict[str, Any]]) -> dict[str, int | None]:
    """For each network the least batch at which a GPU's best way beats the CPU's best; None where none does."""
    found: dict[str, int | None] = {}
    for network in dict.fromkeys(row["network"] for row in rows):
        found[network] = None
        for batch in BATCHES:
            here = [row for row in rows if row["network"] == network and row["batch"] == batch and "p50_us" in row]
            cpu = [row["p50_us"] for row in here if " cpu" in row["way"]]
            gpu = [row["p50_us"] for row in here if " cpu" not in row["way"]]
            if cpu and gpu and min(gpu) < min(cpu):
                found[network] = batch
                break
    return found


def _machine() -> dict[str, Any]:
    import torch

    versions = {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda}
    for name in ("onnxruntime", "tensorrt"):
        try:
            versions[name] = __import__(name).__version__
        except ImportError:
            versions[name] = None
    return {"gpu": torch.cuda.get_device_name(0), "processor": platform.processor(), **versions}


if __name__ == "__main__":
    main()
