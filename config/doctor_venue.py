"""What the venue says of itself, the key and the account before a session: asked by its connector, changing nothing.

Owns the questions and how an answer is judged.  The connector is started as in a session, account included, and stopped
again; it has no orders to send and nobody sends it any.  What every connector publishes is looked at; what only some
can tell (``ClockTold``, ``KeyTold``) where they do.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Final, Protocol, TypeVar, runtime_checkable

from config.doctor_checks import Subject, uses_key
from config.doctor_preview import previewed
from config.exchange import Named, cancel_only_of, is_running
from config.live import money_of
from config.preflight import check_currencies
from config.venue_kind import Connector, Opening, TellsRates
from config.venue_registry import kind_of
from engine.errors import KestrelError, VenueError
from engine.events import (
    AccountSettled,
    BalanceReported,
    FeedUp,
    InputEvent,
    InstrumentDefined,
    InstrumentStatus,
    OrderFound,
    TradingStatus,
)
from engine.findings import Finding, Outcome, Skipped, Warned, look, refused
from engine.instruments import AssetClass
from engine.ports import Clock

ASK_S: Final = 90.0
"""Longest wait for a venue to be ready, history of its candles not included."""
STOP_S: Final = 10.0
SKEW_WARN_S: Final = 1.0
"""A clock that is further off than this is synchronised by nobody; prices look older or newer than they are."""
PARTS: Final = ("clock", "permissions", "instruments", "fees", "balances", "orders", "preview", "cancels")
"""What is looked at once the venue was asked, in this order."""
_OPEN: Final = frozenset({TradingStatus.TRADING})
_SHUT: Final = frozenset({TradingStatus.HALTED, TradingStatus.CANCEL_ONLY})
_ALWAYS: Final = frozenset({AssetClass.SPOT, AssetClass.PERPETUAL})
"""Markets without hours: one that is closed is closed for a reason."""

E = TypeVar("E", bound=InputEvent)


@runtime_checkable
class ClockTold(Protocol):
    """A connector that compares clocks: the venue's minus ours, ns."""

    @property
    def offset_ns(self) -> int: ...


@runtime_checkable
class KeyTold(Protocol):
    """A connector whose venue tells what the key may do: ``view``, ``trade``, ``transfer``; None while unknown."""

    @property
    def permissions(self) -> Mapping[str, bool] | None: ...


class _UntoldError(Exception):
    """Nothing was said of the thing."""


class Answers:
    """What a connector published, and logged, while it was asked."""

    def __init__(self) -> None:
        self.events: list[InputEvent] = []
        self.warnings: list[str] = []

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def venue_findings(
    subject: Subject, clock: Clock, identify: Callable[[str], None] = lambda _identity: None
) -> list[Finding]:
    """Ask the venue of ``subject``.  ``identify`` is told the venue's own id of the account and may refuse it."""
    settings = subject.settings
    if settings.venue.feed == "replay":
        why = "recorded files are played"
    elif not subject.live and settings.venue.feed == "sandbox" and not is_running(settings):
        why = "the built-in exchange starts with the session"
    else:
        return asyncio.run(ask(subject, clock, identify))
    return [Finding(name, Outcome.SKIPPED, why) for name in ("connection", *PARTS)]


async def ask(
    subject: Subject, clock: Clock, identify: Callable[[str], None] = lambda _identity: None
) -> list[Finding]:
    """The same inside a loop, of a venue that is there."""
    answers = Answers()
    connector: Connector | None = None
    failure: Finding | None = None
    preview = Finding("preview", Outcome.SKIPPED, "could not be asked")
    try:
        with _heard(answers.warnings):
            connector = _connector(subject, clock, answers, identify)
            async with asyncio.timeout(ASK_S):
                await connector.start()
        preview = await _preview(subject, connector, answers, clock)
    except TimeoutError:
        failure = refused(
            "connection",
            VenueError(f"{subject.settings.venue.name} was not ready within {ASK_S:g} s", do="see its status page"),
        )
    except KestrelError as error:
        failure = refused("connection", error)
    finally:
        if connector is not None:
            try:
                async with asyncio.timeout(STOP_S):
                    await connector.stop()
            except TimeoutError:
                pass  # the process ends anyway
    return [*_judge(subject, connector, answers, failure), preview, await _cancels(subject, failure)]


async def _preview(subject: Subject, connector: Connector, answers: Answers, clock: Clock) -> Finding:
    if not uses_key(subject.settings, live=subject.live):
        return look("preview", _no_account)
    try:
        async with asyncio.timeout(ASK_S):
            return Finding("preview", Outcome.OK, await previewed(connector, answers.events, clock.now_ns()))
    except KestrelError as error:
        return refused("preview", error)
    except TimeoutError:
        return Finding("preview", Outcome.WARNING, f"no answer within {ASK_S:g} s")


def _connector(subject: Subject, clock: Clock, answers: Answers, identify: Callable[[str], None]) -> Connector:
    settings, kind = subject.settings, kind_of(subject.settings)
    no_history = 0, 0
    if not uses_key(settings, live=subject.live):
        return kind.watch(settings, {}, Opening(answers.events.append, clock, lambda: 0, lambda _: no_history))
    opening = Opening(
        answers.events.append,
        clock,
        lambda: 0,
        lambda _: no_history,
        money=money_of(settings) if subject.live else "play",
        identify=identify,
    )
    return kind.connect(settings, Named(settings, live=subject.live).said, opening)


@contextmanager
def _heard(warnings: list[str]) -> Iterator[None]:
    """What connectors log meanwhile is part of the answer, and not printed beside it."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(record.getMessage())

    handler, logger = Handler(logging.WARNING), logging.getLogger("connectors")
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


# --- the answers ---------------------------------------------------------------------------------------------------


def _judge(
    subject: Subject, connector: Connector | None, answers: Answers, failure: Finding | None
) -> Iterator[Finding]:
    """What was told before a failure is judged as well; the rest could not be asked."""
    looks: dict[str, Callable[[], str]] = {
        "clock": lambda: _clock(connector, started=failure is None),
        "permissions": lambda: _permissions(connector, live=subject.live),
        "instruments": lambda: _instruments(subject, answers),
        "fees": lambda: _fees(answers),
        "balances": lambda: _balances(subject, answers),
        "orders": lambda: _orders(answers),
    }
    if not uses_key(subject.settings, live=subject.live):
        looks |= dict.fromkeys(("permissions", "balances", "orders"), _no_account)
    yield failure or Finding("connection", Outcome.OK, _connection(subject, answers))
    for name in looks:
        try:
            yield look(name, looks[name])
        except _UntoldError as error:
            outcome = Outcome.FAILED if failure is None else Outcome.SKIPPED
            yield Finding(name, outcome, str(error) if failure is None else "could not be asked")
    if answers.warnings:
        yield Finding("remarks", Outcome.WARNING, _few(dict.fromkeys(answers.warnings), 4))


async def _cancels(subject: Subject, failure: Finding | None) -> Finding:
    """The watchdog's own way to the venue: one that does not get there guards nothing, and nobody would notice."""
    settings = subject.settings
    if not uses_key(settings, live=subject.live) or not settings.watchdog.enabled:
        return Finding("cancels", Outcome.SKIPPED, "no watchdog is started")
    if failure is not None:
        return Finding("cancels", Outcome.SKIPPED, "could not be asked")

    def count() -> str:
        told = cancel_only_of(settings, live=subject.live)
        assert told is not None
        orders = importlib.import_module(told.module).open_account(told.told).open_orders()
        return f"the watchdog's own connection sees {len(orders) or 'no'} open order{'s' * (len(orders) != 1)}"

    return await asyncio.to_thread(look, "cancels", count)


def _no_account() -> str:
    raise Skipped("no key is used")


def _connection(subject: Subject, answers: Answers) -> str:
    streams = ", ".join(sorted({event.stream for event in answers.of(FeedUp)}))
    return f"{subject.settings.venue.name} answers; streams up: {streams or 'none'}"


def _clock(connector: Connector | None, *, started: bool) -> str:
    """Some venues tell whole seconds: a difference of nothing is an answer, once the start was through."""
    if connector is not None and not isinstance(connector, ClockTold):
        raise Skipped("this venue's time is not asked for")
    if connector is None or not (started or connector.offset_ns):
        raise _UntoldError("the venue's time was not told")
    offset_s = -connector.offset_ns / 1e9 + 0.0
    said = f"this machine's clock is {offset_s:+.3f} s off the venue's"
    if abs(offset_s) > SKEW_WARN_S:
        raise Warned(said, expected=f"at most {SKEW_WARN_S:g} s", do="synchronise the clock (NTP)")
    return said


def _permissions(connector: Connector | None, *, live: bool) -> str:
    if connector is not None and not isinstance(connector, KeyTold):
        raise Skipped("this venue does not tell what a key may do: look at its page that it cannot move money out")
    may = None if connector is None else connector.permissions
    if may is None:
        raise _UntoldError("what the key may do was not told")
    said = "the key may " + (", ".join(name for name, has in may.items() if has) or "do nothing")
    missing = [name for name in ("view", "trade") if not may.get(name, True)]
    if missing:
        raise KestrelError(said, expected="a key that may view and trade", do="give it the permission at the venue")
    if may.get("transfer"):
        kind = KestrelError if live else Warned
        raise kind(
            said,
            expected="a key that cannot move money out of the account: it is never needed here",
            do="make one without that permission",
        )
    return said


def _instruments(subject: Subject, answers: Answers) -> str:
    defined = {event.definition.id: event.definition for event in answers.of(InstrumentDefined)}
    if not defined:
        raise _UntoldError("no instrument was told")
    missing = [name for name in subject.ids if name not in defined]
    if missing:
        raise VenueError(f"{', '.join(missing)} is not known there", expected="its symbols", do="correct venue.symbols")
    status = {event.instrument: event.status for event in answers.of(InstrumentStatus)}
    said = ", ".join(
        f"{one.id} {status.get(one.id, TradingStatus.TRADING).value} (step {one.lot_qty.normalize():f}, at least "
        f"{one.min_qty.normalize():f}, tick {one.tick_px.normalize():f})"
        for one in defined.values()
    )
    shut = [name for name, state in status.items() if state in _SHUT and name in defined]
    if any(defined[name].asset_class in _ALWAYS for name in shut):
        raise VenueError(said, expected="instruments that trade", do=f"wait, or leave out {', '.join(shut)}")
    if shut:
        raise Warned(said, expected="a market that is open", do="outside of its hours, nothing: entries wait for it")
    if any(state not in _OPEN for state in status.values()):
        raise Warned(said, expected="instruments that take every kind of order", do="see docs/runbook.md")
    return said


def _fees(answers: Answers) -> str:
    defined = [event.definition for event in answers.of(InstrumentDefined)]
    if not defined:
        raise _UntoldError("no fees were told")
    rates: dict[tuple[Decimal, Decimal], list[str]] = {}
    for one in defined:
        rates.setdefault((one.maker_fee_rate, one.taker_fee_rate), []).append(one.id)
    return "; ".join(
        f"maker {_percent(maker)}, taker {_percent(taker)}" + (f" ({', '.join(names)})" if len(rates) > 1 else "")
        for (maker, taker), names in rates.items()
    )


def _percent(rate: Decimal) -> str:
    return f"{(rate * 100).normalize():f} %"


def _balances(subject: Subject, answers: Answers) -> str:
    settled = answers.of(AccountSettled)
    if not settled:
        raise _UntoldError("the account was not confirmed")
    held = dict(settled[-1].balances) or {event.currency: event.total for event in answers.of(BalanceReported)}
    said = _few(f"{amount.normalize():f} {currency}" for currency, amount in held.items() if amount) or "nothing"
    if not isinstance(kind_of(subject.settings), TellsRates):
        instruments = [event.definition for event in answers.of(InstrumentDefined)]
        check_currencies(
            subject.settings,
            instruments or subject.instruments,
            ((f"the account (which holds {said})", currency, amount) for currency, amount in held.items()),
        )
    if not any(held.values()):
        raise Warned("the account is empty", expected="something to trade with", do="pay in, or check the key")
    return said


def _orders(answers: Answers) -> str:
    settled = answers.of(AccountSettled)
    if not settled:
        raise _UntoldError("the account was not confirmed")
    found = {event.client_order_id for event in answers.of(OrderFound)}
    unresolved = settled[-1].unresolved
    if unresolved:
        raise VenueError(
            f"nobody knows what became of {_few(unresolved)}",
            expected="no order of unknown outcome",
            do="look for it on the venue's page",
        )
    return f"{len(found)} open" if found else "none open"


def _few(texts: Iterable[str], shown: int = 8) -> str:
    texts = list(texts)
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return ", ".join(texts[:shown]) + more
