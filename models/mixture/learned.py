"""Weights that were learned on validation rows, in a file: for which versions, and what they are worth there."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.durable import write_atomically
from engine.errors import BundleError


class LearnedWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``weights`` by version.  ``thresholds``: sell and buy, quantiles of the combined forecast of a direction;
    ``conformal``: quantiles of its scores by level, as in a manifest.  ``rows`` of validation that all of it is from.

    What was lost there, of each member, of equal weights (``equal``) and of these (``learned``): ``log_loss`` of
    classes, ``mse`` of returns (squared log returns), ``qlike`` of variances; one of the three is told."""

    weights: dict[str, float]
    rows: int
    log_loss: dict[str, float] = {}
    conformal: dict[str, float] = {}
    thresholds: tuple[float, float] | None = None
    mse: dict[str, float] = {}
    qlike: dict[str, float] = {}

    @property
    def metric(self) -> str:
        """Which of the three is told."""
        return "mse" if self.mse else "qlike" if self.qlike else "log_loss"

    @property
    def losses(self) -> dict[str, float]:
        found: dict[str, float] = getattr(self, self.metric)
        return found


def read_weights(path: Path) -> LearnedWeights:
    """Raises ``BundleError`` for a file that is missing or is not one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=LearnedWeights)
    except (OSError, msgspec.MsgspecError) as error:
        raise BundleError(
            f"the weights {path} cannot be read: {' '.join(str(error).split())}",
            expected="a file of models weigh",
            do="python run.py models weigh RUN RUN --out FILE",
        ) from None


def write_weights(path: Path, learned: LearnedWeights) -> None:
    """Raises ``BundleError`` when the disk will not take it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.format(msgspec.json.encode(learned), indent=1))
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror}", do="choose another file") from None
