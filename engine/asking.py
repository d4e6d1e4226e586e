"""Asking strategies: one call into user code, guarded, and what becomes of its answer.

Owns the guard and the end of a strategy that broke.  When a strategy is asked is the core's business, what its intents
become is the desk's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from engine.commands import StrategyQuarantined
from engine.desk import Desk
from engine.intents import defect_of, listed, where, words, writable
from engine.lanes import Callback, StrategySlot
from engine.ports import Probe, Recorder
from engine.stakes import GUARDIAN
from engine.view import CoreView, TwinView


class Asking:
    """Calls the strategies of one core."""

    def __init__(self, *, view: CoreView, desk: Desk, recorder: Recorder, probe: Probe) -> None:
        self._view = view
        self._twin_view = TwinView(view)
        self._desk = desk
        self._recorder = recorder
        self._mark = probe.mark
        self.waits = False
        """Nobody is asked: the account is an earlier session's until its venue has confirmed it."""
        self.fell: Callable[[], None] = _nothing
        """Called when a strategy is not trusted any more, so that what rests on it feels it at once."""

    def ask(
        self, slot: StrategySlot, callback: Callback | None, subject: object, prediction_seq: int | None = None
    ) -> None:
        """Ask one strategy and carry out its intents at once, so that the next one sees the orders they opened.

        ``callback`` is None where the strategy never acts on that; a prediction comes with its ``seq``.
        """
        if callback is None or self._desk.closing or self.waits or not slot.alive:
            return
        intents: Any
        view = self._twin_view if slot.is_twin else self._view
        try:
            if prediction_seq is None:
                intents = slot.run(callback, subject, view)
            else:
                intents = slot.run(callback, subject, prediction_seq, view)
            if type(intents) is not list and type(intents) is not tuple:
                intents = slot.run(listed, intents)
            if not intents:
                return
            defect = defect_of(intents, slot.name)
        except KeyboardInterrupt:  # the operator's, not the strategy's
            raise
        except BaseException as error:  # user code: whatever it raises ends that strategy, not the engine
            self._quarantine(slot, where(error), slot.run(words, error))
            return
        self._mark(5)
        if defect:
            self._quarantine(slot, writable(defect))
        else:
            self._desk.carry_out(intents)

    def tell_model(self, slot: StrategySlot, instrument: str, facts: tuple[tuple[str, float], ...]) -> None:
        """A model serves the instrument from now on; ``facts`` are its bundle's suggestions."""
        try:
            slot.run(slot.strategy.on_model, instrument, dict(facts))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in ``ask``
            self._quarantine(slot, where(error), slot.run(words, error))

    def try_model(self, slot: StrategySlot, instrument: str, facts: tuple[tuple[str, float], ...]) -> str:
        """The same of a model that may not serve after all: what the strategy raises is returned, and is no failure of
        the strategy.  Empty where it takes it."""
        try:
            slot.run(slot.strategy.on_model, instrument, dict(facts))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in ``ask``
            return where(error)
        return ""

    def restore(self, slot: StrategySlot, state: str) -> None:
        """Give a strategy back what it said of itself in the session before.  ``state`` is JSON."""
        try:
            slot.run(slot.strategy.restore, msgspec.json.decode(state))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in ``ask``
            self._quarantine(slot, where(error), slot.run(words, error))

    def _quarantine(self, slot: StrategySlot, text: str, detail: str = "") -> None:
        """Never called again; its orders are cancelled.

        ``text`` is on record: writable, and the same whenever the session is run again.  ``detail``: what the error
        said in its own words, for the log and the summary.
        """
        slot.alive = False
        slot.reason = f"{text}: {detail}" if detail else text
        self._recorder.record(StrategyQuarantined(self._view.now_ns, slot.name, text))
        self._desk.abandon(slot.name)
        if slot.name == GUARDIAN:
            # Its stops were part of what made new risk bearable.
            self._desk.latch.reduce(f"the guardian failed: {text}")
        self.fell()


def _nothing() -> None:
    pass
