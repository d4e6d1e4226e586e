"""Starts real daemons that kill themselves at the n-th call of a chosen function.

Run as a program it is a nursery: it imports everything once and forks a child for each line of JSON on its stdin
(``{"spot", "number", "plant", "arguments", "log"}``); the child is ``run.py`` with those arguments.  It answers each
line with ``started PID`` and later ``ended PID STATUS``.  The product knows nothing of it: functions are wrapped here.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

NEVER = 1 << 60
SMALL_ORDERS_BYTES = 256 << 10
KEEP_S = 0.7
GRACE_S = 1.0


class Countdown:
    """Kills this process, with nothing done in between, when it is asked for the n-th time."""

    def __init__(self, number: int) -> None:
        self.left = number

    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def hit(self) -> None:
        if self.due():
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def arm(spot: str, number: int) -> None:
    """``spot``: see ``tests.support.kills.spots``."""
    count = Countdown(number)
    how, _, rest = spot.partition(":")
    what, _, moment = rest.rpartition(":")
    if how == "append":
        _arm_append(what, moment, count)
    elif how == "send":
        _arm_send(what.encode(), moment, count)
    elif how == "call":
        _arm_call(what, moment, count)
    elif how == "rename":
        _arm_rename(what, moment, count)
    elif how not in ("", "signal", "damage"):  # those come from outside
        raise ValueError(spot)


def _arm_append(kind: str, moment: str, count: Countdown) -> None:
    from engine import codec
    from engine.runtime.journal import JournalWriter

    append = JournalWriter.append

    def dying_append(self: Any, seq: int, record: Any) -> None:
        if type(record).__name__ != kind or not count.due():
            append(self, seq, record)
            return
        if moment == "torn":
            # As the fast path writes: checksum, number and a part of the content; the length comes last and never came.
            stream = self._market if kind in ("Quote", "Trade") else self._orders
            payload = codec.encode(record)
            part = payload[: len(payload) // 2]
            if stream.tail + 16 + len(part) < stream.segment.size:
                struct.pack_into(f"<IQ{len(part)}s", stream.view, stream.tail + 4, 12345, seq, part)
        elif moment == "after":
            append(self, seq, record)
        die()

    JournalWriter.append = dying_append  # type: ignore[method-assign]


def _arm_send(route: bytes, moment: str, count: Countdown) -> None:
    from connectors.http import _Connection

    send = _Connection.send

    def dying_send(self: Any, request: bytes, *arguments: Any) -> int:
        if not request.startswith(b"POST") or route not in request.partition(b"\r\n")[0] or not count.due():
            return send(self, request, *arguments)
        if moment == "half":
            send(self, request[: len(request) * 2 // 3], *arguments)
        elif moment == "after":
            send(self, request, *arguments)
        die()
        return 0

    _Connection.send = dying_send  # type: ignore[method-assign]


def _arm_call(path: str, moment: str, count: Countdown) -> None:
    """``module:Class.method`` or ``module:function``; a coroutine function dies before its first or after its last
    step."""
    module, _, name = path.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, last = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    function = getattr(owner, last)
    setattr(owner, last, _dying(function, moment, count))


def _dying(function: Callable[..., Any], moment: str, count: Countdown) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def dying_coroutine(*arguments: Any, **named: Any) -> Any:
            if moment == "before":
                count.hit()
            result = await function(*arguments, **named)
            if moment == "after":
                count.hit()
            return result

        return dying_coroutine

    @functools.wraps(function)
    def dying_function(*arguments: Any, **named: Any) -> Any:
        if moment == "before":
            count.hit()
        result = function(*arguments, **named)
        if moment == "after":
            count.hit()
        return result

    return dying_function


def _arm_rename(part: str, moment: str, count: Countdown) -> None:
    """The n-th file that gets a name with this in it."""
    for name in ("rename", "replace"):
        original = getattr(os, name)

        def dying_rename(source: Any, target: Any, *, original: Any = original, **named: Any) -> None:
            counts = part in str(target)
            if counts and moment == "before":
                count.hit()
            original(source, target, **named)
            if counts and moment == "after":
                count.hit()

        setattr(os, name, dying_rename)


def shorten() -> None:
    """Everything that takes long by its nature takes short: small journal files, state kept often, short patience."""
    import msgspec

    import config.venue_coinbase
    from engine.runtime.journal import JournalWriter
    from engine.runtime.supervisor import Supervisor

    make = JournalWriter.__init__

    def small_journal(self: Any, *arguments: Any, **named: Any) -> None:
        named["orders_bytes"] = min(named["orders_bytes"], SMALL_ORDERS_BYTES)
        make(self, *arguments, **named)

    JournalWriter.__init__ = small_journal  # type: ignore[method-assign]
    supervise = Supervisor.__init__

    def keep_often(self: Any, **named: Any) -> None:
        if named.get("keep_s") is not None:
            named["keep_s"] = KEEP_S
        supervise(self, **named)

    Supervisor.__init__ = keep_often  # type: ignore[method-assign]
    settings = config.venue_coinbase.coinbase_settings

    def impatient(*arguments: Any) -> Any:
        return msgspec.structs.replace(
            settings(*arguments), unknown_grace_s=GRACE_S, backoff_base_s=0.05, backoff_cap_s=0.5
        )

    config.venue_coinbase.coinbase_settings = impatient


def plant(defect: str) -> None:
    """A defect that the comparison must see, or that entries must not survive."""
    import msgspec

    if defect == "resend":
        from connectors.http import OrderChannel

        send = OrderChannel.try_send

        def send_twice(self: Any, request: bytes, *heard: Any) -> bool:
            written = send(self, request, *heard)
            if b"/orders HTTP" in request.partition(b"\r\n")[0]:
                send(self, request, lambda *_: None, lambda *_: None)
            return written

        OrderChannel.try_send = send_twice  # type: ignore[method-assign]
    elif defect == "free":
        from engine.portfolio import Portfolio

        book = Portfolio.apply_fill

        def free_of_charge(self: Any, fill: Any, strategy: str) -> None:
            book(self, msgspec.structs.replace(fill, fee=fill.fee * 0), strategy)

        Portfolio.apply_fill = free_of_charge  # type: ignore[method-assign]
    elif defect == "forget":
        from engine.grouping import Grouping

        Grouping.restore = lambda *_: None  # type: ignore[method-assign]
    elif defect == "both":
        from engine.group_course import GroupCourse

        send_exit = GroupCourse._send

        def send_another(self: Any, group: Any, qty: Any) -> None:
            send_exit(self, group, qty)
            if group.sent_id:
                send_exit(self, group, qty - Decimal("0.00001"))  # another size: the same order twice is refused

        GroupCourse._send = send_another  # type: ignore[method-assign]
    elif defect == "guard":
        from risk import checks
        from risk.screen import Screen

        def broken(*_: Any) -> Any:
            raise RuntimeError("this guard is broken")

        checks.check_gross = broken
        Screen._worth_of_entry = broken  # type: ignore[method-assign]
    elif defect == "nan":
        from risk.gate import Gate

        make = Gate.__init__

        def make_unlimited(self: Any, limits: Any, *arguments: Any, **named: Any) -> None:
            make(self, msgspec.structs.replace(limits, max_gross_notional=Decimal("NaN")), *arguments, **named)

        Gate.__init__ = make_unlimited  # type: ignore[method-assign]
    elif defect:
        raise ValueError(defect)


def run(arguments: list[str], spot: str, number: int, defect: str) -> None:
    """``run.py`` with these arguments, in this process."""
    import run as program

    shorten()
    for one in defect.split():
        plant(one)
    arm(spot, number)
    sys.argv = ["run.py", *arguments]
    program.main()


def warm_up() -> None:
    """Import what a daemon does, and compile what it compiles: children are forked with all of it."""
    for name in (
        "run", "uvloop", "config.load", "config.assembly", "config.preflight", "config.chosen_venue",
        "config.venue_coinbase", "config.wiring",
        "connectors.coinbase.venue", "connectors.lag", "engine.data.parquet", "engine.data.published",
        "engine.runtime.daemon", "engine.runtime.shadow", "engine.features.kept", "models.catalogue",
    ):  # fmt: skip
        importlib.import_module(name)
    from config.assembly import ConfiguredAssembly
    from config.load import load
    from config.venue_registry import kind_of
    from config.wiring import resolve
    from engine.quality.compiled import step_function

    step_function()
    settings = load((), overrides={"profile": "testing"})
    instruments = kind_of(settings).foresee(settings)
    assembly = ConfiguredAssembly(resolve(settings, [one.id for one in instruments]), time.perf_counter_ns)
    assembly.features(instruments[0], assembly.assign(instruments[0], False))


def nursery() -> None:
    warm_up()
    asyncio.set_event_loop_policy(None)
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(wanted)
        print(f"started {child}", flush=True)
        _, status = os.waitpid(child, 0)
        print(f"ended {child} {status}", flush=True)


def _become(wanted: dict[str, Any]) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    try:
        run(wanted["arguments"], wanted["spot"], wanted["number"], wanted["plant"])
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    os._exit(0)


if __name__ == "__main__":
    nursery()
