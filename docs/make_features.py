"""Writes ``docs/features.md``: ``python docs/make_features.py`` after a column, a family or a set has changed.

Owns the page's text; everything it says about a column is the column's own declaration.
``tests/tidy/test_documents.py`` compares the committed page with what this makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from engine.features import column
from engine.features.column import Column, Family
from engine.features.sets import SETS, SETS_OF
from engine.features.spec import FeatureSpec

DOCS = Path(__file__).resolve().parent
HOW = "Made by `python docs/make_features.py` from the declarations; edits here are lost."

WHAT_FOR: Final[Mapping[str, str]] = {
    "technical13": "the indicators of a candle bot",
    "technical40": "candles: six price columns and 34 indicators",
    "hybrid11": "candles: price, volatility and regime tasks (60 rows of 11)",
    "core40": "quotes, sizes and trades: crypto, equities, futures",
    "quote40": "quotes alone: FX",
    "microstructure": "the book, order flow and trades",
    "spectral": "wavelets, Fourier, long memory and complexity of the last rows",
    "cross_asset": "what price and volume say about each other; returns beside those of another instrument",
    "cross_venue": "how prices of one thing at several venues lie apart",
    "published": "fundamental and macro series as they were known",
    "lags": "older values of chosen columns, volume momentum, regime label",
    "calendar": "time of day, of week and of the session",
    "daily95": "candles of a day: `extended` without the clock, and the volatility of a week (30 rows of 95)",
    "hourly28": "candles of an hour: the last day and the last week, free of price and volume (24 or 48 rows)",
    "extended": "all that candles give, for windows of 30 rows",
    "extended_book": "the same and all that the book and trades give",
}

PEERS: Final[Mapping[str, str]] = {
    "cross_asset": "ETH/USDT@binance_usdm",
    "cross_venue": "BTC/USDT@binance_usdm,BTC/USD@coinbase",
    "published": "cpi_yoy",
}
"""What a set that is made for other instruments or published series is shown with."""

INTRODUCTION: Final = """
One kernel turns market events into the rows a model sees. The daemon and the trainer run the same one, so that a model
is served what it was trained on.

- A **column** is a function and its declaration: name, formula, unit, range, inputs, rows until it has a value,
  version, first source (`engine/features/column.py`; the built-in ones are in `engine/features/columns/`). A
  **family** makes columns from arguments: `lag(rsi_14,5)`.
- A **spec** names columns in order, the sampling, the window W and the gap policy (`engine/features/spec.py`). Its
  fingerprint is a sha256 over all of that and the columns' versions. A model bundle carries it; another one is
  refused.
- A **buffer** holds the state of one instrument (`engine/features/buffer.py`). `update(event)` is one call into
  compiled code; `window()` is a `(W, F)` float32 view of the last W rows, oldest first, without a copy.
- `compute_rows(spec, instrument, events)` gives the rows of a recording; `compute_candles` and `compute_ticks` give
  them from arrays, in a compiled loop around the very same machine code (`engine/features/rows.py`). All three are
  bit-equal to the live rows; tests hold that on every recorded file of candles and a million ticks.

`examples/feature_pipeline.py` shows all of it in one page.

## When a row is made

| sampling | a row is |
|---|---|
| `Sampling.tick()` | every change of the best quote: open = high = low = close = mid |
| `Sampling.tick_bar(n)` | n such changes |
| `Sampling.time_bar(interval_ns, lateness_ns)` | an interval of venue time, aligned to the epoch (see below) |
| `Sampling.volume_bar(size)` | trades of `size` base units together |
| `Sampling.dollar_bar(size)` | trades worth `size` quote units together |
| `Sampling.imbalance_bar(ticks, span)` | trades whose signs add up to more than was to be expected |

The first three take `price="trade"`: rows are then made of trade prices instead of mids, and ticks are trades; time
bars of trades are what a venue calls candles. The last three always are. What completes a bar is in it, and nothing
is carried over. A change of size counts only where a column of the spec uses sizes. Volume is declared by the spec:
`trades` (traded base units since the last row) or `ticks` (quote changes, where the venue reports no trades).

A time bar is closed by the first event at or after its end, or `lateness_ns` after it by our clock: by a timer, and in
a recording, which has none, by what was received next. So the rows do not depend on how often there is a timer. With
0, whatever was still on its way at the end is too late: `features.sampling.lateness_ms` waits 250 ms when nothing is
said. A column that is computed each k-th row counts from the last restart: live it may be up to k - 1 rows out of step
with the rows of a recording.
Other instruments' prices and book levels follow the same clock: what comes after a bar's end is not in its row. What
an imbalance bar expects is in `engine/features/tape.py: _is_imbalanced`.

**Late and revised.** One policy, live and offline: a row that was made stands, because the model has seen it. Events
older than the open bar, and candles older than the newest row, are counted (`late`) and dropped; the newest candle
again with other numbers is counted (`revised`) and dropped.

**Candles** (`Bar` events) make rows of time bars with the same interval. What a candle cannot tell (spread, sizes,
flow) is NaN, and the buffer stays cold until live rows have filled those columns. The first bar cut from ticks is
left out, because nobody saw its beginning, unless it directly follows history. Candles of another instrument count for
candles of this one only where they were given before (columns beside it are NaN until then).

## Warm, and gaps

The buffer is warm when the last W rows are finite in every column: `spec.rows_to_warm` rows after a start. A NaN is
never inside a warm window, and nothing is filled forward: a value that is not known is NaN, and the model is not
asked. `mark_gap(reason)`, a silence longer than `GapPolicy.silence_ns_max` and a hole in history restart every
indicator; `reason` says why it is not warm, for example `feed of coinbase down: reset by peer; warming up: 12 of 80
rows`.

Time bars in which nothing happened repeat the last price with no volume, at most `GapPolicy.flat_rows_max` in
sequence; one more restarts. For markets that close at night, and venues that leave out candles without trades, set
`GapPolicy.hole_ns_max`: then they make no row, holes up to that length are passed over, and longer ones restart.

A quote or trade that is not finite, out of range or crossed changes nothing and is counted in `rejected`. Before it
comes to that, the quality gate has judged it (`docs/quality.md`).

An instrument that does not give what a column needs is refused when the buffer is made, with the columns' names.
"""

AFTERWARDS: Final = """
## A column of one's own

A Python file in the folder that `features.columns_folder` names (or given to `load_columns`):

```python
from engine.features import Column, register
from engine.features import layout as at
from engine.features.jit import kernel


@kernel
def mean_range(s, n):
    if s[at.ROWS] < n:
        return at.NAN
    return (at.sum_last(s, at.HIGH, n) - at.sum_last(s, at.LOW, n)) / n


register(Column(name="mean_range_10", function=mean_range, params=(10,), formula="mean of high - low over 10 rows",
                unit="price", inputs=("price",), warm_rows=10, candle=True, bounds=(0.0, float("inf"))))
```

The function reads slots and series of `engine/features/layout.py`, divides by nothing that may be 0, and allocates
nothing. Raise `version` whenever the same input may give another number. The column then stands in
`features.columns` beside the names of sets and columns, live and offline.

## Compiled code

Kernels are compiled by numba once per list of columns and lie in `var/numba/<hash of the kernel sources and the numba
version>`; `docs/benchmarks.md` has the times. `KESTREL_NUMBA_CACHE` moves the folder. A start removes folders of old
sources beyond those used last; what a process uses stays (`engine/features/kept.py: prune`). Without numba, or with
`KESTREL_NUMBA=0`, the same source runs as plain Python: the same numbers bit for bit, some hundred times slower.
"""


def features() -> str:
    """``docs/features.md``."""
    built_in = [each for each in column.known() if each.function.__module__.startswith("engine.")]
    return "\n".join(
        [
            "# Features",
            "",
            HOW,
            INTRODUCTION,
            "## The sets",
            "",
            "`features.set` takes a set's name, `features.columns` any list of sets and columns.",
            "",
            "| set | columns | needs | rows to a value | for |",
            "|---|---|---|---|---|",
            *(_set_row(name, columns) for name, columns in SETS.items()),
            *(_set_row(f"{name}({PEERS[name]})", make(*PEERS[name].split(","))) for name, make in SETS_OF.items()),
            "",
            "Sets with parentheses are made for what stands in them: instruments, which the session must have too, or",
            "published series, which it must be fed (`docs/data.md`); a training finds them by itself",
            "(`docs/models.md`).",
            "",
            *(f"- `{name}`: {_listed(columns)}" for name, columns in SETS.items()),
            "",
            "## Families",
            "",
            "| family | for example | what it is |",
            "|---|---|---|",
            *(_family_row(family) for family in column.families()),
            "",
            "## Columns",
            "",
            "*needs*: `price` is what rows are made of, `volume` what the spec declares it to be. *rows*: how many",
            "rows after a restart it has its first value. A range is what the value cannot leave; none is given",
            "where it can be any number.",
            "",
            *_columns(built_in),
            AFTERWARDS.strip("\n"),
            "",
        ]
    )


def _set_row(name: str, columns: tuple[str, ...]) -> str:
    spec = FeatureSpec(name, columns, 1)
    needs = sorted({item for each in spec.plan for item in each.inputs})
    return f"| `{name}` | {len(columns)} | {', '.join(needs)} | {spec.warm_rows} | {WHAT_FOR[name.partition('(')[0]]} |"


def _listed(columns: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in columns)


def _family_row(family: Family) -> str:
    return f"| `{family.usage}` | `{family.example}` | {_cell(family.formula)} |"


def _columns(columns: list[Column]) -> list[str]:
    """One table for each module, in order of registration; columns that families made for a set stand with them."""
    made = [column.lookup(name) for names in SETS.values() for name in names if "(" in name]
    modules: dict[str, dict[str, Column]] = {}
    for each in [*columns, *made]:
        modules.setdefault(each.function.__module__.rpartition(".")[2], {})[each.name] = each
    lines: list[str] = []
    for module, found in modules.items():
        lines += [f"### `{module}`", "", "| column | formula | unit | range | rows | needs | first source |"]
        lines += ["|---|---|---|---|---|---|---|", *map(_column_row, found.values()), ""]
    return lines


def _column_row(each: Column) -> str:
    cells = [_cell(each.formula), each.unit, _range(*each.bounds), str(each.warm_rows), ", ".join(each.inputs)]
    return f"| `{each.name}` | {' | '.join(cells)} | {_cell(each.source) or 'by definition'} |"


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f"{low:g} and more"
    return f"to {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: Final[Mapping[str, Callable[[], str]]] = {"features.md": features}


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
