"""What a benchmark measures and how it is judged: readings, targets, percentiles.

Owns the numbers only; running is ``suite``, showing is ``page``.  Times are microseconds unless a unit says otherwise.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal

_read = time.perf_counter_ns
CALM = 250


@dataclass(frozen=True)
class Target:
    """A bound on one figure of a reading."""

    figure: Literal["p50", "p99", "per_second", "value"]
    bound: float
    at_least: bool = False

    def met(self, value: float | None) -> bool:
        if value is None:
            return False
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        name = "" if self.figure == "value" else f"{self.figure.replace('per_second', 'rate')} "
        return f"{name}{sign} {self.bound:,g}"


@dataclass(frozen=True)
class Reading:
    """One measured case.  ``p50`` and ``p99`` are microseconds; ``value`` (in ``unit``) is for what is no latency."""

    name: str
    p50: float | None = None
    p99: float | None = None
    per_second: float | None = None
    n: int = 0
    value: float | None = None
    unit: str = ""
    targets: tuple[Target, ...] = ()
    note: str = ""
    profile: tuple[str, ...] = ()
    best: float | None = None
    """Lowest median of ``CALM`` consecutive samples, microseconds: the machine at its least disturbed."""
    spread: tuple[float, float] | None = None
    """Lowest and highest median of the repetitions."""
    error: str = ""
    incomplete: bool = False
    """Too many samples are missing: those that came are the lucky ones, so no target counts as met."""
    sent: int = 0
    """Ticks sent where not each makes a sample, else 0; percentiles are of the ``n`` that made one."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Why the others made none, with counts."""
    p50_of_sent: float | None = None
    """The median when every missing sample counts as slower than all others; infinite when half are missing."""
    asked_per_second: float | None = None
    """The pace a lane asked for; ``per_second`` is the one it had."""

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, ``failed`` (no figure), or empty without a target."""
        if self.error:
            return "failed"
        if not self.targets:
            return ""
        return (
            "met"
            if not self.incomplete and all(target.met(getattr(self, target.figure)) for target in self.targets)
            else "missed"
        )

    @property
    def met_at_best(self) -> bool:
        """The target for the median is met where the machine was least disturbed."""
        return any(target.figure == "p50" and target.met(self.best) for target in self.targets)

    def as_dict(self) -> dict[str, Any]:
        """The row of ``bench --json``."""
        row: dict[str, Any] = {
            "name": self.name,
            "p50": _rounded(self.p50),
            "p99": _rounded(self.p99),
            "best": _rounded(self.best),
            "per_second": _rounded(self.per_second),
            "n": self.n,
            "target": ", ".join(str(target) for target in self.targets),
            "verdict": self.verdict,
            "note": self.note,
            "incomplete": self.incomplete,
        }
        if self.value is not None:
            row |= {"value": _rounded(self.value), "unit": self.unit}
        if self.sent:
            row |= {"sent": self.sent, "missing": dict(self.missing), "p50_of_sent": _finite(self.p50_of_sent)}
        if self.asked_per_second is not None:
            row["asked_per_second"] = self.asked_per_second
        if self.spread is not None:
            row["p50_range"] = [_rounded(self.spread[0]), _rounded(self.spread[1])]
        if self.profile:
            row["profile"] = list(self.profile)
        if self.error:
            row["error"] = self.error
        return row


@dataclass(frozen=True)
class Case:
    """Something that can be measured by name.  ``run(quick)`` gives one or more readings, ``rounds`` times."""

    name: str
    run: Callable[[bool], list[Reading]]
    rounds: int = 1
    profile: Callable[[str], Sequence[str]] | None = None
    """Where the time of the reading of that name goes, as lines of text; asked when it missed its target."""
    readings: list[list[Reading]] = field(default_factory=list)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: null then."""
    return None if value is None or value == float("inf") else round(value, 3)


def percentile_us(ordered_ns: Sequence[int], share: float) -> float:
    """Nearest-rank percentile of ascending nanoseconds, in microseconds."""
    return ordered_ns[min(len(ordered_ns) - 1, int(share * len(ordered_ns)))] / 1e3


def latency(name: str, samples_ns: Iterable[int], **more: Any) -> Reading:
    """A reading of single times, in the order they were taken; raises ``ValueError`` when there are none."""
    samples = list(samples_ns)
    if not samples:
        raise ValueError(f"{name}: nothing was measured")
    ordered = sorted(samples)
    calm = (
        min(sorted(samples[at : at + CALM])[CALM // 2] for at in range(0, max(1, len(samples) - CALM + 1), CALM))
        if (len(samples) >= CALM)
        else None
    )
    return Reading(
        name,
        percentile_us(ordered, 0.5),
        percentile_us(ordered, 0.99),
        n=len(ordered),
        best=None if calm is None else calm / 1e3,
        **more,
    )


def median_of_sent(samples_ns: Sequence[int], sent: int) -> float:
    """Microseconds: the median of ``sent`` samples of which those that are missing count as slower than all others."""
    at = sent // 2
    return sorted(samples_ns)[at] / 1e3 if at < len(samples_ns) else float("inf")


def merge(rounds: Sequence[Sequence[Reading]]) -> list[Reading]:
    """One reading per name: the median over the rounds of each figure, and the range of the medians."""
    merged = []
    for name in dict.fromkeys(reading.name for readings in rounds for reading in readings):
        same = [reading for readings in rounds for reading in readings if reading.name == name]
        good = [reading for reading in same if not reading.error]
        if not good:
            merged.append(same[0])
            continue
        p50s = [reading.p50 for reading in good if reading.p50 is not None]
        merged.append(
            replace(
                good[-1],
                p50=_median(good, "p50"),
                p99=_median(good, "p99"),
                per_second=_median(good, "per_second"),
                value=_median(good, "value"),
                n=sum(reading.n for reading in good),
                sent=sum(reading.sent for reading in good),
                missing=dict(sum((Counter(reading.missing) for reading in good), Counter[str]())),
                p50_of_sent=_median(good, "p50_of_sent"),
                incomplete=any(reading.incomplete for reading in good),
                best=min((reading.best for reading in good if reading.best is not None), default=None),
                note="; ".join(dict.fromkeys(reading.note for reading in good if reading.note)),
                spread=(min(p50s), max(p50s)) if len(p50s) > 1 else None,
            )
        )
    return merged


def _median(readings: Sequence[Reading], figure: str) -> float | None:
    values = [value for reading in readings if (value := getattr(reading, figure)) is not None]
    return median(values) if values else None


def own_times(call: Callable[[], Any], times: int, *, top: int = 8) -> list[str]:
    """The functions that take most time of their own in ``times`` calls, under cProfile, as lines of text."""
    profiler = cProfile.Profile(_read, 1e-9)
    profiler.enable()
    for _ in range(times):
        call()
    profiler.disable()
    return describe_profile(profiler, times, top)


def describe_profile(profiler: cProfile.Profile, times: int, top: int) -> list[str]:
    """A profile of ``times`` repetitions as lines of text: own time of a repetition, its calls, the function."""
    stats = pstats.Stats(profiler, stream=io.StringIO())
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:top]  # type: ignore[attr-defined]
    lines = ["own time of each under cProfile, which adds its own to each call:"]
    for (path, line, function), (_, calls, own_s, _, _) in rows:
        where = f"{path.rpartition('/')[2]}:{line} " if line else ""
        lines.append(f"  {own_s * 1e6 / times:6.2f} us  {calls / times:5.1f} calls  {where}{function}")
    return lines


def clock_cost_ns(rounds: int = 50_000) -> int:
    """Median of reading the clock twice in a row: what timing a single call adds to it."""
    samples = [0] * rounds
    for number in range(rounds):
        before = _read()
        samples[number] = _read() - before
    return sorted(samples)[rounds // 2]


def time_each(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], overhead_ns: int) -> list[int]:
    """Nanoseconds of ``function(*arguments[i])`` for each i, the clock's own cost taken off."""
    samples = [0] * len(arguments)
    for number, given in enumerate(arguments):
        before = _read()
        function(*given)
        samples[number] = _read() - before
    return [max(sample - overhead_ns, 0) for sample in samples]
