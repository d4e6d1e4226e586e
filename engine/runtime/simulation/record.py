"""What sweeps have run, a sum for each version of the code: it outlives their ledgers.

Owns the file of sums (JSON, beside the page that tells them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from engine.errors import DataError
from engine.runtime.simulation.ledger import Entry
from engine.runtime.simulation.totals import Totals, add_up, sum_up


class Sum(msgspec.Struct, frozen=True):
    """Of the seeds that one version of the code has run, each with so many ``hours`` of faults.

    ``seeds``: first and last of each unbroken row of them; ``commits`` and ``machines``: what ran them, in order;
    ``failures``: a line of the page for each violation.
    """

    code: str
    hours: float
    seeds: list[tuple[int, int]]
    commits: list[str]
    machines: list[str]
    totals: Totals
    failures: list[str]

    def __contains__(self, seed: int) -> bool:
        return any(first <= seed <= last for first, last in self.seeds)


def fold(entries: Iterable[Entry], record: Sequence[Sum] = ()) -> list[Sum]:
    """One sum for each version of the code and length of a seed, what the record holds first and never twice."""
    sums = {(one.code, one.hours): one for one in record}
    fresh: dict[tuple[str, float], list[Entry]] = {}
    for entry in entries:
        key = (entry.version.code, entry.hours)
        if key not in sums or entry.ran.outcome.seed not in sums[key]:
            fresh.setdefault(key, []).append(entry)
    for key, each in fresh.items():
        one = _sum_of(*key, each)
        sums[key] = join([sums[key], one], *key) if key in sums else one
    return list(sums.values())


def _sum_of(code: str, hours: float, entries: Sequence[Entry]) -> Sum:
    return Sum(
        code,
        hours,
        list(_rows(entry.ran.outcome.seed for entry in entries)),
        list(dict.fromkeys(short(entry.version.commit) for entry in entries)),
        list(dict.fromkeys(entry.version.machine for entry in entries)),
        sum_up(entry.ran for entry in entries),
        [
            f"- seed {each.ran.outcome.seed} (`--hours {each.hours:g}`), {one.at_s:.6f} s: {one.invariant}: {one.text}"
            for each in entries
            for one in each.ran.outcome.violations
        ],
    )


def join(sums: Sequence[Sum], code: str = "", hours: float = 0.0) -> Sum:
    """All of them as one; ``code`` and ``hours`` say of what, where they differ."""
    return Sum(
        code,
        hours,
        list(_rows(seed for one in sums for first, last in one.seeds for seed in range(first, last + 1))),
        list(dict.fromkeys(commit for one in sums for commit in one.commits)),
        list(dict.fromkeys(machine for one in sums for machine in one.machines)),
        add_up(one.totals for one in sums),
        [line for one in sums for line in one.failures],
    )


def _rows(seeds: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for seed in sorted(set(seeds)):
        if first is None or last is None or seed != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = seed
        last = seed
    if first is not None and last is not None:
        yield first, last


def read_record(path: Path) -> list[Sum]:
    """Empty when there is none yet.  Raises ``DataError`` for a file that is no record."""
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Sum])
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: {error}", expected="sums of earlier sweeps", do="move the file away") from None


def write_record(path: Path, sums: Sequence[Sum]) -> None:
    """Whole or not at all."""
    aside = path.with_name(path.name + ".new")
    aside.write_bytes(msgspec.json.format(msgspec.json.encode(sums), indent=1) + b"\n")
    aside.replace(path)


def short(commit: str) -> str:
    return commit[:7] + ("+" if commit.endswith("+") else "") if commit else "unknown"
