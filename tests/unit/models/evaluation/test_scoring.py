"""What validation decided is what the test is scored with: by seed and for their average, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.calibration import temperature_of, tempered
from models.evaluation.draws import Draws
from models.evaluation.losses import log_losses
from models.evaluation.ranking import best_threshold
from models.evaluation.scoring import AVERAGED, NETWORK, choose, score_all
from tests.support import made_up_runs as made_up

for library in ("lightgbm", "sklearn", "arch"):
    pytest.importorskip(library)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory):
    """Two seeds that exaggerate, of a signal: labels, what both said, and the scores of the test."""
    made = made_up.signal(300)
    run = made_up.write_run(tmp_path_factory.mktemp("scoring") / "run", made, shut=True)
    train, validation = run.rows("train"), run.rows("validation")
    said = {
        part: np.stack([tempered(one, 0.4) for one in made_up.seeds_of(oracle, "classes", 0.3, (1, 2))])
        for part in ("validation", "test")
        for _, oracle in [made.part(part)]
    }
    choices = choose(run.data, train, validation, said["validation"], 0)
    test = made.part("test")[0]
    found = score_all(made.task, choices, test, said["test"], Draws.cut(test.ts_ns, made.task.horizon_s))
    return validation.classes, said, test.classes, {one.name: one for one in found}


def test_each_seed_has_its_own_temperature_and_threshold_from_validation(scored) -> None:
    """Mean loss over two seeds, each softened by its own temperature; thresholds are of what is softened."""
    label, said, truth, found = scored
    network, losses = found[NETWORK], []
    for place, (seen, unseen) in enumerate(zip(said["validation"], said["test"], strict=True)):
        temperature = temperature_of(label, seen)
        assert network.temperatures[place] == pytest.approx(temperature)
        assert temperature > 1.5
        threshold = best_threshold((label == 1).astype(float), tempered(seen, temperature)[:, 1])
        assert network.thresholds[place] == pytest.approx(threshold)
        losses.append(log_losses(truth, tempered(unseen, temperature)))
    assert network.estimates["log_loss"].value == pytest.approx(np.mean(losses))
    assert network.loss == pytest.approx(np.mean(losses, axis=0))


def test_the_average_is_of_softened_seeds_and_softened_again(scored) -> None:
    """One forecast: a mean of probabilities is too timid, and has a temperature and a threshold of its own."""
    label, said, truth, found = scored
    temperatures = found[NETWORK].temperatures
    seen, unseen = (
        np.mean([tempered(one, t) for one, t in zip(said[part], temperatures, strict=True)], axis=0)
        for part in ("validation", "test")
    )
    own = temperature_of(label, seen)
    assert abs(own - 1) > 1e-3
    averaged = found[AVERAGED]
    assert averaged.temperatures == pytest.approx((own,))
    assert averaged.forecast == pytest.approx(tempered(unseen, own))
    threshold = best_threshold((label == 1).astype(float), tempered(seen, own)[:, 1])
    assert averaged.thresholds == pytest.approx((threshold,))
    assert (averaged.said == (averaged.forecast[:, 1] >= averaged.thresholds[0])).all()
    assert averaged.estimates["log_loss"].value == pytest.approx(log_losses(truth, averaged.forecast).mean())
