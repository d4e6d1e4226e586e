"""What exists at the venue before anything moves: its clock, products, fees and balances, read by REST.

Owns the mapping of canonical symbols to product ids and the ``Instrument``s made from products.  Does not stream.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import msgspec

from connectors.coinbase import contracts, product_wire, wire
from connectors.coinbase.history import fetch_bars
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.symbols import is_contract, product_id_of, symbol_of
from connectors.rest import Gets, RestError
from engine.errors import VenueError
from engine.events import (
    BalanceReported,
    Bar,
    InputEvent,
    InstrumentDefined,
    InstrumentStatus,
    PositionReported,
    TradingStatus,
)
from engine.instruments import AssetClass, Instrument
from engine.ports import Clock

MAX_PAGES = 100
OPENING_MARGIN_NS = 400_000_000
"""Clock offset and the way there and back blur the moment of a reading by less than this."""

FUTURE = contracts.FUTURE
TRADABILITY = (("get_tradability_status", "true"),)
"""Without it the venue does not say whether an account may only look at a product."""
T = TypeVar("T")


class Opening(msgspec.Struct, frozen=True):
    """Balances and positions, and when (venue's clock, ns) their reading began and ended.

    ``positions`` has each contract that is traded here; ``strange`` names products of others that the account holds.
    """

    since_ns: int
    until_ns: int
    balances: list[BalanceReported]
    positions: Sequence[PositionReported] = ()
    strange: Sequence[str] = ()

    @property
    def doubtful_ns(self) -> tuple[int, int]:
        """A fill from the first to the second of these may be part of the balances or not."""
        return self.since_ns - OPENING_MARGIN_NS, self.until_ns + OPENING_MARGIN_NS


class Directory:
    """``define`` fills ``instruments`` (by id), ``products`` (id -> product) and ``market_products`` (label -> ids)."""

    def __init__(self, settings: CoinbaseSettings, rest: Gets, clock: Clock, *, private: bool) -> None:
        self._settings = settings
        self._rest = rest
        self._clock = clock
        self._private = private
        self.is_play_money = False
        """The server said that it is the built-in exchange; known once ``clock_offset_ns`` was asked."""
        self.instruments: dict[str, Instrument] = {}
        self.products: dict[str, str] = {}
        self.market_products: dict[str, tuple[str, ...]] = {}
        self.statuses: dict[str, TradingStatus] = {}
        self.sessions: dict[str, tuple[int, int]] = {}
        """Of contracts: when the session that is open began and ends; ``(0, 0)`` where nobody says."""
        self.fundings: dict[str, Decimal] = {}
        """Of contracts: dollars that one held long pays in an interval."""
        self._fees = dict.fromkeys(("", FUTURE), (settings.default_maker_fee_rate, settings.default_taker_fee_rate))

    async def clock_offset_ns(self, *, limited: bool = True) -> int:
        """The venue's clock minus ours, measured against the middle of the round trip.

        Raises ``VenueError`` when the venue cannot be asked or, if ``limited``, the clocks differ by more than
        ``skew_limit_s``.
        """
        before_ns = self._clock.now_ns()
        answer = await self._get("/time", (), wire.ServerTime, auth=False)
        after_ns = self._clock.now_ns()
        self.is_play_money = answer.sandbox
        offset_ns = answer.epochMillis * 1_000_000 - (before_ns + after_ns) // 2
        if limited and abs(offset_ns) > self._settings.skew_limit_s * 1e9:
            raise VenueError(
                f"this machine's clock is {-offset_ns / 1e9:+.1f} s off the clock of {self._settings.name}",
                expected=f"at most {self._settings.skew_limit_s:g} s",
                do="synchronise the clock (NTP)",
            )
        return offset_ns

    async def portfolio(self) -> str:
        """The venue's own id of the key's portfolio.  Raises ``VenueError``."""
        return (await self._get("/key_permissions", (), wire.KeyPortfolio)).portfolio_uuid

    async def define(self) -> list[InputEvent]:
        """Read every configured symbol's product and the account's fees.  Raises ``VenueError`` for unknown symbols."""
        settings = self._settings
        if self._private:
            for kind in {self._kind_of(symbol) for symbol in settings.symbols}:
                self._fees[kind] = await self._fee_rates(kind)
        events: list[InputEvent] = []
        for symbol in settings.symbols:
            product = await find_product(self._rest, settings.name, symbol, private=self._private)
            check_identity(settings.name, symbol, product)
            rates = self._fees[self._kind_of(symbol)]
            instrument = make_instrument(
                settings.name, symbol, product, *rates, has_depth="level2" in settings.channels
            )
            label = product.alias or product.product_id
            self.instruments[instrument.id] = instrument
            self.products[instrument.id] = product.product_id
            self.market_products[label] = (*self.market_products.get(label, ()), instrument.id)
            now_ns = self._clock.now_ns()
            events.append(InstrumentDefined(now_ns, now_ns, instrument))
            self.statuses[instrument.id] = trading_status(product)
            self.sessions[instrument.id] = contracts.session_of(product, now_ns)
            self.fundings[instrument.id] = contracts.funding_of(product)
            events.append(InstrumentStatus(now_ns, now_ns, instrument.id, self.statuses[instrument.id]))
        return events

    @staticmethod
    def _kind_of(symbol: str) -> str:
        return FUTURE if is_contract(product_id_of(symbol)) else ""

    async def _fee_rates(self, kind: str) -> tuple[Decimal, Decimal]:
        """Of a maker and of a taker, of pairs or of contracts."""
        params = [("product_type", kind)] if kind else []
        tier = (await self._get("/transaction_summary", params, wire.TransactionSummary)).fee_tier
        maker, taker = tier.maker_fee_rate, tier.taker_fee_rate
        if not (maker.is_finite() and taker.is_finite()):
            raise VenueError(f"{self._settings.name} tells fee rates {maker} and {taker}", expected="numbers")
        return maker, taker

    @property
    def contracts(self) -> dict[str, str]:
        """Of the instruments those on margin: product id -> id."""
        return {product_id: name for name, product_id in self.products.items() if is_contract(product_id)}

    async def read_again(self, instrument: str) -> tuple[Instrument, TradingStatus]:
        """A product as it is now, with the fees of the start.  Raises ``VenueError`` where it is not what it was
        defined as, and ``RestError`` where it cannot be had."""
        path = f"{self._root}/products/{self.products[instrument]}"
        product = await self._get(path, TRADABILITY if self._private else (), product_wire.Product, auth=self._private)
        symbol = instrument.partition("@")[0]
        check_identity(self._settings.name, symbol, product)
        found = make_instrument(
            self._settings.name,
            symbol,
            product,
            *self._fees[self._kind_of(symbol)],
            has_depth="level2" in self._settings.channels,
        )
        label = product.alias or product.product_id
        if instrument not in self.market_products.get(label, ()):
            raise VenueError(f"{symbol} on {self._settings.name} is told under the name {label!r} now")
        self.sessions[instrument] = contracts.session_of(product, self._clock.now_ns())
        self.fundings[instrument] = contracts.funding_of(product)
        return found, trading_status(product)

    async def opening(self, offset_ns: Callable[[], int]) -> Opening:
        """The balances, and between which moments they were read.  Which fills are in them is for the caller to find
        out (``reconcile``).  Raises ``VenueError``."""
        since_ns = self._clock.now_ns() + offset_ns()
        balances = await self.balances()
        positions: list[PositionReported] = []
        strange: list[str] = []
        if self.contracts:
            name, now_ns = self._settings.name, self._clock.now_ns()
            try:
                summary = await self._get("/cfm/balance_summary", (), wire.MarginSummaryAnswer)
                told = await self._get("/cfm/positions", (), wire.ContractPositions)
            except RestError as error:
                if error.status not in (400, 403, 404):
                    raise
                raise VenueError(
                    f"{name} does not show a futures account to this key: {error.seen}",
                    expected="one, for " + ", ".join(self.contracts),
                    do="open it at the venue, or take the contracts out of venue.symbols",
                ) from error
            balances = contracts.with_margin_account(name, balances, summary.balance_summary, now_ns)
            positions, strange = contracts.read_positions(name, told, self.contracts, now_ns)
        return Opening(since_ns, self._clock.now_ns() + offset_ns(), balances, positions, strange)

    async def balances(self) -> list[BalanceReported]:
        """Every account of the key's portfolio.  A listing cut short raises: missing is not zero."""
        totals: dict[str, tuple[Decimal, Decimal]] = {}
        cursor = ""
        for _ in range(MAX_PAGES):
            params = [("limit", "250")] + ([("cursor", cursor)] if cursor else [])
            page = await self._get("/accounts", params, wire.Accounts)
            for account in page.accounts:
                available = account.available_balance.value
                held = account.hold.value if account.hold is not None else Decimal(0)
                if not (available.is_finite() and held.is_finite()):
                    raise VenueError(
                        f"{self._settings.name} tells a balance of {account.currency} that is no number: "
                        f"available {available}, held {held}",
                        expected="numbers",
                        do="try again; ask the venue if it stays",
                    )
                total, free = totals.get(account.currency, (Decimal(0), Decimal(0)))
                totals[account.currency] = (total + available + held, free + available)
            if not page.has_next or not page.cursor:
                break
            cursor = page.cursor
        else:
            raise VenueError(f"account listing of {self._settings.name} did not end after {MAX_PAGES} pages")
        now_ns = self._clock.now_ns()
        return [
            BalanceReported(now_ns, now_ns, self._settings.name, currency, total, free)
            for currency, (total, free) in totals.items()
        ]

    async def history(self, instrument: str, interval_ns: int, bars: int, venue_now_ns: int) -> list[Bar]:
        """Finished candles of the past, oldest first.  Raises ``VenueError`` when the venue does not give them."""
        path = f"{self._root}/products/{self.products[instrument]}/candles"

        async def get(where: str, params: Sequence[tuple[str, str]]) -> bytes:
            return await self._rest.get(where, params, auth=self._private)

        try:
            return await fetch_bars(
                get,
                path,
                instrument,
                interval_ns=interval_ns,
                bars=bars,
                venue_now_ns=venue_now_ns,
                recv_ns=self._clock.now_ns(),
            )
        except wire.UNREADABLE as error:
            raise RestError(f"GET {path}: unreadable answer: {error}", expected="candles") from error

    @property
    def _root(self) -> str:
        return "" if self._private else "/market"

    async def _get(self, path: str, params: Sequence[tuple[str, str]], kind: type[T], *, auth: bool = True) -> T:
        return await get_typed(self._rest, path, params, kind, auth=auth)


async def get_typed(rest: Gets, path: str, params: Sequence[tuple[str, str]], kind: type[T], *, auth: bool = True) -> T:
    """An answer as the message it should be.  Raises ``RestError`` for anything else."""
    body = await rest.get(path, params, auth=auth)
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except wire.UNREADABLE as error:
        raise RestError(
            f"GET {path}: unreadable answer: {error}", expected=kind.__name__, do="check the address"
        ) from error


async def find_product(rest: Gets, venue: str, symbol: str, *, private: bool) -> product_wire.Product:
    """The venue's description of ``BTC/USD``.  Raises ``VenueError``, with the nearest names, for an unknown one."""
    root = "" if private else "/market"
    product_id = product_id_of(symbol)
    try:
        asked = TRADABILITY if private else ()
        return await get_typed(rest, f"{root}/products/{product_id}", asked, product_wire.Product, auth=private)
    except RestError as error:
        if error.status not in (400, 404):
            raise
    listed = await get_typed(rest, f"{root}/products", (), product_wire.ProductIds, auth=private)
    names = [symbol_of(product.product_id) for product in listed.products]
    nearest = difflib.get_close_matches(symbol.upper(), names, n=3, cutoff=0.4) or names[:3]
    raise VenueError(
        f"unknown symbol {symbol!r} on {venue}",
        expected="one of its products",
        do="did you mean " + ", ".join(nearest) + "?" if nearest else "",
    )


def check_identity(venue: str, symbol: str, product: product_wire.Product) -> None:
    """The answer is about what was asked for.  Raises ``VenueError`` where its name or currencies are others (D10)."""
    base, _, quote = symbol.partition("/")
    product_id = product_id_of(symbol)
    # A contract is on no currency of its own.
    told_base = base if is_contract(product_id) else product.base_currency_id or base
    names = (told_base, product.quote_currency_id or quote)
    if product.product_id != product_id or names != (base, quote):
        raise VenueError(
            f"{symbol} on {venue} is answered with the product {product.product_id[:40]!r} of {'/'.join(names)[:40]}",
            expected=product_id,
            do="check the symbol; the venue may have renamed it",
        )


def make_instrument(
    venue: str, symbol: str, product: product_wire.Product, maker: Decimal, taker: Decimal, *, has_depth: bool = False
) -> Instrument:
    """The ``Instrument`` of a product; it has levels where the channel ``level2`` is subscribed.

    Raises ``VenueError`` for products that this connector does not trade.
    """
    if product.product_type not in ("", "SPOT", FUTURE):
        raise VenueError(f"{symbol} on {venue} is a {product.product_type} product", expected="a pair or a future")
    if (product.product_type == FUTURE) != is_contract(product.product_id):
        raise VenueError(f"{product.product_id} on {venue} is {product.product_type or 'SPOT'}", expected="as its name")
    sizes = (product.base_increment, product.quote_increment, product.base_min_size, product.base_max_size)
    if not all(size.is_finite() for size in sizes):
        raise VenueError(f"{symbol} on {venue} has sizes that are no numbers", expected="finite increments and bounds")
    if product.product_type == FUTURE:
        return contracts.contract_instrument(venue, symbol, product, maker, taker, has_depth=has_depth)
    base, _, quote = symbol.partition("/")
    tick_px = positive(product.price_increment) or product.quote_increment
    if tick_px <= 0 or product.base_increment <= 0:
        raise VenueError(f"{symbol} on {venue} has no price or size step", expected="increments above 0")
    return Instrument(
        id=f"{symbol}@{venue}",
        venue=venue,
        venue_symbol=product.product_id,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.SPOT,
        tick_px=tick_px,
        lot_qty=product.base_increment,
        min_qty=product.base_min_size,
        max_qty=product.base_max_size,
        min_notional=positive(product.quote_min_size) or Decimal(0),
        maker_fee_rate=maker,
        taker_fee_rate=taker,
        has_depth=has_depth,
    )


def trading_status(product: product_wire.Product) -> TradingStatus:
    """The strictest of the product's switches."""
    if product.is_disabled or product.trading_disabled or product.view_only or product.auction_mode:
        return TradingStatus.HALTED
    if contracts.is_session_closed(product):
        return TradingStatus.HALTED
    if product.status not in ("online", ""):
        return TradingStatus.HALTED
    if product.cancel_only:
        return TradingStatus.CANCEL_ONLY
    if product.post_only:
        return TradingStatus.POST_ONLY
    return TradingStatus.LIMIT_ONLY if product.limit_only else TradingStatus.TRADING


def positive(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and value > 0 else None
