"""The recorded markets that a training run is told to use: files, or series of the catalogue.

Owns what is read and as which instrument: the instruments to train on, and beside each of them what its columns read,
other instruments' prices and published series.  They are merged as a session gets them, and every event passes the
quality gate on its way, as it does there, so that the model is trained on the rows it will be served.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path

import msgspec

from engine.data import playback
from engine.data.catalogue import Catalogue
from engine.data.instruments import inferred_instrument, known_instrument
from engine.data.parquet import describe_file, describe_files, read_events
from engine.data.parts import Part
from engine.data.published import holding, observations_of, split_files, stored_parts, with_published
from engine.errors import ConfigError, DataError
from engine.events import MarketEvent, Observation
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from engine.published import known_before
from engine.quality.sieve import believed
from models.trainer.candle_files import holds_candles, of_interval, read_candles
from models.trainer.settings import Data

_BOOKS = ("book_snapshots", "book_deltas")
_EVENTS = (*_BOOKS, "quotes", "trades")
_TOP = "book10"
"""The best levels after each change: read where nothing tells the changes themselves."""
_PRICED_BY = {"mid": {*_BOOKS, "quotes", "bars"}, "trade": {"trades", "bars"}}
"""Kinds of which one must be there of another instrument, for its price to be known to rows of mids or of trades."""

Events = Callable[[], Iterator[MarketEvent]]
Sources = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Recorded:
    """One instrument's market, with the other instruments and the published series that the columns read.

    ``events`` starts anew each time; ``sources`` are names and sha256 of all that is read.
    """

    instrument: Instrument
    events: Events
    sources: Sources


def recorded_markets(
    data: Data, folder: Path, spec: FeatureSpec, only: Collection[str] | None = None
) -> list[Recorded]:
    """The markets of a training run, in the order they are named: what is not read by a column is trained on.
    ``only``: of a catalogue, the files of these names and nothing that has come since (None: all).

    Raises ``DataError`` for what is not there or does not fit together, ``ConfigError`` where nothing is left to train
    on.
    """
    if data.catalogue:
        return _from_catalogue(Catalogue(Path(data.catalogue).expanduser()), data.instruments, spec, only)
    market, published = split_files([folder / name for name in data.files])
    candles = [path for path in market if holds_candles(path)]
    if candles and len(candles) < len(market):
        other = next(path for path in market if path not in candles)
        raise DataError(
            f"{candles[0]} holds candles and {other} does not",
            expected="files of one kind",
            do="import them into a catalogue, which has both",
        )
    made = _from_candles(candles, published, data, spec) if candles else _from_files(market, published, spec)
    return _chosen(made, data.instruments)


def _chosen(markets: list[Recorded], names: Sequence[str]) -> list[Recorded]:
    """Those of the instruments that are named; all where none is."""
    known = {market.instrument.id for market in markets}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"data.instruments has {name}, and no file of data.files has it",
                expected=f"{near[0]!r}" if near else f"one of {', '.join(sorted(known))}",
            )
    return [market for market in markets if not names or market.instrument.id in names]


def _from_candles(paths: Sequence[Path], published: Sequence[Path], data: Data, spec: FeatureSpec) -> list[Recorded]:
    if spec.peers:
        raise DataError(
            f"the columns read the price of {spec.peers[0]} beside candles of files",
            expected="candles of a catalogue, where others' are found",
            do="import the files: python run.py data import FILE",
        )
    if spec.sampling.kind != "time_bar":
        raise DataError(f"{paths[0]} holds candles", expected=f"quotes or trades for rows of {spec.sampling}")
    told = holding(published, spec.series)
    observations = observations_of(told, spec.series)
    _check_series(spec, observations, "no file of data.files has it", "add a file of it")
    beside = tuple(_digest(path) for path in told)
    made: dict[str, Recorded] = {}
    for path in paths:
        digest = _digest(path)
        for series in of_interval(path, read_candles(path, data.quote), spec.sampling.interval_ns):
            name = series.instrument.id
            if name in made:
                raise DataError(
                    f"{made[name].sources[0][0]} and {path.name} have candles of {name}",
                    expected="each instrument in one file",
                    do="leave one out, or import both into a catalogue",
                )
            events = _judged({name: series.instrument}, series.events, observations)
            made[name] = Recorded(series.instrument, events, (digest, *beside))
    return list(made.values())


def _digest(path: Path) -> tuple[str, str]:
    return path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def _from_files(market: Sequence[Path], published: Sequence[Path], spec: FeatureSpec) -> list[Recorded]:
    infos = describe_files(market)
    if len({info.has_recv for info in infos}) > 1:
        raise DataError("some data files have receive times and some do not", expected="one kind, to cut at one time")
    rules = {info.instrument.id: info.instrument for info in infos}
    for peer in spec.peers:
        if peer not in rules:
            raise DataError(
                f"the columns read the price of {peer}, and no file of data.files has it",
                expected=f"a file of it beside those of {', '.join(rules)}",
                do="add it, or leave out the columns that name it",
            )
        _check_priced(peer, {info.kind for info in infos if info.instrument.id == peer}, spec)
    told = holding(published, spec.series)
    observations = observations_of(told, spec.series)
    _check_series(spec, observations, "no file of data.files has it", "add a file of it")
    digests = {path: _digest(path) for path in (*market, *told)}
    names = [name for name in rules if name not in spec.peers]
    if not names:
        raise ConfigError(
            f"data.files are those of {', '.join(rules)}, whose prices the columns read",
            expected="also files of the instrument to train on",
        )

    def recorded(name: str) -> Recorded:
        used = {name: rules[name], **{peer: rules[peer] for peer in spec.peers}}
        own = [info.path for info in infos if info.instrument.id in used]
        sources = tuple(digests[path] for path in (*own, *told))
        return Recorded(rules[name], _judged(used, lambda: read_events(own, used), observations), sources)

    return [recorded(name) for name in names]


def _from_catalogue(
    catalogue: Catalogue, names: Sequence[str], spec: FeatureSpec, only: Collection[str] | None
) -> list[Recorded]:
    interval_ns = spec.sampling.interval_ns
    peers: dict[str, Instrument] = {}
    beside: list[Part] = []
    for peer in spec.peers:
        parts = _stored(catalogue, peer, interval_ns, only, " whose price the columns read")
        _check_priced(peer, {part.kind for part in parts}, spec)
        peers[peer] = _instrument(catalogue, parts)
        beside += parts
    told = [part for part in stored_parts(catalogue, spec.series) if only is None or part.file in only]
    observations = observations_of([part.path for part in told], spec.series)
    lacks = f"{catalogue.root} does not have it"
    _check_series(spec, observations, lacks, "import it: python run.py data import FILE --kind exogenous")

    def recorded(name: str) -> Recorded:
        own = _stored(catalogue, name, interval_ns, only)
        instrument = _instrument(catalogue, own)
        if instrument.id in peers:
            raise ConfigError(
                f"data.instruments has {instrument.id}, whose price the columns read",
                expected="other instruments than those",
                do="leave it out: the columns name it",
            )
        parts = [*own, *beside]

        def stored() -> Iterator[MarketEvent]:
            return playback.events(parts, lambda part, columns: catalogue.read_part(part, columns=columns), peers)

        sources = tuple((part.file, part.sha256) for part in (*parts, *told))
        return Recorded(instrument, _judged({instrument.id: instrument, **peers}, stored, observations), sources)

    return [recorded(name) for name in names]


def _stored(
    catalogue: Catalogue, name: str, interval_ns: int, only: Collection[str] | None, why: str = ""
) -> list[Part]:
    """Candles of that interval where it has any, else ticks and books, else the best levels."""

    def of(kind: str, interval_ns: int | None = None) -> list[Part]:
        found = catalogue.parts(instrument=name, kind=kind, interval_ns=interval_ns)
        return [part for part in found if only is None or part.file in only]

    parts = of("bars", interval_ns) if interval_ns else []
    parts = parts or [part for kind in _EVENTS for part in of(kind)]
    parts = parts or of(_TOP)
    if not parts:
        raise DataError(
            f"{catalogue.root} has no market of {name}{why and ',' + why}",
            expected="quotes, trades, books or candles of that interval",
            do="look at what there is: python run.py data list",
        )
    if len(names := sorted({part.instrument for part in parts})) > 1:
        raise DataError(f"{name} is stored from {len(names)} markets", expected=f"one of {', '.join(names)}")
    return parts


def _check_priced(peer: str, kinds: set[str], spec: FeatureSpec) -> None:
    price = spec.sampling.price
    if not kinds & _PRICED_BY[price]:
        raise DataError(
            f"the columns read the price of {peer}, of which there are {' and '.join(sorted(kinds))} alone",
            expected="its trades, as rows are of trade prices"
            if price == "trade"
            else "its quotes, as rows are of mids",
            do="add them, or change features.sampling.price",
        )


def _check_series(spec: FeatureSpec, observations: Sequence[Observation], where: str, do: str) -> None:
    there = {observation.series for observation in observations}
    missing = [series for series in spec.series if series not in there]
    if missing:
        raise DataError(
            f"the columns read the published series {', '.join(missing)}, and {where}",
            expected="its values with the times of their publication",
            do=do,
        )


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
        has_depth=bool(kinds & {*_BOOKS, _TOP}),
        has_quote_sizes=bool(kinds & {*_BOOKS, _TOP}) or _sized(catalogue, parts),
    )


def _sized(catalogue: Catalogue, parts: Sequence[Part]) -> bool:
    """Whether stored quotes carry quantities; the first rows tell."""
    for part in parts:
        if part.kind == "quotes":
            for batch in catalogue.read_part(part, columns=("bid_size", "ask_size")):
                return bool(batch.column(0).null_count == 0 and batch.column(1).null_count == 0)
    return False


def _judged(instruments: Mapping[str, Instrument], market: Events, observations: Sequence[Observation]) -> Events:
    return lambda: believed(_steady(_told(market(), observations)), instruments)


def _told(market: Iterator[MarketEvent], observations: Sequence[Observation]) -> Iterator[MarketEvent]:
    """The market, and what was published: at first what counts then, after that each at its publication."""
    first = next(market, None)
    if first is None:
        return
    yield from known_before(observations, first.ts_recv_ns, 0)
    later = [observation for observation in observations if observation.ts_event_ns >= first.ts_recv_ns]
    yield from with_published(chain((first,), market), later)


def _steady(events: Iterable[MarketEvent]) -> Iterator[MarketEvent]:
    """Time never steps back: an event that was received before the one ahead of it has that one's receive time, as in
    a session that plays recordings (``connectors.replay``)."""
    reached_ns = 0
    for event in events:
        if event.ts_recv_ns < reached_ns:
            yield msgspec.structs.replace(event, ts_recv_ns=reached_ns)
        else:
            reached_ns = event.ts_recv_ns
            yield event
