"""One session on the account: the core, its bus and what a key opens at Coinbase, on the wires of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from connectors.coinbase.directory import Directory
from connectors.coinbase.feed import CoinbaseFeed
from connectors.coinbase.offer import OFFER
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.trading import Trading
from connectors.reconnect import Backoff
from connectors.ws import WsOptions
from engine import events as e
from engine.bus import EventBus
from engine.carried import Carried, encode_carried
from engine.codec import Record
from engine.commands import Intent, NewOrder, ReplaceOrder
from engine.core import NullProbe, TradingCore
from engine.recovery import Recovery
from engine.router import OrderRouter
from risk.gate import Gate
from tests.support.core import BTC, FixedAssembly, OpenGate, Scripted, build_core, quote, spot
from tests.support.limits import make_limits
from tests.support.lives.wires import OrderWire, Questions

if TYPE_CHECKING:
    from tests.support.lives.world import World

WIDE: dict[str, Any] = {
    "allowed_instruments": [BTC],
    "max_order_qty": {"*": 10**9},
    "max_position_qty": {"*": 10**9},
    **dict.fromkeys(
        ("max_order_notional", "max_position_notional", "max_gross_notional", "max_net_notional", "max_daily_loss"),
        10**12,
    ),
    "collar_bps": 2000,
    "stale_quote_ns": 10**15,
    "max_orders_per_s": 10**6,
    "max_orders_per_s_instrument": 10**6,
    "max_rejections_per_s": 10**6,
    "max_open_orders": 10**6,
    "max_drawdown_bps": 9_000,
}
SETTINGS = CoinbaseSettings(backoff_base_s=0.2, backoff_cap_s=2.0)


class Records:
    """A journal in memory; ``on_record`` may end the session before or after one is written."""

    def __init__(self, on_record: Callable[[Record, bool], None]) -> None:
        self.written: list[Record] = []
        self.sure = 0
        """So many are on the disk whatever happens: what was sent is."""
        self._on_record = on_record

    def append(self, seq: int, record: Record) -> None:
        self._on_record(record, False)
        self.written.append(record)
        if isinstance(record, NewOrder | ReplaceOrder):
            self.sure = len(self.written)
        self._on_record(record, True)

    def close(self) -> None: ...


class Tokens:
    """Stands where the keys stand: nothing is signed."""

    def keep(self, *_route: str) -> int:
        return 0

    def token(self, _number: int) -> bytes:
        return b"token"

    def make_stream(self) -> str:
        return "token"

    def discard(self) -> None: ...


class Session:
    """``live`` runs it for ever; whoever ends it kills its process."""

    def __init__(
        self,
        number: int,
        left: Carried | None,
        *,
        world: World,
        edits: bool,
        attaches: bool,
        is_judged: bool,
    ) -> None:
        """``is_judged``: by the real gate, with limits that nothing reaches."""
        self.number = number
        self.left = left
        self.is_ready = False
        self.errors: list[str] = []
        self.wishes: list[Intent] = []
        self.clock = world.clock
        self.records = Records(world.on_record)
        gate: Any = Gate(make_limits(**WIDE)) if is_judged else OpenGate()
        self.gate = gate
        offer = OFFER
        if not edits:
            offer = msgspec.structs.replace(offer, edits=frozenset())
        if not attaches:
            offer = msgspec.structs.replace(offer, entries=frozenset())

        class Bus(EventBus):
            def _handle(self, event: e.InputEvent) -> None:
                super()._handle(event)
                world.on_event(event)

        self.bus = Bus(self.records, NullProbe(), self._on_error)
        self.core: TradingCore = build_core(
            self.bus,
            Scripted("s", on_timer=self._wish),
            gate=gate,
            assembly=FixedAssembly(lambda: None, None),
            id_prefix=f"k{number}",
            offers={"coinbase": offer},
        )
        self.trading: Trading | None = None
        router = OrderRouter(self.bus.publish, lambda: [] if self.trading is None else [self.trading.gateway])
        self.bus.attach(self.core, router)
        self._venue, self._weather, self._streams = world.venue, world.weather, world.streams

    def _wish(self, *_: Any) -> list[Intent]:
        wishes, self.wishes = self.wishes, []
        return wishes

    def _on_error(self, text: str, error: Exception) -> None:
        self.errors.append(f"{text}: {type(error).__name__}: {error}")

    def publish(self, event: e.InputEvent) -> None:
        """As the process itself: what this starts ends with it."""
        self._inside.copy().run(self.bus.publish, event)

    @property
    def tracker(self) -> OrderTracker:
        assert self.trading is not None
        return self.trading.settler._tracker

    async def live(self) -> None:
        self._inside = copy_context()
        now_ns, rng = self.clock.now_ns(), self._weather.rng
        if self.left is not None:
            self.bus.publish(e.StateCarried(now_ns, now_ns, "before", 0, encode_carried(self.left)))
        for event in (e.InstrumentDefined(now_ns, now_ns, spot()), e.FeedUp(now_ns, now_ns, "coinbase", "market")):
            self.bus.publish(event)
        access = Questions(self._venue, self._weather)
        directory = Directory(SETTINGS, access, self.clock, private=True)
        directory.products = {BTC: "BTC-USD"}
        wire = OrderWire(self._venue, self._weather)

        class OnWires(Trading):
            def _make_channel(self, bucket: Any) -> Any:
                return wire

        def feed(
            url: str, protocol: Any, publish: Any, *, subscriptions: Any, resync: Any, after_batch: Any
        ) -> CoinbaseFeed:
            return CoinbaseFeed(
                url,
                protocol,
                subscriptions=subscriptions,
                publish=publish,
                clock=self.clock,
                connect=self._streams.connect,
                backoff=Backoff(rng, base_s=0.2, cap_s=2.0),
                lag_ns=lambda: 0,
                options=WsOptions(open_timeout_s=5.0),
                resync=resync,
                after_batch=after_batch,
            )

        self.trading = trading = OnWires(
            SETTINGS,
            access=access,  # type: ignore[arg-type]
            tokens=Tokens(),  # type: ignore[arg-type]
            directory=directory,
            products=SimpleNamespace(on_event=lambda _event: None),  # type: ignore[arg-type]
            publish=self.bus.publish,
            clock=self.clock,
            rng=rng,
            feed=feed,
            venue_offset_ns=lambda: 0,
            confirm=lambda: trading.reconciler.rounds.wake(),
            rival=lambda _client_order_id: "",
        )
        orders = () if self.left is None else self.left.orders
        balances: dict[str, Decimal] = {} if self.left is None else self.left.balances("coinbase")
        await trading.start(orders, balances, () if self.left is None else self.left.trades)
        now_ns = self.clock.now_ns()
        self.bus.publish(quote(now_ns, 100.0, 100.01))
        self.is_ready = True
        while True:
            await asyncio.sleep(1.0)
            now_ns = self.clock.now_ns()
            self.bus.publish(e.Timer(now_ns, now_ns, "heartbeat"))

    def leave(self, kept: int | None = None) -> Carried:
        """What the next session goes on from: the first ``kept`` records, or all."""
        recovery = Recovery("USD")
        recovery.take(self.records.written[:kept])
        return recovery.left()
