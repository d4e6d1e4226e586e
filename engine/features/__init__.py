"""Rolling features: one kernel for the daemon and the trainer.

A *column* (``column``, ``columns/``) is a compiled function and its declaration; a *spec* (``spec``, ``sets``) names
columns, sampling, window and gap policy; a *buffer* (``buffer``) turns market events of one instrument into the model's
window by one fused kernel (``fused``); ``rows`` does the same for recordings.
"""

from __future__ import annotations

from engine.features.buffer import FeatureBuffer
from engine.features.column import Column, Family, load_columns, register, register_family
from engine.features.rows import Candles, Rows, Ticks, compute_candles, compute_rows, compute_ticks
from engine.features.sampling import GapPolicy, Sampling
from engine.features.sets import core40_spec, quote40_spec
from engine.features.spec import FeatureSpec

__all__ = [
    "Candles",
    "Column",
    "Family",
    "FeatureBuffer",
    "FeatureSpec",
    "GapPolicy",
    "Rows",
    "Sampling",
    "Ticks",
    "compute_candles",
    "compute_rows",
    "compute_ticks",
    "core40_spec",
    "load_columns",
    "quote40_spec",
    "register",
    "register_family",
]
