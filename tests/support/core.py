"""A small, complete core for tests: real book, orders, portfolio and bus around scripted features and strategies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from engine import events as e
from engine.codec import Record, encode
from engine.commands import (
    Approved,
    Intent,
    NewOrder,
    OrderIntent,
    OrderType,
    Rejected,
    RiskState,
    RiskStateChanged,
    Verdict,
)
from engine.core import TradingCore
from engine.errors import JournalError
from engine.instruments import AssetClass, Instrument
from engine.lanes import StrategySlot
from engine.ports import Assembly, Assignment, Features, Model, View

BTC = "BTC/USD@coinbase"
D = Decimal


def spot(**changes: Any) -> Instrument:
    """BTC/USD on a spot venue, cent ticks."""
    fields: dict[str, Any] = {
        "id": BTC,
        "venue": "coinbase",
        "venue_symbol": "BTC-USD",
        "base": "BTC",
        "quote": "USD",
        "settlement": "USD",
        "asset_class": AssetClass.SPOT,
        "tick_px": D("0.01"),
        "lot_qty": D("0.00000001"),
        "min_qty": D("0.00000001"),
        "max_qty": D("1000"),
        "min_notional": D("1"),
        "maker_fee_rate": D("0.001"),
        "taker_fee_rate": D("0.002"),
    }
    return Instrument(**{**fields, **changes})


def perpetual(**changes: Any) -> Instrument:
    fields: dict[str, Any] = {"asset_class": AssetClass.PERPETUAL, "can_short": True}
    return spot(**{**fields, **changes})


def quote(ts_ns: int, bid_px: float = 100.0, ask_px: float = 100.01, instrument: str = BTC) -> e.Quote:
    return e.Quote(ts_ns, ts_ns, instrument, bid_px, 1.0, ask_px, 2.0)


def intent(side: e.Side = e.Side.BUY, qty: str = "1", strategy: str = "s", **changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "ts_ns": 1,
        "strategy": strategy,
        "instrument": BTC,
        "side": side,
        "qty": D(qty),
        "order_type": OrderType.LIMIT,
        "limit_px": D("100"),
    }
    return OrderIntent(**{**fields, **changes})


def fill(order: NewOrder, qty: str, px: str, trade_id: str, fee: str = "0", ts_ns: int = 50) -> e.OrderFilled:
    wish = order.intent
    return e.OrderFilled(
        ts_ns,
        ts_ns,
        order.venue,
        order.client_order_id,
        f"v-{order.client_order_id}",
        trade_id,
        wish.instrument,
        wish.side,
        D(qty),
        D(px),
        D(fee),
        "USD",
        e.Liquidity.TAKER,
    )


def execution(side: e.Side, qty: str, px: str, fee: str = "0", fee_currency: str = "USD") -> e.OrderFilled:
    """Of ``BTC``, of one order and under one id: for books that look at neither."""
    return e.OrderFilled(
        1, 1, "coinbase", "c", "v", "t", BTC, side, D(qty), D(px), D(fee), fee_currency, e.Liquidity.TAKER
    )


class MemoryRecorder:
    """Keeps what was recorded; can be told to fail like a full disk."""

    def __init__(self) -> None:
        self.seq = 0
        self.records: list[Record] = []
        self.fails_on: type | None = None

    def record(self, record: Record) -> int:
        if self.fails_on is not None and isinstance(record, self.fails_on):
            raise JournalError("disk full")
        self.seq += 1
        self.records.append(record)
        return self.seq

    def of(self, kind: type) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]


class MemoryJournal:
    """A journal in a list: ``(seq, record, raw)`` in order."""

    def __init__(self) -> None:
        self.written: list[Written] = []
        self.full_for: tuple[type, ...] = ()

    def append(self, seq: int, record: Record) -> None:
        if isinstance(record, self.full_for):
            raise JournalError("disk full")
        self.written.append(Written(seq, encode(record), record))

    def close(self) -> None:
        pass


class Written:
    def __init__(self, seq: int, raw: bytes, record: Record) -> None:
        self.seq = seq
        self.raw = raw
        self.record = record


class OpenGate:
    """Approves everything, latches states; ``refuse`` names a check that refuses instead."""

    def __init__(self) -> None:
        self.state = RiskState.ACTIVE
        self.refuse = ""
        self.breach_next: tuple[RiskState, str] | None = None
        self.opened: list[NewOrder] = []
        self.latches = ""

    def review(self, wish: OrderIntent, view: View) -> Verdict:
        if self.refuse or (self.state is not RiskState.ACTIVE and not wish.reduce_only):
            return Rejected(view.now_ns, wish, self.refuse or "state", "seen", "limit")
        return Approved(wish, D(0))

    def carried(self) -> str:
        return self.latches

    def restore(self, carried: str) -> None:
        self.latches = carried

    def review_again(self, wish: OrderIntent, view: View) -> Verdict:
        return self.review(wish, view)

    def on_opened(self, order: NewOrder) -> None:
        self.opened.append(order)

    def breach(self, view: View) -> tuple[RiskState, str] | None:
        return self.breach_next

    def apply(self, event: e.Halted | e.Reduced | e.Resumed) -> RiskStateChanged | None:
        target = {e.Halted: RiskState.HALTED, e.Reduced: RiskState.REDUCING, e.Resumed: RiskState.ACTIVE}[type(event)]
        return self._go(target, event.reason, event.ts_recv_ns)

    def latch(self, state: RiskState, reason: str, ts_ns: int) -> RiskStateChanged | None:
        return self._go(state, reason, ts_ns)

    def _go(self, state: RiskState, reason: str, ts_ns: int) -> RiskStateChanged | None:
        if state is self.state:
            return None
        change = RiskStateChanged(ts_ns, self.state, state, reason)
        self.state = state
        return change


class EveryQuote:
    """Features that make a row of each quote: ``[mid, spread]``, warm after ``warm_after`` rows."""

    def __init__(self, warm_after: int = 1) -> None:
        self.warm_after = warm_after
        self.rows = 0
        self.gap = ""
        self.values = np.zeros((1, 2), dtype=np.float32)

    @property
    def warm(self) -> bool:
        return self.rows >= self.warm_after

    @property
    def reason(self) -> str:
        return "" if self.warm else self.gap or f"{self.rows} of {self.warm_after} rows"

    def latest(self, column: str) -> float:
        return float(self.values[0, {"mid": 0, "spread": 1}[column]])

    follows: tuple[str, ...] = ()
    awaits: tuple[str, ...] = ()

    def update(self, event: e.Event) -> bool:
        if not isinstance(event, e.Quote):
            return False
        self.rows += 1
        self.values[0] = (0.5 * (event.bid_px + event.ask_px), event.ask_px - event.bid_px)
        return True

    def on_timer(self, now_ns: int) -> bool:
        return False

    def window(self) -> np.ndarray:
        return self.values

    def mark_gap(self, reason: str, of: str = "") -> None:
        self.rows = 0
        self.gap = reason


class MidModel:
    """Predicts the fractional part of the mid price: different for each quote, the same on each run."""

    version = "mid@1"

    def __init__(self) -> None:
        self.calls = 0
        self.offset = 0.0

    def predict(self, instrument: str, window: np.ndarray, ts_event_ns: int, ts_recv_ns: int) -> e.Prediction:
        self.calls += 1
        value = float(window[0, 0]) % 1.0 + self.offset
        return e.Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, e.PredictionStatus.OK, (value,))


class Scripted:
    """A strategy whose answers are given functions; everything else returns nothing."""

    def __init__(self, name: str = "s", **answers: Callable[..., Sequence[Intent]]) -> None:
        self.name = name
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, method: str) -> Callable[..., Sequence[Intent]]:
        if not method.startswith("on_"):
            raise AttributeError(method)

        def call(*arguments: Any) -> Sequence[Intent]:
            self.calls.append((method, arguments))
            answer = self.answers.get(method)
            return answer(*arguments) if answer else ()

        return call

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None:
        self.facts = dict(facts)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def buyer(name: str = "s", **changes: Any) -> Scripted:
    """Buys one on every prediction."""
    return Scripted(
        name, on_prediction=lambda prediction, seq, view: [intent(strategy=name, prediction_seq=seq, **changes)]
    )


class FixedAssembly:
    def __init__(self, features: Callable[[], Features | None], model: Model | None) -> None:
        self._features = features
        self._model = model

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        return Assignment(self._model.version if self._model and uses_model else "", "{}", (("buy", 0.6),))

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:
        return self._features()

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None:
        return self._model


def build_core(
    recorder: Any,
    *strategies: Any,
    gate: OpenGate | None = None,
    model: Model | None = None,
    features: Callable[[], Features | None] = EveryQuote,
    assembly: Assembly | None = None,
    **options: Any,
) -> TradingCore:
    return TradingCore(
        recorder=recorder,
        gate=gate or OpenGate(),
        slots=[StrategySlot(strategy) for strategy in strategies],
        assembly=assembly or FixedAssembly(features, model),
        currency="USD",
        id_prefix=options.pop("id_prefix", "k"),
        **options,
    )


def open_market(core: TradingCore, instrument: Instrument | None = None, cash: str = "1000") -> None:
    """Define the instrument, fund the account, bring both streams up."""
    definition = instrument or spot()
    for event in (
        e.InstrumentDefined(1, 1, definition),
        e.BalanceReported(1, 1, definition.venue, "USD", D(cash), D(cash)),
        e.FeedUp(1, 1, definition.venue, "market"),
        e.FeedUp(1, 1, definition.venue, "user"),
    ):
        core.on_event(event)
