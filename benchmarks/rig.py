"""The daemon's way from a frame to order bytes, put together from its real parts as ``run.py`` does.

Real: protocol, bus, journal on disk, probe, core with features, model, strategy and gate, gateway with a token made
ahead, tracker.  Not real: the strategy (an order on every tick) and the account behind the venue, which fills each
accepted order at its limit price; its messages go through the connector's own decoders.  Where bytes go is given.
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec

from benchmarks.market import INSTRUMENT, NAME, PRODUCT, VENUE, Market
from config.assembly import ConfiguredAssembly
from config.load import load
from config.wiring import build_core, resolve
from connectors.coinbase import wire
from connectors.coinbase.auth import Key, TokenPool
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from connectors.coinbase.sandbox.keys import make_key_file
from connectors.coinbase.settle import Settler
from connectors.coinbase.shadow import CoinbaseShadow
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import CoinbaseUserProtocol
from connectors.http import OnDone, OnLost, OrderWriter
from connectors.ratelimit import TokenBucket
from engine.bus import EventBus
from engine.core import TradingCore
from engine.errors import KestrelError
from engine.events import (
    BalanceReported,
    FeedUp,
    InputEvent,
    InstrumentDefined,
    OrderAccepted,
    Side,
    Timer,
)
from engine.instruments import Instrument
from engine.ports import Probe, Recorder
from engine.router import OrderRouter
from engine.runtime.clocks import SystemClock
from engine.runtime.journal import JournalWriter
from engine.runtime.probe import StageProbe
from engine.runtime.series import SeriesWatch
from engine.runtime.shadow import NullRecorder, ShadowTicker
from models.serving.worker import Worker

ROOT = Path(__file__).resolve().parent.parent
CASH = Decimal(1_000_000_000)
_LIMITS = {
    "risk.max_order_qty": {"*": 1_000_000},
    "risk.max_position_qty": {"*": 1_000_000},
    "risk.max_order_notional": 10**9,
    "risk.max_position_notional": 10**9,
    "risk.max_gross_notional": 10**9,
    "risk.max_net_notional": 10**9,
    "risk.collar_bps": 500,
    "risk.stale_quote_ns": 10**9,
    "risk.max_orders_per_s": 1_000_000,
    "risk.max_orders_per_s_instrument": 1_000_000,
    "risk.max_rejections_per_s": 1_000_000,
    "risk.duplicate_window_ns": 1,
    "risk.max_open_orders": 100,
    "risk.max_daily_loss": 10**8,
    "risk.max_drawdown_bps": 9_000,
}
"""Wide enough that every order passes: all checks run, none refuses."""


class NullWriter:
    """Takes order bytes, notes when, keeps the callbacks for the account to answer."""

    def __init__(self) -> None:
        self.sent_ns = 0
        self.request = b""
        self.orders = 0
        self._callbacks: tuple[OnDone, OnLost] | None = None

    def try_send(self, request: bytes, on_done: OnDone, on_lost: OnLost) -> bool:
        self.sent_ns = time.perf_counter_ns()
        self.orders += 1
        self.request = request
        self._callbacks = (on_done, on_lost)
        return True

    def answer(self) -> bool:
        """The venue accepts what was sent last; False when nothing waits for an answer."""
        if self._callbacks is None:
            return False
        on_done, _ = self._callbacks
        self._callbacks = None
        on_done(200, accepted_answer(self.orders, client_id_of(self.request)))
        return True


def client_id_of(request: bytes) -> str:
    body = msgspec.json.decode(request[request.index(b"\r\n\r\n") + 4 :])
    return str(body["client_order_id"])


def accepted_answer(number: int, client_order_id: str) -> bytes:
    """The venue's 200 to POST /orders."""
    return (
        b'{"success":true,"failure_reason":"UNKNOWN_FAILURE_REASON","order_id":"v-%d","success_response":{"order_id":'
        b'"v-%d","product_id":"%b","side":"BUY","client_order_id":"%b"}}'
        % (number, number, PRODUCT.encode(), client_order_id.encode())
    )


class _NoLookUps:
    """Stands where the settler stands: outcomes are all known here, so nothing is looked up over REST."""

    def __init__(self) -> None:
        self.asked = 0
        self.checks = self

    def check_later(self, client_order_id: str) -> None:
        """Every order is ended by the account at once."""

    def check_now(self, client_order_id: str) -> None:  # noqa: ARG002
        self.asked += 1

    def resolve(self, client_order_id: str, product_id: str, sent_ns: int, lost_ns: int) -> None:  # noqa: ARG002
        self.asked += 1


class Rig:
    """One daemon without sockets.  ``every``: an order on each so many-th tick (0: never)."""

    def __init__(
        self,
        folder: Path,
        writer: OrderWriter,
        *,
        model: bool,
        every: int = 1,
        instrument_count: int = 1,
        bundles: Path = ROOT / "models" / "artifacts",
        worker: Worker | None = None,
        params: Mapping[str, object] | None = None,
    ):
        """``worker``: where a model runs that is not for the loop; ``params``: of the strategy, besides ``every``."""
        self.instruments = [INSTRUMENT, *(_another(number) for number in range(1, instrument_count))]
        names = [instrument.id for instrument in self.instruments]
        self.settings = resolve(
            load(
                env={},
                overrides={
                    **_LIMITS,
                    "models.directory": bundles,
                    "models.registry": folder / "registry",  # not the user's
                    "models.schedule": "inline" if worker is None else "worker",
                    # A model that is late again and again would have its entries refused.
                    **({} if worker is None else {"models.deadline_us": 1_000_000}),
                    "strategies": [
                        {
                            "name": "bench",
                            "path": f"{Path(__file__).with_name('strategy.py')}:EveryTick",
                            "model": "auto" if model else "none",
                            "params": {"every": every, **(params or {})},
                        }
                    ],
                },
            ),
            names,
        )
        self.clock = SystemClock()
        self.probe = StageProbe(self.clock)
        self.errors: list[str] = []
        self.journal = JournalWriter(
            folder / "journal",
            session="bench",
            fsync=self.settings.journal.fsync,
            market_bytes=self.settings.journal.segment_mb << 20,
            orders_bytes=self.settings.journal.segment_mb << 19,
            interval_s=self.settings.journal.interval_ms / 1000.0,
        )
        self.journal.wait_ready()
        self.bus = EventBus(self.journal, self.probe, self._on_error)
        self.assembly = ConfiguredAssembly(self.settings, time.perf_counter_ns)
        if worker is not None:
            self.assembly.use(worker)
        self.core = self._core(self.bus, self.assembly, self.probe, "bench")
        self._series = SeriesWatch(self.core)
        self._accepted: list[str] = []
        self.on_accepted: Callable[[], object] | None = None
        self._make_venue(folder, writer)
        self.bus.attach(self.core, OrderRouter(self.publish, lambda: (self.gateway,)))
        self._open_account()

    def _core(self, recorder: Recorder, assembly: ConfiguredAssembly, probe: Probe | None, prefix: str) -> TradingCore:
        names = [instrument.id for instrument in self.instruments]
        return build_core(self.settings, names, recorder=recorder, assembly=assembly, id_prefix=prefix, probe=probe)

    def _make_venue(self, folder: Path, writer: OrderWriter) -> None:
        key_file = folder / "key.json"
        make_key_file(key_file)
        products = {instrument.id: instrument.venue_symbol for instrument in self.instruments}
        self.tokens = TokenPool(
            Key.from_file(key_file),
            "127.0.0.1",
            venue_now_ns=self.clock.now_ns,
            nonce=lambda: secrets.token_hex(32),
        )
        self.tracker = OrderTracker(VENUE, {product: name for name, product in products.items()})
        self.settler = _NoLookUps()
        self.gateway = CoinbaseGateway(
            VENUE,
            host="127.0.0.1",
            products=products,
            publish=self._on_account_event,
            clock=self.clock,
            writer=writer,
            tokens=self.tokens,
            tracker=self.tracker,
            settler=cast(Settler, self.settler),
            bucket=TokenBucket(1e9, 1_000_000, reserve=1, now_ns=self.clock.now_ns()),
        )
        self.protocol = self.market_protocol()
        self._user = CoinbaseUserProtocol(VENUE, self.tracker)
        self._user_seq = 0

    def market_protocol(self) -> CoinbaseMarketProtocol:
        products = {instrument.venue_symbol: (instrument.id,) for instrument in self.instruments}
        return CoinbaseMarketProtocol(VENUE, products, ("heartbeats", "ticker", "market_trades"))

    def _open_account(self) -> None:
        now_ns = self.clock.now_ns()
        for instrument in self.instruments:
            self.publish(InstrumentDefined(now_ns, now_ns, instrument))
        self.publish(BalanceReported(now_ns, now_ns, VENUE, "USD", CASH, CASH))
        for stream in ("market", "user"):
            self.publish(FeedUp(now_ns, now_ns, VENUE, stream))
        self.check()

    # --- the path -------------------------------------------------------------------------------------------------

    def publish(self, event: InputEvent) -> None:
        """What the daemon's adapters call."""
        self.bus.publish(event)
        self._series.observe(event)

    def receive(self, frame: bytes) -> None:
        """One frame in, as a transport delivers it; its orders are with the writer when this returns."""
        for event in self.protocol.receive_frame(frame, self.clock.now_ns()):
            self.publish(event)

    def timer(self) -> None:
        now_ns = self.clock.now_ns()
        self.publish(Timer(now_ns, now_ns, "tick"))

    # --- the account ----------------------------------------------------------------------------------------------

    def _on_account_event(self, event: InputEvent) -> None:
        self.publish(event)
        if type(event) is OrderAccepted:
            self._accepted.append(event.client_order_id)
            if self.on_accepted is not None:
                self.on_accepted()

    def fill_accepted(self) -> None:
        """The account fills every accepted order in full: the user stream says so, the listing of fills gives them."""
        accepted, self._accepted = self._accepted, []
        for client_id in accepted:
            order = self.core.orders.get(client_id)
            assert order is not None
            intent = order.intent
            now_ns = self.clock.now_ns()
            venue_id = self.tracker.get(client_id).venue_order_id  # type: ignore[union-attr]
            product = intent.instrument.partition("@")[0].replace("/", "-")
            side = "BUY" if intent.side is Side.BUY else "SELL"
            when = wire.format_time(now_ns)
            user = (
                f'{{"channel":"user","client_id":"","timestamp":"{when}","sequence_num":{self._user_seq},"events":[{{'
                f'"type":"update","orders":[{{"order_id":"{venue_id}","client_order_id":"{client_id}","product_id":'
                f'"{product}","order_side":"{side}","status":"FILLED","cumulative_quantity":"{intent.qty}",'
                f'"leaves_quantity":"0"}}]}}]}}'
            )
            self._user_seq += 1
            events = list(self._user.receive_frame(user.encode(), now_ns))
            fill = wire.Fill(
                entry_id=f"e-{venue_id}",
                order_id=venue_id,
                price=intent.limit_px or Decimal(0),
                size=intent.qty,
                product_id=product,
                side=side,
                trade_time=when,
                liquidity_indicator="TAKER",
            )
            self.tracker.take_wanted()
            events.extend(self.tracker.book(fill, now_ns))
            events.extend(self.tracker.fills_read(venue_id, now_ns))
            self.gateway.publish_all(events)

    # --- life -----------------------------------------------------------------------------------------------------

    def shadow(self, interval_s: float = 0.001) -> ShadowTicker:
        """The daemon's shadow ticks over a core of their own."""
        twin = self._core(NullRecorder(), self.assembly.twin(), None, "shadow")
        labels = {instrument.id: instrument.venue_symbol for instrument in self.instruments}
        return ShadowTicker(self.core, twin, CoinbaseShadow(VENUE, labels, self.gateway), self.clock, interval_s)

    def check(self, tolerated: int = 0) -> None:
        """Raises ``KestrelError`` when the core refused, failed or lost anything: its figures would mean nothing.

        ``tolerated``: orders of each kind that the shell may refuse (no free connection).
        """
        counters = self.core.counters
        trouble = [
            *self.errors,
            *(f"{count} x refused by {name}" for name, count in counters.rejected.items()),
            *(f"{count} x rejected: {name}" for name, count in counters.venue_rejected.items() if count > tolerated),
            *(f"{count} x dropped: {name}" for name, count in counters.dropped.items()),
            *([f"{counters.failed_predictions} predictions failed"] if counters.failed_predictions else []),
            *([f"{counters.gaps} gaps"] if counters.gaps else []),
            *([f"{self.settler.asked} orders without outcome"] if self.settler.asked else []),
            *(["a strategy was quarantined"] if not all(slot.alive for slot in self.core.slots) else []),
        ]
        if trouble:
            raise KestrelError(f"the benchmark's path is broken: {'; '.join(trouble)[:400]}")

    def _on_error(self, text: str, error: Exception) -> None:
        self.errors.append(f"{text}: {error}")

    def stages(self) -> list[tuple[str, float, float, int]]:
        """``(stage, p50 us, p99 us, count)`` of the probe, tick-to-order last."""
        named = [*self.probe.stages.items(), ("tick_to_order", self.probe.tick_to_order)]
        return [
            (name, histogram.percentile(0.5) / 1e3, histogram.percentile(0.99) / 1e3, histogram.count)
            for name, histogram in named
            if histogram.count
        ]

    def forget_stages(self) -> None:
        """Start the probe's histograms over: what came before was warm-up."""
        self.probe.__init__(self.clock)  # type: ignore[misc]  # in place: bus and core hold it

    def close(self) -> None:
        self.journal.close()


def _another(number: int) -> Instrument:
    base = f"C{number}"
    return msgspec.structs.replace(INSTRUMENT, id=f"{base}/USD@{VENUE}", venue_symbol=f"{base}-USD", base=base)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder under ``var/``: the disk that sessions use."""
    root = ROOT / "var"
    root.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(writer: OrderWriter, *, model: bool, every: int = 1) -> Iterator[Rig]:
    """A rig and its folder, taken away afterwards."""
    with scratch() as folder:
        rig = Rig(folder, writer, model=model, every=every)
        try:
            yield rig
        finally:
            gc.unfreeze()
            rig.close()


def settle_memory() -> None:
    """As the daemon does after its start."""
    gc.collect()
    gc.freeze()


__all__ = ["NAME", "ROOT", "Market", "NullWriter", "Rig", "accepted_answer", "running", "scratch", "settle_memory"]


def alone(folder: Path) -> dict[str, str]:
    """The environment of a daemon that is measured: no settings of the user's, and not one of the user's daemons, which
    a ``halt`` would stop."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KESTREL_")}
    return {**plain, "KESTREL_RUN_DIR": str(folder / "run")}
