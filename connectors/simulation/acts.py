"""What the timed kinds of network and venue do when their time has come.

Owns how long each lasts and whom it hits.  When it happens is drawn by ``faults``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from connectors.simulation.faults import Faults
from connectors.simulation.network import MemoryNetwork
from connectors.simulation.requests import KEY_EXPIRED, MAINTENANCE, NO_ENTRIES
from connectors.simulation.venue import MARKET_PORT, PORTS, REST_PORT, USER_PORT, SimulatedVenue

HOUR_S = 3600.0


def timed_acts(venue: SimulatedVenue, faults: Faults, network: MemoryNetwork) -> dict[str, Callable[[], object]]:
    """By the names of ``faults.TIMED``; False where one had nothing to happen to."""
    rng = faults.rng

    def some_ports() -> frozenset[int]:
        return frozenset(rng.choice(((REST_PORT,), (MARKET_PORT,), (USER_PORT,), PORTS)))

    def half_open() -> None:
        port = rng.choice(PORTS)
        seconds = rng.uniform(3.0, 60.0)
        faults.last(f"half_open {port}", seconds)
        network.stall(frozenset((port,)), seconds)

    def part(seconds: float) -> None:
        faults.last("partition", seconds)
        network.stall(frozenset(PORTS), seconds)

    def refuse() -> None:
        faults.last("refused", rng.uniform(1.0, 60.0))
        network.break_all(some_ports())

    def close() -> None:
        faults.last(MAINTENANCE, rng.uniform(10.0, 180.0))
        network.break_all(frozenset(PORTS))

    def order_by_hand() -> bool:
        order_id = venue.order_by_hand()
        if order_id:
            asyncio.get_running_loop().call_later(rng.uniform(20.0, 300.0), venue.cancel_by_hand, order_id)
        return bool(order_id)

    def change_rules() -> bool:
        product_id = venue.interventions.change_rules()
        if product_id:
            seconds = rng.uniform(60.0, 600.0)
            asyncio.get_running_loop().call_later(seconds, venue.interventions.restore_rules, product_id)
        return bool(product_id)

    def last(state: str, least_s: float, most_s: float) -> Callable[[], None]:
        return lambda: faults.last(state, rng.uniform(least_s, most_s))

    return {
        "connections_cut": lambda: network.break_all(some_ports()) > 0,
        "cut_in_message": faults.cut_soon,
        "half_open": half_open,
        "partition": lambda: part(rng.choice((5.0, 40.0, 200.0)) * rng.uniform(0.5, 1.5)),
        "partition_of_an_hour": lambda: part(HOUR_S),
        "dials_refused": refuse,
        "user_stream_mute": last("mute user", 1.0, 40.0),
        "market_stream_mute": last("mute market", 1.0, 40.0),
        "key_expired": last(KEY_EXPIRED, 5.0, 120.0),
        "maintenance": close,
        "no_order_entry": last(NO_ENTRIES, 10.0, 120.0),
        "traded_by_hand": venue.trade_by_hand,
        "ordered_by_hand": order_by_hand,
        "deposited": venue.deposit,
        "withdrawn": venue.withdraw,
        "rules_changed": change_rules,
        "closed_by_venue": venue.interventions.close_position,
        "overfilled": venue.interventions.overfill,
    }
