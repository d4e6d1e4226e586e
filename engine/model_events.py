"""Facts of models: what serving tells the core, and what the core says of who serves.

Owns their form; conventions are ``engine.events``.  Serving computes, loads and watches outside the core, in threads,
processes and files; what of it matters to a decision arrives as one of these, so that a session replays from its
record.
"""

from __future__ import annotations

from engine.event import Event, PredictionStatus


class PredictionMade(Event, frozen=True, array_like=True, gc=False, tag=50):
    """A model's answer that was computed off the loop.

    ``ts_event_ns`` and ``ts_recv_ns`` are its arrival; ``row_event_ns`` and ``row_ns`` those times of the row that the
    model was asked about.  The rest is as in ``engine.events.Prediction``, which the core makes of it.
    """

    instrument: str
    model: str
    row_event_ns: int
    row_ns: int
    status: PredictionStatus
    values: tuple[float, ...]
    text: str = ""


class ModelOffered(Event, frozen=True, array_like=True, gc=False, tag=51):
    """A model that is open and checked may serve an instrument from now on.

    ``role``: champion, canary or older (what serves while a champion is broken, where that is the fallback).  An empty
    ``model`` takes the role away.  ``spec`` and ``facts`` are as in ``engine.events.ModelAssigned``; ``share`` is a
    canary's part of each entry's size (0 to 0.5).
    """

    instrument: str
    role: str
    model: str
    spec: str
    facts: tuple[tuple[str, float], ...]
    share: float = 0.0
    reason: str = ""


class ModelAlarmed(Event, frozen=True, array_like=True, gc=False, tag=52):
    """Whoever watches a model says what is to be done about it.

    ``source`` is what was looked at (psi, adwin, calibration, skew, ...), and each has its own alarm.  ``action``:
    ``alert`` changes nothing, ``size_down`` multiplies what is entered by ``factor`` (0 to 1), ``stop`` takes its
    predictions away, ``clear`` ends the source's alarm (an empty source: all of them).
    """

    instrument: str
    model: str
    source: str
    action: str
    factor: float = 1.0
    text: str = ""


class ModelWeighed(Event, frozen=True, array_like=True, gc=False, tag=53):
    """Weights of a live ensemble's members from now on, in the members' order."""

    instrument: str
    model: str
    weights: tuple[float, ...]
    reason: str = ""


class ProviderChanged(Event, frozen=True, array_like=True, gc=False, tag=54):
    """An execution provider failed, and another one computes the model from now on."""

    model: str
    before: str
    after: str
    text: str = ""


class ModelStanding(Event, frozen=True, array_like=True, gc=False, tag=83):
    """Derived: how a model stands on an instrument, whenever that changes.

    ``role`` as in ``ModelOffered``.  ``state``: serving, warming (its features are not warm yet), broken (late or
    failed too often in a row), expired, stopped (an alarm), gone (the role is nobody's, or the offer was refused).
    ``factor``: what of the size of entries alarms leave.
    """

    instrument: str
    role: str
    model: str
    state: str
    factor: float = 1.0
    reason: str = ""
