"""What strategies are told of a bundle: the facts of ``ModelAssigned``.

Owns their names on this side; ``strategies.forecasts`` reads them, and says what each means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from engine.seats import EXPIRES_NS
from models.manifest import Manifest

Facts = tuple[tuple[str, float], ...]
SPREAD: Final = "_spread"
"""Behind the name of an output in the graph that tells its deviation."""
VARIANCES: Final = ("realised_variance", "parkinson_variance")
"""Labels of volatility whose forecast is told as one."""
_BPS_OF_LOG_RETURN: Final = 1e4


def facts_of(manifest: Manifest) -> Facts:
    """Suggestions of a bundle, and where its forecasts are among the numbers of a prediction."""
    thresholds = manifest.thresholds
    suggested = () if thresholds is None else (("buy", thresholds.buy), ("sell", thresholds.sell))
    return (
        *suggested,
        ("return_scale_bps", manifest.return_scale_bps),
        ("horizon_rows", float(manifest.label.horizon_rows)),
        *_outputs(manifest),
        *conformal_facts(manifest, manifest.conformal or {}),
        *(() if manifest.expires_ns is None else ((EXPIRES_NS, float(manifest.expires_ns)),)),
    )


def _outputs(manifest: Manifest) -> Facts:
    """Place, form and horizon of each output.  Schema 1 has one, a probability of rising."""
    found: list[tuple[str, float]] = []
    place = 0
    forecasts = () if manifest.task is None else manifest.task.forecasts
    for number, tensor in enumerate(manifest.outputs):
        found.append((f"output.{tensor.name}", float(place)))
        traded_as = forecasts[number].traded_as if forecasts else "direction"
        if traded_as == "direction":
            found.append((f"direction.{tensor.name}", 1.0))
        elif traded_as == "return":
            found.append((f"bps.{tensor.name}", _BPS_OF_LOG_RETURN))
        elif forecasts[number].form == "variance" and forecasts[number].label_kind in VARIANCES:
            found.append((f"{forecasts[number].label_kind}.{tensor.name}", 1.0))
        if forecasts and number:
            found.append((f"horizon_rows.{tensor.name}", float(forecasts[number].horizon_rows)))
        place += math.prod(tensor.shape[1:])
    return tuple(found)


def conformal_facts(manifest: Manifest, quantiles: Mapping[str, float]) -> Facts:
    """Quantiles by ``LEVEL`` and ``LEVEL.NAME`` (of the manifest's outputs), by their error rate."""
    found = []
    # The longest first, as a name may end with another one.
    names = sorted((tensor.name for tensor in manifest.outputs), key=len, reverse=True)
    for key, quantile in quantiles.items():
        name = next((one for one in names if key.endswith(f".{one}")), "")
        behind = f".{name}" if name else ""
        rate = round(1.0 - float(key.removesuffix(behind)), 9)
        found.append((f"conformal_{rate:g}{behind}", quantile))
    return tuple(found)
