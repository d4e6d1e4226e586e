"""The built-in columns, one module per family; importing this package registers them all."""

from __future__ import annotations

from engine.features.columns import (
    bands,
    calendar,
    candle,
    depth,
    entropy,
    flow,
    fourier,
    fractal,
    lags,
    microstructure,
    momentum,
    oscillators,
    quotes,
    returns,
    spectral,
    technical,
    timing,
    trend,
    turnover,
    wavelets,
)

__all__ = [
    "bands",
    "calendar",
    "candle",
    "depth",
    "entropy",
    "flow",
    "fourier",
    "fractal",
    "lags",
    "microstructure",
    "momentum",
    "oscillators",
    "quotes",
    "returns",
    "spectral",
    "technical",
    "timing",
    "trend",
    "turnover",
    "wavelets",
]
