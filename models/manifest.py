"""What a bundle's ``manifest.json`` says, and what its schemas allow.

Owns the format; whether the folder holds what it says is checked by ``models.bundle``, which loads it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.errors import BundleError
from models.manifest_sections import (
    DIRECTION,
    Converted,
    Evaluated,
    Explanation,
    Precision,
    Reference,
    Run,
    Section,
    SideGraph,
    Step,
    Task,
    Tensor,
)

SCHEMA = 2
"""What is written.  Schema 1 (one probability of rising, one graph) goes on being read."""
SCHEMAS = (1, SCHEMA)
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
GOLDEN = "golden.msgpack"
FEATURES = "features"
ASSET = "asset"
"""Inputs of a graph."""
ANY = "*"
"""In a scope: no limit."""


class Features(Section, frozen=True):
    """``spec`` is the ``FeatureSpec`` as JSON; ``fingerprint`` that of the features the model was trained on."""

    fingerprint: str
    spec: dict[str, Any]


class Label(Section, frozen=True):
    """What was learned: ``horizon_rows`` is in rows of the feature spec.  ``kind``: ``direction``, or a label's."""

    kind: str
    horizon_rows: int
    text: str


class Thresholds(Section, frozen=True):
    """Suggested entries on the first output: buy at or above, sell at or below; quantiles of the validation rows.

    ``share`` of those rows is beyond them; there the mid moved ``move_bps`` to the side of the entry, and a round trip
    costs ``cost_bps``.  None in bundles that do not tell it.
    """

    buy: float
    sell: float
    share: float | None = None
    move_bps: float | None = None
    cost_bps: float | None = None


class Calibration(Section, frozen=True):
    """Already inside the graph; recorded for the reader."""

    method: Literal["temperature", "none"]
    temperature: float


class Scope(Section, frozen=True):
    """What the model may be used on.  ``*`` means any; ``inputs`` are those its features need.

    ``session_calendars``: those of the training instruments, where features read trading hours; empty for a market that
    never closes.
    """

    asset_classes: tuple[str, ...]
    inputs: tuple[str, ...]
    venues: tuple[str, ...] = (ANY,)
    instruments: tuple[str, ...] = (ANY,)
    session_calendars: tuple[str, ...] = ()


class Scaling(Section, frozen=True):
    """How the graph scales one column.

    Under ``scale_free`` the ``kind`` is one of ``models.networks.served``; mean and std are of the z-score after it.
    Else ``kind`` is the normaliser's, ``mean`` what it subtracts (minimum, mean, median) and ``std`` what it divides
    by (range, deviation, distance of the quartiles); a ``std`` of 0: constant in training, always 0 to the network.
    """

    column: str
    kind: str
    mean: float
    std: float


class FittedOn(Section, frozen=True):
    """The rows of the training part that statistics are of.  ``rows_left_out``: a column of theirs was not finite.

    ``first`` and ``last``: receive time, ISO 8601 UTC.
    """

    rows: int
    rows_left_out: int
    first: str
    last: str


class Normalisation(Section, frozen=True):
    """What stands in front of the network.  ``limits``: where its values are cut; ``fitted_on``: None, nothing was."""

    kind: Literal["scale_free", "min_max", "z_score", "robust", "per_window", "none"]
    limits: tuple[float, float] | None
    fitted_on: FittedOn | None


class Metric(Section, frozen=True):
    """A figure with its 95 % interval (block bootstrap over time); no interval where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class DataFile(Section, frozen=True):
    name: str
    sha256: str


class Training(Section, frozen=True):
    """Where the weights come from.  ``rows`` counts labelled rows of train, validation and test."""

    command: str
    network: str
    parameters: int
    data: tuple[DataFile, ...]
    data_fingerprint: str
    rows: dict[str, int]
    periods: dict[str, tuple[str, str]]
    code_hash: str
    config_hash: str
    seeds: tuple[int, ...]
    served_seed: int
    libraries: dict[str, str]


class Tolerance(Section, frozen=True):
    """How far the golden tape may be off: features relative, outputs absolute."""

    features_rel: float
    outputs_abs: float


class Manifest(Section, frozen=True):
    """All that is known about a bundle.  ``metrics`` are of the test rows and of the served weights unless named."""

    schema: int
    name: str
    summary: str
    created_ns: int
    expires_ns: int | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    features: Features
    label: Label
    return_scale_bps: float
    """Mean absolute move of the mid over the horizon, training rows: ``(2 p - 1)`` times this is the expected move.
    0 where the label is no direction."""
    thresholds: Thresholds | None
    calibration: Calibration
    scope: Scope
    scaling: tuple[Scaling, ...]
    training: Training
    metrics: dict[str, Metric]
    baselines: dict[str, dict[str, Metric]]
    prediction_quantiles: dict[str, float]
    opset: int
    tolerance: Tolerance
    files: dict[str, str]
    """sha256 of every other file of the folder."""
    conformal: dict[str, float] | None = None
    normaliser: Normalisation | None = None
    """None in bundles of before it could be chosen: ``scale_free``."""
    task: Task | None = None
    """This and what follows came with schema 2; all of it is None in schema 1."""
    run: Run | None = None
    """None where no run folder was written."""
    evaluation: Evaluated | None = None
    """None where the run was not evaluated; ``metrics`` and ``baselines`` are empty then."""
    explanation: Explanation | None = None
    step: Step | None = None
    precision: Precision = "fp32"
    converted: Converted | None = None
    """From which bundle, and what that cost; None where the graph is as it was trained."""
    reference: Reference | None = None
    """None in bundles of before it was kept: drift is then measured against the first rows of a session."""

    @property
    def side_graphs(self) -> tuple[SideGraph, ...]:
        parts = (self.explanation, self.step)
        return tuple(part.graph for part in parts if part is not None and part.graph is not None)

    @property
    def output_width(self) -> int:
        """Numbers in one prediction, all outputs together."""
        return sum(math.prod(tensor.shape[1:]) for tensor in self.outputs)

    def reason_against(self, output: str) -> str:
        """Why a strategy may not trade on the output of that name (empty: the first); empty where it may."""
        if not output:
            if self.label.kind == DIRECTION:
                return ""
            return f"its task is {self.label.kind}, and strategies that name no output trade on {DIRECTION} alone"
        forecasts = () if self.task is None else self.task.forecasts
        traded = {one.name: one.traded_as for one in forecasts} or {self.outputs[0].name: "direction"}
        if output not in traded:
            return f"it has no output {output!r}, only {', '.join(traded)}"
        return "" if traded[output] else f"its output {output} is neither a probability of rising nor a return"

    @property
    def scored(self) -> bool:
        """It was judged on a test part, beside baselines."""
        return bool(self.metrics) and bool(self.baselines)


def decode_manifest(path: Path, raw: bytes) -> Manifest:
    """``path``: the bundle's folder, for its name.  Raises ``BundleError`` for what no schema that is read allows."""
    try:
        schema = msgspec.json.decode(raw, type=_SchemaOnly).schema
        if schema not in SCHEMAS:
            raise BundleError(
                f"{path / MANIFEST} has schema {schema}",
                expected=f"schema {' or '.join(map(str, SCHEMAS))}",
                do="train the bundle again",
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(
            f"{path / MANIFEST} is not valid: {error}",
            expected=f"a manifest of schema {' or '.join(map(str, SCHEMAS))}",
            do="train it again",
        ) from error
    if problem := _schema_problem(manifest):
        raise BundleError(f"{path / MANIFEST} of schema {schema} {problem}", do="train the bundle again")
    return manifest


def _schema_problem(manifest: Manifest) -> str:
    """What a manifest has that its schema does not allow; empty where there is nothing."""
    newer = (
        manifest.task, manifest.run, manifest.evaluation, manifest.explanation, manifest.step, manifest.reference,
    )  # fmt: skip
    if manifest.schema == 1:
        if any(part is not None for part in newer):
            return "has parts of schema 2"
        return "" if manifest.label.kind == DIRECTION else f"has the label {manifest.label.kind}"
    if manifest.task is None:
        return "does not say its task"
    if [one.name for one in manifest.task.forecasts] != [one.name for one in manifest.outputs]:
        return "says its outputs are others than its graph has"
    return "has no thresholds" if manifest.label.kind == DIRECTION and manifest.thresholds is None else ""


class _SchemaOnly(msgspec.Struct):
    schema: int
