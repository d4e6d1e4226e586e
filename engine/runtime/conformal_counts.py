"""What became of the conformal sets of strategies that make some: for ``status`` and ``/metrics``.

Owns the reading.  Sets are made and settled in the strategies, whose ``conformal_coverage(instrument)`` tells of them.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.core import TradingCore


class SetCounts(NamedTuple):
    """Of one model on one instrument of a strategy.  ``alpha``: the error rate of the next set; ``matured``: sets whose
    outcome is known, ``covered`` those that held it; ``singletons``: sets of one side alone, and how many were right.
    """

    model: str
    alpha: float
    matured: int
    covered: int
    singletons: int
    singletons_right: int

    @property
    def parts(self) -> dict[tuple[str, str], int]:
        """The ``matured`` ones by ``(sides, covered)``: each is in one part."""
        others, covered = self.matured - self.singletons, self.covered - self.singletons_right
        return {
            ("one", "yes"): self.singletons_right,
            ("one", "no"): self.singletons - self.singletons_right,
            ("none_or_both", "yes"): covered,
            ("none_or_both", "no"): others - covered,
        }


def set_counts(core: TradingCore) -> dict[str, dict[str, SetCounts | str]]:
    """By strategy and instrument; in words where a strategy of somebody's own raises, or tells something else."""
    found: dict[str, dict[str, SetCounts | str]] = {}
    for slot in core.slots:
        tell = getattr(slot.strategy, "conformal_coverage", None)
        if tell is None:
            continue
        lines: dict[str, SetCounts | str] = {}
        for name in core.lanes:
            try:
                if (one := tell(name)) is not None:
                    counts = (int(getattr(one, field)) for field in SetCounts._fields[2:])
                    lines[name] = SetCounts(str(one.model), float(one.alpha), *counts)
            except Exception as error:  # it is asked to look: nothing that trades hangs on it
                lines[name] = f"not told: {type(error).__name__}: {error}"[:200]
        if lines:
            found[slot.name] = lines
    return found
