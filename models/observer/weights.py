"""Weights of a live ensemble's members by how they did lately.

M. Herbster, M. Warmuth, Tracking the Best Expert (1998): exponential weights of discounted losses, mixed with equal
ones, so that a member that was bad for long can come back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def recent_weights(
    losses: Sequence[Float64],
    *,
    begin: Sequence[float] = (),
    seen: int = 0,
    half_life: float = 500.0,
    rate: float = 0.05,
    share: float = 0.05,
) -> tuple[float, ...]:
    """Weights of the members, positive, of sum 1.

    ``losses``: of each member ``(N,)`` those of the same matured rows, nats, oldest first; without rows the
    begin alone decides.  ``begin``: weights ``seen`` rows ago (empty: all alike), which stand for what was lost before
    and are discounted as that is.  ``half_life`` in rows, ``rate`` by which a loss counts, ``share`` of the equal
    weights that is mixed in.
    """
    members = len(losses)
    if not members or len({len(one) for one in losses}) != 1:
        raise ValueError("losses of the same rows of at least one member")
    rows = len(losses[0])
    ages = np.arange(rows - 1, -1, -1, dtype=np.float64)
    sums = np.stack(losses) @ np.exp2(-ages / half_life) if rows else np.zeros(members)
    before = (1.0 - share) * np.asarray(begin or np.full(members, 1.0 / members)) + share / members
    logs = np.exp2(-seen / half_life) * np.log(before) - rate * sums
    powers = np.exp(logs - logs.max())
    weights = (1.0 - share) * powers / powers.sum() + share / members
    return tuple(float(one) for one in weights / weights.sum())
