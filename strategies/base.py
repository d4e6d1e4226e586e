"""A strategy that does nothing, to derive from: override what you need.

Owns the empty defaults of ``engine.ports.Strategy``.  Whatever a method returns is a list of wishes; risk judges each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from engine.commands import Intent
from engine.events import OrderFilled, Prediction, Timer
from engine.lanes import never_acts
from engine.ports import View


class NoParams(msgspec.Struct, frozen=True):
    """Parameters of a strategy that has none."""


class BaseStrategy:
    """``Params`` is the ``msgspec.Struct`` that configuration is read into; an instance of it is ``self.params``.

    ``feature_columns``: columns of the features that it cannot do without; a version whose features have others is then
    not swapped in.  None: those that it has read so far.
    """

    Params: ClassVar[type[msgspec.Struct]] = NoParams
    feature_columns: tuple[str, ...] | None = None

    def __init__(self, name: str, instruments: Sequence[str], params: Any = None) -> None:
        self.name = name
        self.instruments = tuple(instruments)
        self.params = self.Params() if params is None else params

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None:
        """A model serves the instrument; override to take its suggestions (``buy``, ``sell``, ...)."""

    @never_acts
    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Called once before the first event, with what ``state`` returned."""
