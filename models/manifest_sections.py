"""Parts of a manifest that came with schema 2: what the outputs mean, which run they come from, how it was judged.

Owns these structs; the manifest itself and its checks are in ``models.manifest``.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

DIRECTION: Final = "direction"
"""The label whose forecast is the probability that the price is higher."""
Form = Literal["probability", "classes", "number", "variance"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""Of the weights in a graph; what goes in and comes out is float32 in any case."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all parts of a manifest: a key nobody knows is an error, never ignored."""


class Tensor(Section, frozen=True):
    """``shape`` has -1 where the batch goes."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"]


class Forecast(Section, frozen=True):
    """What one output of the graph is.  ``text`` says it in words.

    ``classes``: names of its columns, of the form ``classes``; of a ``probability``, that of the class it is of.
    ``label_fingerprint``: sha256 of the label's settings as JSON; empty where it has none.
    """

    name: str
    form: Form
    text: str
    horizon_rows: int
    label_kind: str
    label_fingerprint: str
    classes: tuple[str, ...] = ()

    @property
    def traded_as(self) -> Literal["", "direction", "return"]:
        """What a strategy can make of it: a probability of rising, a log return, or nothing."""
        if self.form == "probability" and self.label_kind == DIRECTION:
            return "direction"
        return "return" if self.form == "number" and self.label_kind in ("return", "horizons") else ""


class Task(Section, frozen=True):
    """``name`` of the task, ``head`` of the network, and a forecast for each output, in their order."""

    name: str
    head: str
    forecasts: tuple[Forecast, ...]


class Run(Section, frozen=True):
    """The run that the weights are from.  ``commit`` ends in ``+`` where files differed from it.

    ``served_seeds``: those whose networks are in the graph; of several, their forecasts are averaged in it.
    ``parent``: the version whose weights were gone on with (``models refresh``); empty where there is none.
    """

    name: str
    commit: str
    served_seeds: tuple[int, ...]
    parent: str = ""


class Evaluated(Section, frozen=True):
    """How the run was judged, in short; ``evaluation.json`` of the run has all of it.

    ``verdict``: against the best baseline by ``primary``.  ``opened_at``: time of the ledger's line, ISO 8601 UTC.
    ``opened_before_by``: runs that had opened these test rows before; where there are any, it counts as development.
    ``suspicions``: what looked too good; ``explained``: why it is as it is (empty: nobody has said).
    """

    primary: str
    best_baseline: str
    verdict: str
    opened_at: str
    opened_before_by: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()
    explained: str = ""


class SideGraph(Section, frozen=True):
    """A graph of the same weights beside the one that serves; who does not want it does not open it."""

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Explanation(Section, frozen=True):
    """Attention weights and uncertainty.  ``method``: what the spread is of, or why there is none."""

    graph: SideGraph | None
    method: str


class CarriedOn(Section, frozen=True):
    """Single steps with a state that is carried on, beside the windows that the network was trained on.

    ``rows``: labelled validation rows that both were scored on, ``before`` by windows, ``after`` carried on;
    ``longest``: consecutive rows of the longest run.  ``agreement`` as in ``Converted``.
    """

    rows: int
    longest: int
    agreement: float | None
    before: dict[str, float]
    after: dict[str, float]


class Step(Section, frozen=True):
    """Serving row by row with a carried state.  ``why_not``: where there is no graph, the reason; where there is one
    that may not be carried on, why that is.

    ``carried``: the state may be carried on beyond a window, as it costs no scores on validation rows
    (``carried_on``).
    """

    graph: SideGraph | None
    why_not: str = ""
    carried: bool = False
    carried_on: CarriedOn | None = None


class Converted(Section, frozen=True):
    """From which version a graph was converted to another precision, and the scores of both on validation rows.

    ``rows``: how many.  ``agreement``: share of them with the same class; None where the forecast has no classes.
    """

    version: str
    rows: int
    agreement: float | None
    before: dict[str, float]
    after: dict[str, float]


class Reference(Section, frozen=True):
    """How the inputs were spread in training (``models.reference``): of each column the deciles, and the share of the
    ``rows`` in each of the ten bins that they cut."""

    rows: int
    deciles: dict[str, tuple[float, ...]]
    shares: dict[str, tuple[float, ...]]

    def fits(self, columns: tuple[str, ...]) -> bool:
        """It tells all of these columns and no other, each whole."""
        return (
            set(self.deciles) == set(self.shares) == set(columns)
            and all(len(one) == 9 and sorted(one) == list(one) for one in self.deciles.values())
            and all(len(one) == 10 and min(one) >= 0.0 for one in self.shares.values())
        )
