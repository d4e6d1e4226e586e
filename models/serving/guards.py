"""What a model may say: numbers that its manifest declares, and not the same ones whatever the market does.

Owns the checks of outputs, and the number that tells a bad input.  They run on each prediction, so each is a comparison
or two in plain Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from models.manifest import Manifest
from models.manifest_sections import Form

PROBE = 1e8
"""A window is refused when its sum times this overflows float32: when a feature is not finite or over about 1e30, where
the sums of the normaliser would lose their range.  One pass of 0.5 us; isfinite and all take 1.7."""
SUM_TOLERANCE = 1e-3
"""Of class probabilities around 1: a softmax in half precision is off by less."""
_EDGE = 1e-5
"""Beyond 0 and 1 of a probability: means of several networks round there."""
SAME_MAX = 100
"""Different windows in a row with the same bits as an answer: after that it says nothing about the market."""

Check = Callable[[Sequence[float]], str]


class Guard(Protocol):
    def defect(self, instrument: str, values: tuple[float, ...], mark: float) -> str:
        """As ``OutputGuard``."""
        ...


class OutputGuard:
    """Of one model on any number of instruments.  ``same_max``: see ``SAME_MAX``; 0: never."""

    def __init__(self, manifest: Manifest, *, same_max: int = SAME_MAX) -> None:
        self._checks = _checks(manifest)
        self._is_probability = manifest.output_width == 1 and _forms(manifest)[0][0] == "probability"
        self._same_max = same_max
        self._said: dict[str, _Said] = {}

    def defect(self, instrument: str, values: tuple[float, ...], mark: float) -> str:
        """Why ``values`` are no forecast; empty where they may be one.

        ``mark`` is a number that follows from the window: two windows of one mark count as the same one.
        """
        if self._is_probability:
            if not -_EDGE <= values[0] <= 1.0 + _EDGE:
                return _beyond(values[0], "probability")
        else:
            for check in self._checks:
                if found := check(values):
                    return found
        said = self._said.get(instrument)
        if said is None:
            self._said[instrument] = _Said(values, mark)
        elif said.values != values:
            said.values, said.mark, said.count = values, mark, 1
        else:
            if said.mark != mark:
                said.mark = mark
                said.count += 1
            if said.count > self._same_max > 0:
                return f"the output is the same for {said.count} different windows in a row"
        return ""

    def forget(self, instrument: str) -> None:
        """What was said before counts no more."""
        self._said.pop(instrument, None)


class SpreadGuard:
    """Of a model that tells the deviation of each of its numbers behind them; ``forecasts`` judges what comes before.

    The deviation of numbers between 0 and 1 is at most a half.
    """

    def __init__(self, manifest: Manifest, forecasts: Guard) -> None:
        self._forecasts = forecasts
        self._width = manifest.output_width
        self._highest: list[float] = []
        for form, width in _forms(manifest):
            self._highest += [0.5 + _EDGE if form in ("probability", "classes") else math.inf] * width

    def defect(self, instrument: str, values: tuple[float, ...], mark: float) -> str:
        return self.spread_defect(values[self._width :]) or self._forecasts.defect(
            instrument, values[: self._width], mark
        )

    def spread_defect(self, spreads: Sequence[float]) -> str:
        """Why these are no deviations; empty where they may be."""
        for spread, highest in zip(spreads, self._highest, strict=True):
            if not 0.0 <= spread < math.inf:
                return "the spread is not finite or below 0"
            if spread > highest:
                return f"the spread {spread:.4g} is over a half, and the forecast is a probability"
        return ""


class _Said:
    __slots__ = ("count", "mark", "values")

    def __init__(self, values: tuple[float, ...], mark: float) -> None:
        self.values = values
        self.mark = mark
        self.count = 1


def _forms(manifest: Manifest) -> list[tuple[Form, int]]:
    """Form and width of each output.  Schema 1 has one, a probability."""
    widths = [math.prod(tensor.shape[1:]) for tensor in manifest.outputs]
    if manifest.task is None:
        return [("probability", width) for width in widths]
    return [(forecast.form, width) for forecast, width in zip(manifest.task.forecasts, widths, strict=True)]


def _checks(manifest: Manifest) -> list[Check]:
    checks: list[Check] = []
    first = 0
    for form, width in _forms(manifest):
        checks.append(_check(form, first, first + width))
        first += width
    return checks


def _check(form: Form, first: int, last: int) -> Check:
    def probabilities(values: Sequence[float]) -> str:
        for value in values[first:last]:
            if not -_EDGE <= value <= 1.0 + _EDGE:
                return _beyond(value, "probability")
        return ""

    def classes(values: Sequence[float]) -> str:
        if found := probabilities(values):
            return found
        total = sum(values[first:last])
        return "" if abs(total - 1.0) <= SUM_TOLERANCE else f"class probabilities sum to {total:.4g}"

    def numbers(values: Sequence[float]) -> str:
        for value in values[first:last]:
            if not -math.inf < value < math.inf:
                return _beyond(value, "number")
        return ""

    def variances(values: Sequence[float]) -> str:
        for value in values[first:last]:
            if not 0.0 <= value < math.inf:
                return _beyond(value, "variance")
        return ""

    return {"probability": probabilities, "classes": classes, "number": numbers, "variance": variances}[form]


def _beyond(value: float, what: str) -> str:
    return f"the output {value:.4g} is no {what}" if math.isfinite(value) else "the output is not finite"
