"""One price from several venues: ``python examples/aggregator.py [FILE...]``.

Prints a line each few seconds of data: the consolidated quote, how far the venues are apart, how far the price is to
be believed, and which venue stands where.  FILEs are recorded quotes and trades of one pair on two or more venues
(Parquet, as ``paper --replay`` takes them).  Without FILEs it takes Binance spot and futures from the folder that the
variable KESTREL_DATA names, and where there is none, a market of three venues that it makes up: one of them goes mute
for a while, another goes wild.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from engine.consolidated import Consolidated, ConsolidatedDefinition, Consolidator
from engine.consolidated.history import play
from engine.data.parquet import describe_files, read_events
from engine.errors import KestrelError
from engine.events import Event, Quote, Trade
from engine.instruments import AssetClass, Instrument

SECOND_NS = 1_000_000_000
RECORDED = [
    f"ticks/binance_{venue}_btcusdt_20240808_{kind}.parquet"
    for venue in ("spot", "usdm")
    for kind in ("quotes", "trades")
]


def recorded(files: Sequence[Path]) -> tuple[list[Instrument], Iterator[Event]]:
    """The instruments of recorded files, and their events in order of receipt."""
    instruments = {info.instrument.id: info.instrument for info in describe_files(files)}
    return list(instruments.values()), iter(read_events(files))


def made_up() -> tuple[list[Instrument], Iterator[Event]]:
    """Three venues around one price for 20 s.  "b" says nothing from 5 s to 9 s; "c" is 1 % off from 12 s to 15 s."""
    tick, one = Decimal("0.01"), Decimal(1)
    instruments = [
        Instrument(
            id=f"BTC/USD@{venue}",
            venue=venue,
            venue_symbol="BTC-USD",
            base="BTC",
            quote="USD",
            settlement="USD",
            asset_class=AssetClass.SPOT,
            tick_px=tick,
            lot_qty=tick,
            min_qty=tick,
            max_qty=one * 1000,
            min_notional=one,
            maker_fee_rate=Decimal(0),
            taker_fee_rate=Decimal(0),
        )
        for venue in "abc"
    ]
    start_ns = 1_700_000_000 * SECOND_NS

    def events() -> Iterator[Event]:
        for step in range(2_000):
            at_s = step / 100
            number = step % 3
            venue = "abc"[number]
            if venue == "b" and 5.0 <= at_s < 9.0:
                continue
            mid_px = round(60_000.0 + 40.0 * math.sin(at_s / 3.0), 2) + number
            if venue == "c" and 12.0 <= at_s < 15.0:
                mid_px *= 1.01
            now_ns = start_ns + step * 10_000_000
            instrument = instruments[number].id
            # Each venue's clock is off by its own amount, and its messages take 2 ms to 4 ms.
            there_ns = now_ns - (2 + step % 3) * 1_000_000 + number * 700_000_000
            yield Quote(there_ns, now_ns, instrument, mid_px - 0.5, 1.0 + number, mid_px + 0.5, 2.0)
            if step % 10 == 0:
                yield Trade(there_ns, now_ns, instrument, mid_px, 0.05, 1, str(step))

    return instruments, events()


def line_of(said: Consolidated, since_ns: int, digits: int) -> str:
    """One moment in words; ``digits`` of prices behind the point."""
    sources = "  ".join(
        f"{source.venue} {source.status}"
        + (f" {source.mid_px:,.{digits}f} ({source.age_ns / 1e6:,.0f} ms)" if source.mid_px == source.mid_px else "")
        for source in said.sources
    )
    return (
        f"{(said.ts_ns - since_ns) / 1e9:7.1f} s  bid {said.bid_px:,.{digits}f}  ask {said.ask_px:,.{digits}f}  "
        f"apart {said.dispersion_bps:5.2f} bps  confidence {said.confidence:.2f}{'  SUSPECT' if said.suspect else ''}"
        f"  | {sources}"
    )


def run(instruments: Sequence[Instrument], events: Iterator[Event], *, every_s: float) -> None:
    """Consolidate and print a line each ``every_s`` seconds of data, and what it all came to."""
    pair = instruments[0].id.partition("@")[0]
    definition = ConsolidatedDefinition(
        f"{pair}@consolidated",
        tuple(instrument.id for instrument in instruments),
        stale_ns=2 * SECOND_NS,
        bar_ns=5 * SECOND_NS,
    )
    consolidator = Consolidator(definition, instruments)
    digits = max(len(f"{instrument.tick_px:f}".partition(".")[2]) for instrument in instruments)
    first_ns = next_ns = 0
    quotes, volume_qty = 0, 0.0
    for made in play(events, consolidator):
        first_ns = first_ns or made.ts_recv_ns
        if isinstance(made, Trade):
            volume_qty += made.qty
            continue
        quotes += 1
        if made.ts_recv_ns >= next_ns:
            next_ns = made.ts_recv_ns + int(every_s * SECOND_NS)
            print(line_of(consolidator.at(made.ts_recv_ns), first_ns, digits))
    print(
        f"{pair}: {quotes:,} consolidated quotes, {volume_qty:,.2f} {instruments[0].base} traded on all venues together"
    )
    bar = consolidator.bars.last if consolidator.bars is not None else None
    if bar is not None:
        prices = (bar.open_px, bar.high_px, bar.low_px, bar.close_px)
        print("last bar:", *(f"{price_px:,.{digits}f}" for price_px in prices))


def main(arguments: Sequence[str]) -> int:
    """Exit status 2 and one line where the files are not what they should be."""
    files = [Path(argument) for argument in arguments]
    folder = os.environ.get("KESTREL_DATA")
    if not files and folder and all((Path(folder) / name).exists() for name in RECORDED):
        files = [Path(folder) / name for name in RECORDED]
    try:
        if files:
            run(*recorded(files), every_s=20.0)
        else:
            run(*made_up(), every_s=1.0)
        sys.stdout.flush()
    except KestrelError as error:
        print(f"aggregator: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader went away, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
