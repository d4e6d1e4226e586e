"""What the summary says of sessions that did less than it looks, on a real core."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import NewOrder
from engine.continuity import take
from engine.core import TradingCore
from engine.features import FeatureBuffer, quote40_spec
from engine.runtime.remarks import remarks
from tests.support.core import (
    BTC,
    D,
    EveryQuote,
    MemoryRecorder,
    MidModel,
    OpenGate,
    Scripted,
    build_core,
    fill,
    intent,
    open_market,
    quote,
    spot,
)

ETH = "ETH/USD@coinbase"
CLOSED = e.FeedDown(10**12, 10**12, "coinbase", "market", "closed")


def made(*, gate: OpenGate | None = None, **options: Any) -> TradingCore:
    core = build_core(MemoryRecorder(), Scripted("s", **options.pop("answers", {})), gate=gate, **options)
    open_market(core)
    return core


def said(core: TradingCore, **drops: int) -> list[str]:
    return list(remarks(core, {**core.counters.dropped, **drops}))


@pytest.fixture
def times() -> Iterator[int]:
    return count(10**9, 10**8)


def test_a_session_that_worked_has_no_remarks(times: Iterator[int]) -> None:
    """Quotes, predictions, an order; a dropped quote among many; the feed is closed at the end."""
    wishes = [[intent()]]
    core = made(model=MidModel(), answers={"on_quote": lambda *_: wishes.pop() if wishes else ()})
    for _ in range(20):
        core.on_event(quote(next(times)))
    core.on_event(quote(next(times), bid_px=101.0, ask_px=99.0))
    assert (core.counters.predictions, core.counters.orders, core.counters.dropped) == (20, 1, {"crossed": 1})
    assert said(core) == []


def test_no_data_and_mostly_dropped_data_are_said(times: Iterator[int]) -> None:
    """Nothing at all; then one good quote among nine crossed ones and some that the bus lost."""
    core = made(features=lambda: None)
    assert said(core) == ["no quote and no trade came"]
    core.on_event(quote(next(times)))
    for _ in range(9):
        core.on_event(quote(next(times), bid_px=101.0, ask_px=99.0))
    assert said(core, bus_full=2) == ["11 of 12 market events (92%) were dropped: crossed 9, bus_full 2"]


@pytest.mark.parametrize("closed", [False, True])
def test_without_a_prediction_the_buffers_reason_is_said(closed: bool, times: Iterator[int]) -> None:
    """A real buffer that is short of rows, before and after the feed was closed; with a model, and without one."""
    spec = quote40_spec()
    for model, words in (
        (MidModel(), "no prediction was made although a model is assigned"),
        (None, "features were not warm at the end"),
    ):
        core = made(model=model, features=lambda: FeatureBuffer(spec, spot()))
        for number in range(3):
            core.on_event(quote(next(times), bid_px=97.0 + number))
        if closed:
            core.on_event(CLOSED)
        assert said(core) == [f"{words}: {BTC}: warming up: 3 of {spec.rows_to_warm} rows"]


def test_features_that_were_warm_until_the_feed_was_closed_are_no_remark(times: Iterator[int]) -> None:
    """The last gap of every session is its end."""
    spec = quote40_spec()
    core = made(model=MidModel(), features=lambda: FeatureBuffer(spec, spot()))
    for number in range(2 * spec.rows_to_warm):
        core.on_event(quote(next(times), bid_px=99.0 + number % 7, ask_px=100.0 + number % 7))
    assert core.lanes[BTC].features.warm  # type: ignore[union-attr]
    core.on_event(CLOSED)
    assert not core.lanes[BTC].features.warm  # type: ignore[union-attr]
    assert said(core) == []


def test_one_cold_instrument_beside_a_warm_one_is_named(times: Iterator[int]) -> None:
    """ETH has no quote; BTC predicts."""
    core = made(model=MidModel())
    core.on_event(e.InstrumentDefined(1, 1, spot(id=ETH, base="ETH")))
    core.on_event(quote(next(times)))
    assert said(core) == [f"features were not warm at the end: {ETH}: 0 of 1 rows"]


@pytest.mark.parametrize(
    ("status", "words"),
    [(e.PredictionStatus.FAILED, "no usable number"), (e.PredictionStatus.LATE, "longer than models.deadline_us")],
)
def test_predictions_that_were_of_no_use_are_said(status: e.PredictionStatus, words: str, times: Iterator[int]) -> None:
    """Every one failed or was late."""

    class Useless(MidModel):
        def predict(self, *arguments: Any) -> e.Prediction:
            made = super().predict(*arguments)
            return e.Prediction(made.ts_event_ns, made.ts_recv_ns, made.instrument, made.model, status, made.values)

    core = made(model=Useless())
    for _ in range(3):
        core.on_event(quote(next(times)))
    (line,) = said(core)
    assert line.startswith("3 of 3 predictions ")
    assert words in line


def test_intents_that_were_all_refused_are_said(times: Iterator[int]) -> None:
    """By risk, by the names of its checks; then one passes, and the venue refuses it."""
    gate = OpenGate()
    core = made(gate=gate, features=lambda: None, answers={"on_quote": lambda *_: [intent()]})
    for gate.refuse in ("collar", "rate_unknown", "collar"):
        core.on_event(quote(next(times)))
    assert said(core) == ["none of 3 intents became an order; refused by collar 2, rate_unknown 1"]
    gate.refuse = ""
    core.on_event(quote(next(times)))
    assert said(core) == []
    (order,) = core.orders.open_orders()
    core.on_event(e.OrderRejected(next(times), 1, "coinbase", order.client_order_id, "INSUFFICIENT_FUND"))
    assert said(core) == ["the venue refused every order (1): INSUFFICIENT_FUND 1"]


def test_money_without_a_rate_is_named(times: Iterator[int]) -> None:
    """An account that also holds yen, of which the configuration knows nothing; nothing of something is no matter."""
    core = made(features=lambda: None)
    core.on_event(quote(next(times)))
    for currency, total in (("JPY", "5"), ("CHF", "0")):
        core.on_event(e.BalanceReported(2, 2, "coinbase", currency, D(total), D(total)))
    assert said(core) == ["equity in USD could not be known and entries were refused: portfolio.rates has none for JPY"]


def test_what_an_earlier_session_holds_of_other_symbols_is_named(times: Iterator[int]) -> None:
    """Two coins that this session has no price for: that is why equity is unknown."""
    before = made(features=lambda: None)
    before.on_event(e.BalanceReported(2, 2, "coinbase", "BTC", D(2), D(2)))
    core = build_core(MemoryRecorder())
    core.on_event(e.StateCarried(3, 3, "before", 1, encode_carried(take(before, ""))))
    core.on_event(e.InstrumentDefined(4, 4, spot(id=ETH, venue_symbol="ETH-USD", base="ETH")))
    core.on_event(e.AccountSettled(5, 5, "coinbase", (("USD", D(1000)), ("BTC", D(2)))))
    (line,) = [line for line in said(core) if "equity" in line]
    assert line.endswith(f"an earlier session holds {BTC}, which is not among this one's symbols")


def test_long_lists_are_cut(times: Iterator[int]) -> None:
    """Seven reasons: five by name."""
    core = made(features=EveryQuote)
    core.on_event(quote(next(times)))
    (line,) = said(core, **dict.fromkeys("abcdefg", 1))
    assert line.endswith("a 1, b 1, c 1, d 1, e 1 and 2 more")


@pytest.mark.fault("D9")
def test_a_position_in_what_does_not_trade_is_told() -> None:
    """Held and halted; not while it trades, nor where nothing is held."""
    core = made()
    core.on_event(quote(10))
    bought = NewOrder(10, "by-hand", "coinbase", intent())
    core.on_event(e.InstrumentStatus(60, 60, BTC, e.TradingStatus.HALTED))
    assert not [line for line in said(core) if "does not trade" in line]
    core.on_event(fill(bought, "0.5", "100", "t1"))
    assert [line for line in said(core) if "does not trade" in line] == [
        f"positions are held in what does not trade: {BTC}: 0.5 held, {BTC} is halted"
    ]
    core.on_event(e.InstrumentStatus(61, 61, BTC, e.TradingStatus.TRADING))
    assert not [line for line in said(core) if "does not trade" in line]
