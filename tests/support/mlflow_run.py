"""A training run that tells MLflow its scores, in the environment that has it; prints what MLflow has then, as JSON.

Started by ``tests/unit/models/trainer/test_tracking.py`` with a folder to work in.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from models.evaluation.description import EpochLine
from models.evaluation.run_folder import RunFolder
from models.trainer.run import run_training
from models.trainer.settings import settings_of
from models.trainer.tracking import scalars, tracked
from tests.support.training import candle_settings, write_candles


class Stopped(Exception):  # noqa: N818 - ends a run from inside, and is no error
    pass


def main(folder: Path) -> dict[str, Any]:
    """A run that is stopped after its first epoch and goes on; another whose address MLflow does not take; a server
    that is gone when a run goes on."""
    data = write_candles(folder)
    address = f"sqlite:///{folder}/mlflow.db"

    def settings(mlflow: str) -> Any:
        return settings_of(candle_settings("classes", tracking={"mlflow": mlflow, "experiment": "trials"}))

    def stop(line: EpochLine) -> None:
        raise Stopped

    run = folder / "run"
    try:
        run_training(settings(address), folder=run, data=data, on_epoch=stop)
    except Stopped:
        pass
    run_training(settings(address), folder=run, data=data, resume=True)
    refused = ""
    try:
        run_training(settings(f"file:{folder}/mlruns"), folder=folder / "refused", data=data)
    except ConfigError as error:
        refused = str(error)

    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}"
    said = io.StringIO()
    with contextlib.redirect_stderr(said), tracked(settings(gone), folder) as note:
        for line in RunFolder(run).epochs():
            note(line)

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("trials")
    found = client.search_runs([experiment.experiment_id])
    names = {f"seed-{line.seed}/{name}" for line in RunFolder(run).epochs() for name in scalars(line)}
    return {
        "runs": [{"name": one.info.run_name, "status": one.info.status, "params": one.data.params} for one in found],
        "told": {
            name: [(each.step, each.value) for each in client.get_metric_history(found[0].info.run_id, name)]
            for name in sorted(names)
        },
        "epochs": [{"epoch": line.epoch, **scalars(line)} for line in RunFolder(run).epochs()],
        "refused": refused,
        "gone": gone,
        "said": said.getvalue().splitlines(),
        "made": (folder / "refused").exists(),
    }


if __name__ == "__main__":
    print("found: " + json.dumps(main(Path(sys.argv[1]))))
