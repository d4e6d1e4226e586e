"""What Binance trades and by which rules: ``GET exchangeInfo`` of spot and USD-M futures as instruments.

Owns the canonical names, the reading of filters and states.  Asks nobody: the body is given.  Fees are not in it; those
of the lowest tier are assumed (spot 10/10 bps, futures 2/5), as ``engine.data.instruments`` does for recordings.

Names: ``BTC/USDT@binance_spot``; of futures a perpetual is ``BTC/USDT@binance_usdm``, and a dated one is itself what is
bought, ``BTCUSDT_261225/USDT@binance_usdm``.  Source: spot and USD-M API, "Exchange information" and "Filters".
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from connectors.binance.streams import SPOT, USDM
from engine.errors import VenueError
from engine.events import InputEvent, InstrumentDefined, InstrumentStatus, TradingStatus
from engine.instruments import AssetClass, Instrument

_UNREADABLE = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
_MS_NS: Final = 1_000_000
_NEVER_MS: Final = 4_133_404_800_000
"""The delivery date of a perpetual, by the venue's convention: the year 2100."""
_STATUS: Final = {
    "TRADING": TradingStatus.TRADING,
    **dict.fromkeys(("HALT", "BREAK", "END_OF_DAY", "PRE_TRADING", "POST_TRADING"), TradingStatus.HALTED),
    **dict.fromkeys(("PENDING_TRADING", "CLOSE", "SETTLING", "DELIVERING", "DELIVERED"), TradingStatus.HALTED),
    "AUCTION_MATCH": TradingStatus.HALTED,
    **dict.fromkeys(("PRE_DELIVERING", "PRE_SETTLE"), TradingStatus.HALTED),
}
NOTHING: Final[Mapping[str, tuple[str, ...]]] = {}
_PERPETUAL: Final = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL"})


class Filter(msgspec.Struct, rename="camel"):
    """One of a symbol's rules; which fields count is said by ``filterType``."""

    filter_type: str
    tick_size: Decimal | None = None
    step_size: Decimal | None = None
    min_qty: Decimal | None = None
    max_qty: Decimal | None = None
    min_notional: Decimal | None = None
    notional: Decimal | None = None


class Row(msgspec.Struct, rename="camel"):
    """A symbol.  ``contractType``, ``marginAsset`` and ``deliveryDate`` are of futures alone."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[Filter]
    contract_type: str = ""
    margin_asset: str = ""
    delivery_date: int = 0


class _Answer(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _Name(msgspec.Struct):
    symbol: str


_decode = msgspec.json.Decoder(_Answer).decode
_decode_name = msgspec.json.Decoder(_Name).decode
_decode_row = msgspec.json.Decoder(Row, strict=False).decode


def canonical(venue: str, row: Row) -> str:
    """The id of a symbol's instrument."""
    base = row.base_asset if venue == SPOT or row.contract_type in _PERPETUAL else row.symbol
    return f"{base}/{row.quote_asset}@{venue}"


def read_rows(body: bytes, wanted: Collection[str], known: Collection[str] = ()) -> dict[str, Row]:
    """The rows of these symbols, in the venue's spelling.  Of others the name alone is looked at: one that is beyond
    understanding must not keep the rest from trading.  Raises ``VenueError`` for a symbol that cannot be read, or is
    not listed, with the nearest that are; ``known`` ones may be gone, but not all that are wanted."""
    try:
        rows = {}
        listed = []
        for raw in _decode(body).symbols:
            name = _decode_name(raw).symbol
            listed.append(name)
            if name in wanted:
                row = _decode_row(raw)
                rows[row.symbol] = row
    except _UNREADABLE as error:
        raise VenueError(
            f"exchangeInfo cannot be read ({str(error).splitlines()[0]})",
            expected="the venue's list of symbols",
            do="check the address",
        ) from error
    missing = sorted({*wanted} - rows.keys() - ({*known} if rows else set()))
    if missing:
        nearest = difflib.get_close_matches(missing[0], listed, n=3, cutoff=0.6)
        raise VenueError(
            f"{', '.join(missing)}: not listed by the venue",
            expected="one of its symbols",
            do=f"did you mean {', '.join(nearest)}?" if nearest else "correct the symbols",
        )
    return rows


def instrument_of(venue: str, row: Row, *, has_depth: bool = True, has_trades: bool = True) -> Instrument:
    """The rules of one symbol; ``has_depth`` and ``has_trades`` are the feed's.  Raises ``VenueError`` where they are
    no rules: without price or size step."""
    filters = {each.filter_type: each for each in row.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    tick_px = price.tick_size if price else None
    lot_qty = lot.step_size if lot else None
    told = [each for each in (tick_px, lot_qty, *((lot.min_qty, lot.max_qty) if lot else ())) if each is not None]
    if not (tick_px and lot and lot_qty) or not all(each.is_finite() and each >= 0 for each in told):
        raise VenueError(
            f"{row.symbol}: PRICE_FILTER and LOT_SIZE name no steps",
            expected="a tick size and a step size above zero",
            do="leave the symbol out until the venue lists its rules",
        )
    smallest = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    min_notional = (smallest.min_notional or smallest.notional if smallest else None) or Decimal(0)
    futures = venue == USDM
    dated = futures and row.contract_type not in _PERPETUAL
    return Instrument(
        id=canonical(venue, row),
        venue=venue,
        venue_symbol=row.symbol,
        base=row.symbol if dated else row.base_asset,
        quote=row.quote_asset,
        settlement=row.margin_asset or row.quote_asset,
        asset_class=AssetClass.FUTURE if dated else AssetClass.PERPETUAL if futures else AssetClass.SPOT,
        tick_px=tick_px.normalize(),
        lot_qty=lot_qty.normalize(),
        min_qty=lot.min_qty or lot_qty,
        max_qty=lot.max_qty or lot_qty * 10**12,
        min_notional=min_notional,
        maker_fee_rate=Decimal("0.0002" if futures else "0.001"),
        taker_fee_rate=Decimal("0.0005" if futures else "0.001"),
        can_short=futures,
        expiry_ns=row.delivery_date * _MS_NS if dated and 0 < row.delivery_date < _NEVER_MS else None,
        margin_rate=Decimal("0.05") if futures else None,
        has_trades=has_trades,
        has_depth=has_depth,
    )


def status_of(row: Row) -> TradingStatus:
    """Whether the symbol trades; a state that the venue has added since is ``UNKNOWN``."""
    return _STATUS.get(row.status, TradingStatus.UNKNOWN)


def read_directory(
    venue: str,
    body: bytes,
    wanted: Collection[str],
    recv_ns: int,
    *,
    has_depth: bool = True,
    has_trades: bool = True,
    known: Mapping[str, tuple[str, ...]] = NOTHING,
) -> tuple[dict[str, tuple[str, ...]], list[InputEvent]]:
    """``products`` for the protocol, and the events that define the instruments and say their states.

    ``known`` are the instruments of symbols that were listed before: what is gone of those (delivered, delisted) is
    halted.  Raises ``VenueError`` as ``read_rows`` and ``instrument_of`` do, and nothing is told then.
    """
    products: dict[str, tuple[str, ...]] = {}
    events: list[InputEvent] = []
    rows = read_rows(body, wanted, known)
    for symbol in sorted(known.keys() & {*wanted} - rows.keys()):
        events.extend(InstrumentStatus(recv_ns, recv_ns, each, TradingStatus.HALTED) for each in known[symbol])
    for symbol, row in rows.items():
        instrument = instrument_of(venue, row, has_depth=has_depth, has_trades=has_trades)
        products[symbol] = (instrument.id,)
        events.append(InstrumentDefined(recv_ns, recv_ns, instrument))
        events.append(InstrumentStatus(recv_ns, recv_ns, instrument.id, status_of(row)))
    return products, events
