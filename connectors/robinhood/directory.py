"""What exists at the venue before anything moves: account, pairs and fees, read by REST.

Owns the mapping of canonical symbols to the venue's, the ``Instrument``s made from pairs, and what of them may be
traded now.  Does not poll.
"""

from __future__ import annotations

import difflib
import logging
from decimal import Decimal

from connectors.rest import RestError
from connectors.robinhood import wire
from connectors.robinhood.asking import Asker
from connectors.robinhood.settings import GENERATIONS, RobinhoodSettings
from engine.errors import VenueError
from engine.events import InputEvent, InstrumentDefined, InstrumentStatus, TradingStatus
from engine.instruments import AssetClass, Instrument
from engine.ports import Clock

_ZERO = Decimal(0)
_log = logging.getLogger(__name__)


class Directory:
    """``define`` fills ``instruments`` (by id) and ``symbols`` (id -> the venue's symbol)."""

    def __init__(self, settings: RobinhoodSettings, asker: Asker, clock: Clock) -> None:
        self.instruments: dict[str, Instrument] = {}
        self.symbols: dict[str, str] = {}
        self.account: wire.Account | None = None
        self._settings = settings
        self._asker = asker
        self._clock = clock
        self._sell_only: dict[str, str] = {}
        self._statuses: dict[str, TradingStatus] = {}

    async def choose_generation(self) -> wire.Generation:
        """The generation of the interface that the key may use, and by it the account (``account``).

        Raises ``VenueError``.  A generation that the key is refused is left for the next one, where there is one; what
        the first has said counts when none is open.
        """
        refused: RestError | None = None
        for generation in GENERATIONS[self._settings.generation]:
            try:
                await self._choose_account(wire.Paths(generation))
            except RestError as error:
                if error.status not in (403, 404):
                    raise
                refused = refused or error
                continue
            if refused is not None:
                _log.warning("%s: %s; %s is used instead", self._settings.name, refused, generation)
            return generation
        assert refused is not None
        raise refused

    async def _choose_account(self, paths: wire.Paths) -> None:
        """Raises ``VenueError`` where it is not clear which account is meant."""
        settings = self._settings
        accounts = await self._asker.accounts(paths)
        wanted = settings.account_number
        found = [one for one in accounts if not wanted or one.account_number == wanted]
        if len(found) != 1:
            raise VenueError(
                f"{settings.name}: the key has {len(accounts)} accounts" + (f", none is {wanted}" if wanted else ""),
                expected="one, or account_number to name one of them",
                do="name the account",
            )
        self._take(found[0])

    async def read_account(self, paths: wire.Paths) -> wire.Account:
        """The same account as it is now.  Raises ``VenueError`` where it is not shown."""
        assert self.account is not None
        number = self.account.account_number
        for one in await self._asker.accounts(paths):
            if one.account_number == number:
                self._take(one)
                return one
        raise VenueError(f"{self._settings.name} does not show the account any more", do="ask the venue")

    def _take(self, account: wire.Account) -> None:
        if not account.buying_power.is_finite() or account.buying_power_currency != "USD":
            raise VenueError(
                f"{self._settings.name} tells a buying power of {account.buying_power} "
                f"{account.buying_power_currency[:12]}",
                expected="a number of USD",
            )
        self.account = account

    async def define(self, paths: wire.Paths) -> list[InputEvent]:
        """Read every configured symbol's pair.  Raises ``VenueError`` for symbols that are not there."""
        wanted = [symbol.replace("/", "-") for symbol in self._settings.symbols]
        try:
            pairs = {pair.symbol: pair for pair in await self._asker.pairs(paths, wanted)}
        except RestError as error:
            if error.status not in (400, 404):
                raise
            pairs = {}
        missing = [symbol for symbol in self._settings.symbols if symbol.replace("/", "-") not in pairs]
        if missing:
            raise await self._unknown(paths, missing[0])
        events: list[InputEvent] = []
        now_ns = self._clock.now_ns()
        for symbol in self._settings.symbols:
            pair = pairs[symbol.replace("/", "-")]
            instrument = make_instrument(self._settings.name, symbol, pair, self._fee_rate())
            self.instruments[instrument.id] = instrument
            self.symbols[instrument.id] = pair.symbol
            events.append(InstrumentDefined(now_ns, now_ns, instrument))
            events.append(InstrumentStatus(now_ns, now_ns, instrument.id, self._status(instrument.id, pair)))
        return events

    async def read_again(self, paths: wire.Paths) -> list[InputEvent]:
        """Pairs that became others since, as facts."""
        now_ns = self._clock.now_ns()
        events: list[InputEvent] = []
        for pair in await self._asker.pairs(paths, list(self.symbols.values())):
            for name, symbol in self.symbols.items():
                if symbol != pair.symbol:
                    continue
                found = make_instrument(self._settings.name, name.partition("@")[0], pair, self._fee_rate())
                if found != self.instruments[name]:
                    self.instruments[name] = found
                    events.append(InstrumentDefined(now_ns, now_ns, found))
                before, status = self._statuses[name], self._status(name, pair)
                if status is not before:
                    events.append(InstrumentStatus(now_ns, now_ns, name, status))
        return events

    def sell_only(self, instrument: str) -> str:
        """Why nothing may be bought now; empty where it may."""
        if self.account is not None and self.account.status == "sell_only":
            return "the account may only sell"
        return self._sell_only.get(instrument, "")

    def status(self) -> tuple[TradingStatus, str]:
        """Of the account."""
        account = self.account
        if account is None or account.status not in ("active", "sell_only"):
            return TradingStatus.HALTED, f"the account is {'not known' if account is None else account.status[:40]}"
        if not account.is_api_tradable:
            return TradingStatus.HALTED, "the account may not trade through this interface"
        return TradingStatus.TRADING, ""

    def _status(self, instrument: str, pair: wire.Pair) -> TradingStatus:
        self._sell_only[instrument] = f"{pair.symbol} may only be sold" if pair.status == "sellonly" else ""
        is_open = pair.is_api_tradable and pair.status in ("tradable", "sellonly")
        status = self._statuses[instrument] = TradingStatus.TRADING if is_open else TradingStatus.HALTED
        return status

    def _fee_rate(self) -> Decimal:
        """v1 has its fee in the price."""
        tier = None if self.account is None else self.account.fee_tier_status
        rate = None if tier is None else wire.finite(tier.fee_ratio)
        return _ZERO if rate is None or not 0 <= rate < 1 else rate

    async def _unknown(self, paths: wire.Paths, symbol: str) -> VenueError:
        names = [pair.symbol.replace("-", "/") for pair in await self._asker.pairs(paths, [])]
        nearest = difflib.get_close_matches(symbol.upper(), names, n=3, cutoff=0.4) or names[:3]
        return VenueError(
            f"unknown symbol {symbol!r} on {self._settings.name}",
            expected="one of its pairs",
            do="did you mean " + ", ".join(nearest) + "?" if nearest else "",
        )


def make_instrument(venue: str, symbol: str, pair: wire.Pair, fee_rate: Decimal) -> Instrument:
    """The ``Instrument`` of a pair.  Raises ``VenueError`` where its name, currencies or steps make no sense."""
    base, _, quote = symbol.partition("/")
    if pair.symbol != f"{base}-{quote}" or (pair.asset_code, pair.quote_code) != (base, quote):
        raise VenueError(
            f"{symbol} on {venue} is answered with the pair {pair.symbol[:40]!r} of "
            f"{pair.asset_code[:20]}/{pair.quote_code[:20]}",
            expected=f"{base}-{quote}",
        )
    sizes = (pair.quote_increment, pair.asset_increment, pair.max_order_size, pair.min_order_size)
    if not all(one.is_finite() for one in (*sizes, pair.min_order_amount)) or not all(one > 0 for one in sizes[:3]):
        raise VenueError(f"{symbol} on {venue} has steps or bounds that are none", expected="numbers above 0")
    return Instrument(
        id=f"{symbol}@{venue}",
        venue=venue,
        venue_symbol=pair.symbol,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.SPOT,
        tick_px=pair.quote_increment,
        lot_qty=pair.asset_increment,
        min_qty=max(pair.min_order_size, pair.asset_increment),
        max_qty=pair.max_order_size,
        min_notional=max(pair.min_order_amount, _ZERO),
        maker_fee_rate=fee_rate,
        taker_fee_rate=fee_rate,
        has_quote_sizes=False,
        has_trades=False,
    )
