"""The book behind the best prices: imbalance over levels, its mean price, and how old and how long the best queues are.

A queue's place is never told by a feed that adds orders up.  What can be known is bounded by the queue's shortest
moment since it took its price: whoever joined it at the beginning has no more than that before him.
"""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def _has_levels(s: State) -> bool:
    """Levels of this very row: a row made of a candle has none, whatever the feed has sent since."""
    return s[at.HAS_DEPTH] != 0.0 and not math.isnan(at.last(s, at.SPREAD, 0))


@kernel
def book_imbalance(s: State, levels: int) -> float:
    if not _has_levels(s):
        return NAN
    bids = 0.0
    asks = 0.0
    for i in range(levels):
        bids += s[at.LEVELS + 4 * i + 1]
        asks += s[at.LEVELS + 4 * i + 3]
    if bids + asks > 0.0:
        return (bids - asks) / (bids + asks)
    return 0.0


@kernel
def weighted_imbalance(s: State, levels: int) -> float:
    if not _has_levels(s):
        return NAN
    bids = 0.0
    asks = 0.0
    for i in range(levels):
        weight = 1.0 / (i + 1.0)
        bids += weight * s[at.LEVELS + 4 * i + 1]
        asks += weight * s[at.LEVELS + 4 * i + 3]
    if bids + asks > 0.0:
        return (bids - asks) / (bids + asks)
    return 0.0


@kernel
def book_price(s: State, levels: int) -> float:
    """Distances to the mid are averaged, not prices: a mean of prices would lose their last digits."""
    if not _has_levels(s):
        return NAN
    mid = 0.5 * (s[at.LEVELS] + s[at.LEVELS + 2])
    # A side without a level has no best price, and so the book no mid.
    if not mid > 0.0:
        return NAN
    moment = 0.0
    total = 0.0
    for i in range(levels):
        for side in (0, 2):
            qty = s[at.LEVELS + 4 * i + side + 1]
            if qty > 0.0:
                moment += qty * (s[at.LEVELS + 4 * i + side] - mid)
                total += qty
    if total > 0.0:
        return 1e4 * moment / total / mid
    return 0.0


@kernel
def _has_queue(s: State) -> bool:
    return s[at.HAS_QUOTE] != 0.0 and not math.isnan(at.last(s, at.IMBALANCE, 0))


@kernel
def queue_age(s: State, since: int) -> float:
    if not _has_queue(s):
        return NAN
    age_s = (s[at.ROW_S] - s[since]) + (s[at.ROW_NS] - s[since + 1]) * 1e-9
    # Venues send times out of order.
    return math.log(1.0 + max(age_s, 0.0))


@kernel
def queue_left(s: State, least: int, first: int) -> float:
    if not _has_queue(s):
        return NAN
    return s[least] / s[first] if s[first] > 0.0 else 0.0


for _n in (5, 10):
    register(
        Column(
            name=f"book_imbalance_{_n}",
            function=book_imbalance,
            params=(_n,),
            formula=f"(bid qty - ask qty) / (bid qty + ask qty), each summed over the best {_n} levels; 0 when empty",
            unit="ratio",
            inputs=("quotes", "depth"),
            warm_rows=1,
            bounds=(-1.0, 1.0),
            source="C. Cao, O. Hansch, X. Wang, The information content of an open limit-order book (2009)",
        )
    )
register(
    Column(
        name="book_imbalance_weighted",
        function=weighted_imbalance,
        params=(at.DEPTH_LEVELS,),
        formula="as book_imbalance_10, the quantity of level i weighted 1/i",
        unit="ratio",
        inputs=("quotes", "depth"),
        warm_rows=1,
        bounds=(-1.0, 1.0),
        source="C. Cao, O. Hansch, X. Wang (2009), with weights that fall with the level",
    )
)
register(
    Column(
        name="book_price_bps",
        function=book_price,
        params=(at.DEPTH_LEVELS,),
        formula="1e4 * (P - mid) / mid, P = sum(qty * price) / sum(qty) over the best 10 levels of both sides; "
        "mid of the book",
        unit="bps",
        inputs=("quotes", "depth"),
        warm_rows=1,
        source="C. Cao, O. Hansch, X. Wang (2009), weighted price of steps 1 to 10",
    )
)
for _side, _since in (("bid", at.BID_SINCE_S), ("ask", at.ASK_SINCE_S)):
    register(
        Column(
            name=f"log_age_{_side}",
            function=queue_age,
            params=(_since,),
            formula=f"ln(1 + seconds since the best {_side} took its price), venue time",
            unit="log_s",
            inputs=("quotes", "sizes"),
            warm_rows=1,
            bounds=(0.0, math.inf),
            source="R. Cont, S. Stoikov, R. Talreja, A stochastic model for order book dynamics (2010): queues by age",
        )
    )
for _side, _least, _first, _now in (
    ("bid", at.BID_QTY_LEAST, at.BID_QTY_FIRST, at.BID_QTY),
    ("ask", at.ASK_QTY_LEAST, at.ASK_QTY_FIRST, at.ASK_QTY),
):
    register(
        Column(
            name=f"queue_left_{_side}",
            function=queue_left,
            params=(_least, _first),
            formula=f"least quantity of the best {_side} since it took its price / its quantity then: "
            "of the first queue, what may still stand; 0 when that was empty",
            unit="ratio",
            inputs=("quotes", "sizes"),
            warm_rows=1,
            bounds=(0.0, 1.0),
        )
    )
    register(
        Column(
            name=f"queue_ahead_{_side}",
            function=queue_left,
            params=(_least, _now),
            formula=f"least quantity of the best {_side} since it took its price / its quantity now: "
            "of the queue, what may stand before an order that joined it at first; 0 when empty",
            unit="ratio",
            inputs=("quotes", "sizes"),
            warm_rows=1,
            bounds=(0.0, 1.0),
        )
    )
