"""How far a consolidated price is to be believed: four factors in [0, 1] and their product.

Each factor is 1 where nothing is amiss and falls as its cause grows, the others unchanged.  The product is used, not a
weighted sum: one thing that is badly wrong is not made good by three that are fine.
"""

from __future__ import annotations


def count_factor(live: int, members: int) -> float:
    """Share of the declared venues that have a vote: ``live / members``."""
    return live / members


def age_factor(mean_age_ns: float, stale_ns: int) -> float:
    """``1 - mean age / stale limit``, at least 0: the mean over the voters of how long ago their quotes were true."""
    return min(1.0, max(0.0, 1.0 - mean_age_ns / stale_ns))


def dispersion_factor(dispersion_bps: float, wild_bps: float) -> float:
    """``1 / (1 + dispersion / wild limit)``: 1 where the voters agree, a half where the limit lies between them."""
    return 1.0 / (1.0 + dispersion_bps / wild_bps)


def quality_factor(mean_quality: float) -> float:
    """Mean over the voters of the share of their recent quotes that were fit to vote (``member.Member.quality``)."""
    return min(1.0, max(0.0, mean_quality))
