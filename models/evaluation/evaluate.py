"""One evaluation from a run folder to its report; what ``run.py evaluate`` calls.

Owns the order of the steps: everything that is fitted or chosen comes before the test is opened, the ledger's line
before any test row is read, and no step after it changes what was chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.durable import write_atomically
from engine.errors import DataError
from models.evaluation.draws import Draws
from models.evaluation.findings import Beside, Findings
from models.evaluation.ledger import Ledger, Opening
from models.evaluation.outcome import OUTCOME, Outcome
from models.evaluation.period_losses import period_losses, write
from models.evaluation.report import REPORT, render
from models.evaluation.run_folder import RunFolder
from models.evaluation.scoring import best_of, choose, score_all

Predict = Callable[[RunFolder, Opening], None]
Progress = Callable[[str], None]


def evaluate(
    path: Path | str,
    *,
    ledger: Path | str,
    commit: str,
    now_ns: int,
    explained: str = "",
    predict_test: Predict | None = None,
    progress: Progress = lambda _text: None,
    seed: int = 0,
) -> Outcome:
    """Fit and choose, open the test, score, compare.  Writes ``evaluation.json``, ``report.html`` and
    ``period-losses.json`` into the run.

    ``predict_test`` writes the run's test predictions against the opening, where the run has none yet.  ``explained``:
    why a result that is too good is true.  ``commit`` and ``now_ns`` go into the ledger.

    Raises ``DataError`` for a run that cannot be scored; where that shows before the test, the test stays shut.
    """
    started = time.monotonic()
    run = RunFolder(path)
    data, task = run.data, run.data.task
    if data.purged:
        raise DataError(
            f"the run {run.path} learned from rows after its validation part: a fold of a study's trial",
            expected="a run of parts one after another in time",
            do="train without split.purged",
        )
    train, validation = run.rows("train"), run.rows("validation")
    said = run.predictions("validation")
    if predict_test is None and not run.has_predictions("test"):
        raise DataError(f"the run {run.path} has no predictions/test.npz", do="train it to the end")
    run.check_test()
    config_sha256 = run.config_sha256
    beside = Beside.of(run)
    record = Ledger(ledger)
    record.lines()  # one that cannot be read is told before the long work
    progress("fitting baselines")
    choices = choose(data, train, validation, said.values, seed)

    opening = record.open(
        run.test_set(),
        run=run.path.resolve().name,
        commit=commit,
        config_sha256=config_sha256,
        data_fingerprint=data.fingerprint,
        now_ns=now_ns,
    )
    progress("test opened" + (f", for the {len(opening.earlier) + 1}. time" if opening.reused else ""))
    if not run.has_predictions("test") and predict_test is not None:
        predict_test(run, opening)
    test = run.sealed_test().open(opening)
    tested = run.test_predictions(opening)

    draws = Draws.cut(test.ts_ns, task.horizon_s, seed=seed)
    scored = score_all(task, choices, test, tested.values, draws)
    best = best_of(scored, task.primary)
    progress("comparing")
    findings = Findings(run, beside, choices, train, validation, said.values, test, scored, best, draws, seed)
    outcome = findings.outcome(opening, str(ledger), commit, explained.strip())
    outcome = msgspec.structs.replace(outcome, seconds=round(time.monotonic() - started, 1))
    try:
        write(run.path, period_losses(data.parts["test"].fingerprint, test.ts_ns, scored, draws))
        write_atomically(run.path / OUTCOME, msgspec.json.format(msgspec.json.encode(outcome)))
        write_atomically(run.path / REPORT, render(outcome, beside.epochs).encode())
    except OSError as error:
        raise DataError(f"the report of {run.path} cannot be written: {error.strerror}", do="check the disk") from None
    return outcome
