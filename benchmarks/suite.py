"""The project's benchmarks by name: ``python run.py bench [CASE...] [--quick] [--json]``.

Owns which cases there are, repetition and the verdicts.  What a case does is in the file of its name; showing is
``page``.  The rounds of the cases are interleaved and alternate in order, so that a slow minute of the machine does not
fall on one alone; a figure is the median of its rounds.  A target that is missed comes with the profile of that lane.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import (
    candles,
    codec,
    consolidated,
    daemon,
    decode,
    decode_binance,
    features,
    in_process,
    journal,
    memory,
    model,
    networks,
    order_wire,
    page,
    quality,
    risk_gate,
    serving,
    start_up,
    streams,
    swap,
    windows,
    wire,
    worker,
)
from benchmarks.figures import Case, Reading, merge
from benchmarks.machine import describe_machine
from engine.errors import ConfigError, KestrelError

CASES: tuple[Case, ...] = (
    Case("in_process_cnn", in_process.cnn, 3, in_process.profile),
    Case("in_process_no_model", in_process.no_model, 3, in_process.profile),
    Case("throughput_cnn", in_process.throughput, 2, in_process.profile),
    Case("wire_picows", wire.picows, 4, wire.profile),
    Case("wire_websockets", wire.websockets, 4),
    Case("wire_picows_100", wire.picows_slow, 2, wire.profile),
    Case("stages", in_process.stages),
    Case("decode", decode.run),
    Case("decode_binance", decode_binance.run),
    Case("streams", streams.run),
    Case("order_wire", order_wire.run, 2),
    Case("model", model.run, 3),
    Case("serving", serving.run, 3, serving.profile),
    Case("networks", networks.run, 2),
    Case("worker", worker.run, 3),
    Case("swap", swap.run),
    Case("cost_per_order", in_process.cost_per_order, 2, in_process.profile),
    Case("features", features.run, 3, features.profile),
    Case("candles", candles.run, 2, candles.profile),
    Case("consolidated", consolidated.run, 3, consolidated.profile),
    Case("quality", quality.run, 3, quality.profile),
    Case("journal", journal.run, 2, journal.profile),
    Case("risk", risk_gate.run, 3, risk_gate.profile),
    Case("codec", codec.run),
    Case("start_up", start_up.run),
    Case("memory_growth", memory.growth, 1, memory.profile),
    Case("memory_50_instruments", memory.instruments),
    Case("memory_reconnects", streams.reconnects),
    Case("windows", windows.run),
    Case("daemon_default", daemon.default),
    Case("daemon_default_apart", daemon.apart),
)


def run_suite(
    case: Sequence[str] = (), *, quick: bool = False, write: bool = False, show: bool = True
) -> dict[str, Any]:
    """Run the named cases (default: all), print the table and return ``{"cases": [...], "machine": {...}}``.

    ``quick``: fewer repetitions, no profiles.  ``write``: put the table into ``docs/benchmarks.md``, which needs all
    cases.  A case that fails is listed with its error; the others go on.  Raises ``ConfigError`` for an unknown case.
    """
    wanted = _chosen(case)
    if write and (case or quick):
        raise ConfigError("bench --write with cases or --quick", expected="a full run", do="leave them out")
    machine = describe_machine()
    gathered: dict[str, list[list[Reading]]] = {one.name: [] for one in wanted}
    failed: dict[str, str] = {}
    rounds = 1 if quick else max(one.rounds for one in wanted)
    for turn in range(rounds):
        # There and back: where two cases stand side by side, neither is always the first.
        for one in wanted if turn % 2 == 0 else reversed(wanted):
            if turn < one.rounds and one.name not in failed:
                _progress(f"{one.name} {turn + 1}/{min(one.rounds, rounds)}")
                try:
                    gathered[one.name].append(one.run(quick))
                except KestrelError as error:
                    failed[one.name] = str(error)
    readings: list[Reading] = []
    for one in wanted:
        if one.name in failed:
            readings.append(Reading(one.name, error=failed[one.name]))
            continue
        merged = merge(gathered[one.name])
        if one.profile is not None and not quick and any(reading.verdict == "missed" for reading in merged):
            _progress(f"{one.name}: profile")
            merged = [_explained(reading, one.profile) for reading in merged]
        readings.extend(merged)
    _progress("")
    if show:
        print(page.table(readings, machine, quick=quick))
    if write:
        page.write(readings, machine)
    return {"cases": [reading.as_dict() for reading in readings], "machine": machine, "quick": quick}


def _chosen(names: Sequence[str]) -> list[Case]:
    known = [one.name for one in CASES]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"benchmark {name!r} is unknown", expected=f"{near[0]!r}" if near else "one of " + ", ".join(known)
            )
    return [one for one in CASES if not names or one.name in names]


def _explained(reading: Reading, profile: Callable[[str], Sequence[str]]) -> Reading:
    """With its own profile if it missed."""
    if reading.verdict != "missed":
        return reading
    try:
        return replace(reading, profile=tuple(profile(reading.name)))
    except KestrelError as error:
        return replace(reading, profile=(f"no profile: {error}",))


def _progress(text: str) -> None:
    """What is being measured, on a terminal's stderr only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
