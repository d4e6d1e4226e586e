"""One model version on one instrument: what it said, what became of it, and whether its world is still the same.

Owns the figures that rules are applied to (``figures``).  It is told; it asks nobody.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from engine.events import Prediction, PredictionStatus
from engine.seats import SERVING
from models.bundle import Bundle
from models.observer.adwin import Adwin
from models.observer.calibration import Calibration
from models.observer.maturing import COVERED, Matured, Maturing, Reading
from models.observer.outcomes import Outcomes
from models.observer.rebuilding import Rows
from models.observer.rules import CLEAR, Action, Standing, WatchRules, alarms
from models.observer.stability import Learned, Stability
from models.observer.sure_hits import SureHits
from models.observer.volatility import Volatility
from models.observer.weighing import Weighing
from models.observer.windows import Recent, Spoken
from models.reference import bins_between, newest_in_unit

CHAMPION, CANARY, OLDER, SHADOW = "champion", "canary", "older", "shadow"
"""Roles; the first three as ``engine.seats`` has them."""
_LOSS_MAX: Final = 14.0
"""Of one row, nats (``models.evaluation.losses.P_MIN``): ADWIN takes shares of it."""
_BLOCK: Final = 16
"""Rows whose mean is one value to ADWIN over the inputs: neighbours are nearly the same."""
_Z_MAX: Final = 8.0
_MATURED: Final = 4_096
_COMPARED: Final = 1_024
"""Rows with an outcome that are held for a pair: both of it mature with the same rows."""


class Track:
    """``bundle`` None: only what the record tells can be judged, no drift of inputs."""

    def __init__(
        self,
        version: str,
        role: str,
        rows: Rows,
        reading: Reading,
        rules: WatchRules,
        *,
        fee_bps: float,
        bundle: Bundle | None,
    ) -> None:
        self.version = version
        self.role = role
        self.rows = rows
        self.rules = rules
        self.standing = Standing()
        self.spoken = Spoken()
        """When it was asked and answered, of late."""
        self._withheld = ""
        """Why it does not serve whole, as the core has it; empty where it does, and of a shadow."""
        self.outcomes = Outcomes(_MATURED, reading.error_max)
        self.known: deque[Matured] = deque(maxlen=_COMPARED)
        """What has matured, in order."""
        self._maturing = Maturing(reading, rows, fee_bps)
        self._loss = Adwin(rules.adwin_delta, for_all=True)  # what it sees may take the champion away
        self._calibration = Calibration(rules.ece_max, reading.horizon_rows)
        self._sure_hits = SureHits(rules.hits_short_max, reading.horizon_rows)
        self._volatility = Volatility(rules.variance_ratio_max, reading.variance_rows)
        self._loss_rose = False
        self._loss_sum, self._loss_rows = 0.0, 0
        self._inputs: Stability | Learned | None = None
        self._watch_output({} if bundle is None else bundle.manifest.prediction_quantiles)
        self._columns: tuple[str, ...] = ()
        self._input_rows = 0
        """That ADWIN has seen."""
        self._changed_at: dict[str, int] = {}
        """By column: how many those were when it saw the last change there; the latest is last."""
        self.bundle = bundle
        self.weighing: Weighing | None = None
        """Of a mixture whose weights follow its members' losses."""
        self.compared = self.equal = self.skewed = 0
        """Predictions that were made again of rebuilt rows; to the bit; beyond the tolerance."""
        self._skew_worst = ""
        self._late = Recent(rules.window_rows)
        self._skew = Recent(rules.skew_window)
        if bundle is not None:
            self._watch_inputs(bundle)

    def _watch_output(self, quantiles: Mapping[str, float]) -> None:
        """Against ``quantiles`` of validation rows; without any, against what the session says first."""
        rules, bins = self.rules, bins_between(quantiles)
        self._output = (
            Learned(1, rules.reference_rows, rules.window_rows) if bins is None else Stability(*bins, rules.window_rows)
        )
        self._output_against = "the first rows of this session" if bins is None else "validation rows"

    def _watch_inputs(self, bundle: Bundle) -> None:
        scaling = bundle.manifest.scaling
        self._columns = tuple(one.column for one in scaling)
        self._kinds = [one.kind for one in scaling]
        self._close = self._columns.index("close") if "close" in self._columns else 0
        self._adwins = [Adwin(self.rules.adwin_delta) for _ in scaling]
        self._block = np.zeros(len(scaling))
        self._blocked = 0
        reference = bundle.manifest.reference
        self._middle: npt.NDArray[np.float64] | None = None
        self._spread: npt.NDArray[np.float64] | None = None
        if reference is not None:
            edges = np.asarray([reference.deciles[name] for name in self._columns])
            shares = np.asarray([reference.shares[name] for name in self._columns])
            self._inputs = Stability(edges, shares, self.rules.window_rows)
            self._middle, self._spread = edges[:, 4], np.maximum(edges[:, 8] - edges[:, 0], 1e-12)
        else:
            self._inputs = Learned(len(scaling), self.rules.reference_rows, self.rules.window_rows)

    # --- what happens -----------------------------------------------------------------------------------------------

    def on_row(self, window: npt.NDArray[np.float32]) -> None:
        """A warm row: do the inputs look like those of training?"""
        if self._inputs is None:
            return
        newest = newest_in_unit(window[None], self._kinds, self._close)[0]
        self._inputs.add(newest)
        if self._middle is None or self._spread is None or not np.isfinite(newest).all():
            return
        self._input_rows += 1
        self._block += np.clip(0.5 + (newest - self._middle) / (_Z_MAX * self._spread), 0.0, 1.0)
        self._blocked += 1
        if self._blocked == _BLOCK:
            means = (self._block / _BLOCK).tolist()
            for column, adwin, mean in zip(self._columns, self._adwins, means, strict=True):
                if adwin.add(mean):
                    self._changed_at.pop(column, None)
                    self._changed_at[column] = self._input_rows
            self._block[:] = 0.0
            self._blocked = 0

    def on_prediction(
        self, prediction: Prediction, row: int, event: int, *, from_ns: int = 0, spread_bps: float = math.nan
    ) -> None:
        """``row``: the one it is of, -1 where that was not found; ``event`` numbers what is being handled;
        ``from_ns``: when the answer would have come, where that is later; ``spread_bps``: of the market now."""
        outcomes = self.outcomes
        outcomes.predictions += 1
        self.spoken.add(prediction.ts_recv_ns, self.rows.begun)
        late = prediction.status is PredictionStatus.LATE
        outcomes.late += late
        self._late.add(late)
        outcomes.failed += prediction.status is PredictionStatus.FAILED
        if not prediction.values:
            return
        output = self._maturing.reading.output
        if output is not None and output < len(prediction.values):
            self._output.add(np.asarray([prediction.values[output]]))
        if row < 0:
            outcomes.unmatched += 1
        else:
            self._maturing.predicted(
                row, prediction.values, event, in_time=not late, from_ns=from_ns, spread_bps=spread_bps
            )
            if self.weighing is not None:
                self.weighing.said(row, prediction.values)

    def mature(self) -> list[Matured]:
        """What is known since the last call; each is counted."""
        found = self._maturing.matured()
        for one in found:
            self.known.append(one)
            if self.weighing is not None:
                self.weighing.matured(one)
            if self.is_return:
                self._add_return(one)
            else:
                loss = self.outcomes.add(one.said, bool(one.outcome))
                self._calibration.add(one.row, one.said, bool(one.outcome))
                self._sure_hits.add(one.row, one.said, bool(one.outcome))
                self._add_loss(min(loss / _LOSS_MAX, 1.0))
        for row, predicted, realised in self._maturing.matured_variances():
            self.outcomes.add_variance(predicted, realised)
            self._volatility.add(row, predicted, realised)
        return found

    def _add_return(self, one: Matured) -> None:
        """That it comes within what nine in ten did on validation rows is said with a probability of nine in ten."""
        inside = self.outcomes.add_return(one.said, one.outcome)
        if inside is not None:
            self._calibration.add(one.row, COVERED, inside)
            self._add_loss(float(not inside))

    def _add_loss(self, share: float) -> None:
        """Of the greatest that there is.  Labels of neighbouring rows overlap: the mean of as many rows as a label is
        long is one value to ADWIN."""
        self._loss_sum += share
        self._loss_rows += 1
        if self._loss_rows < self.reach:
            return
        if self._loss.add(self._loss_sum / self._loss_rows):
            self._loss_rose = self._loss.rose
        self._loss_sum, self._loss_rows = 0.0, 0

    def on_prices(self, bid_px: float, ask_px: float, event: int, now_ns: int) -> tuple[int, float] | None:
        """When they end a signal: its time and its profit in bps."""
        ended = self._maturing.on_prices(bid_px, ask_px, event, now_ns)
        if ended is not None:
            self.outcomes.add_signal(ended[1])
        return ended

    def compare(self, live: Prediction, again: Prediction, tolerance: float) -> None:
        """A live prediction beside the same one, made of rows that were rebuilt from the journal."""
        said = live.values[: len(again.values)]  # behind the forecast may come its spread, which is another graph's
        if not said or len(said) != len(again.values):
            return
        self.compared += 1
        worst = max(abs(one - other) for one, other in zip(said, again.values, strict=True))
        self.equal += worst == 0.0
        differs = not worst <= tolerance
        self._skew.add(differs)
        if not differs:
            return
        self.skewed += 1
        self._skew_worst = f"{live.values[0]:.6g} live, {again.values[0]:.6g} again"

    def on_standing(self, state: str, factor: float, reason: str, now_ns: int) -> None:
        """How the core has it stand from now on (``engine.events.ModelStanding``)."""
        serves = state == SERVING
        self._withheld = "" if serves and factor == 1.0 else f"{state} on {self.rows.instrument}: {reason}"
        self.spoken.allow(serves, now_ns)

    @property
    def withheld(self) -> str:
        """Why it does not serve whole, will not when the daemon has heard of what was just found, or never could."""
        if lacks := self._maturing.reading.lacks:
            return f"strategies on {self.rows.instrument} trade on {lacks}, and it has no such forecast"
        if not self._withheld and (source := self.standing.holds):
            return f"an alarm of {source} on {self.rows.instrument} takes size away"
        return self._withheld

    def speaks_at(self, ts_ns: int) -> bool:
        """Whether it was asked and answered then: what it would have won while it was stopped, broken or cold is
        nothing that can be held against another's."""
        return self.spoken.holds(ts_ns, self.rows.begun)

    def on_alarm(self, source: str, action: str) -> None:
        """An alarm of the record against this version on this instrument, or the end of one (no source: of all)."""
        self.standing.on_record(source, action, self.outcomes.predictions)
        if action != CLEAR:
            return
        if source in ("", "skew"):
            self._skew.clear()
        if source in ("", "adwin_inputs"):
            self._changed_at.clear()
        if source in ("", "calibration"):
            self._calibration.clear()
        if source in ("", "hits"):
            self._sure_hits.clear()
        if source in ("", "volatility"):
            self._volatility.clear()
        if source in ("", "latency"):
            self._late.clear()

    def _alarmed(self) -> dict[str, Any]:
        """The figures that alarms look at: they are looked at often, of many."""
        found = {
            "matured": self.outcomes.matured,
            "late_recent": self._late.yes,
            "late_of": self._late.count,
            "skewed_recent": self._skew.yes,
            "skewed_of": self._skew.count,
            "skew_worst": self._skew_worst,
            "miscalibrated": self._calibration.is_beyond,
            "loss_rose": self._loss_rose,
        }
        if self._loss.count:
            if self.is_return:
                found["errors_beyond"] = self._loss.mean
            else:
                found["loss_recent"] = self._loss.mean * _LOSS_MAX
        if self._inputs is not None and self._inputs.psi is not None:
            found["psi"] = dict(zip(self._columns, self._inputs.psi.tolist(), strict=True))
        if changed := self._inputs_changed():
            found["inputs_changed"] = changed
        if self._output.psi is not None:
            found |= {"output_psi": float(self._output.psi[0]), "output_against": self._output_against}
        if found["miscalibrated"]:
            if self.is_return and (coverage := self.outcomes.coverage()) is not None:
                found["coverage"] = coverage
            elif (error := self.outcomes.calibration_error()) is not None:
                found["ece"] = error
        if short := self._sure_hits.short:
            found["hits_short"] = [
                {"from": one.edge, "to": one.end, "rows": one.labels, "said": one.said, "hit_rate": one.hit_rate}
                for one in short
            ]
        if (beyond := self._volatility.beyond) is not None:
            found |= {"variance_recent": beyond.came, "variance_labels": beyond.labels}
        return found

    def _inputs_changed(self) -> tuple[str, ...]:
        """Columns whose mean ADWIN saw change within the last ``window_rows`` rows, the latest first."""
        since = self._input_rows - self.rules.window_rows
        return tuple(column for column, at in reversed(self._changed_at.items()) if at > since)

    def alarm_changes(self) -> list[tuple[str, Action | Literal["clear"], str]]:
        """What is to be told of its alarms (``models.observer.rules.Standing.changes``)."""
        return self.standing.changes(alarms(self._alarmed(), self.rules), self.rules, self.outcomes.predictions)

    # --- what is told -------------------------------------------------------------------------------------------------

    @property
    def reach(self) -> int:
        """Rows that its label of the direction looks ahead."""
        return self._maturing.reading.horizon_rows

    @property
    def is_return(self) -> bool:
        """What is judged is a return, no probability."""
        return self._maturing.reading.is_return

    def known_of(self, row: int) -> Matured | None:
        """A row that matured lately."""
        for held in reversed(self.known):
            if held.row == row:
                return held
            if held.row < row:
                return None
        return None

    def known_at(self, other: Matured) -> Matured | None:
        """A row of the times of another one's that matured lately: the same move of the price, whatever else a row
        holds."""
        for held in reversed(self.known):
            if (held.ts_ns, held.known_ns, held.outcome) == (other.ts_ns, other.known_ns, other.outcome):
                return held
            if held.ts_ns < other.ts_ns:
                return None
        return None

    def figures(self) -> dict[str, Any]:
        """Everything that is known, by name; numbers but for ``psi`` (by column), ``inputs_changed`` (columns), the
        words of a skew, and what the forecast is held against."""
        found = {"role": self.role, **self.outcomes.figures(), **self._alarmed()}
        if (psi := found.get("psi")) is not None:
            found["psi_worst"] = max(psi.values())
            found["psi_beyond"] = sum(value > self.rules.psi_max for value in psi.values())
        if self._inputs is not None and self._middle is not None:
            found["input_changes"] = sum(adwin.changes for adwin in self._adwins)
        if self.compared:
            found |= {"compared": self.compared, "equal": self.equal, "skewed": self.skewed}
        return found
