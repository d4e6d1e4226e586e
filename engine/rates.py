"""What currencies are worth in the portfolio's: as was configured or told, or as a market of the session quotes it.

Owns which of them holds.  A rate that is configured stands for a session that sees no market between the currency and
the portfolio's: it never moves.  Where there is such a market the rate is its mark, and unknown before its first price:
months after it was written a configured one would show equity that is not there, and the first price would look like a
loss.  What a venue tells after it has named its markets is the venue's word and is followed no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import msgspec

from engine.instruments import AssetClass, Instrument

ZERO, ONE = Decimal(0), Decimal(1)
_EXCHANGED = frozenset({AssetClass.SPOT, AssetClass.FX})

Mark = Callable[[str], Decimal | None]


class Told(msgspec.Struct, frozen=True):
    """Units of the portfolio currency for one unit, and when that was said."""

    rate: Decimal
    ts_ns: int


class Rates:
    """Of one portfolio, which is their only writer."""

    def __init__(self, currency: str) -> None:
        self._own = currency
        self._now: dict[str, Decimal] = {currency: ONE}
        self.rate: Callable[[str], Decimal | None] = self._now.get
        """Units of the portfolio currency for one unit of the one given; None when not known."""
        self._told: dict[str, Told] = {}
        self._configured: set[str] = set()
        """Told before there was any market, and not since."""
        self._is_open = False
        self._markets: dict[str, Instrument] = {}

    def tell(self, currency: str, rate: Decimal, ts_ns: int) -> None:
        """As configured, or as a venue says; what makes no sense is left out."""
        if currency == self._own or not rate.is_finite() or rate <= ZERO:
            return
        self._told[currency] = Told(rate, ts_ns)
        self._now[currency] = rate
        self._markets.pop(currency, None)
        if self._is_open:
            self._configured.discard(currency)
        else:
            self._configured.add(currency)

    def carried(self) -> dict[str, Decimal]:
        """What currencies are believed to be worth, for ``recall``."""
        return {currency: rate for currency in self._told if (rate := self.believed(currency)) is not None}

    def recall(self, rates: Iterable[tuple[str, Decimal]]) -> None:
        """What they were worth when a state was kept: to book what has happened since, and for no valuation."""
        self._told.update({currency: Told(rate, 0) for currency, rate in rates})

    def __bool__(self) -> bool:
        """Whether any market says one."""
        return bool(self._markets)

    def define(self, instrument: Instrument) -> None:
        """A market of the session, or new rules of one."""
        self._is_open = True
        currency = self._told_by(instrument)
        if currency not in self._configured or self._leads_back(instrument, currency):
            return
        known = self._markets.get(currency)
        if known is None or known.id == instrument.id or self._is_nearer(instrument, known):
            self._markets[currency] = instrument
            if known is None or known.id != instrument.id:
                self._now.pop(currency, None)

    def begin(self) -> None:
        """Another session, whose configured rates come before its markets: those are known only from before."""
        self._is_open = False

    def follow(self, mark: Mark) -> bool:
        """Take what their markets say now; whether any rate has moved.  One without a price stays as it was."""
        moved = False
        for currency, market in self._markets.items():
            rate = self._quoted(market, mark, self.rate)
            if rate is not None and rate != self._now.get(currency):
                self._now[currency] = rate
                moved = True
        return moved

    def believed(self, currency: str, mark: Mark | None = None) -> Decimal | None:
        """For what has happened and has to be booked, before its market has a price too: by ``mark``, which may know an
        older one, and without it as it was told.  No order rests on it."""
        rate = self._now.get(currency)
        if rate is not None:
            return rate
        market = self._markets.get(currency)
        if market is None or mark is None:
            return self._rate_told(currency)
        return self._quoted(market, mark, lambda other: self._now.get(other) or self._rate_told(other))

    def each(self) -> Iterator[tuple[str, Told, str]]:
        """What was told of each currency, and the id of the market that says it since; empty where none does."""
        for currency, told in self._told.items():
            market = self._markets.get(currency)
            yield currency, told, "" if market is None else market.id

    def market_of(self, currency: str) -> str:
        """Id of the market that says its rate; empty where none does."""
        market = self._markets.get(currency)
        return "" if market is None else market.id

    def markets_of(self, currencies: Iterable[str]) -> list[str]:
        """Ids of the markets that say their rates, each once; through others, those too."""
        found: dict[str, None] = {}
        for currency in currencies:
            market = self._markets.get(currency)
            while market is not None:
                found[market.id] = None
                market = None if market.base == self._own else self._markets.get(market.quote)
        return list(found)

    def _rate_told(self, currency: str) -> Decimal | None:
        told = self._told.get(currency)
        return None if told is None else told.rate

    def _told_by(self, instrument: Instrument) -> str:
        """The currency whose rate the instrument's price says, whether anybody needs it or not; empty for none."""
        if instrument.asset_class not in _EXCHANGED or instrument.inverse or instrument.multiplier != ONE:
            return ""
        base, quote = instrument.base, instrument.quote
        if base == self._own:
            return quote
        return base if quote == self._own or quote in self._told else ""

    def _leads_back(self, market: Instrument, currency: str) -> bool:
        """Whether what it is quoted in gets its own rate through the currency: then neither would ever have one."""
        while self._own not in (market.base, market.quote):
            if market.quote == currency:
                return True
            through = self._markets.get(market.quote)
            if through is None:
                return False
            market = through
        return False

    def _is_nearer(self, instrument: Instrument, known: Instrument) -> bool:
        """Straight into the portfolio's currency, where the one before goes through a third."""
        own = self._own
        return own in (instrument.base, instrument.quote) and own not in (known.base, known.quote)

    def _quoted(self, market: Instrument, mark: Mark, rate: Callable[[str], Decimal | None]) -> Decimal | None:
        px = mark(market.id)
        if px is None or px <= ZERO:
            return None
        if market.base == self._own:
            return ONE / px
        through = rate(market.quote)
        return None if through is None else px * through
