"""What accuracy hides: what an entry at the suggested thresholds would have won, beside what a round trip costs.

Owns these figures of the task direction, on validation rows.  They are no back-test: no queue, no latency, no impact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.trainer.dataset import Dataset, Part
from models.trainer.settings import Entries

Float64 = npt.NDArray[np.float64]


def entry_figures(entries: Entries, data: Dataset, part: Part, p_up: Float64) -> dict[str, float]:
    """``entry_share`` of the rows beyond a quantile of ``p_up (N,)``; on those ``entry_move_bps``, the mean signed move
    of the mid over the horizon, and ``entry_cost_bps``: the spread there (bought at the ask, sold at the bid) plus the
    taker fee twice, averaged over the instruments."""
    sell, buy = np.quantile(p_up, [entries.sell_quantile, entries.buy_quantile])
    side = np.where(p_up >= buy, 1.0, np.where(p_up <= sell, -1.0, 0.0))
    beyond = side != 0.0
    columns = data.table.spec.columns
    spread_bps = 0.0
    if "spread_bps" in columns:
        spread_bps = float(data.values[part.position[beyond], columns.index("spread_bps")].mean())
    fee_bps = float(np.mean([float(instrument.taker_fee_rate) for instrument in data.instruments])) * 1e4
    return {
        "entry_share": float(beyond.mean()),
        "entry_move_bps": float((side * data.move_bps[part.index])[beyond].mean()),
        "entry_cost_bps": spread_bps + 2 * fee_bps,
    }
