"""The settings of features: which columns, when a row is made, how many rows a window has.

Owns their shape.  What a spec makes of them is ``config.assembly``; a model brings its own.
"""

from __future__ import annotations

import difflib
import re
from typing import Final, Literal

from pydantic import Field, field_validator, model_validator

from config.sections import FilePath, Section

_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h)")
_DURATION_NS: Final = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_BY_TRADES: Final = ("volume_bar", "dollar_bar", "imbalance_bar")
_COUNTED: Final = ("tick_bar", "imbalance_bar")
_LATENESS_NS: Final = 250_000_000
"""Of time bars when nothing is said: events take that long from a venue far away, and what comes later is lost to its
bar, in training as well."""


class SamplingSettings(Section):
    kind: Literal["tick", "tick_bar", "time_bar", "volume_bar", "dollar_bar", "imbalance_bar"] = Field(
        default="tick", description="what makes a feature row"
    )
    every: int | str = Field(
        default=1,
        description="ticks of a tick_bar (100), time of a time_bar (500ms, 1s, 5m, 1h), trades expected in the first "
        "imbalance_bar",
    )
    lateness_ms: int | None = Field(
        default=None,
        ge=0,
        description="how long a time_bar waits for events on their way, ms; empty: 250, at most a bar",
    )
    price: Literal["mid", "trade"] | None = Field(
        default=None, description="what rows are made of; empty: mid, and trade in bars that trades complete"
    )
    size: float | None = Field(
        default=None, gt=0, lt=1e18, description="of a volume_bar, base units; of a dollar_bar, quote units"
    )
    span: int | None = Field(
        default=None, ge=1, le=1_000, description="bars that the expectations of an imbalance_bar follow; empty: 20"
    )
    hole: str | None = Field(
        default=None,
        description="longest time without events that time_bars leave out (4h, 96h); empty: they repeat the last price",
    )

    @model_validator(mode="after")
    def _fits_kind(self) -> SamplingSettings:
        if self.kind == "time_bar":
            _ = self.interval_ns, self.hole_ns
            return self
        if self.every_ticks < 1 or (self.kind == "imbalance_bar" and self.every_ticks < 2):
            raise ValueError("every of at least 1 tick, of at least 2 for kind imbalance_bar")
        if self.kind not in _COUNTED and self.every_ticks != 1:
            raise ValueError(f"every 1 for kind {self.kind}; a row for several ticks is kind tick_bar")
        if self.lateness_ms is not None or self.hole is not None:
            raise ValueError("no lateness_ms and no hole: only a time_bar has them")
        if (self.size is not None) != (self.kind in ("volume_bar", "dollar_bar")):
            raise ValueError("a size for kinds volume_bar and dollar_bar, and for no other")
        if self.span is not None and self.kind != "imbalance_bar":
            raise ValueError("no span: only an imbalance_bar has expectations")
        if self.kind in _BY_TRADES and self.price == "mid":
            raise ValueError(f"price trade for kind {self.kind}: trades complete its rows")
        return self

    @property
    def every_ticks(self) -> int:
        """Ticks of one tick bar.  Raises ``ValueError`` where ``every`` is a time."""
        if isinstance(self.every, str) and not self.every.isdigit():
            raise ValueError(f"every as a number of ticks for kind {self.kind}")
        return int(self.every)

    @property
    def interval_ns(self) -> int:
        """Length of one time bar, ns.  Raises ``ValueError`` where ``every`` is no time."""
        return _duration_ns(str(self.every), "every as a time such as 500ms, 1s, 5m or 1h for kind time_bar")

    @property
    def lateness_ns(self) -> int:
        """How long after its end a time bar takes events that happened in it, ns."""
        if self.lateness_ms is None:
            return min(_LATENESS_NS, self.interval_ns)
        return self.lateness_ms * 1_000_000

    @property
    def hole_ns(self) -> int:
        """Longest hole that is passed over, ns; 0 where holes repeat the last price."""
        return 0 if self.hole is None else _duration_ns(self.hole, "hole as a time such as 4h or 96h")


def _duration_ns(text: str, expected: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(expected)
    return int(match[1]) * _DURATION_NS[match[2]]


class FeaturesSettings(Section):
    set: str = Field(
        default="auto",
        description="auto (what the model was trained on), or a set of docs/features.md for strategies without a model",
    )
    window: int = Field(default=30, ge=1, le=10_000, description="rows a model sees; set auto takes the model's")
    sampling: SamplingSettings = Field(default=SamplingSettings(), description="set auto takes the model's")
    columns: list[str] | None = Field(
        default=None, min_length=1, description="names of columns and sets, for strategies without a model"
    )
    columns_folder: FilePath | None = Field(default=None, description="folder of your own feature columns")

    @field_validator("set")
    @classmethod
    def _known_set(cls, name: str) -> str:
        if name == "auto":
            return name
        # Needs every column: not for those who only read settings.
        from engine.features.sets import SETS

        if name not in SETS:
            near = difflib.get_close_matches(name, ("auto", *SETS), n=1)
            raise ValueError(f"{near[0]!r}" if near else f"one of auto, {', '.join(SETS)}")
        return name
