"""US futures and contracts of the perpetual style: terms as an ``Instrument``, positions, the margin account.

Owns the reading of what the venue says about contracts; pure.  Sizes count contracts.  Contracts of the perpetual style
expire as well, far away; what makes them so is their funding.  Perpetuals of the venue's international gateway are
another protocol and are not read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from connectors.coinbase import product_wire, wire
from connectors.coinbase.fills import exact
from connectors.coinbase.symbols import DOLLAR, is_contract, product_id_of
from engine.errors import VenueError
from engine.events import BalanceReported, PositionReported
from engine.instruments import AssetClass, Instrument

FUTURE = "FUTURE"
PERPETUAL_EXPIRY = "20DEC30"
"""In the names of all contracts of the perpetual style that the venue has listed so far."""
ZERO = Decimal(0)
_CENT = Decimal("0.01")
_PARSE_TIME = wire.TimeParser()


def is_session_closed(product: product_wire.Product) -> bool:
    """A contract's trading session is over until it opens again: no order is taken, and cancels may not be either."""
    session = product.fcm_trading_session_details
    return session is not None and session.is_session_open is False


def session_of(product: product_wire.Product, now_ns: int) -> tuple[int, int]:
    """When the session that is open now began and will end (ns), ``(0, 0)`` where the venue does not say so; a contract
    that trades around the clock has none."""
    session, terms = product.fcm_trading_session_details, product.future_product_details
    if session is None or session.is_session_open is not True or terms is None or terms.twenty_four_by_seven:
        return 0, 0
    closes_ns = _PARSE_TIME(session.close_time or "")
    opens_ns = _PARSE_TIME(session.open_time or "")
    return (min(opens_ns, now_ns), closes_ns) if closes_ns > now_ns else (0, 0)


def funding_of(product: product_wire.Product) -> Decimal:
    """Dollars that one contract held long pays in one interval, at the product's price; 0 for a future, and where it is
    not known."""
    terms = product.future_product_details
    parts = [] if terms is None else [exact(text or "") for text in (terms.contract_size, terms.funding_rate)]
    size, rate, px = (*parts, exact(product.price or "")) if parts else (None, None, None)
    return ZERO if size is None or rate is None or px is None else size * px * rate


def contract_instrument(
    venue: str, symbol: str, product: product_wire.Product, maker: Decimal, taker: Decimal, *, has_depth: bool = False
) -> Instrument:
    """Raises ``VenueError`` where its terms are not known: an order of unknown size must not leave."""
    terms = product.future_product_details
    size = None if terms is None else exact(terms.contract_size or "")
    if terms is None or size is None or size <= 0:
        raise VenueError(f"{symbol} on {venue} is a contract of unknown size", expected="contract_size above 0")
    expiry_ns = _PARSE_TIME(terms.contract_expiry or "") or None
    is_perpetual = bool(terms.funding_rate) or terms.contract_expiry_type == "PERPETUAL"
    if expiry_ns is None and not is_perpetual:
        raise VenueError(f"{symbol} on {venue} is a future without expiry", expected="contract_expiry")
    quote = symbol.partition("/")[2]
    tick_px = exact(product.price_increment) or product.quote_increment
    if tick_px <= 0 or product.base_increment <= 0:
        raise VenueError(f"{symbol} on {venue} has no price or size step", expected="increments above 0")
    return Instrument(
        id=f"{symbol}@{venue}",
        venue=venue,
        venue_symbol=product.product_id,
        base=terms.contract_root_unit or product.product_id.partition("-")[0],
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.PERPETUAL if is_perpetual else AssetClass.FUTURE,
        tick_px=tick_px,
        lot_qty=product.base_increment,
        min_qty=product.base_min_size,
        max_qty=product.base_max_size,
        min_notional=max(exact(product.quote_min_size) or ZERO, ZERO),
        maker_fee_rate=maker,
        taker_fee_rate=taker,
        multiplier=size,
        can_short=True,
        expiry_ns=expiry_ns,
        margin_rate=_margin_rate(terms),
        has_depth=has_depth,
    )


def _margin_rate(terms: product_wire.ContractTerms) -> Decimal | None:
    """The dearest of the four that the venue may ask for: which of them holds now changes with the hour."""
    rates = []
    for pair in (terms.overnight_margin_rate, terms.intraday_margin_rate):
        rates += [] if pair is None else [exact(pair.long_margin_rate), exact(pair.short_margin_rate)]
    return max((rate for rate in rates if rate is not None and rate > 0), default=None)


def foreseen(symbol: str) -> product_wire.Product:
    """A product as it may be before the venue has told anything of it: steps, bounds and terms are stand-ins, and
    which style a contract is of shows in its expiry alone."""
    one, product_id = Decimal(1), product_id_of(symbol)
    if not is_contract(product_id):
        return product_wire.Product(product_id, one, one, one, one)
    rate = "0" if product_id.split("-")[1] == PERPETUAL_EXPIRY else ""
    terms = product_wire.ContractTerms(contract_size="1", contract_expiry="2100-01-01T00:00:00Z", funding_rate=rate)
    return product_wire.Product(product_id, one, one, one, one, product_type=FUTURE, future_product_details=terms)


def read_positions(
    venue: str, told: wire.ContractPositions, instruments: Mapping[str, str], now_ns: int
) -> tuple[list[PositionReported], list[str]]:
    """What is held of each of ``instruments`` (product id -> id), nothing where the venue lists none; and the products
    of positions that are not among them.  Raises ``VenueError`` for a position that cannot be understood."""
    held: dict[str, tuple[Decimal, Decimal]] = {}
    strange: list[str] = []
    for one in told.positions:
        qty, avg_px = signed_contracts(one), exact(str(one.avg_entry_price))
        if qty is None or avg_px is None:
            raise VenueError(
                f"{venue} tells a position in {one.product_id[:40]} that cannot be read: {one.side[:20]} "
                f"{str(one.number_of_contracts)[:20]} at {str(one.avg_entry_price)[:20]}",
                expected="LONG or SHORT, a number of contracts and a price",
            )
        if one.product_id in instruments:
            held[instruments[one.product_id]] = (qty, avg_px)
        elif qty:
            strange.append(one.product_id)
    return [
        PositionReported(now_ns, now_ns, venue, name, *held.get(name, (ZERO, ZERO))) for name in instruments.values()
    ], strange


def signed_contracts(position: wire.ContractPosition) -> Decimal | None:
    """Below zero for a short; None for what is neither."""
    qty, way = exact(str(position.number_of_contracts)), position.side.rpartition("_")[2]
    if qty is None or qty < 0:
        return None
    return qty if way == "LONG" or not qty else -qty if way == "SHORT" else None


def with_margin_account(
    venue: str, balances: Sequence[BalanceReported], told: wire.MarginSummary, now_ns: int
) -> list[BalanceReported]:
    """The dollars of both accounts, in which contracts and pairs are settled, in place of those of one of them.

    Where the account listing has all of them it stays: the summary is rounded to cents.
    """
    total = None if told.total_usd_balance is None else told.total_usd_balance.value
    if total is None or not total.is_finite():
        raise VenueError(f"{venue} does not tell the dollars of its futures account", expected="total_usd_balance")
    if any(one.currency == DOLLAR and abs(one.total - total) < _CENT for one in balances):
        return list(balances)
    free = told.available_margin
    available = total if free is None or not free.value.is_finite() else free.value
    others = [one for one in balances if one.currency != DOLLAR]
    return [*others, BalanceReported(now_ns, now_ns, venue, DOLLAR, total, available)]
