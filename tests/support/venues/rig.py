"""What the contract of a venue (``tests/conformance/venue_contract.py``) needs of its sandbox, and a session there.

A rig starts a venue's sandbox in this process, does there what the venue and its other customers do, and tells what is
true there without the connector.  A session is the daemon's trading core with its risk gate, fed by the connector that
the registry makes of a configuration: the same code that ``run.py paper`` starts.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from config.load import load, session_limits
from config.schema import Settings
from config.venue_kind import Connector, MarketOnly, Opening
from config.venue_registry import kind_of
from config.venues import MarketOnPaper
from config.wiring import build_offers
from engine.bus import EventBus
from engine.carried import CarriedOrder
from engine.commands import CancelIntent, Intent, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.core import NullProbe
from engine.events import AccountSettled, InputEvent, OrderFilled, Side, Timer
from engine.instruments import Instrument
from engine.offers import Offer
from engine.router import OrderRouter
from risk.gate import Gate
from tests.support.core import MemoryJournal, Scripted, build_core
from tests.support.venues.wire import Wire

D = Decimal
STRATEGY = "contract"
BELIEVED_S = 10.0
"""By a clock that is further off no price is judged."""


class Truth(msgspec.Struct, frozen=True):
    """An order as the venue has it."""

    is_open: bool
    filled_qty: Decimal


class Rig(ABC):
    """A sandbox whose market stands still, and an account on it."""

    venue: str
    instrument: str
    qty: Decimal
    """An ordinary size, which the touch has on both sides, many times over."""
    order_request: bytes | tuple[bytes, ...]
    """How a request for a new order begins."""
    grace_s: float = 0.3
    """After how long an order without an outcome, which the venue does not show, may be given up in these sessions."""

    wire_type: type[Wire] = Wire
    wire: Wire
    """Between connector and server, for all that ``said`` names by an address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Rig]:
        rest = urlsplit(await self.start())
        assert rest.hostname
        assert rest.port
        self.wire = self.wire_type(rest.hostname, rest.port, self.order_request)
        try:
            await self.wire.start()
            async with aiohttp.ClientSession() as self._http:
                yield self
        finally:
            await self.wire.stop()
            await self.stop()

    async def operate(self, act: str, **fields: Any) -> None:
        """One request to the sandbox's operator door."""
        assert self._http is not None
        url = f"http://{self.wire.address}/sandbox/operator"
        async with self._http.post(url, json={"act": act, **fields}) as answer:
            assert answer.status == 200, await answer.text()

    # --- to be had from each sandbox ---------------------------------------------------------------------------------

    @abstractmethod
    async def start(self) -> str:
        """Its server's address; all that it serves is there."""

    @abstractmethod
    async def stop(self) -> None: ...

    @property
    @abstractmethod
    def said(self) -> Mapping[str, Any]:
        """As its server says on its first line, by way of ``wire.address``."""

    @property
    @abstractmethod
    def overrides(self) -> Mapping[str, Any]:
        """Of the configuration: which venue and which symbol."""

    def left(self, carried: Sequence[CarriedOrder]) -> dict[str, Any]:
        """More of what an earlier session with these orders has left, as fields of ``Opening``."""
        return {}

    @abstractmethod
    def impatient(self, connector: Connector) -> None:
        """Give the connector the rig's ``grace_s`` and quick reconnections, before its start."""

    @abstractmethod
    def best(self) -> tuple[Decimal, Decimal]:
        """Bid and ask of the instrument."""

    @abstractmethod
    def found(self, client_order_id: str) -> list[Truth]:
        """Every order that the venue has of this id."""

    @abstractmethod
    def position(self) -> Decimal:
        """Signed quantity of the instrument's base that the account has in addition to what it began with."""

    @abstractmethod
    async def fill(self, client_order_id: str, qty: Decimal) -> None:
        """Somebody trades so much against a resting order of ours."""

    @abstractmethod
    async def lose_message(self) -> None:
        """Something that a stream says never arrives; what comes after it shows that."""

    @abstractmethod
    async def halt(self, *, halted: bool) -> None:
        """The venue stops trading in the instrument, or goes on."""

    @abstractmethod
    async def move(self, steps: int) -> tuple[Decimal, Decimal]:
        """The touch moves by so many ticks; what it is then."""

    @abstractmethod
    async def reach(self, px: Decimal) -> None:
        """The market goes to a price: it is the best bid now, and has traded."""

    @abstractmethod
    async def trade_before(self, count: int) -> list[CarriedOrder]:
        """So many orders of an earlier session, all filled after its end, in more pages than one."""

    def repeat(self) -> None:  # noqa: B027 -- most rigs have nothing to do
        """The venue tells its price once more, where it tells changes alone."""

    def has_line(self, connector: Any) -> bool:
        """Whether an order could leave now."""
        return connector is not None


class BookRig(Rig):
    """Of a sandbox with a book in which anybody's orders rest."""

    MUCH = Decimal(9_000)

    @property
    @abstractmethod
    def tick_px(self) -> Decimal: ...

    @abstractmethod
    async def trade(self, side: str, px: Decimal, qty: Decimal, *, rest: bool = False) -> None:
        """Somebody else takes what there is up to a price; what is left of the order stays there, or goes."""

    async def reach(self, px: Decimal) -> None:
        await self.trade("SELL", px + self.tick_px, self.MUCH, rest=True)
        await self.trade("BUY", px, self.MUCH, rest=True)
        await self.trade("SELL", px, self.qty)


class Session:
    """A core that trades through a connector, and everything that it was told."""

    def __init__(self, rig: Rig, settings: Settings, clock: Clock, carried: Sequence[CarriedOrder]) -> None:
        self.rig = rig
        self.log: list[InputEvent] = []
        self.errors: list[str] = []
        self._clock = clock
        self._wishes: list[Intent] = []
        self._journal = MemoryJournal()
        self.bus = EventBus(self._journal, NullProbe(), lambda text, error: self.errors.append(f"{text}: {error}"))
        self.gate = Gate(session_limits(settings, [rig.instrument], live=False))
        self.core = build_core(
            self.bus,
            Scripted(STRATEGY, on_timer=lambda *_: self._take()),
            gate=self.gate,  # type: ignore[arg-type]
            offers=build_offers(settings, [rig.instrument]),
            id_prefix=f"c{secrets.token_hex(6)}-",
        )
        self.kind = kind_of(settings)
        opening = Opening(self.publish, clock, lambda: 0, lambda _: (0, 0), money="play", carried=tuple(carried))
        if carried:
            opening = replace(opening, **rig.left(carried))
        self.connector: Any
        if isinstance(self.kind, MarketOnly):
            self.connector = MarketOnPaper(
                self.kind, settings, self.publish, clock, lambda: 0, rig.said, "c", lambda _: (0, 0)
            )
        else:
            self.connector = self.kind.connect(settings, rig.said, opening)
        rig.impatient(self.connector)
        self.bus.attach(self.core, OrderRouter(self.bus.publish, self._gateways))

    def _gateways(self) -> list[Any]:
        if isinstance(self.connector, MarketOnPaper):
            return list(self.connector.gateways)
        return [] if self.connector.gateway is None else [self.connector.gateway]

    def _take(self) -> list[Intent]:
        wishes, self._wishes = self._wishes, []
        return wishes

    def publish(self, event: InputEvent) -> None:
        self.log.append(event)
        self.bus.publish(event)

    # --- what a strategy wants ---------------------------------------------------------------------------------------

    def timer(self) -> None:
        now_ns = self._clock.now_ns()
        if isinstance(self.connector, MarketOnPaper):
            self.connector.settle()
        self.bus.publish(Timer(now_ns, now_ns, "contract"))

    def wish(self, *intents: Intent) -> None:
        self._wishes.extend(intents)
        self.timer()

    def order(self, side: Side = Side.BUY, **fields: Any) -> str:
        """Send one through the gate; its client order id.  It rests half a per cent off the touch by default."""
        before = len(self.orders)
        self.wish(self.intent(side, **fields))
        assert len(self.orders) == before + 1, self.refusals()
        return self.orders[-1].client_order_id

    def intent(self, side: Side = Side.BUY, **fields: Any) -> OrderIntent:
        given: dict[str, Any] = {
            "ts_ns": self._clock.now_ns(),
            "strategy": STRATEGY,
            "instrument": self.rig.instrument,
            "side": side,
            "qty": self.rig.qty,
            "order_type": OrderType.LIMIT,
            "time_in_force": TimeInForce.GTC,
            **fields,
        }
        if given["order_type"] is OrderType.LIMIT and "limit_px" not in given:
            given["limit_px"] = self.off(side)
        return OrderIntent(**given)

    def off(self, side: Side, share: str = "0.005") -> Decimal:
        """A price on the grid, that far from the touch on the side where it rests."""
        bid, ask = self.rig.best()
        px = bid * (1 - D(share)) if side is Side.BUY else ask * (1 + D(share))
        tick = self.definition.tick_px
        return (px // tick) * tick

    def cancel(self, client_order_id: str) -> None:
        self.wish(CancelIntent(self._clock.now_ns(), STRATEGY, client_order_id))

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def offer(self) -> Offer:
        return self.kind.offer

    @property
    def definition(self) -> Instrument:
        return self.core.lanes[self.rig.instrument].instrument

    @property
    def orders(self) -> list[NewOrder]:
        return [written.record for written in self._journal.written if isinstance(written.record, NewOrder)]

    def refusals(self) -> list[str]:
        records = [written.record for written in self._journal.written]
        return [f"{r.check}: {r.seen}" for r in records if type(r).__name__ == "Rejected"] + self.errors

    def of(self, client_order_id: str) -> list[Any]:
        return [event for event in self.log if getattr(event, "client_order_id", None) == client_order_id]

    def kinds(self, client_order_id: str) -> list[type]:
        return [type(event) for event in self.of(client_order_id)]

    def filled(self, client_order_id: str) -> Decimal:
        return sum((event.qty for event in self.of(client_order_id) if type(event) is OrderFilled), D(0))

    @property
    def position(self) -> Decimal:
        return self.core.portfolio.position(self.rig.instrument).qty

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Timers go on meanwhile, as they do in the daemon."""
        try:
            async with asyncio.timeout(30):
                while not condition():
                    self.timer()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            told = "\n".join(str(event) for event in self.log[-20:])
            raise AssertionError(f"never: {what}; {self.refusals()}; the last events:\n{told}") from None

    def is_priced(self) -> bool:
        """What the venue said while this machine was busy may be too old to be believed: then it says it again."""
        top = self.core.lanes[self.rig.instrument].top
        if top.bid_px > 0 and not top.suspect:
            return True
        self.rig.repeat()
        return False

    async def ready(self) -> None:
        """Prices are believed, and an order could leave."""
        await self.until(
            lambda: (
                self.core.view.tradable(self.rig.instrument) == ""
                and self.is_priced()
                and self.rig.has_line(self.connector)
            ),
            "an order could leave",
        )

    async def heard(self, client_order_id: str, kind: type) -> None:
        await self.until(lambda: kind in self.kinds(client_order_id), f"{kind.__name__} of {client_order_id}")

    async def settled(self) -> None:
        """The account is confirmed once more; one in this process needs no confirming."""
        if isinstance(self.connector, MarketOnPaper):
            return
        before = sum(type(event) is AccountSettled for event in self.log)
        self.connector.confirm()
        await self.until(lambda: sum(type(event) is AccountSettled for event in self.log) > before, "AccountSettled")


class Clock:
    """The machine's, which may be wrong by ``ahead_s``."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_ns = int(ahead_s * 1e9)

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    wall_ns = now_ns


@asynccontextmanager
async def session(
    rig: Rig, *, carried: Sequence[CarriedOrder] = (), ahead_s: float = 0.0, **overrides: Any
) -> AsyncIterator[Session]:
    """Started, with prices, an account that is confirmed, and limits that let the contract's orders pass."""
    given = {"profile": "testing", "risk.allowed_instruments": "all", "risk.collar_bps": 1000, **rig.overrides}
    given |= {name.replace("__", "."): value for name, value in overrides.items()}
    settings = load((), env={}, overrides=given)
    one = Session(rig, settings, Clock(ahead_s), carried)
    await one.connector.start()
    try:
        await one.until(lambda: one.core.view.tradable(rig.instrument) == "", "the instrument is tradable")
        if abs(ahead_s) < BELIEVED_S:
            await one.until(one.is_priced, "a price is believed")
        yield one
    finally:
        await one.connector.stop()
