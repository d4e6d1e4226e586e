"""A mixture in the event flow: every member is asked, and one forecast is made of what they say.

Owns the weights of now and what becomes of a member's failure.  A forecast holds more than the combined numbers: behind
them come the spread of each, what each member said, and the weight that it counted with (0: it had not answered).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from engine.events import Prediction, PredictionStatus
from engine.ports import Float32Array, Model
from models.mixture.mixture import Mixture

_OK, _LATE, _FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED


class MixtureModel:
    """Implements ``engine.ports.Model``.  ``members`` are open, in the mixture's order, and answer from the call.

    ``weights``: of sum 1, to begin with (None: those that are declared).  ``deadline_us``: for all of it (None: never);
    ``stopwatch`` returns nanoseconds.  Numbers are combined as
    ``sum(w_i x_i)``, the linear pool, and the spread is ``sqrt(sum(w_i (x_i - mean)^2))``.
    """

    def __init__(
        self,
        mixture: Mixture,
        members: Sequence[Model],
        *,
        deadline_us: float | None,
        stopwatch: Callable[[], int],
        weights: tuple[float, ...] | None = None,
    ) -> None:
        self.mixture = mixture
        self.count = 0
        self.late = 0
        self.failed = 0
        self.member_failures = dict.fromkeys((bundle.version for bundle in mixture.members), 0)
        self._members = tuple(members)
        self._windows = tuple(bundle.spec.window for bundle in mixture.members)
        self._weights = mixture.weights if weights is None else weights
        self._width = mixture.width
        self._needs_all = mixture.on_failure == "fail"
        self._deadline_ns = math.inf if deadline_us is None else deadline_us * 1000
        self._stopwatch = stopwatch

    @property
    def version(self) -> str:
        return self.mixture.version

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the members from the next forecast on, of sum 1."""
        return self._weights

    def weigh(self, weights: Sequence[float]) -> None:
        """Other weights from now on.  What are none for these members (their number, below 0, nothing above) changes
        nothing."""
        total = math.fsum(weights)
        if len(weights) == len(self._members) and min(weights) >= 0.0 and 0.0 < total < math.inf:
            self._weights = tuple(one / total for one in weights)

    def reset(self, instrument: str, reason: str) -> None:
        """Members with a state of their own begin anew."""
        for member in self._members:
            if (reset := getattr(member, "reset", None)) is not None:
                reset(instrument, reason)

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:
        """Never raises: trouble is a prediction marked failed."""
        self.count += 1
        started_ns = self._stopwatch()
        said: list[tuple[float, ...]] = []
        weights: list[float] = []
        missing: list[str] = []
        for member, rows, weight in zip(self._members, self._windows, self._weights, strict=True):
            answer = member.predict(instrument, window[-rows:], ts_event_ns, ts_recv_ns)
            # A late answer is an answer: whether all of it came in time is judged below.
            if answer is not None and answer.status in (_OK, _LATE) and len(answer.values) == self._width:
                said.append(answer.values)
                weights.append(weight)
            else:
                said.append((0.0,) * self._width)
                weights.append(0.0)
                self.member_failures[member.version] += 1
                missing.append(f"{member.version}: {'' if answer is None else answer.text}")
        text = "; ".join(missing)[:200]
        total = math.fsum(weights)
        if not total > 0.0 or (missing and (self._needs_all or total < self.mixture.weight_least)):
            self.failed += 1
            return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, _FAILED, (), f"without {text}")
        shares = [weight / total for weight in weights]
        values = combined(said, shares)
        if not math.isfinite(math.fsum(values)):
            self.failed += 1
            text = "the combined output is not finite"
            return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, _FAILED, (), text)
        text = f"without {text}" if missing else ""
        if self._stopwatch() - started_ns > self._deadline_ns:
            self.late += 1
            return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, _LATE, values, text)
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, _OK, values, text)


def combined(said: Sequence[tuple[float, ...]], shares: Sequence[float]) -> tuple[float, ...]:
    """Means, spreads, what each has said, and the shares (of sum 1), one behind the other."""
    means, spreads = [], []
    for each in zip(*said, strict=True):
        mean = math.fsum([share * one for share, one in zip(shares, each, strict=True)])
        square = math.fsum([share * (one - mean) ** 2 for share, one in zip(shares, each, strict=True)])
        means.append(mean)
        spreads.append(math.sqrt(square))
    return (*means, *spreads, *[number for one in said for number in one], *shares)
