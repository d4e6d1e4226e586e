"""A feature spec: which columns, cut how, over which window; and the fingerprint that ties a model to it.

Owns identity and its JSON form.  Columns are in ``engine.features.column``, state in ``engine.features.buffer``.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Literal

import msgspec

from engine.errors import DataError
from engine.features import columns as _builtin  # noqa: F401 - importing registers the built-in columns
from engine.features.column import Column, closure, lookup
from engine.features.sampling import GapPolicy, Sampling
from engine.features.tape import KERNEL_VERSION
from engine.instruments import Instrument

WINDOW_MAX = 4096


class FeatureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Everything that decides which numbers a model sees.

    ``columns`` are names in window order.  ``volume`` declares what the volume of a row is: ``trades`` (traded base
    units) or ``ticks`` (number of quote changes, for instruments that report no trades).  ``name`` is a label and no
    part of the fingerprint.
    """

    name: str
    columns: tuple[str, ...]
    window: int
    sampling: Sampling = Sampling()
    volume: Literal["trades", "ticks"] = "trades"
    gap: GapPolicy = GapPolicy()

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError(f"feature spec {self.name!r} has no columns", expected="at least one")
        for column in self.columns:
            lookup(column)
        if len(set(self.columns)) != len(self.columns):
            twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
            raise DataError(f"feature spec {self.name!r} names {', '.join(twice)} twice", expected="each column once")
        if not 1 <= self.window <= WINDOW_MAX:
            raise DataError(f"feature spec {self.name!r} has window {self.window}", expected=f"1 to {WINDOW_MAX} rows")
        if self.volume == "ticks" and self.sampling.price == "trade":
            raise DataError(
                f"feature spec {self.name!r} counts quotes as volume in rows of trade prices", expected="volume: trades"
            )
        if self.gap.hole_ns_max and self.sampling.kind != "time_bar":
            raise DataError(
                f"feature spec {self.name!r} passes over holes in rows of {self.sampling}", expected="time bars"
            )
        if self.sampling.kind == "time_bar" and not self.gap.hole_ns_max and self.gap.flat_rows_max >= self.window:
            raise DataError(
                f"feature spec {self.name!r} allows {self.gap.flat_rows_max} flat rows in a window of {self.window}",
                expected="fewer flat rows than the window has",
                do="lower gap.flat_rows_max",
            )

    @cached_property
    def plan(self) -> tuple[Column, ...]:
        """Columns to compute, in order: those of the spec and those they use."""
        return closure(self.columns)

    @cached_property
    def requires(self) -> frozenset[str]:
        """What an instrument must give: of ``quotes``, ``sizes``, ``trades``, ``depth``, ``sessions``."""
        return frozenset({self._price}).union(*(self.inputs_of(column) for column in self.plan))

    @cached_property
    def peers(self) -> tuple[str, ...]:
        """Ids of other instruments whose prices the columns read."""
        return tuple(dict.fromkeys(column.peer for column in self.plan if column.peer))

    @cached_property
    def series(self) -> tuple[str, ...]:
        """Names of published series that the columns read."""
        return tuple(dict.fromkeys(column.series for column in self.plan if column.series))

    @cached_property
    def wide(self) -> bool:
        """Whether the record holds more than candles give."""
        return bool(self.peers) or not all(column.candle for column in self.plan)

    @property
    def _price(self) -> str:
        return "trades" if self.sampling.price == "trade" else "quotes"

    @cached_property
    def warm_rows(self) -> int:
        """Rows after a restart until every column has a value."""
        return max(column.warm_rows for column in self.plan)

    @property
    def rows_to_warm(self) -> int:
        """Rows after a restart until the window is full of clean rows."""
        return self.warm_rows + self.window - 1

    def inputs_of(self, column: Column) -> frozenset[str]:
        """What this column needs, ``price`` and ``volume`` resolved to what this spec declares them to be."""
        declared = {"price": self._price, "volume": "trades" if self.volume == "trades" else "quotes"}
        return frozenset(declared.get(item, item) for item in column.inputs)

    def lacking(self, instrument: Instrument) -> tuple[str, ...]:
        """Names of columns that this instrument cannot feed, with what they lack: ``flow_5 (trades)``."""
        given = {"quotes", "sessions"}
        if instrument.has_depth:
            given.add("depth")
        if instrument.has_quote_sizes:
            given.add("sizes")
        if instrument.has_trades:
            given.add("trades")
        found = []
        for name in self.columns:
            missing = sorted({item for column in closure((name,)) for item in self.inputs_of(column)} - given)
            if missing:
                found.append(f"{name} ({', '.join(missing)})")
        if not found and self._price not in given:
            found.append(f"rows of trade prices ({self._price})")
        return tuple(found)

    def fingerprint(self) -> str:
        """sha256 (hex) of all that decides the numbers: columns, order, versions, sampling, window, gap policy."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        content = {
            "kernel": KERNEL_VERSION,
            "columns": list(self.columns),
            # Also the columns that are only used by others: their change changes the numbers too.
            "versions": {column.name: column.version for column in self.plan},
            "window": self.window,
            "sampling": self.sampling.identity(),
            "volume": self.volume,
            "gap": self.gap.identity(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> FeatureSpec:
        """Raises ``DataError`` when it is no spec or names columns that this installation does not have."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise DataError(f"not a feature spec: {error}", expected="the JSON written by to_json") from error
