"""Trading rules of the instruments that recorded data is about.

Owns the default specification of well-known venues, the split of a venue's symbol into base and quote, and the fallback
that infers steps from the data.  Does not own the rules of a live venue: a connector reads those from the venue itself.

The figures are public retail defaults (lowest fee tier, standard account) as the venues publish them on their fee and
contract-specification pages; an account's real fees differ, so ``paper.maker_fee_bps`` and ``paper.taker_fee_bps``
override them.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

import msgspec

from engine.errors import DataError
from engine.instruments import AssetClass, Instrument

# Longest first, so that BTCFDUSD is BTC/FDUSD and not BTCFD/USD.
_QUOTES: Final = (
    *("FDUSD",),
    *("USDT", "USDC", "BUSD", "TUSD"),
    *("USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "TRY", "BRL", "BTC", "ETH", "BNB", "DAI"),
)
_METALS: Final = frozenset({"XAU", "XAG", "XPT", "XPD"})
_VENUE_NAMES: Final = {
    "binance usd-m futures": "binance_usdm",
    "binance usdm": "binance_usdm",
    "us consolidated tape": "us_equities",
    "us equities": "us_equities",
    "coinbase advanced trade": "coinbase",
    "coinbase pro": "coinbase",  # the same order books under an earlier name
    "bybit spot or linear": "bybit",
}
_EQUITY_VENUES: Final = frozenset({"us_equities", "us_listed"})
_FUTURE: Final = re.compile(r"[A-Z0-9]{1,4}[FGHJKMNQUVXZ]\d{1,2}")
"""A dated future as its exchange writes it: root, month letter, year: ESH4."""


class _Steps(msgspec.Struct, frozen=True):
    """Price step, size step, largest order in base units, smallest order in quote currency."""

    tick_px: str
    lot_qty: str
    max_qty: str
    min_notional: str


_BINANCE_SPOT: Final = {
    "BTCUSDT": _Steps("0.01", "0.00001", "9000", "5"),
    "ETHUSDT": _Steps("0.01", "0.0001", "9000", "5"),
    "SOLUSDT": _Steps("0.01", "0.001", "90000", "5"),
    "XRPUSDT": _Steps("0.0001", "0.1", "9000000", "5"),
    "XRPETH": _Steps("0.00000001", "1", "9000000", "0.001"),
}
_BINANCE_USDM: Final = {
    "BTCUSDT": _Steps("0.1", "0.001", "1000", "100"),
    "ETHUSDT": _Steps("0.01", "0.001", "10000", "20"),
    "SOLUSDT": _Steps("0.01", "0.01", "100000", "5"),
    "XRPUSDT": _Steps("0.0001", "0.1", "10000000", "5"),
}


def known_instrument(venue: str, symbol: str) -> Instrument | None:
    """The default rules of ``symbol`` (the venue's own spelling) on ``venue`` (any spelling), None when not known.

    ``has_quote_sizes`` and ``has_trades`` say what the venue's feed gives, not what one file holds.  Raises
    ``DataError`` when the symbol cannot be split into base and quote.
    """
    venue = venue_id(venue)
    plain = re.sub(r"[^A-Z0-9]", "", symbol.upper())
    base, quote = split_symbol(venue, symbol)
    if venue == "binance_spot" and plain in _BINANCE_SPOT:
        return _crypto(venue, symbol, base, quote, _BINANCE_SPOT[plain], perpetual=False)
    if venue == "binance_usdm" and plain in _BINANCE_USDM:
        return _crypto(venue, symbol, base, quote, _BINANCE_USDM[plain], perpetual=True)
    if venue in ("oanda", "fxcm"):
        return _fx(venue, symbol, base, quote)
    if is_equity_venue(venue):
        return _equity(venue, symbol, base, quote)
    return None


def inferred_instrument(
    venue: str, symbol: str, *, tick_px: Decimal, lot_qty: Decimal, has_quote_sizes: bool, has_trades: bool
) -> tuple[Instrument, str]:
    """Rules for something nobody described, and a note that says which of them are guesses.

    Steps come from the data's decimals; the fee is 10 bps, a middling crypto taker fee, because a fee of zero would
    flatter every result.  Shorting is off: what is not known to be allowed is not done.
    """
    venue = venue_id(venue)
    base, quote = split_symbol(venue, symbol)
    fee = Decimal("0.001")
    instrument = Instrument(
        id=f"{base}/{quote}@{venue}",
        venue=venue,
        venue_symbol=symbol,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.SPOT,
        tick_px=tick_px,
        lot_qty=lot_qty,
        min_qty=lot_qty,
        max_qty=lot_qty * 10**12,
        min_notional=Decimal(0),
        maker_fee_rate=fee,
        taker_fee_rate=fee,
        has_quote_sizes=has_quote_sizes,
        has_trades=has_trades,
        session_calendar="CMES" if venue.startswith("cme") else None,
    )
    note = f"{instrument.id} is not a known instrument: price step {tick_px:f} and size step {lot_qty:f} are inferred "
    return instrument, note + "from the data's decimals, fees assumed 10 bps, spot, no shorting"


def venue_id(venue: str) -> str:
    """A venue's name as it stands in an instrument id: ``Binance USD-M futures`` is ``binance_usdm``.

    What stands in brackets is a remark on where the figures come from, not part of the name.
    """
    name = " ".join((re.sub(r"\([^()]*\)", " ", venue.lower()).strip() or venue.lower()).split())
    return _VENUE_NAMES.get(name) or re.sub(r"[^a-z0-9]+", "_", name).strip("_")


def is_equity_venue(venue: str) -> bool:
    """Whether the symbols of this venue (an id) are US tickers."""
    return venue in _EQUITY_VENUES


def split_symbol(venue: str, symbol: str) -> tuple[str, str]:
    """``BTCUSDT``, ``BTC-USD``, ``EUR_USD`` or ``EUR/USD`` as (base, quote); a US ticker is quoted in USD.

    So is a future of CME Globex: all of ``ESH4`` is what is bought.
    """
    upper = symbol.strip().upper()
    if venue.startswith("cme") and _FUTURE.fullmatch(upper):
        return upper, "USD"
    if is_equity_venue(venue) and re.fullmatch(r"[A-Z0-9.\-]+", upper):
        return upper, "USD"
    if parts := re.fullmatch(r"([A-Z0-9]+)[-_/]([A-Z0-9]+)", upper):
        return parts[1], parts[2]
    for quote in _QUOTES:
        if upper.endswith(quote) and len(upper) > len(quote) and upper.isalnum():
            return upper.removesuffix(quote), quote
    raise DataError(
        f"symbol {symbol!r} of venue {venue!r} cannot be split into base and quote",
        expected="a symbol such as BTC-USD, EUR/USD or BTCUSDT",
        do="write it with a separator into the file's metadata key 'symbol'",
    )


def _crypto(venue: str, symbol: str, base: str, quote: str, steps: _Steps, *, perpetual: bool) -> Instrument:
    return Instrument(
        id=f"{base}/{quote}@{venue}",
        venue=venue,
        venue_symbol=symbol,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.PERPETUAL if perpetual else AssetClass.SPOT,
        tick_px=Decimal(steps.tick_px),
        lot_qty=Decimal(steps.lot_qty),
        min_qty=Decimal(steps.lot_qty),
        max_qty=Decimal(steps.max_qty),
        min_notional=Decimal(steps.min_notional),
        # VIP 0 without BNB discount: 10/10 bps spot, 2/5 bps USD-M.
        maker_fee_rate=Decimal("0.0002" if perpetual else "0.001"),
        taker_fee_rate=Decimal("0.0005" if perpetual else "0.001"),
        can_short=perpetual,
        margin_rate=Decimal("0.05") if perpetual else None,
    )


def _fx(venue: str, symbol: str, base: str, quote: str) -> Instrument:
    metal = base in _METALS
    coarse = metal or quote == "JPY"
    return Instrument(
        id=f"{base}/{quote}@{venue}",
        venue=venue,
        venue_symbol=symbol,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.CFD if metal else AssetClass.FX,
        tick_px=Decimal("0.001" if coarse else "0.00001"),
        lot_qty=Decimal(1),
        min_qty=Decimal(1),
        max_qty=Decimal(100_000 if metal else 100_000_000),
        min_notional=Decimal(0),
        maker_fee_rate=Decimal(0),  # the cost of a spread-only account is the spread
        taker_fee_rate=Decimal(0),
        can_short=True,
        has_quote_sizes=False,
        has_trades=False,
        margin_rate=Decimal("0.05") if metal else Decimal("0.0333"),  # 20:1 and 30:1, the European retail caps
        session_calendar="CMES" if metal else "FX",  # metals follow the hours of their futures
    )


def _equity(venue: str, symbol: str, base: str, quote: str) -> Instrument:
    return Instrument(
        id=f"{base}/{quote}@{venue}",
        venue=venue,
        venue_symbol=symbol,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=AssetClass.EQUITY,
        tick_px=Decimal("0.01"),
        lot_qty=Decimal(1),
        min_qty=Decimal(1),
        max_qty=Decimal(1_000_000),
        min_notional=Decimal(0),
        maker_fee_rate=Decimal("0.0001"),  # 1 bps: an allowance for regulatory and clearing fees
        taker_fee_rate=Decimal("0.0001"),
        session_calendar="XNYS",
    )
