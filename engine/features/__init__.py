"""Rolling features: one kernel for the daemon and the trainer.

A *column* (``column``, ``columns/``) is a compiled function and its declaration; a *spec* (``spec``, ``sets``) names
columns, sampling, window and gap policy; a *buffer* (``buffer``) turns market events of one instrument into the model's
window by one fused kernel (``fused``); ``rows`` does the same for recordings.
"""

from __future__ import annotations

from engine.features.buffer import FeatureBuffer
from engine.features.column import Column, load_columns, register
from engine.features.rows import Rows, compute_rows
from engine.features.sampling import GapPolicy, Sampling
from engine.features.sets import core40_spec, quote40_spec
from engine.features.spec import FeatureSpec

__all__ = [
    "Column",
    "FeatureBuffer",
    "FeatureSpec",
    "GapPolicy",
    "Rows",
    "Sampling",
    "compute_rows",
    "core40_spec",
    "load_columns",
    "quote40_spec",
    "register",
]
