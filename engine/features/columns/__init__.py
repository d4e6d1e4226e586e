"""The built-in columns, one module per family; importing this package registers them all."""

from __future__ import annotations

from engine.features.columns import (
    bands,
    candle,
    flow,
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
    "candle",
    "flow",
    "momentum",
    "oscillators",
    "quotes",
    "returns",
    "technical",
    "timing",
    "trend",
    "turnover",
]
