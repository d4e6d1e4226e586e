"""The recorded markets that a training run is told to use: files, or series of the catalogue.

Owns what is read and as which instrument.  Every event passes the quality gate on its way, as it does in a session, so
that the model is trained on the rows it will be served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec

from engine.data.catalogue import Catalogue
from engine.data.instruments import inferred_instrument, known_instrument
from engine.data.parquet import describe_file, read_events
from engine.data.parts import Part
from engine.errors import DataError
from engine.events import MarketEvent
from engine.instruments import Instrument
from engine.quality.sieve import believed
from models.trainer.settings import Data

_BOOKS = ("book_snapshots", "book_deltas")
_EVENTS = (*_BOOKS, "quotes", "trades")


@dataclass(frozen=True)
class Recorded:
    """One instrument's market.  ``events`` starts anew each time; ``sources`` are names and sha256 of what is read."""

    instrument: Instrument
    events: Callable[[], Iterator[MarketEvent]]
    sources: tuple[tuple[str, str], ...]


def recorded_markets(data: Data, folder: Path, interval_ns: int) -> list[Recorded]:
    """The markets of a training run, in the order they are named; ``interval_ns`` of candles, 0 for ticks.

    Raises ``DataError`` for what is not there or does not fit together.
    """
    if data.catalogue:
        root = Path(data.catalogue).expanduser()
        return [_from_catalogue(Catalogue(root), name, interval_ns) for name in data.instruments]
    return _from_files([folder / name for name in data.files])


def _from_files(paths: Sequence[Path]) -> list[Recorded]:
    infos = [describe_file(path) for path in paths]
    if len({info.has_recv for info in infos}) > 1:
        raise DataError("some data files have receive times and some do not", expected="one kind, to cut at one time")
    found = []
    for name, instrument in {info.instrument.id: info.instrument for info in infos}.items():
        own = [info.path for info in infos if info.instrument.id == name]
        sources = tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in own)
        found.append(Recorded(instrument, _judged(instrument, lambda own=own: read_events(own)), sources))
    return found


def _from_catalogue(catalogue: Catalogue, name: str, interval_ns: int) -> Recorded:
    kinds = ("bars",) if interval_ns and catalogue.parts(instrument=name, kind="bars") else _EVENTS
    parts = [part for kind in kinds for part in catalogue.parts(instrument=name, kind=kind)]
    if interval_ns:
        parts = [part for part in parts if part.interval_ns in (0, interval_ns)]
    if not parts:
        raise DataError(
            f"{catalogue.root} has no market of {name}",
            expected="quotes, trades, books or candles of that interval",
            do="look at what there is: python run.py data list",
        )
    if len(names := sorted({part.instrument for part in parts})) > 1:
        raise DataError(f"{name} is stored from {len(names)} markets", expected=f"one of {', '.join(names)}")
    instrument = _instrument(catalogue, parts)

    def stored() -> Iterator[MarketEvent]:
        return catalogue.events(instrument=instrument.id, kinds=kinds, interval_ns=interval_ns or None)

    return Recorded(instrument, _judged(instrument, stored), tuple((part.file, part.sha256) for part in parts))


def _instrument(catalogue: Catalogue, parts: Sequence[Part]) -> Instrument:
    """The default rules of what is stored; it declares what the stored kinds give."""
    first = parts[0]
    kinds = {part.kind for part in parts}
    instrument = known_instrument(first.venue, first.symbol)
    if instrument is None:
        quoted = [part for part in parts if part.kind in ("quotes", "trades")]
        if quoted:
            instrument = describe_file(quoted[0].path).instrument
        else:
            instrument, _ = inferred_instrument(
                first.venue,
                first.symbol,
                tick_px=Decimal("0.00000001"),
                lot_qty=Decimal("0.00000001"),
                has_quote_sizes=True,
                has_trades=True,
            )
    return msgspec.structs.replace(
        instrument,
        has_trades=bool(kinds & {"trades", "bars"}),
        has_depth=bool(kinds & set(_BOOKS)),
        has_quote_sizes=bool(kinds & set(_BOOKS)) or _sized(catalogue, parts),
    )


def _sized(catalogue: Catalogue, parts: Sequence[Part]) -> bool:
    """Whether stored quotes carry quantities; the first rows tell."""
    for part in parts:
        if part.kind == "quotes":
            for batch in catalogue.read_part(part, columns=("bid_size", "ask_size")):
                return bool(batch.column(0).null_count == 0 and batch.column(1).null_count == 0)
    return False


def _judged(instrument: Instrument, events: Callable[[], Iterator[MarketEvent]]) -> Callable[[], Iterator[MarketEvent]]:
    return lambda: believed(events(), {instrument.id: instrument})
