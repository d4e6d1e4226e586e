"""The library at arm's length: the only module that loads it, makes its objects and lets go of them.

Owns what its objects must not do on their own: repeat requests, leave this machine when they are led to a local server,
wait in its queue, or change how the engine counts (it sets the rounding of the caller's ``decimal`` context).  What is
asked of an object is everybody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import decimal
import difflib
import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from connectors.ccxt_venue.addresses import outside, redirected
from connectors.ccxt_venue.budget import Budget
from connectors.ccxt_venue.errors import advice, cause, is_rate_limit, words
from connectors.ccxt_venue.failover import Failover
from connectors.ccxt_venue.keys import Credentials
from connectors.ccxt_venue.options import NONCED, options_of
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.ccxt_venue.turns import Lane, Turns
from engine.errors import ConfigError, KestrelError, VenueError

CLOSE_TIMEOUT_S: Final = 3.0
"""A peer that answers nothing any more does not confirm the end of a stream either."""
READ_TRIES: Final = 2
TURN_S: Final = 2.0
"""An order waits at most so long for requests before it, where they must go one after the other; a cancel then leaves
beside them."""
SUBSCRIPTION_MS: Final = 250.0
"""Between two messages that ask for a stream, where a class does not say how fast they may follow."""
RETRY_AFTER_S: Final = 0.25
_WAITS: contextvars.ContextVar[bool] = contextvars.ContextVar("ccxt_waits", default=True)
"""Whether a request waits for the budget at the moment it would leave."""
_HAS_TURN: contextvars.ContextVar[bool] = contextvars.ContextVar("ccxt_has_turn", default=False)
"""Whether a request is part of a call that waited for its turn, or may leave without one."""

_log = logging.getLogger(__name__)


def load() -> Any:
    """The library's streaming half.  Raises ``ConfigError`` where it is not installed."""
    try:
        return importlib.import_module("ccxt.pro")
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "ccxt":
            raise ConfigError(
                f"ccxt cannot be loaded: {error}", do="install it anew: pip install -e '.[ccxt]'"
            ) from None
        raise ConfigError(
            "ccxt is not installed", expected="the optional extra ccxt", do="pip install -e '.[ccxt]'"
        ) from None


def class_of(exchange: str) -> Any:
    """The library's class of an exchange, with streams where it has one with them.  Raises ``ConfigError``."""
    streaming = load()
    polling = importlib.import_module("ccxt.async_support")
    for module in (streaming, polling):
        if exchange in module.exchanges:
            return getattr(module, exchange)
    nearest = difflib.get_close_matches(exchange, polling.exchanges, n=3, cutoff=0.5)
    raise ConfigError(
        f"ccxt has no exchange {exchange[:40]!r}",
        expected="one of its ids",
        do="did you mean " + ", ".join(nearest) + "?" if nearest else "run.py venue capabilities names them",
    )


def names() -> list[str]:
    """The library's ids of all exchanges.  Raises ``ConfigError`` where it is not installed."""
    load()
    return sorted(importlib.import_module("ccxt.async_support").exchanges)


class NotSentError(VenueError):
    """Nothing of the request has left this machine."""


class Handle:
    """One object of the library and the contexts that its code runs in.  Make another one instead of opening it again.

    ``exact``: numbers are texts as the exchange wrote them, for money; else floats, which books of streams need.
    """

    def __init__(self, settings: CcxtSettings, credentials: Credentials | None = None, *, exact: bool = False) -> None:
        """Raises ``ConfigError`` for an exchange that there is none of, or a key that lacks something."""
        self.exchange = settings.exchange
        made = class_of(settings.exchange)
        self._contexts = {waits: _context(waits=waits) for waits in (False, True)}
        self._in_turn = _context(waits=False, has_turn=True)
        config: dict[str, Any] = {
            "timeout": int(settings.request_timeout_s * 1000),
            "enableRateLimit": True,  # so that the library asks ``throttle``, which is ours
            "newUpdates": True,
            "options": options_of(settings.exchange, settings.symbols),
        }
        if settings.ca_file:
            config["cafile"] = settings.ca_file
        if settings.proxy not in ("", "none"):
            config |= {"httpsProxy": settings.proxy, "wssProxy": settings.proxy}
        elif not settings.proxy and not settings.is_local:
            config["aiohttp_trust_env"] = True
        if credentials is not None:
            config |= credentials.config()
        self.ex: Any = self._contexts[True].run(made, config)
        self._pace_subscriptions()
        if exact:
            self.ex.number = str
        if credentials is not None:
            credentials.require(settings.exchange, self.ex.requiredCredentials)
        if settings.is_local:
            self._stay_here(settings)
            self.ex.timeout_on_exit = 0  # ms; it waits for TLS to end
        loop = asyncio.get_running_loop()
        self._now_s = loop.time
        unit_s = float(self.ex.rateLimit) / 1000 / settings.requests_share
        self.budget = Budget(0.0 if settings.is_local else unit_s, now_s=loop.time())
        self.ex.throttle = self._throttle
        self._turns: Turns | None = None
        if credentials is not None and settings.exchange in NONCED:
            self._turns = Turns()
            self.ex.nonce = _increasing(self.ex.nonce)
            self._queue_inner_requests(self._turns)
        self.failover: Failover | None = None
        if settings.rest_fallbacks:
            self.failover = Failover(self.ex, settings.rest_fallbacks, now_s=loop.time)
        self._keyed = credentials is not None
        self._closed = False

    def _pace_subscriptions(self) -> None:
        """Each symbol is a message of its own: at the pace of requests, fifty would take Kraken a minute and a half."""
        ex = self.ex
        ws = ex.options.get("ws")
        ws = ws if isinstance(ws, dict) else {}
        if "cost" not in ws and ex.rateLimit > SUBSCRIPTION_MS:
            ex.options["ws"] = {**ws, "cost": SUBSCRIPTION_MS / float(ex.rateLimit)}

    def _stay_here(self, settings: CcxtSettings) -> None:
        ex = self.ex
        ex.urls["api"] = redirected(
            ex.urls["api"],
            rest=settings.rest_url,
            ws_market=settings.ws_market_url or "ws://127.0.0.1:9",
            ws_user=settings.ws_user_url or settings.ws_market_url or "ws://127.0.0.1:9",
        )
        left = outside(ex.urls["api"])
        if left:
            raise ConfigError(f"ccxt {self.exchange} would still ask {left[0][:80]}", expected="this machine only")

    @property
    def has(self) -> Mapping[str, object]:
        return self.ex.has  # type: ignore[no-any-return]

    def context(self) -> contextvars.Context:
        """For a task that calls the object by itself; what it tells the engine it must tell in another context."""
        return self._contexts[True]

    @property
    def closed(self) -> bool:
        return self._closed

    # --- calls ------------------------------------------------------------------------------------------------------

    async def call(
        self,
        name: str,
        *args: Any,
        lane: Lane = Lane.QUESTION,
        leaves: Callable[[], None] | None = None,
        **given: Any,
    ) -> Any:
        """One method of the object, once.  Raises whatever it raises.

        ``leaves`` is called right before the request does; until then nothing of it has left this machine.  The
        library's code runs in a context of its own, and so does what it leaves behind in the loop.
        """
        if self._turns is None or name.startswith("watch"):
            if leaves is not None:
                leaves()
            return await self._call(name, args, given, self._contexts[lane is Lane.QUESTION])
        has_turn = await self._wait_for_turn(self._turns, lane)
        try:
            if leaves is not None:
                leaves()
            return await self._call(name, args, given, self._in_turn)
        finally:
            if has_turn:
                self._turns.give_on()

    def _queue_inner_requests(self, turns: Turns) -> None:
        """What the library asks by itself while it watches (a token for its private stream) has its turn as well."""
        fetch = self.ex.fetch2

        async def fetch_in_turn(*args: Any, **given: Any) -> Any:
            if _HAS_TURN.get():
                return await fetch(*args, **given)
            await self._wait_for_turn(turns, Lane.QUESTION)
            try:
                return await fetch(*args, **given)
            finally:
                turns.give_on()

        self.ex.fetch2 = fetch_in_turn

    async def _wait_for_turn(self, turns: Turns, lane: Lane) -> bool:
        """Questions wait for the budget before they have the turn: whoever has it keeps a cancel waiting.

        Whether it has the turn: a cancel goes without it when the request before it hangs.  That one has long arrived,
        or is lost; else its number is refused and its answer says so.  Raises ``NotSentError`` for an order that waited
        too long.
        """
        if lane is Lane.CANCEL:
            try:
                async with asyncio.timeout(TURN_S):
                    await turns.take(lane)
            except TimeoutError:
                return False
        elif lane is Lane.ORDER:
            try:
                async with asyncio.timeout(TURN_S):
                    await turns.take(lane)
            except TimeoutError:
                raise NotSentError(f"{self.exchange}: requests before it had no answer in {TURN_S:g} s") from None
            if not self.budget.may_order(self._now_s()):
                turns.give_on()
                raise NotSentError(f"{self.exchange}: the exchange's rate was used up while it waited")
        else:
            await self._wait_for_budget()
            await turns.take(lane)
            while self.budget.question_wait_s(self._now_s()) > 0.0:
                turns.give_on()
                await self._wait_for_budget()
                await turns.take(lane)
        return True

    async def _wait_for_budget(self) -> None:
        while (wait_s := self.budget.question_wait_s(self._now_s())) > 0.0:
            await asyncio.sleep(min(wait_s, 1.0))

    async def _call(self, name: str, args: Any, given: Any, context: contextvars.Context) -> Any:
        method = getattr(self.ex, name)
        task = asyncio.get_running_loop().create_task(
            _await(method, args, given), name=f"ccxt-{self.exchange}-{name}", context=context
        )
        try:
            found = await task
        except asyncio.CancelledError:
            task.cancel()
            raise
        except Exception as error:
            if is_rate_limit(error):
                self.budget.refused(self._now_s())
            raise
        self.budget.succeeded(self._now_s())
        return found

    async def ask(self, name: str, *args: Any, **given: Any) -> Any:
        """A question, asked again once where that can help.  Raises ``VenueError`` in one line, whatever goes wrong."""
        for tries_left in reversed(range(READ_TRIES)):
            try:
                return await self.call(name, *args, **given)
            except KestrelError:
                raise
            except Exception as error:
                if not tries_left or not _is_passing(error):
                    said = f"{self.exchange} {name}: {words(error)}{cause(error)}"
                    raise VenueError(said, do=advice(error)) from None
                _log.info("%s %s: %s; asked again", self.exchange, name, words(error))
                await asyncio.sleep(RETRY_AFTER_S)
        raise AssertionError("unreachable")

    def pure(self, name: str, *args: Any) -> Any:
        """A method that asks nobody, such as ``amount_to_precision``; in the library's context as well."""
        return self._contexts[True].copy().run(getattr(self.ex, name), *args)

    async def _throttle(self, cost: float | None = None) -> None:
        """In place of the library's queue, called in the context of the request."""
        amount = 1.0 if cost is None else float(cost)
        if _WAITS.get():
            await self._wait_for_budget()
        self.budget.spend(self._now_s(), amount)

    # --- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load the markets.  Raises ``VenueError``."""
        self._contexts[True].copy().run(self.ex.open)
        if self._keyed and hasattr(self.ex.session, "_retry_connection"):
            # aiohttp repeats a PUT by itself when a kept connection breaks, and some exchanges take orders by PUT.
            self.ex.session._retry_connection = False
        await self.ask("load_markets")

    async def close(self) -> None:
        """Let go of every connection, in time, whatever state it is in.  Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._call("close", (), {}, self._contexts[False])
        except TimeoutError:
            _log.warning("%s: its connections did not close in %g s", self.exchange, CLOSE_TIMEOUT_S)
        except Exception as error:
            _log.warning("%s: closing: %s", self.exchange, words(error))
        session = getattr(self.ex, "session", None)
        if session is not None:
            with contextlib.suppress(Exception):
                await session.close()
            self.ex.session = None


def _is_passing(error: BaseException) -> bool:
    """A connection that broke or a time that ran out; what the exchange refuses, it refuses again."""
    names = {each.__name__ for each in type(error).__mro__}
    return "OperationFailed" in names and not is_rate_limit(error)


def _context(*, waits: bool, has_turn: bool = False) -> contextvars.Context:
    """A context with a ``decimal`` context that is nobody else's."""
    made = contextvars.copy_context()
    made.run(decimal.setcontext, decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN))
    made.run(_WAITS.set, waits)
    made.run(_HAS_TURN.set, has_turn)
    return made


async def _await(method: Callable[..., Any], args: Any, given: Any) -> Any:
    """Some methods of the library are no coroutines but return one, or a future."""
    return await method(*args, **given)


def _increasing(nonce: Callable[[], int]) -> Callable[[], int]:
    """Never the same twice: two requests within a millisecond would be refused."""
    last = 0

    def made() -> int:
        nonlocal last
        last = max(last + 1, int(nonce()))
        return last

    return made
