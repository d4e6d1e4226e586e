"""A finished run opened again: its settings, its rows, its normaliser and its networks, as they were.

Owns what all do who go on with a run: evaluate it, bundle it, convert it, refresh it.  What has come into its catalogue
since is left out; what is no more as it was is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import DataError
from engine.features.spec import FeatureSpec
from models.assets import ASSETS, AssetIds
from models.evaluation.run_folder import CONFIG, DATA, RunFolder, no_run
from models.trainer import dataset
from models.trainer.dataset import Dataset
from models.trainer.normaliser_file import read_normaliser
from models.trainer.run import fit_normaliser_of, load_fitted, restore_normaliser
from models.trainer.settings import TrainSettings, load_settings
from models.trainer.training_folder import check_same_data, check_whole, data_folder, places_of

if TYPE_CHECKING:
    from models.trainer.fit import Fitted
    from models.trainer.normalise import Fitted as Normalised


@dataclass(frozen=True)
class OpenedRun:
    """``runs``: one for each forecast.  ``rows`` number assets as the run did."""

    folder: Path
    settings: TrainSettings
    spec: FeatureSpec
    runs: tuple[RunFolder, ...]
    rows: Dataset

    def normaliser(self) -> Normalised:
        """As the run's own: kept with it where it has learned, else fitted again on its training rows, with the
        statistics that the weights were trained with: a later release may fit on other rows."""
        kept = read_normaliser(self.folder)
        if kept is not None:
            return kept
        fitted = fit_normaliser_of(self.settings, self.rows)
        restore_normaliser(self.folder, self.settings.fit.seeds[0], fitted.module)
        return fitted

    def network(self, seed: int, normaliser: Normalised) -> Fitted:
        """The trained network of a seed.  Raises ``DataError`` for weights that are damaged or of another network."""
        return load_fitted(self.folder, self.settings, self.rows, normaliser, seed)


def open_run(folder: Path, data: Path | None = None) -> OpenedRun:
    """The run at ``folder``, with its rows made again; ``data`` as for ``run_training``.

    Raises ``DataError`` for what is no run, or whose data, features or code are not those it learned from.
    """
    check_whole(folder)
    runs = tuple(RunFolder(place) for place in places_of(folder))
    if not runs:
        raise no_run(folder, DATA)
    for run in runs:
        run.check_config(folder / CONFIG)
    settings, _ = load_settings(folder / CONFIG)
    spec = dataset.feature_spec(settings.features)
    if runs[0].data.purged:
        raise DataError(
            f"the run {folder} learned from rows after its validation part: a fold of a study's trial, "
            "whose scores and thresholds are no forecast's",
            expected="a run of parts one after another in time",
            do="train without split.purged",
        )
    rows = dataset.build(settings, spec, data_folder(settings, data), only=runs[0].data.sources)
    for run in runs:
        check_same_data(run, rows)
    return OpenedRun(folder, settings, spec, runs, with_assets(rows, folder))


def with_assets(rows: Dataset, folder: Path) -> Dataset:
    """``rows`` with the numbers of instruments that the run at ``folder`` has: one that went on from another run keeps
    that one's, also where its own data are of fewer instruments."""
    try:
        assets = AssetIds.from_json((folder / ASSETS).read_bytes())
    except FileNotFoundError:
        return rows  # of before they were kept
    except OSError as error:
        raise DataError(f"{folder / ASSETS} cannot be read: {error.strerror}", do="bring it back") from None
    names = [instrument.id for instrument in rows.instruments]
    return replace(rows, assets=assets, numbers=assets.numbers(names, rows.samples.instrument))
