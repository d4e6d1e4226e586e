"""What a training run is told: one YAML file, every key known.

Owns the settings and their checks; the shipped ones lie in ``config/train``.
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from engine.errors import ConfigError
from engine.features.sampling import GapPolicy, Sampling
from models.networks.registry import hint
from models.networks.settings import AnyNetwork, CnnSettings


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Data(_Section, frozen=True):
    """Either ``files``, relative to the data folder, or ``instruments`` (ids: BTC/USD@coinbase) of a ``catalogue``.

    Files are all of quotes and trades, or all of candles; of theirs, ``instruments`` names those to train on, default
    all. ``quote`` is what symbols of candles are priced in that do not say it.

    What the columns read beside them, other instruments' prices and published series, comes from the same place: files
    of both are among ``files`` (and are not trained on), a catalogue is asked for what the columns name.
    ``start`` and ``end`` (ISO 8601, UTC) bound receive time; what was published before ``start`` is known then.
    ``rows_folder``: where rows and labels are kept, to be mapped by the next run on the same; empty: in memory alone.
    """

    files: tuple[str, ...] = ()
    catalogue: str = ""
    instruments: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    quote: str = ""
    rows_folder: str = ""


class Features(_Section, frozen=True):
    """``columns`` is a set's name, or a list of sets and columns; ``volume`` and ``gap`` as in a feature spec.

    ``columns_folder``: a folder of one's own columns, the one that the daemon's ``features.columns_folder`` names.
    """

    columns: str | tuple[str, ...]
    window: int = 30
    sampling: Sampling = Sampling()
    volume: Literal["trades", "ticks"] | None = None
    gap: GapPolicy | None = None
    columns_folder: str = ""


class LabelSettings(_Section, frozen=True):
    """Direction of the mid over ``horizon_rows``; rows whose label spans more than ``span_s_max`` are left out."""

    horizon_rows: int
    span_s_max: float


class Split(_Section, frozen=True):
    """Shares of the rows in time order; the rest is the test.

    Or the days (ISO 8601, UTC) that the two later parts begin with, which stay where they are when data is added.
    """

    train: float = 0.6
    validation: float = 0.2
    validation_from: str = ""
    test_from: str = ""


class Fit(_Section, frozen=True):
    """``rows_per_epoch`` random training rows an epoch; ``eval_rows_max`` evenly spaced rows of validation and test.

    ``learning_rates``: of single parts of the network (of a hybrid: cnn, lstm, fusion, heads); the others take
    ``learning_rate``.

    One thread by default: a batch takes 45 ms, a second thread saves little alone and loses much on a busy machine.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    epochs: int = 8
    patience: int = 2
    batch: int = 256
    rows_per_epoch: int = 24_576
    eval_rows_max: int = 16_384
    learning_rate: float = 1e-3
    learning_rates: dict[str, float] = {}
    weight_decay: float = 1e-2
    label_smoothing: float = 0.02
    threads: int = 1


class Entries(_Section, frozen=True):
    """Quantiles of the validation predictions that become the bundle's suggested thresholds."""

    sell_quantile: float = 0.2
    buy_quantile: float = 0.8


class ScopeSettings(_Section, frozen=True):
    asset_classes: tuple[str, ...]
    venues: tuple[str, ...] = ("*",)
    instruments: tuple[str, ...] = ("*",)


class NormaliserSettings(_Section, frozen=True):
    """How the graph scales raw features.  Whatever is fitted is fitted on training rows only.

    - ``scale_free``: prices in bps of the window's close, quantities in multiples of their mean, then a z-score; the
      only one beside ``per_window`` that serves instruments of any price
    - ``min_max`` to [0, 1]; ``z_score``; ``robust`` (median and quartiles); ``per_window`` (z-score within each window)
    - ``none``: raw

    ``clip``: what lies beyond the training's range is cut, ``min_max`` at 0 and 1, ``z_score`` and ``robust`` at +-8
    (default), or passed on as it is.  The other kinds have no such choice.
    """

    kind: Literal["scale_free", "min_max", "z_score", "robust", "per_window", "none"] = "scale_free"
    clip: bool | None = None


class TrainSettings(_Section, frozen=True):
    name: str
    task: Literal["direction"]
    summary: str
    data: Data
    features: Features
    label: LabelSettings
    scope: ScopeSettings
    split: Split = Split()
    network: AnyNetwork = CnnSettings()
    normaliser: NormaliserSettings = NormaliserSettings()
    fit: Fit = Fit()
    entries: Entries = Entries()
    expires_days: float | None = None


def load_settings(path: Path) -> tuple[TrainSettings, str]:
    """The settings and the sha256 of their file.  Raises ``ConfigError`` that names the file and the key."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", expected="a YAML file of training settings"
        ) from error
    try:
        plain = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        settings = msgspec.convert(plain, TrainSettings)
    except msgspec.ValidationError as error:
        nearest = hint(str(error), plain["network"]) if "`$.network" in str(error) else _nearest(str(error))
        raise ConfigError(f"{path}: {error}{nearest}", do="see config/train for examples") from error
    _check(path, settings)
    return settings, hashlib.sha256(raw).hexdigest()


def _nearest(message: str) -> str:
    """For an unknown key, the key that was probably meant."""
    if "unknown field" not in message:
        return ""
    key = message.split("`")[1]
    known = [field for section in (TrainSettings, *_Section.__subclasses__()) for field in section.__struct_fields__]
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _check(path: Path, s: TrainSettings) -> None:
    def require(good: bool, seen: str, expected: str) -> None:
        if not good:
            raise ConfigError(f"{path}: {seen}", expected=expected)

    require(s.name.replace("-", "").isalnum(), f"name {s.name!r}", "letters, digits and dashes")
    require(bool(s.data.files or s.data.catalogue), "data.files is empty", "at least one file, or a catalogue")
    require(not (s.data.files and s.data.catalogue), "data.files and data.catalogue", "one of the two")
    require(bool(s.data.files or s.data.instruments), "data.catalogue", "the instruments to train on")
    require(s.label.horizon_rows >= 1, f"label.horizon_rows {s.label.horizon_rows}", "at least 1")
    require(s.label.span_s_max > 0, f"label.span_s_max {s.label.span_s_max}", "more than 0")
    require(
        bool(s.split.validation_from) == bool(s.split.test_from),
        f"split.validation_from {s.split.validation_from!r} and split.test_from {s.split.test_from!r}",
        "both or none",
    )
    require(
        min(s.split.train, s.split.validation) > 0 and s.split.train + s.split.validation < 1,
        f"split {s.split.train} and {s.split.validation}",
        "positive shares that leave some for the test",
    )
    require(
        bool(s.fit.seeds) and s.fit.epochs >= 1 and s.fit.batch >= 2 and s.fit.rows_per_epoch >= s.fit.batch,
        "fit settings",
        "a seed, an epoch, a batch of 2 or more and rows_per_epoch of at least a batch",
    )
    require(
        s.normaliser.clip is None or s.normaliser.kind in ("min_max", "z_score", "robust"),
        f"normaliser.clip {s.normaliser.clip} with normaliser.kind {s.normaliser.kind}",
        "no clip: only min_max, z_score and robust have that choice",
    )
    try:
        s.network.check()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.seen}", expected=error.expected) from None
    require(
        all(rate > 0 for rate in (s.fit.learning_rate, *s.fit.learning_rates.values())),
        f"learning rates {s.fit.learning_rate} {s.fit.learning_rates or ''}".rstrip(),
        "more than 0",
    )
    require(s.fit.threads >= 1, f"fit.threads {s.fit.threads}", "at least 1")
    require(
        0 < s.entries.sell_quantile < s.entries.buy_quantile < 1,
        f"entries {s.entries.sell_quantile} and {s.entries.buy_quantile}",
        "0 < sell_quantile < buy_quantile < 1",
    )
