"""What a trained run says of its test part, against an opening of the ledger; ``run.py evaluate`` asks for it.

Owns the order: everything that can fail without the test is done before it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import DataError
from models.evaluation.importance import groups_of
from models.evaluation.ledger import Opening
from models.evaluation.run_folder import RunFolder
from models.trainer.dataset import Dataset
from models.trainer.explained import explained, permuted
from models.trainer.fit import Fitted, forecasts
from models.trainer.opened import open_run
from models.trainer.run import predictions_of
from models.trainer.training_folder import WEIGHTS, places


def training_folder_of(path: Path) -> Path | None:
    """Where the weights of a run are: in its folder, or the one above of a run of several forecasts.  None: nowhere."""
    return next((folder for folder in (path, path.parent) if (folder / WEIGHTS).is_dir()), None)


def trained_folder(path: Path) -> Path:
    """The same.  Raises ``DataError`` for a run without weights."""
    folder = training_folder_of(path)
    if folder is None:
        raise DataError(f"the run {path} has no weights", expected="a run that is trained to its end", do="resume it")
    return folder


def prepare(path: Path, data: Path | None = None, groups: Sequence[str] = ()) -> Callable[[RunFolder, Opening], None]:
    """Rows, normaliser and networks of a trained run; what is returned writes the test predictions of its seeds.  What
    the network lives on is explained first, on validation rows, where the run does not tell it yet; anew where columns
    are to be shuffled by ``groups`` (``NAME=COLUMN,COLUMN``).

    ``data`` as for ``run_training``.  Raises ``DataError`` for a run that is not done, or whose data, features or code
    are not those it learned from, and for groups that are none.
    """
    folder = trained_folder(path)
    opened = open_run(folder, data)
    rows, normaliser = opened.rows, opened.normaliser()
    found = [opened.network(seed, normaliser) for seed in opened.settings.fit.seeds]
    number = next(number for number, (_, place) in enumerate(places(folder, rows)) if place.resolve() == path.resolve())
    _explain(RunFolder(path), rows, found[0], number, groups_of(groups, rows.table.spec.columns))

    def predict(run: RunFolder, opening: Opening) -> None:
        opening.check(run.data.parts["test"].fingerprint)
        each = [forecasts(one, rows, rows.test)[number] for one in found]
        run.write_test_predictions(predictions_of(rows, rows.test, each, found), opening)

    return predict


def _explain(run: RunFolder, rows: Dataset, first: Fitted, number: int, groups: dict[str, tuple[str, ...]]) -> None:
    known = run.importance()
    gradients = [one for one in known if one.method != "permutation"]
    shuffled = [one for one in known if one.method == "permutation" and not groups]
    if not gradients:
        gradients = explained(rows, first, rows.plan.targets[number])
    if not shuffled:
        shuffled = [permuted(rows, first, number, run.data.task, groups)]
    if [*gradients, *shuffled] != known:
        run.write_importance([*gradients, *shuffled])
