"""When a row is made, and what happens to rows when data is missing.

Owns the declarations; the cutting itself is in ``engine.features.tape`` (ticks) and ``engine.features.buffer`` (time).
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from engine.errors import DataError

Kind = Literal["tick", "tick_bar", "time_bar", "volume_bar", "dollar_bar", "imbalance_bar"]
BY_TRADES: Final = frozenset({"volume_bar", "dollar_bar", "imbalance_bar"})
"""Rows that trades complete: they are made of trade prices."""
_SPANS_MAX: Final = 1_000


TIME_BAR_RULE = 2
"""Raised whenever time bars of the same events come out otherwise; since 2 the receive time decides what is late."""


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What completes a row.

    - ``tick``: every accepted change of the best quote (prices; quantities too where the spec uses them).
    - ``tick_bar``: every ``ticks`` such changes.
    - ``time_bar``: every ``interval_ns`` of venue time, aligned to the epoch.  A bar closes at the first event at or
      after its end, or by timer ``lateness_ns`` after it.  Events older than the open bar are counted and dropped.
    - ``volume_bar``: trades of ``size`` base units together.  ``dollar_bar``: trades worth ``size`` quote units.
    - ``imbalance_bar``: trades whose signs (tick rule) add up to more than was to be expected; ``ticks`` are expected
      in the first bar, expectations follow the bars with a span of ``span`` bars.

    ``price``: what rows are made of, ``mid`` of the best quote or ``trade`` price.  With ``trade``, the first two count
    trades.  Whatever completed a row is in it, and nothing is carried over to the next.
    """

    kind: Kind = "tick"
    ticks: int = 1
    interval_ns: int = 0
    lateness_ns: int = 0
    price: Literal["mid", "trade"] = "mid"
    size: float = 0.0
    span: int = 0

    def __post_init__(self) -> None:
        kind = self.kind
        if self.ticks != 1 and kind not in ("tick_bar", "imbalance_bar"):
            raise DataError(f"sampling {kind!r} with ticks {self.ticks}", expected="no ticks")
        if (self.interval_ns or self.lateness_ns) and kind != "time_bar":
            raise DataError(f"sampling {kind!r} with times set", expected="no further setting")
        if self.size and kind not in ("volume_bar", "dollar_bar"):
            raise DataError(f"sampling {kind!r} with size {self.size:g}", expected="no size")
        if self.span and kind != "imbalance_bar":
            raise DataError(f"sampling {kind!r} with span {self.span}", expected="no span")
        if kind in BY_TRADES and self.price != "trade":
            raise DataError(f"sampling {kind!r} of mids", expected="price: trade, since trades complete its rows")
        if kind == "tick_bar" and self.ticks < 1:
            raise DataError(f"sampling 'tick_bar' with ticks {self.ticks}", expected="ticks of at least 1 and no times")
        if kind in ("volume_bar", "dollar_bar") and not 0.0 < self.size < 1e18:
            raise DataError(f"sampling {kind!r} with size {self.size:g}", expected="a size above 0")
        if kind == "imbalance_bar" and not (self.ticks >= 2 and 1 <= self.span <= _SPANS_MAX):
            raise DataError(
                f"sampling 'imbalance_bar' with ticks {self.ticks} and span {self.span}",
                expected=f"at least 2 ticks and a span of 1 to {_SPANS_MAX} bars",
            )
        if kind == "time_bar":
            if self.interval_ns < 1_000_000 or self.ticks != 1:
                raise DataError(
                    f"sampling 'time_bar' with interval_ns {self.interval_ns}", expected="at least 1000000 (1 ms)"
                )
            if not 0 <= self.lateness_ns <= self.interval_ns:
                raise DataError(
                    f"sampling 'time_bar' with lateness_ns {self.lateness_ns}", expected="from 0 to interval_ns"
                )

    @classmethod
    def tick(cls, price: Literal["mid", "trade"] = "mid") -> Sampling:
        return cls("tick", price=price)

    @classmethod
    def tick_bar(cls, ticks: int, price: Literal["mid", "trade"] = "mid") -> Sampling:
        return cls("tick_bar", ticks=ticks, price=price)

    @classmethod
    def time_bar(cls, interval_ns: int, lateness_ns: int = 0, price: Literal["mid", "trade"] = "mid") -> Sampling:
        return cls("time_bar", interval_ns=interval_ns, lateness_ns=lateness_ns, price=price)

    @classmethod
    def volume_bar(cls, size: float) -> Sampling:
        return cls("volume_bar", size=size, price="trade")

    @classmethod
    def dollar_bar(cls, size: float) -> Sampling:
        return cls("dollar_bar", size=size, price="trade")

    @classmethod
    def imbalance_bar(cls, ticks: int, span: int = 20) -> Sampling:
        return cls("imbalance_bar", ticks=ticks, span=span, price="trade")

    def identity(self) -> dict[str, Any]:
        """What a fingerprint holds: settings that came later count only where they are used."""
        later = {"price": "mid", "size": 0.0, "span": 0}
        found = {
            name: value
            for name, value in msgspec.structs.asdict(self).items()
            if name not in later or value != later[name]
        }
        if self.kind == "time_bar":
            found["rule"] = TIME_BAR_RULE
        return found

    def __str__(self) -> str:
        of = " of trades" if self.price == "trade" and self.kind in ("tick", "tick_bar", "time_bar") else ""
        if self.kind == "tick":
            return f"every {'trade' if of else 'tick'}"
        if self.kind == "tick_bar":
            return f"bars of {self.ticks} {'trades' if of else 'ticks'}"
        if self.kind == "volume_bar":
            return f"bars of {self.size:g} base units"
        if self.kind == "dollar_bar":
            return f"bars worth {self.size:g} quote units"
        if self.kind == "imbalance_bar":
            return f"imbalance bars of some {self.ticks} trades"
        return f"bars of {self.interval_ns / 1e9:g} s{of}"


class GapPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When missing data restarts the indicators (a reported gap always does).

    ``silence_ns_max``: longest venue time between two events, 0 for no bound: a recording with a hole then behaves as
    the live feed that reported it.

    Time bars in which nothing happened: with ``hole_ns_max`` 0 they repeat the last price with no volume, because
    nothing says that it changed, at most ``flat_rows_max`` in sequence; one more restarts.  With ``hole_ns_max`` above
    0 they make no row, as in the candles of a venue that leaves them out or is closed at night: a hole of at most that
    long is passed over, a longer one restarts.
    """

    silence_ns_max: int = 900_000_000_000
    flat_rows_max: int = 5
    hole_ns_max: int = 0

    def __post_init__(self) -> None:
        if self.silence_ns_max < 0 or self.flat_rows_max < 0 or self.hole_ns_max < 0:
            raise DataError("gap policy with a negative bound", expected="0 or more")

    def identity(self) -> dict[str, Any]:
        """What a fingerprint holds: settings that came later count only where they are used."""
        found = msgspec.structs.asdict(self)
        if not self.hole_ns_max:
            del found["hole_ns_max"]
        return found
