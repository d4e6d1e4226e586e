"""What a training run is told: one YAML file, every key known.

Owns the settings; what values they may have is ``models.trainer.setting_checks``'.  The shipped ones lie in
``config/train``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from engine.errors import ConfigError
from engine.features.sampling import GapPolicy, Sampling
from models.evaluation.description import Figure
from models.labels import LabelSpec
from models.networks.registry import hint
from models.networks.settings import AnyNetwork, CnnSettings
from models.trainer.fit_settings import Curriculum, Fit, Loss, Section, Share, Weights
from models.trainer.setting_checks import check_keys
from models.trainer.setting_hints import nearest
from models.windows.augmentation import AugmentationSettings

TaskName = Literal["direction", "classes", "signal", "return", "variance", "regime", "multi_task", "multi_horizon"]
_LABEL_OF: Final[dict[str, str]] = {
    "direction": "change_bps",
    "classes": "class",
    "signal": "barrier",
    "return": "return",
    "variance": "parkinson_variance",
    "regime": "regime",
    "multi_horizon": "horizons",
}
"""The kind of label that a task learns where its settings do not say one."""
_NEEDED: Final = ("name", "task", "summary", "data", "features", "scope")


class Data(Section, frozen=True):
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


class Features(Section, frozen=True):
    """``columns`` is a set's name, or a list of sets and columns; ``volume`` and ``gap`` as in a feature spec.

    ``columns_folder``: a folder of one's own columns, the one that the daemon's ``features.columns_folder`` names.
    """

    columns: str | tuple[str, ...]
    window: Annotated[int, Meta(ge=1)] = 30
    sampling: Sampling = Sampling()
    volume: Literal["trades", "ticks"] | None = None
    gap: GapPolicy | None = None
    columns_folder: str = ""


class WalkForward(Section, frozen=True):
    """Origins of a growing past (``models.splits.walk_forward``); each is a run of its own."""

    origins: Annotated[int, Meta(ge=1)] = 5
    first_share: float = 0.5
    validation_share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    embargo_s: Annotated[float, Meta(ge=0)] = 0.0


class PurgedFold(Section, frozen=True):
    """The ``fold``, 1 to ``folds``, of what lies before the test is the validation part, and the rest of it is learned
    from, also what comes later, but for rows that share a moment with the fold (``models.splits.folds``)."""

    folds: Annotated[int, Meta(ge=2, le=20)]
    fold: Annotated[int, Meta(ge=1)]


class Split(Section, frozen=True):
    """Shares of the rows in time order; the rest is the test.

    Or the days (ISO 8601, UTC) that the two later parts begin with, which stay where they are when data is added.  Or
    ``walk_forward``, of which a single run trains the ``origin`` from 1 on.  ``purged``: the test stays, what lies
    before it is one fold and the rest; trials of a study are such runs, and no result.  ``judged_instruments``:
    validation and test have rows of these alone, the training of all; empty: no such difference.
    """

    train: float = 0.6
    validation: float = 0.2
    validation_from: str = ""
    test_from: str = ""
    walk_forward: WalkForward | None = None
    origin: Annotated[int, Meta(ge=0)] = 0
    judged_instruments: tuple[str, ...] = ()
    # Not among the settings where it is not set: results of record are known by the hash of theirs.
    purged: PurgedFold | msgspec.UnsetType = msgspec.UNSET


class Regimes(Section, frozen=True):
    """Volatile beyond that share of training volatilities, else bull or bear beyond ``trend`` of log return."""

    volatile_share: Annotated[float, Meta(gt=0, lt=1)] = 0.8
    trend: Annotated[float, Meta(gt=0)] = 0.03


class Assets(Section, frozen=True):
    """An embedding of the instruments; ``id_dropout``: the share of training rows that count as unknown."""

    width: Annotated[int, Meta(ge=8, le=16)] = 8
    id_dropout: Share = 0.15


class Distillation(Section, frozen=True):
    """A ``network`` that is trained first, with the ``seeds`` (default: those of the run), and teaches what it says of
    the training rows (``models.trainer.distillation``).

    ``share``: of the loss against the teacher, the rest is that against the label.  ``temperature`` softens both sides
    of a comparison of classes.
    """

    network: AnyNetwork
    seeds: tuple[int, ...] = ()
    temperature: Annotated[float, Meta(ge=1, le=20)] = 2.0
    share: Annotated[float, Meta(gt=0, le=1)] = 0.5


class Judged(Section, frozen=True):
    """What ``run.py evaluate`` is told.  ``primary``: the metric of the verdict; empty: the loss of the task.

    ``rules``: columns that are a baseline each; ``volatility``: the column that a table is made of; ``regime``: the one
    that groups the errors.  ``means``: baselines see the mean of each column over the window beside its newest value.
    ``break_even``: of a signal, the precision from which it pays.  ``stacked``: the network is judged together with
    the baselines too, weighed on validation rows (``models.evaluation.stacking``).
    """

    primary: str = ""
    rules: tuple[str, ...] = ()
    volatility: str = ""
    regime: str = ""
    means: bool = False
    break_even: Share = 0.0
    figures: tuple[Figure, ...] = ()
    # Not among the settings where it is not set, as ``split.purged``.
    stacked: bool | msgspec.UnsetType = msgspec.UNSET


class Tracking(Section, frozen=True):
    """Where the scores of each epoch go beside ``metrics.jsonl``.  ``mlflow``: the address of its server
    (http://127.0.0.1:5000) or database (sqlite:///mlflow.db); needs the extra ``track-mlflow``."""

    tensorboard: bool = False
    mlflow: str = ""
    experiment: str = "kestrel"

    def __post_init__(self) -> None:
        # The address is kept with the run and told in errors: it is no place for a secret.
        is_path = self.mlflow.startswith(("sqlite:", "file:"))
        if ("@" in self.mlflow and not is_path) or "password=" in self.mlflow.lower():
            raise ConfigError(
                "tracking.mlflow has a user name or a password in its address",
                expected="an address alone",
                do="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or for a database what its client reads",
            )


class Entries(Section, frozen=True):
    """Quantiles of the validation predictions that become the bundle's suggested thresholds."""

    sell_quantile: float = 0.2
    buy_quantile: float = 0.8


class ScopeSettings(Section, frozen=True):
    asset_classes: tuple[str, ...]
    venues: tuple[str, ...] = ("*",)
    instruments: tuple[str, ...] = ("*",)


class NormaliserSettings(Section, frozen=True):
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


class TrainSettings(Section, frozen=True):
    """``label`` of a task of one, ``labels`` (``return``, ``variance``, ``regime``) of ``multi_task``; so with
    ``loss`` and ``losses``.  The forecasts of several are weighed by what they are uncertain of (A. Kendall et al.
    2018), or simply added."""

    name: str
    task: TaskName
    summary: str
    data: Data
    features: Features
    scope: ScopeSettings
    label: LabelSpec | None = None
    labels: dict[str, LabelSpec] = msgspec.field(default_factory=dict)
    split: Split = Split()
    network: AnyNetwork = CnnSettings()
    normaliser: NormaliserSettings = NormaliserSettings()
    fit: Fit = Fit()
    loss: Loss = Loss()
    losses: dict[str, Loss] = msgspec.field(default_factory=dict)
    weighing: Literal["uncertainty", "sum"] = "uncertainty"
    weights: Weights = Weights()
    oversampling: bool = False
    augmentation: AugmentationSettings = AugmentationSettings()
    curriculum: Curriculum | None = None
    assets: Assets | None = None
    regimes: Regimes = Regimes()
    judged: Judged = Judged()
    tracking: Tracking = Tracking()
    entries: Entries = Entries()
    expires_days: float | None = None
    # Not among the settings where it is not set, as ``split.purged``.
    distillation: Distillation | msgspec.UnsetType = msgspec.UNSET

    @property
    def horizon(self) -> LabelSpec:
        """The label of a task that has one.  Raises ``ConfigError`` for others."""
        if self.label is None:
            raise ConfigError(f"the task {self.task} has several labels", expected="a task of one label")
        return self.label

    def to_yaml(self) -> bytes:
        """As a file that gives the same settings again."""
        return yaml.safe_dump(msgspec.to_builtins(self), sort_keys=False, allow_unicode=True).encode()


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
    return settings_of(plain, str(path)), hashlib.sha256(raw).hexdigest()


def settings_of(mapping: Mapping[str, Any], where: str = "settings") -> TrainSettings:
    """The settings in plain data, as YAML gives them.  Raises ``ConfigError`` that begins with ``where``."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where} holds no keys", expected=f"training settings: {', '.join(_NEEDED)} and others")
    plain = dict(mapping)
    label = plain.get("label")
    if isinstance(label, Mapping) and "kind" not in label and (kind := _LABEL_OF.get(str(plain.get("task")))):
        plain["label"] = {"kind": kind, **label}
    try:
        settings = msgspec.convert(plain, TrainSettings)
    except msgspec.ValidationError as error:
        said = nearest(str(error), TrainSettings)
        if "`$.network" in str(error):
            said = hint(str(error), plain["network"])
        if "`$.distillation.network" in str(error):
            said = hint(str(error), plain["distillation"]["network"])
        raise ConfigError(f"{where}: {error}{said}", do="see config/train for examples") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.seen}", expected=error.expected, do=error.do) from None
    except InvalidOperation:
        raise ConfigError(f"{where}: a label with a bound that is no number", expected="a finite one") from None
    check_keys(where, settings)
    return settings
