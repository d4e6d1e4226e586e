"""When a row is made, and what happens to rows when data is missing.

Owns the declarations; the cutting itself is in ``engine.features.tape`` (ticks) and ``engine.features.buffer`` (time).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.errors import DataError


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What completes a row.

    - ``tick``: every accepted change of the best quote (prices; quantities too where the spec uses them).
    - ``tick_bar``: every ``ticks`` such changes.
    - ``time_bar``: every ``interval_ns`` of venue time, aligned to the epoch.  A bar closes at the first event at or
      after its end, or by timer ``lateness_ns`` after it.  Events older than the open bar are counted and dropped.
    """

    kind: Literal["tick", "tick_bar", "time_bar"] = "tick"
    ticks: int = 1
    interval_ns: int = 0
    lateness_ns: int = 0

    def __post_init__(self) -> None:
        if self.kind == "tick" and (self.ticks != 1 or self.interval_ns or self.lateness_ns):
            raise DataError("sampling 'tick' with ticks or times set", expected="no further setting")
        if self.kind == "tick_bar" and (self.ticks < 1 or self.interval_ns or self.lateness_ns):
            raise DataError(f"sampling 'tick_bar' with ticks {self.ticks}", expected="ticks of at least 1 and no times")
        if self.kind == "time_bar":
            if self.interval_ns < 1_000_000 or self.ticks != 1:
                raise DataError(
                    f"sampling 'time_bar' with interval_ns {self.interval_ns}", expected="at least 1000000 (1 ms)"
                )
            if not 0 <= self.lateness_ns <= self.interval_ns:
                raise DataError(
                    f"sampling 'time_bar' with lateness_ns {self.lateness_ns}", expected="from 0 to interval_ns"
                )

    @classmethod
    def tick(cls) -> Sampling:
        return cls("tick")

    @classmethod
    def tick_bar(cls, ticks: int) -> Sampling:
        return cls("tick_bar", ticks=ticks)

    @classmethod
    def time_bar(cls, interval_ns: int, lateness_ns: int = 0) -> Sampling:
        return cls("time_bar", interval_ns=interval_ns, lateness_ns=lateness_ns)

    def __str__(self) -> str:
        if self.kind == "tick":
            return "every tick"
        if self.kind == "tick_bar":
            return f"bars of {self.ticks} ticks"
        return f"bars of {self.interval_ns / 1e9:g} s"


class GapPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When missing data restarts the indicators (a reported gap always does).

    ``silence_ns_max``: longest venue time between two events, 0 for no bound: a recording with a hole then behaves as
    the live feed that reported it.  ``flat_rows_max``: time bars without any quote that may follow each other; they
    repeat the last mid with no volume, because without a quote the price did not change.
    """

    silence_ns_max: int = 900_000_000_000
    flat_rows_max: int = 5

    def __post_init__(self) -> None:
        if self.silence_ns_max < 0 or self.flat_rows_max < 0:
            raise DataError("gap policy with a negative bound", expected="0 or more")
