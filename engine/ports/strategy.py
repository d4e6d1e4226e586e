"""Who wishes for orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from engine.commands import Intent
from engine.events import OrderFilled, Prediction, Timer
from engine.ports.view import View


class Strategy(Protocol):
    """Turns predictions and market state into intents.  Pure: same calls, same intents.  Sends nothing.

    ``name`` is unique in a session.  Whatever a method raises quarantines the strategy.
    """

    name: str

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None:
        """A model serves the instrument from now on; ``facts`` are its bundle's suggestions, such as thresholds."""
        ...

    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]: ...

    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:
        """A new feature row is complete (also without a model)."""
        ...

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        """The best prices changed: exits by stop and take-profit live here."""
        ...

    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]: ...

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]: ...

    def state(self) -> dict[str, Any]:
        """Plain JSON-able state, enough for ``restore`` to go on as if never stopped."""
        ...

    def restore(self, state: dict[str, Any]) -> None: ...
