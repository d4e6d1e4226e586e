"""How a training run names its label, and the one function that makes it from an instrument's rows.

Owns the choice; the formulas are in the file of each kind.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, Literal, NamedTuple

import msgspec

from engine.errors import ConfigError
from models.labels import barrier, book, horizons, regimes, returns, volatility
from models.labels.labelled import Float64, Int64, Labels, Prices

Kind = Literal[
    "change_bps",
    "return",
    "class",
    "horizons",
    "barrier",
    "realised_variance",
    "parkinson_variance",
    "regime",
    "regime_ending_next",
    "book_point",
    "book_smoothed",
    "book_smoothed_both",
]


class LabelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One label.  Only what its kind uses may be set.

    ``horizon_rows``: how far it reads, in rows of the features.  ``horizons`` or ``horizons_s``: several of them, in
    rows or in seconds, for the kind of that name.  ``threshold``: of a class, as a log return (``class``) or a share
    of the mid (``book_*``).  ``target``, ``stop``: shares of the entry price.  ``log``: the logarithm of a variance.
    ``span_s_max``: labels that span more time, across a pause of the market, are left out; 0: however long.
    """

    kind: Kind
    horizon_rows: int = 1
    horizons: tuple[int, ...] = ()
    horizons_s: tuple[int, ...] = ()
    threshold: Decimal = Decimal(0)
    target: Decimal = Decimal(0)
    stop: Decimal = Decimal(0)
    log: bool = False
    span_s_max: float = 0.0

    def __post_init__(self) -> None:
        allowed = _USES[self.kind] | {"kind", "span_s_max"}
        for name, default in zip(self.__struct_fields__[1:], self.__struct_defaults__, strict=True):
            if name not in allowed and getattr(self, name) != default:
                raise ConfigError(
                    f"a label of kind {self.kind} with {name}", expected=f"of {', '.join(sorted(allowed))}"
                )
        if self.span_s_max < 0 or self.threshold < 0:
            raise ConfigError(f"a label of kind {self.kind} with a bound below 0", expected="0 or more")
        if self.kind == "horizons" and bool(self.horizons) == bool(self.horizons_s):
            raise ConfigError("a label of several horizons", expected="horizons in rows, or horizons_s in seconds")

    def horizons_of(self, interval_ns: int) -> tuple[int, ...]:
        """How far ahead the label reads, in rows of ``interval_ns`` (0: of no fixed length), ascending.

        Raises ``ConfigError`` where seconds are no whole rows.
        """
        if self.kind != "horizons":
            return (self.horizon_rows,)
        return self.horizons or tuple(
            horizons.rows_of(span_s * 1_000_000_000, interval_ns) for span_s in self.horizons_s
        )


class RowPrices(NamedTuple):
    """The rows of one instrument as labels read them, (N,) each."""

    ts_ns: Int64
    close_px: Float64
    high_px: Float64
    low_px: Float64
    tick_px: Decimal
    interval_ns: int = 0
    """Length of a row; 0 where rows have none of their own."""


def label_rows(spec: LabelSpec, rows: RowPrices) -> Labels:
    """The label of each row.  Raises ``ConfigError`` for horizons and bounds that make none."""
    labels = _MAKE[spec.kind](spec, rows)
    if spec.log:
        labels = volatility.logarithm(labels)
    return labels.within(rows.ts_ns, int(spec.span_s_max * 1e9)) if spec.span_s_max else labels


def _barrier(spec: LabelSpec, rows: RowPrices) -> Labels:
    prices: tuple[Prices, ...] = (rows.close_px, rows.high_px, rows.low_px)
    if all(barrier.on_grid(px, rows.tick_px) for px in prices):
        prices = tuple(barrier.in_ticks(px, rows.tick_px) for px in prices)
    # Prices adjusted for splits lie between ticks and are compared as they are.
    close, high, low = prices
    return barrier.triple_barrier(
        close, high, low, target=spec.target, stop=spec.stop, horizon=spec.horizon_rows
    ).labels


def _mid_half_ticks(rows: RowPrices) -> Int64:
    """Mids lie on half-ticks; a division by the tick and a rounding give back the whole number that they were made
    of.  Raises ``ConfigError`` where they do not: rounded, they would move where the market stood still."""
    return barrier.in_ticks(2.0 * rows.close_px, rows.tick_px, "mids that are no whole numbers of half-ticks")


_MAKE: Final[dict[str, Callable[[LabelSpec, RowPrices], Labels]]] = {
    "change_bps": lambda spec, rows: returns.change_bps(rows.close_px, spec.horizon_rows),
    "return": lambda spec, rows: returns.log_return(rows.close_px, spec.horizon_rows),
    "class": lambda spec, rows: returns.classes(
        returns.log_return(rows.close_px, spec.horizon_rows), float(spec.threshold)
    ),
    "horizons": lambda spec, rows: horizons.log_returns(rows.close_px, spec.horizons_of(rows.interval_ns)),
    "barrier": _barrier,
    "realised_variance": lambda spec, rows: volatility.realised_variance(rows.close_px, spec.horizon_rows),
    "parkinson_variance": lambda spec, rows: volatility.parkinson_variance(
        rows.high_px, rows.low_px, spec.horizon_rows
    ),
    "regime": lambda spec, rows: regimes.future(rows.close_px, spec.horizon_rows),
    "regime_ending_next": lambda spec, rows: regimes.ending_next(rows.close_px, spec.horizon_rows),
    "book_point": lambda spec, rows: book.point(_mid_half_ticks(rows), spec.horizon_rows, spec.threshold),
    "book_smoothed": lambda spec, rows: book.smoothed(_mid_half_ticks(rows), spec.horizon_rows, spec.threshold),
    "book_smoothed_both": lambda spec, rows: book.smoothed_both(
        _mid_half_ticks(rows), spec.horizon_rows, spec.threshold
    ),
}
_USES: Final[dict[str, set[str]]] = {
    "change_bps": {"horizon_rows"},
    "return": {"horizon_rows"},
    "class": {"horizon_rows", "threshold"},
    "horizons": {"horizons", "horizons_s"},
    "barrier": {"horizon_rows", "target", "stop"},
    "realised_variance": {"horizon_rows", "log"},
    "parkinson_variance": {"horizon_rows", "log"},
    "regime": {"horizon_rows"},
    "regime_ending_next": {"horizon_rows"},
    "book_point": {"horizon_rows", "threshold"},
    "book_smoothed": {"horizon_rows", "threshold"},
    "book_smoothed_both": {"horizon_rows", "threshold"},
}
