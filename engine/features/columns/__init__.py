"""The built-in columns, one module per family; importing this package registers them all."""

from __future__ import annotations

from engine.features.columns import (
    bands,
    calendar,
    candle,
    depth,
    flow,
    lags,
    microstructure,
    momentum,
    oscillators,
    quotes,
    returns,
    technical,
    timing,
    trend,
    turnover,
)

__all__ = [
    "bands",
    "calendar",
    "candle",
    "depth",
    "flow",
    "lags",
    "microstructure",
    "momentum",
    "oscillators",
    "quotes",
    "returns",
    "technical",
    "timing",
    "trend",
    "turnover",
]
