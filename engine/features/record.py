"""What is written into the record of one instrument from outside the kernel: its configuration, and forgetting.

Owns no state; slots are ``engine.features.layout``'s, what events write is ``engine.features.tape``'s.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engine.events import Quote, Trade
from engine.features import layout as at
from engine.features import tape
from engine.features.spec import FeatureSpec

Slots = npt.NDArray[np.float64]


def configure(s: Slots, spec: FeatureSpec, *, allows_negative_px: bool) -> None:
    """Write what the spec decides; it outlives every restart."""
    sampling, gap = spec.sampling, spec.gap
    kind = sampling.kind
    # Where holes are passed over, the bars tell when one is too long.
    silence_ns = 0 if gap.hole_ns_max else gap.silence_ns_max
    s[at.NEED_TICKS] = sampling.ticks if kind in ("tick", "tick_bar") else math.inf
    s[at.NEED_QTY] = sampling.size if kind == "volume_bar" else math.inf
    s[at.NEED_NOTIONAL] = sampling.size if kind == "dollar_bar" else math.inf
    s[at.NEED_IMBALANCE] = 1.0 if kind == "imbalance_bar" else 0.0
    s[at.EWMA_WEIGHT] = 2.0 / (sampling.span + 1.0)
    s[at.TICKS_FIRST] = sampling.ticks
    s[at.TRADE_PRICED] = 1.0 if sampling.price == "trade" else 0.0
    s[at.USE_SIZES] = 1.0 if "sizes" in spec.requires else 0.0
    s[at.TICK_VOLUME] = 1.0 if spec.volume == "ticks" else 0.0
    s[at.PX_FLOOR] = -tape.LIMIT if allows_negative_px else 0.0
    s[at.SILENCE_S] = silence_ns / 1e9 if silence_ns else math.inf
    s[at.WIDE] = 1.0 if spec.wide else 0.0
    s[at.PEERS] = len(spec.peers)
    s[at.PEER_STALE_S] = (gap.hole_ns_max or silence_ns) / 1e9 or math.inf


def forget(s: Slots, private: int, values: int) -> None:
    """Clear what events have written: quote, row, counters, the columns' own state (from slot ``private``) and values.

    The history stays: nothing reads rows from before the restart.
    """
    ring_pos = s[at.RING_POS]
    s[at.HAS_QUOTE : at.SLOTS] = 0.0
    s[at.RING_POS] = ring_pos
    s[at.TICKS_EXPECTED] = s[at.TICKS_FIRST]
    s[private:values] = 0.0
    s[values:] = np.nan


def is_plausible(event: Quote | Trade) -> bool:
    """Numbers that may cut a bar: a time bar must not close on an event that is then refused."""
    if type(event.ts_event_ns) is not int or not 0 <= event.ts_event_ns < 2**63:
        return False
    if type(event.ts_recv_ns) is not int:
        return False
    try:
        if type(event) is Trade:
            return 0.0 < event.qty < tape.LIMIT and -tape.LIMIT < event.px < tape.LIMIT
        assert type(event) is Quote
        return -tape.LIMIT < event.bid_px <= event.ask_px < tape.LIMIT
    except TypeError:
        return False
