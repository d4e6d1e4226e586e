"""The synthetic market looks like a market: stylised facts over several seeds of simulated time."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from connectors.matching.orders import Filled
from connectors.matching.synthetic import FlowSettings, SyntheticFlow
from engine.events import Side
from tests.support.matching import SPOT, D, book, market

SECOND_NS = 1_000_000_000
CRYPTO = msgspec.structs.replace(SPOT, tick_px=D("0.01"), lot_qty=D("0.00001"), min_qty=D("0.00001"))
COARSE = msgspec.structs.replace(SPOT, tick_px=D("0.01"), lot_qty=D("0.1"))
FINE_FX = msgspec.structs.replace(SPOT, id="EUR/USD@test", tick_px=D("0.00001"), lot_qty=D(1), min_qty=D(1))


def live(instrument, seed, start_px, seconds):
    """Per-second mids, signs of market orders, spreads in ticks, fewest levels, events a second."""
    engine = book(instrument)
    flow = SyntheticFlow(instrument, seed, D(start_px))
    mids, signs, spreads, levels, counts, last = [], [], [], [], [], ""
    for second in range(seconds + 1):
        outcomes = flow.step(engine, second * SECOND_NS)
        for outcome in outcomes:
            if isinstance(outcome, Filled) and outcome.taker_id != last:
                last = outcome.taker_id
                signs.append(int(outcome.aggressor))
        bid_px, _, ask_px, _ = engine.best()
        mids.append(float(bid_px + ask_px) / 2)
        spreads.append((ask_px - bid_px) / instrument.tick_px)
        levels.append(min(engine.level_count(Side.BUY), engine.level_count(Side.SELL)))
        counts.append(len(outcomes))
    return np.array(mids), np.array(signs, float), spreads, levels, np.array(counts[1:])


def autocorrelation(values):
    return float(np.corrcoef(values[:-1], values[1:])[0, 1])


def kurtosis(values):
    centred = values - values.mean()
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2)


MARKETS = {"btc": (CRYPTO, "60000"), "eurusd": (FINE_FX, "1.08"), "coarse": (COARSE, "20")}
"""A tick of 0.0017 bps, of 0.09 bps and of 5 bps: from one that nobody sees to one that rules the market."""


# Not all 21 pairs, of a second each: every market by three seeds, every seed in a market.
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        (name, seed)
        for name, *seeds in (("btc", 1, 40, 46), ("eurusd", 2, 41, 45), ("coarse", 5, 1, 45))
        for seed in seeds
    ],
)
def test_it_has_the_stylised_facts_of_a_market(name, seed):
    """Fat tails, clustered volatility, long runs of one trade sign, an open spread and a deep book, over 15 minutes."""
    instrument, start_px = MARKETS[name]
    mids, signs, spreads, levels, counts = live(instrument, seed, start_px, 900)
    returns = np.diff(np.log(mids))
    assert kurtosis(returns) > 4
    assert autocorrelation(np.abs(returns)) > 0.1
    assert autocorrelation(signs) > 0.1
    assert min(spreads) >= 1
    assert min(levels) >= 10
    assert 20 < counts.mean() < 120
    assert counts.var() > 2 * counts.mean()  # bursts: a Poisson stream would have them equal
    assert np.abs(np.log(mids / mids[0])).max() < 0.1


def test_the_same_seed_gives_the_same_market_and_another_seed_another():
    """Outcomes of 30 seconds compared object by object."""

    def outcomes(seed):
        engine, flow = book(CRYPTO), SyntheticFlow(CRYPTO, seed, D(60000))
        return [o for step in range(120) for o in flow.step(engine, step * SECOND_NS // 4)]

    first = outcomes(7)
    assert first == outcomes(7)
    assert first != outcomes(8)


def test_products_of_one_seed_do_not_move_together():
    """One seed, one start price, the same rules and another id: the changes of the mids are unrelated."""
    other = msgspec.structs.replace(CRYPTO, id="ETH/USD@test")
    a, b = (np.diff(live(instrument, 1, "100", 200)[0]) for instrument in (CRYPTO, other))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.5


def test_the_book_is_deep_again_after_a_client_swept_it():
    """A client takes everything; the next step has ten levels a side and an open spread."""
    engine, flow = book(CRYPTO), SyntheticFlow(CRYPTO, 3, D(60000))
    flow.step(engine, 0)
    flow.step(engine, SECOND_NS)
    engine.submit(market("sweep", Side.BUY, "100000"), SECOND_NS)
    assert engine.best() is None
    flow.step(engine, SECOND_NS + 1)
    bid_px, _, ask_px, _ = engine.best()
    assert bid_px < ask_px
    assert engine.level_count(Side.SELL) >= 10


def test_a_long_pause_is_jumped_over_and_orders_stay_bounded():
    """An hour in one step plays only its last half minute."""
    engine, flow = book(CRYPTO), SyntheticFlow(CRYPTO, 3, D(60000), settings=FlowSettings(max_catch_up_s=30))
    flow.step(engine, 0)
    out = flow.step(engine, 3600 * SECOND_NS)
    assert flow.skipped_ns == 3570 * SECOND_NS
    assert 0 < len(out) < 20_000
    assert len(engine.orders_of("market")) <= 4 * flow.settings.orders_per_side


@pytest.mark.parametrize("wrong", [{"start_px": D(0)}, {"settings": FlowSettings(branching=1.0)}, {"rate_per_s": 0.0}])
def test_settings_that_cannot_work_are_refused(wrong):
    """No start price, an exploding process, a process that stands still."""
    arguments = {"start_px": D(100)} | wrong
    with pytest.raises(ValueError, match="expected"):
        SyntheticFlow(CRYPTO, 1, **arguments)
