"""The normaliser of a run that has not been fitted on its own training rows: it was taken over, and has learned.

Owns the file ``normaliser.json`` in the run's folder: plain numbers that make the module again, exactly.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from engine.durable import write_atomically
from engine.errors import DataError
from models.manifest import Normalisation
from models.networks.normalisers import Affine, PerWindow, Unscaled
from models.networks.served import Normaliser
from models.trainer.normalise import Fitted

FILE = "normaliser.json"


class _ScaleFree(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="scale_free"):
    kinds: tuple[str, ...]
    close_index: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Affine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="affine"):
    kind: str
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    limits: tuple[float, float] | None


class _Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="plain"):
    kind: str
    columns: int


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    module: _ScaleFree | _Affine | _Plain
    description: Normalisation


def write_normaliser(folder: Path, fitted: Fitted) -> None:
    """Raises ``OSError``."""
    module = fitted.module
    made: _ScaleFree | _Affine | _Plain
    if isinstance(module, Normaliser):
        statistics = (tuple(one.tolist()) for one in (module.mean, module.std))
        made = _ScaleFree(module.kinds, int(module.size_columns[0]), *statistics)
    elif isinstance(module, Affine):
        made = _Affine(module.kind, tuple(module.centre.tolist()), tuple(module.scale.tolist()), module.limits)
    else:
        made = _Plain(fitted.description.kind, len(module.column_scaling()))
    content = msgspec.json.encode(_Kept(made, fitted.description))
    write_atomically(folder / FILE, msgspec.json.format(content, indent=1))


def read_normaliser(folder: Path) -> Fitted | None:
    """None where the run keeps none: it is fitted on its training rows.  Raises ``DataError`` for a damaged file."""
    try:
        kept = msgspec.json.decode((folder / FILE).read_bytes(), type=_Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{folder / FILE} cannot be read: {error}", do="refresh again") from None
    about = kept.module
    if isinstance(about, _ScaleFree):
        scale_free = Normaliser(about.kinds, about.close_index)
        scale_free.mean.copy_(torch.tensor(about.mean))
        scale_free.std.copy_(torch.tensor(about.std))
        return Fitted(scale_free, kept.description)
    if isinstance(about, _Affine):
        centre, scale = (torch.tensor(one, dtype=torch.float64).numpy() for one in (about.centre, about.scale))
        return Fitted(Affine(about.kind, centre, scale, about.limits), kept.description)
    made = PerWindow(about.columns) if about.kind == "per_window" else Unscaled(about.columns)
    return Fitted(made, kept.description)
