"""What currencies are worth, as the venue itself converts them: told as ``RateReported`` when they move.

Owns which rates a session needs of the venue and when they are told.  An account's money is in its home currency, and
what is earned in another one is converted there; our books count in the portfolio's, which may be a third one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from decimal import Decimal

from connectors.oanda import wire
from connectors.oanda.directory import Directory
from engine.errors import VenueError
from engine.events import RateReported
from engine.instruments import Instrument
from engine.ports import Clock, Publish

STEP_BPS = Decimal("0.5")
"""A rate that has moved by less is not told anew."""
_BPS = Decimal(10_000)
_DIGITS = Decimal("1e-10")
_FAR = 9
"""No currency is worth a thousand million of another."""

_log = logging.getLogger(__name__)


def worths(home: str, conversions: Iterable[wire.HomeConversion], counted_in: str) -> dict[str, Decimal]:
    """Units of ``counted_in`` for one unit of each currency; empty where the venue does not say what that is worth."""
    told = [(one.currency, one.positionValue) for one in conversions]
    worth = {currency: value for currency, value in told if value.is_finite() and -_FAR < value.adjusted() < _FAR}
    worth[home] = Decimal(1)
    base = worth.get(counted_in)
    if base is None or base <= 0:
        return {}
    found = {currency: (value / base).quantize(_DIGITS) for currency, value in worth.items()}
    return {currency: rate for currency, rate in found.items() if rate > 0}


def between(one: str, other: str, listed: Iterable[Instrument]) -> str:
    """The venue's name of an instrument that quotes the two; empty where there is none."""
    for instrument in listed:
        if {instrument.base, instrument.quote} == {one, other}:
            return instrument.venue_symbol
    return ""


class RateWatch:
    """Of one session.  ``needed``: currencies whose rate nobody has configured."""

    def __init__(
        self,
        directory: Directory,
        publish: Publish,
        clock: Clock,
        *,
        counted_in: str,
        rated: Sequence[str],
        every_s: float,
    ) -> None:
        self._directory = directory
        self._publish = publish
        self._clock = clock
        self._counted_in = counted_in
        self._rated = frozenset((*rated, counted_in))
        self._every_s = every_s
        self._home = ""
        self._names: list[str] = []
        self._told: dict[str, Decimal] = {}
        self._task: asyncio.Task[None] | None = None
        self.needed: frozenset[str] = frozenset()

    async def open(self, home: str, currencies: Iterable[str]) -> None:
        """Tell the first rates.  Raises ``VenueError`` where money could not be valued."""
        if not self._counted_in:
            return
        self._home = home
        self.needed = frozenset({home, *currencies} - self._rated)
        if not self.needed:
            return
        pairs = [
            between(one, home, self._directory.listed.values()) for one in (*sorted(self.needed), self._counted_in)
        ]
        self._names = [name for name in dict.fromkeys(pairs) if name]
        await self._ask()
        missing = sorted(self.needed - self._told.keys())
        if missing:
            raise VenueError(
                f"the venue does not say what {', '.join(missing)} is worth in {self._counted_in}",
                expected="an instrument between each currency of the account and portfolio.currency",
                do=f"set portfolio.rates.{missing[0]}, or portfolio.currency to {home}",
            )

    def start(self) -> None:
        if self.needed:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="currency rates")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._ask()
            except VenueError as error:
                _log.warning("currency rates: %s; the last ones stand", error)
            except Exception:
                _log.exception("currency rates: asking failed; the last ones stand")

    async def _ask(self) -> None:
        if not self._names:
            return
        answer = await self._directory.pricing(self._names, conversions=True)
        now_ns = self._clock.now_ns()
        for currency, rate in sorted(worths(self._home, answer.homeConversions, self._counted_in).items()):
            told = self._told.get(currency)
            if currency in self.needed and (told is None or abs(rate - told) * _BPS >= told * STEP_BPS):
                self._told[currency] = rate
                self._publish(RateReported(now_ns, now_ns, currency, rate))
