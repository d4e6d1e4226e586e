"""The built-in columns, one module per family; importing this package registers them all."""

from __future__ import annotations

from engine.features.columns import bands, flow, momentum, quotes, returns, timing, trend

__all__ = ["bands", "flow", "momentum", "quotes", "returns", "timing", "trend"]
