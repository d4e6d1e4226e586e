"""Whether a recurrent network may be served row by row with a state that is carried on: judged on its validation rows.

It was trained and tested on windows; carried on beyond them it is another function.  Owns the comparison of the two on
runs of consecutive rows, as long as there are, with the scores and the bounds of a conversion.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.evaluation.losses import two_classes
from models.manifest import ASSET, FEATURES
from models.manifest_sections import CarriedOn, SideGraph, Step
from models.providers.graph import Source, source_of
from models.providers.onnx_runtime import open_session
from models.splits import HeldOutPart
from models.trainer.acceptance import compare, problems_of
from models.trainer.card import render_run_card
from models.trainer.dataset import Dataset, Part
from models.trainer.publish import CARD, publish

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
AGREEMENT_MIN: Final = 0.99
"""Share of rows with the same class, carried on and by windows."""
ROWS_MAX: Final = 20_000
"""Consecutive rows that are stepped through at most."""
ROWS_LEAST: Final = 500
WINDOWS_LEAST: Final = 10
"""How many windows long the longest run has to be: what a state forgets in one says little of the next."""
_BATCH: Final = 1024


def with_carrying(bundle: Bundle, rows: Dataset) -> Bundle:
    """The bundle, in its place, with what its manifest says of a carried state; itself where it has no steps.

    Raises ``BundleError`` as ``publish``.
    """
    step = bundle.manifest.step
    if step is None or step.graph is None:
        return bundle
    manifest = msgspec.structs.replace(bundle.manifest, step=_judged(bundle, step, step.graph, rows))
    contents = {name: (bundle.path / name).read_bytes() for name in manifest.files}
    contents[CARD] = render_run_card(manifest, bundle.spec).encode()
    return publish(bundle.path.parent, manifest, contents)


def _judged(bundle: Bundle, step: Step, graph: SideGraph, rows: Dataset) -> Step:
    runs = runs_of(rows)
    index = np.concatenate([rows.validation.index[of] for of, _ in runs]) if runs else np.zeros(0, np.int64)
    longest = max((len(positions) for _, positions in runs), default=0)
    if len(index) < ROWS_LEAST or longest < WINDOWS_LEAST * rows.window:
        why = f"{len(index):,} validation rows in runs of at most {longest:,} are too few to judge a carried state by"
        return msgspec.structs.replace(step, why_not=why, carried=False, carried_on=None)
    part = Part(rows.samples, HeldOutPart(index))
    scores = compare(rows, part, _by_windows(bundle, rows, part), _carried(bundle, graph, rows, runs))
    problems = problems_of(*scores, AGREEMENT_MIN)
    why = f"carried on, on {len(index):,} validation rows: {'; '.join(problems)}" if problems else ""
    judged = CarriedOn(len(index), longest, *scores)
    return msgspec.structs.replace(step, why_not=why, carried=not problems, carried_on=judged)


def runs_of(rows: Dataset) -> list[tuple[Int64, Int64]]:
    """Of each run of consecutive warm rows in the validation part: which of its labelled rows lie in it, and the
    table's rows from first to last.  The longest first, ``ROWS_MAX`` rows in all."""
    table, position = rows.table, rows.validation.position
    order = np.argsort(position, kind="stable")
    own = position[order]
    if not len(own):
        return []
    # A row that is not warm ends a run, as in a session, and so does an instrument's end.
    cold = np.concatenate([[0], np.cumsum(~table.warm)])
    breaks = (cold[own[1:] + 1] > cold[own[:-1]]) | (table.instrument_of(own[1:]) != table.instrument_of(own[:-1]))
    made = [
        (order[chosen], np.arange(own[chosen[0]], own[chosen[-1]] + 1))
        for chosen in np.split(np.arange(len(own)), np.flatnonzero(breaks) + 1)
    ]
    found, left = [], ROWS_MAX
    for of, positions in sorted(made, key=lambda run: -len(run[1])):
        kept = positions[:left]
        if not len(kept):
            break
        found.append((of[position[of] <= kept[-1]], kept))
        left -= len(kept)
    return found


def _by_windows(bundle: Bundle, rows: Dataset, part: Part) -> list[Float64]:
    session = open_session(source_of(bundle))
    names = [tensor.name for tensor in bundle.manifest.outputs]
    pieces = []
    for begin in range(0, len(part.index), _BATCH):
        batch = slice(begin, begin + _BATCH)
        feeds: dict[str, npt.NDArray[Any]] = {FEATURES: rows.windows(part.position[batch])}
        if any(tensor.name == ASSET for tensor in bundle.manifest.inputs):
            feeds[ASSET] = rows.numbers[part.index[batch]]
        pieces.append(session.run(names, feeds))
    return _as_scored(rows, [np.concatenate(one) for one in zip(*pieces, strict=True)])


def _carried(bundle: Bundle, graph: SideGraph, rows: Dataset, runs: list[tuple[Int64, Int64]]) -> list[Float64]:
    """What the steps say of the same rows, each run from the whole of its first window on."""
    source = Source(bundle.version, bundle.side_graphs[graph.file], graph.inputs, graph.outputs, "fp32")
    session = open_session(source)
    outputs = [tensor.name for tensor in bundle.manifest.outputs]
    states = [tensor for tensor in graph.inputs if tensor.name not in (FEATURES, ASSET)]
    names = [*outputs, *(f"{tensor.name}_next" for tensor in states)]
    takes_asset = any(tensor.name == ASSET for tensor in graph.inputs)
    position, pieces = rows.validation.position, []
    for of, positions in runs:
        feeds: dict[str, npt.NDArray[Any]] = {
            tensor.name: np.zeros([1 if size < 0 else size for size in tensor.shape], np.float32) for tensor in states
        }
        if takes_asset:
            feeds[ASSET] = rows.numbers[rows.validation.index[of[:1]]]
        wanted = set(position[of].tolist())
        for row in range(positions[0] - rows.window + 1, positions[-1] + 1):
            said = session.run(names, feeds | {FEATURES: rows.values[None, row : row + 1]})
            feeds |= {tensor.name: state for tensor, state in zip(states, said[len(outputs) :], strict=True)}
            if row in wanted:
                pieces.append(said[: len(outputs)])
    return _as_scored(rows, [np.concatenate(one) for one in zip(*pieces, strict=True)])


def _as_scored(rows: Dataset, each: list[npt.NDArray[Any]]) -> list[Float64]:
    """For each forecast ``(N, K)`` as its scores take it: probabilities of all classes, or the number."""
    return [
        two_classes(said[:, 0].astype(np.float64)) if len(target.classes) == 2 else said.astype(np.float64)
        for said, target in zip(each, rows.plan.targets, strict=True)
    ]
