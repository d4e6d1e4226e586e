"""Lives of orders over several sessions in one world: what a seed draws, and what was found.

Owns the seed's draws, the sessions that follow each other and what each leaves to the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextvars import copy_context

import msgspec

from engine import events as e
from engine.carried import Carried
from engine.codec import Record
from engine.commands import BalanceAdjusted, NewOrder, NewOrderWithExits, ReplaceOrder, RiskState
from engine.errors import VenueError
from engine.runtime.simulation.loop import Killed, SimulatedProcess, VirtualLoop
from tests.support.lives.acts import ACTS, Acts
from tests.support.lives.checks import Steps, Told, differences, too_early
from tests.support.lives.session import Session
from tests.support.lives.venue import ModelVenue, Rules
from tests.support.lives.wires import FAULTS, Streams, Weather

START_NS = 1_800_000_000_000_000_000
HEARTBEAT_S = 2.0
PAUSES_S, PAUSE_SHARES = (0.05, 0.2, 2.0, 20.0), (5, 5, 3, 1)
"""Between two sessions."""
AWAITED_SHARE = 0.8
"""Of what happens, so much while a session trades."""
QUIET_S, ROUNDS, ROUNDS_MOST = 15.0, 4, 10
"""When nothing goes wrong any more: the account is confirmed so often, so long apart, before it must be right."""
LISTED_S = 0.25
"""What is listed later than that after it moved a balance may be taken for somebody else's doing (``reconcile``)."""
MISSED_S = 15.0
"""An exit that is made later than that was given up, and its entry is not asked again: it is named at once, or stays
somebody else's order."""
_ENDS_AT = (
    e.AccountSettled,
    e.OrderAccepted,
    e.OrderAttached,
    e.OrderCancelled,
    e.OrderFilled,
    e.OrderFound,
    e.OrderReplaced,
    NewOrder,
    NewOrderWithExits,
    ReplaceOrder,
)
"""Records before or after which a session may end."""


class Clock:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        return START_NS + int(self._loop.time() * 1e9)

    wall_ns = now_ns


class World:
    """One seed: ``run`` lives it and returns what was found.  ``said``: hears of everything that happens."""

    def __init__(self, seed: int, *, steps: int = 60, said: Callable[[str], None] | None = None) -> None:
        self.rng = rng = random.Random(f"lives/{seed}")
        share, often = rng.choice((0.15, 0.4, 0.8)), rng.choice((0.5, 1.0, 2.0))
        faults = {name: one * often for name, one in FAULTS.items() if rng.random() < share}
        self._acts = {name: one for name, one in ACTS.items() if one >= 3 or rng.random() < 0.3 + share * 0.7}
        self._pace_s = rng.choice((0.05, 0.4, 2.0))
        self._steps = steps
        self._said = said
        self.loop = VirtualLoop()
        self.clock = Clock(self.loop)
        self.weather = Weather(random.Random(f"weather/{seed}"), faults)
        self.rules = draw_rules(rng)
        if self.rules.exit_lag_s < MISSED_S:
            self.rules = msgspec.structs.replace(self.rules, named_after_s=draw_naming(seed))
        self.options = {"edits": rng.random() < 0.7, "attaches": rng.random() < 0.7, "is_judged": rng.random() < 0.7}
        if not self.options["is_judged"]:
            self._acts.pop("enter")  # what closes what is the gate's to judge
        self.venue = ModelVenue(self.rules, rng, self.clock.now_ns, self.later)
        self.acts = Acts(self, rng, focus=rng.choice((0.0, 0.5, 0.8)))
        self.venue.immediate = self.acts.execute_at_once
        self.streams = Streams(self.venue, self.weather, self.clock)
        self.session: Session | None = None
        self.sessions = self.others = self.events = 0
        self.over = asyncio.Event()
        self._process: SimulatedProcess | None = None
        self._left: Carried | None = None
        self._steps_of = Steps(self.fail)
        self._retired = False
        self._found: list[str] = []
        self._told = Told(self.venue)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """At the venue: a session's end does not end that."""
        self.loop.call_later(seconds, call, context=self.weather.outside.copy())

    def say(self, text: str) -> None:
        if self._said is not None:
            self._said(f"{self.loop.time():10.4f} {text}")

    def fail(self, text: str) -> None:
        self.say(f"VIOLATION {text}")
        self._found.append(f"{self.loop.time():.4f} s: {text}")

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def _operate(self) -> None:
        while not self._retired:
            self.sessions += 1
            self.over.clear()
            self._steps_of = Steps(self.fail)
            self.say(f"--- session {self.sessions}")
            self.session = session = Session(self.sessions, self._left, world=self, **self.options)
            self._process = process = SimulatedProcess(f"s{self.sessions}")
            task = self.loop.spawn(process, session.live())
            task.add_done_callback(lambda _: self.over.set())
            await self.over.wait()
            error = task.exception() if task.done() else None
            if error is not None and not isinstance(error, VenueError | Killed):
                self.fail(f"session {self.sessions} ended: {type(error).__name__}: {error}")
            if process.alive:
                self.loop.kill(process)
                self._bequeath(session, len(session.records.written))
            self.streams.forget()
            for text in session.errors:
                self.fail(text)
            await asyncio.sleep(self.rng.choices(PAUSES_S, PAUSE_SHARES)[0])

    def crash(self, *, power: bool = False) -> None:
        """The process is gone; with ``power``, what was not on the disk as well."""
        session, process = self.session, self._process
        if session is None or process is None or not process.alive or self.over.is_set():
            return
        records = session.records
        kept = len(records.written)
        if power:
            kept = self.rng.randint(min(records.sure, kept), kept)
        self.say(f"--- killed, {kept} of {len(records.written)} records are kept")
        for one in records.written[kept:]:
            if isinstance(one, e.OrderFilled):
                self._told.count(one, -1)
        self.loop.kill(process)
        self._bequeath(session, kept)
        self.over.set()

    def _bequeath(self, session: Session, kept: int) -> None:
        """What the next one goes on from; one that has lost its first word leaves what was left to it."""
        if self._left is None or any(isinstance(one, e.StateCarried) for one in session.records.written[:kept]):
            self._left = session.leave(kept)

    def on_record(self, record: Record, is_written: bool) -> None:
        """It is about to be written, or is: the session may end here.  Raises ``Killed``."""
        process = self._process
        if process is not None and not process.alive:
            raise Killed
        if is_written:
            self._recorded(record)
        if isinstance(record, _ENDS_AT) and self.weather.is_hit("killed_at_record"):
            self.crash()
            raise Killed

    def _recorded(self, record: Record) -> None:
        if not isinstance(record, e.Timer | e.Quote | e.StateCarried | e.StateKept):
            self.say(f"   {record}")
        if isinstance(record, e.OrderFilled):
            self._told.count(record)
        elif isinstance(record, e.OrderFound):
            self._told.find(record)
        elif isinstance(record, BalanceAdjusted) and not self.others and self._shows_all_in_time:
            seen = f"{record.currency} adjusted from {record.booked} to {record.told}"
            self.fail(f"{seen}, and nobody else was there")

    @property
    def _shows_all_in_time(self) -> bool:
        """Whether what has moved balances is known to be ours before they are read."""
        return self.rules.listing_lag_s < LISTED_S and not self.rules.named_after_s

    def on_event(self, event: e.InputEvent) -> None:
        self.events += 1
        session = self.session
        if session is None or isinstance(event, e.Timer | e.Quote):
            return
        self._steps_of.look(session.core)
        text = too_early(session.core, event, self.venue, self._told)
        if text and not self.weather.shares.get("end_told_early"):
            self.fail(text)

    def publish(self, event: e.InputEvent) -> None:
        """Somebody beside the connector tells the session."""
        assert self.session is not None
        with contextlib.suppress(Killed):
            self.session.publish(event)

    # --- the seed -----------------------------------------------------------------------------------------------------

    def run(self) -> list[str]:
        """What did not hold, the first of it first."""
        loop = self.loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(loop.spawn(SimulatedProcess("world"), self._live()))
            for text in loop.errors:
                self.fail(text)
        finally:
            loop.die()
            loop.bury()
            asyncio.set_event_loop(None)
        return self._found

    async def _live(self) -> None:
        self.weather.outside = copy_context()
        tasks = [self.loop.create_task(self._operate()), self.loop.create_task(self._beat())]
        await asyncio.sleep(1.0)
        names, shares = list(self._acts), list(self._acts.values())
        for _ in range(self._steps):
            await asyncio.sleep(self.rng.expovariate(1.0 / self._pace_s))
            if self.rng.random() < AWAITED_SHARE:
                await self._wait_for_session()
            self.acts.act(self.rng.choices(names, shares)[0])
            if self._found:
                break
        else:
            await self._end()
        self._retired = True
        for task in tasks:
            task.cancel()

    async def _wait_for_session(self) -> None:
        for _ in range(100):
            if self.session is not None and self.session.is_ready and not self.over.is_set():
                return
            await asyncio.sleep(0.1)

    async def _end(self) -> None:
        """Nothing goes wrong any more: books and venue become alike, and stay so."""
        self.weather.calm = True
        self.say("=== calm")
        found = ["no session trades at the end"]
        for number in range(1, ROUNDS_MOST + 1):
            await asyncio.sleep(QUIET_S)
            session = self.session
            if session is None or not session.is_ready or self.over.is_set():
                continue
            found = differences(session, self.venue, self._told)
            if number >= ROUNDS and not found:
                break
            assert session.trading is not None
            session.trading.reconciler.rounds.wake()
        for text in found:
            self.fail(text)

    async def _beat(self) -> None:
        """The streams' heartbeats, and an operator who looks."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self.streams.beat()
            session = self.session
            if session is None or not session.is_ready or self.over.is_set():
                continue
            if session.gate.state is not RiskState.ACTIVE:
                now_ns = self.clock.now_ns()
                self.publish(e.Resumed(now_ns, now_ns, "operator", "go on"))


def draw_naming(seed: int) -> float:
    """How late exits are named, in s: 0 for most seeds; drawn beside all else, so that those stay as they are."""
    return random.Random(f"naming/{seed}").choice((0.0,) * 8 + (1.0, 12.0))


def draw_rules(rng: random.Random) -> Rules:
    return Rules(
        made_when=rng.choice(("end", "fill", "fill", "start")),
        named_by=rng.choice(("both", "entry", "exit")),
        has_client_id=rng.random() < 0.5,
        exit_lag_s=rng.choice((0.0, 0.0, 2.0, 40.0)),
        change_lag_s=rng.choice((0.0, 0.0, 2.0, 8.0)),
        rejects_duplicates=rng.random() < 0.5,
        cancel_lag_s=rng.choice((0.0, 0.0, 0.5, 4.0)),
        begins_pending=rng.random() < 0.3,
        listing_lag_s=rng.choice((0.0, 0.0, 0.2, 3.0)),
        refuses_exits=rng.choice((0.0, 0.0, 0.4)),
    )
