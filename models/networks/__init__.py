"""The networks a bundle can be made of, by name.

Owns the list of networks.  Importing this package loads no torch: it is imported on first use, so that a process that
only lists bundles stays light.  The live process never calls anything here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from engine.errors import ConfigError

WINDOW = 30
COLUMNS = 40


class _Network(NamedTuple):
    module: str
    symbol: str
    least_window: int
    """Rows; of fewer its layers leave nothing."""


_NETWORKS = {"cnn": _Network("models.networks.cnn", "Cnn", 8)}


def names() -> tuple[str, ...]:
    return tuple(sorted(_NETWORKS))


def build(name: str, *, window: int = WINDOW, columns: int = COLUMNS, dropout: float = 0.2) -> Any:
    """A freshly initialised network: ``(batch, window, columns) float32`` in, logits ``(batch, 1)`` out.

    Raises ``ConfigError`` for what ``check`` refuses, and when torch is not installed.
    """
    check(name, window=window, columns=columns)
    require_torch()
    wanted = _NETWORKS[name]
    return getattr(import_module(wanted.module), wanted.symbol)(window=window, columns=columns, dropout=dropout)


def check(name: str, *, window: int, columns: int) -> None:
    """Raises ``ConfigError`` for an unknown name and for an input that the network cannot take."""
    if name not in _NETWORKS:
        raise ConfigError(f"unknown network {name!r}", expected=f"one of {', '.join(names())}")
    least = _NETWORKS[name].least_window
    if window < least:
        raise ConfigError(
            f"a window of {window} rows is too short for the network {name}",
            expected=f"{least} or more",
            do="correct features.window",
        )
    if columns < 1:
        raise ConfigError(f"network {name} with {columns} columns", expected="1 or more")


def table() -> list[dict[str, Any]]:
    """One row per network: ``name``, ``parameters`` (trainable), ``input`` and ``output`` shapes (-1 is the batch)."""
    rows: list[dict[str, Any]] = []
    for name in names():
        network = build(name)
        parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
        rows.append({"name": name, "parameters": parameters, "input": [-1, WINDOW, COLUMNS], "output": [-1, 1]})
    return rows


def require_torch() -> None:
    """Raises ``ConfigError`` with what to install when torch is missing."""
    try:
        import_module("torch")
    except ImportError as error:
        raise ConfigError("torch is not installed", do="install the trainer: pip install -e '.[train]'") from error
