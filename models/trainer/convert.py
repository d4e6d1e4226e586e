"""The bundle of a run in another precision, if that costs nothing on the run's validation rows.

Owns the scores of both and the new bundle; what may be lost is ``models.trainer.acceptance``'s.  The test stays closed:
figures of the test in the new manifest are those of the version that it was converted from, which its section
``converted`` names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import BundleError
from models.bundle import Bundle
from models.evaluation.losses import two_classes
from models.manifest import ASSET, FEATURES, GRAPH, Tolerance
from models.manifest_sections import Converted, Step
from models.providers.graph import Source, source_of
from models.providers.onnx_runtime import open_session
from models.serving.batches import ONE_BY_ONE
from models.trainer.acceptance import compare, problems_of
from models.trainer.card import render_run_card
from models.trainer.dataset import Dataset, Part
from models.trainer.judged import BUNDLE, bundle_in
from models.trainer.opened import open_run
from models.trainer.precision import Target, convert_graph
from models.trainer.publish import CARD, publish
from models.trainer.standing_bundle import draft_in, settled

Float64 = npt.NDArray[np.float64]

AGREEMENT_MIN: Final = {"fp16": 0.999, "bf16": 0.99, "int8": 0.0}
"""Share of rows with the same class."""
GOLDEN_ABS: Final = {"fp16": 1e-3, "bf16": 1e-2, "int8": 5e-2}
"""How far the golden tape may be off, where its numbers are not above 1; else as a share of the greatest."""
_BATCH = 1024


def convert_run(folder: Path, precision: Target, *, data: Path | None = None, replace: bool = False) -> Bundle:
    """The bundle of the run at ``folder`` in ``precision``, in the run's folder ``bundle-<precision>``; ``replace`` as
    for ``bundle_run``.

    Raises ``BundleError`` with the numbers when scores on validation rows fall by more than is allowed or the golden
    tape is missed, ``DataError`` when run or data are not as they were.
    """
    bundle = bundle_in(folder)
    if bundle.manifest.precision != "fp32":
        raise BundleError(f"bundle {bundle.version} is {bundle.manifest.precision}", expected="fp32")
    opened = open_run(folder, data)
    rows = opened.rows
    graph = convert_graph(bundle.graph, precision)
    part = rows.validation.every(opened.settings.fit.eval_rows_max)
    before = _said(source_of(bundle), rows, part)
    after = _said(source_of(bundle)._replace(content=graph, precision=precision), rows, part)
    found = Converted(bundle.version, len(part.index), *compare(rows, part, before, after))
    check(found, precision)
    name = f"{BUNDLE}-{precision}"
    with draft_in(folder, name) as draft:
        return settled(_published(draft, bundle, graph, precision, found), folder / name, replace=replace)


def check(found: Converted, precision: Target) -> None:
    """Raises ``BundleError`` with every number that is not allowed."""
    problems = problems_of(found.agreement, found.before, found.after, AGREEMENT_MIN[precision])
    if problems:
        raise BundleError(
            f"{found.version} in {precision} on {found.rows:,} validation rows: {'; '.join(problems)}",
            do="serve it as it is",
        )


def _said(source: Source, rows: Dataset, part: Part) -> list[Float64]:
    """For each forecast ``(N, K)`` as its scores take it: probabilities of all classes, or the number.

    Scored as it is served: a graph that takes one scale for a whole batch is run row by row.
    """
    session = open_session(source)
    size = 1 if source.precision in ONE_BY_ONE else _BATCH
    pieces: list[list[npt.NDArray[Any]]] = []
    for begin in range(0, len(part.index), size):
        batch = slice(begin, begin + size)
        feeds: dict[str, npt.NDArray[Any]] = {FEATURES: rows.windows(part.position[batch])}
        if any(tensor.name == ASSET for tensor in source.inputs):
            feeds[ASSET] = rows.numbers[part.index[batch]]
        pieces.append(session.run([tensor.name for tensor in source.outputs], feeds))
    each = [np.concatenate(one).astype(np.float64) for one in zip(*pieces, strict=True)]
    return [
        two_classes(said[:, 0]) if len(target.classes) == 2 else said
        for said, target in zip(each, rows.plan.targets, strict=True)
    ]


def _published(into: Path, bundle: Bundle, graph: bytes, precision: Target, found: Converted) -> Bundle:
    manifest = bundle.manifest
    size = max(1.0, float(np.abs(bundle.golden.outputs).max()))
    contents = {name: (bundle.path / name).read_bytes() for name in manifest.files} | {GRAPH: graph}
    step = manifest.step
    if step is not None and step.graph is not None:
        del contents[step.graph.file]
        step = Step(None, f"the graph of single steps is {bundle.version}'s, in float32")
    manifest = msgspec.structs.replace(
        manifest,
        summary=f"{manifest.summary} ({precision}, from {bundle.version})",
        tolerance=Tolerance(manifest.tolerance.features_rel, GOLDEN_ABS[precision] * size),
        step=step,
        precision=precision,
        converted=found,
    )
    contents[CARD] = render_run_card(manifest, bundle.spec).encode()
    return publish(into, manifest, contents)
