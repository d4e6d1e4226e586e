"""Providers by the names that the configuration uses, and the CPU behind them all.

Owns the list of providers there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.providers.gpu import CudaProvider
from models.providers.graph import Provider
from models.providers.onnx_runtime import CpuProvider
from models.providers.openvino import OpenvinoProvider
from models.providers.tensorrt import TensorrtProvider
from models.shipped import ENGINES, Name


def provider_of(name: Name, engines: Path = ENGINES) -> Provider:
    """By its name in the configuration."""
    made: dict[Name, Provider] = {
        "cpu": CpuProvider(),
        "cuda": CudaProvider(),
        "tensorrt": TensorrtProvider(engines),
        "openvino": OpenvinoProvider(),
    }
    return made[name]


def providers_of(names: Sequence[Name], engines: Path = ENGINES) -> tuple[Provider, ...]:
    """In the order of ``names``, with the CPU at the end: it is there on every machine, and is what others are held
    against."""
    wanted: list[Name] = list(dict.fromkeys([*names, "cpu"]))
    return tuple(provider_of(name, engines) for name in wanted)
