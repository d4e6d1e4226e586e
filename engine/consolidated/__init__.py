"""One price for an instrument that several venues quote: definition, checks, the median, its bars, live and recorded.

``Consolidator`` is the whole of it: the core drives one for each configured instrument (``views``), ``consolidate``
drives the same class over recorded events and lies in ``history``: it needs the compiled quality gate, which whoever
only reads a definition (the settings) need not load.
"""

from __future__ import annotations

from engine.consolidated.bars import BarCutter
from engine.consolidated.consolidator import Consolidator
from engine.consolidated.definition import ConsolidatedDefinition, check_members, consolidated_instrument
from engine.consolidated.values import Consolidated, Source

__all__ = [
    "BarCutter",
    "Consolidated",
    "ConsolidatedDefinition",
    "Consolidator",
    "Source",
    "check_members",
    "consolidated_instrument",
]
