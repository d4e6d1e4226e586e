from __future__ import annotations

import copy
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError, DataError
from models import networks
from models.bundle import load_bundle
from models.catalogue import verify_bundle
from models.splits.parts import TrainingPart
from models.trainer.dataset import Dataset, Part
from models.trainer.settings import Fit, settings_of
from tests.support.networks import SMALL
from tests.support.training import (
    candle_settings,
    tiny_dataset,
    tiny_settings,
    train_bundle,
    write_candles,
    write_quotes,
)

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.networks.normalisers import PerWindow  # noqa: E402
from models.networks.served import Served  # noqa: E402
from models.trainer import dataset, fit  # noqa: E402
from models.trainer.forward import build_network  # noqa: E402

FIT = Fit(seeds=(1,), epochs=1, batch=64, rows_per_epoch=256, eval_rows_max=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quotes(tmp_path_factory.mktemp("quotes"))


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return tiny_dataset(folder)


def fitted(data: Dataset, name: str, settings: Fit = FIT, **changes):
    network = networks.settings_of({"name": name, **SMALL[name], **changes})
    whole = msgspec.structs.replace(settings_of(tiny_settings()), network=network, fit=settings)
    return fit.fit_seed(data, whole, PerWindow(data.values.shape[1]), 1)


@pytest.mark.parametrize("name", SMALL)
def test_every_network_trains_on_direction(data, name):
    """One epoch on generated quotes: a calibrated loss near a coin's or better, forecasts that differ, and
    weights that moved wherever they may."""
    made = fitted(data, name)
    assert made.scores["log_loss"] < np.log(2) + 0.01  # the temperature can always say that next to nothing is known
    up = fit.forecasts(made, data, data.validation)[0][:, 1]
    assert ((up > 0) & (up < 1)).all()
    # Before the temperature, which makes forecasts of a network that has learned next to nothing nearly equal.
    assert np.ptp(np.log(up / (1 - up)) * made.readings[0].temperature) > 1e-4
    torch.manual_seed(1)
    columns = data.values.shape[1]
    begun = networks.build(networks.settings_of({"name": name, **SMALL[name]}), window=30, columns=columns)
    for (key, before), after in zip(begun.named_parameters(), made.served.network.parameters(), strict=True):
        assert not torch.equal(before, after), key


def test_the_same_seed_gives_the_same_ensemble(data):
    """Members included, bit for bit."""
    one, other = (fitted(data, "stacked_ensemble") for _ in range(2))
    assert one.scores == other.scores
    for key, value in one.served.state_dict().items():
        assert torch.equal(value, other.served.state_dict()[key]), key


@pytest.mark.parametrize(
    ("name", "changes", "share"),
    [
        ("stacked_ensemble", {"combiner_share": 0.5}, 0.5),
        ("lstm_ensemble", {}, 0.25),
        ("lstm_ensemble", {"weights": "equal"}, 0.0),
        ("two_stage", {}, 0.0),
    ],
)
def test_what_combines_members_learns_from_rows_they_did_not_see(data, monkeypatch, name, changes, share):
    """Watches the parts of each stage: members come first, and none of their labels lies among the later rows."""
    seen = []
    real = fit.Stage.run

    def watched(stage, *rest):
        seen.append((stage.network, stage.part))
        return real(stage, *rest)

    monkeypatch.setattr(fit.Stage, "run", watched)
    made = fitted(data, name, **changes)
    members = list(made.served.network.members().values())
    assert [network for network, _ in seen] == [*members, made.served.network]
    later = seen[-1][1]
    assert len(later) == pytest.approx(share * len(data.train) or len(data.train), abs=1)
    ends = data.samples.spans.end_ns
    for _, part in seen[:-1]:
        if share:
            assert ends[part.index].max() < later.ts_ns.min()
            assert len(part) + len(later) == pytest.approx(len(data.train), rel=0.05)
        else:
            assert len(part) == len(data.train)
    assert not any(p.requires_grad for member in members for p in member.parameters())


def test_a_part_learns_at_its_own_rate(data):
    """A head of next to no rate stays where it began; the rest moves."""
    made = fitted(data, "hybrid", msgspec.structs.replace(FIT, learning_rates={"heads": 1e-12}))
    torch.manual_seed(1)
    network = networks.settings_of({"name": "hybrid", **SMALL["hybrid"]})
    begun = networks.build(network, window=30, columns=data.values.shape[1])
    for name, part in begun.parts().items():
        moved = max(
            (before - after).detach().abs().max().item()
            for before, after in zip(part.parameters(), made.served.network.parts()[name].parameters(), strict=True)
        )
        assert (moved < 1e-8) == (name == "heads"), name


def test_a_loss_that_is_no_number_is_said_in_one_line(data):
    """A learning rate that throws the weights out of float32."""
    with pytest.raises(DataError, match=r"in no epoch a number; lower fit.learning_rate") as caught:
        fitted(data, "mlp", msgspec.structs.replace(FIT, learning_rate=1e20))
    assert "\n" not in str(caught.value)


def test_an_ensemble_becomes_a_bundle(folder, tmp_path):
    """The whole run: members, combination, export and parity, golden tape; the card counts all parameters."""
    pytest.importorskip("onnxscript", reason="the trainer is not installed")
    network = {
        "name": "stacked_ensemble",
        "members": [{"name": "mlp", "sizes": [8]}, {"name": "bin_tabl", "features": [8], "rows": [4]}],
    }
    path = train_bundle(tmp_path / "run", folder, network=network)
    assert verify_bundle(path)["golden_predictions"] > 0
    training = load_bundle(path).manifest.training
    assert training.network == "stacked_ensemble"
    built = networks.build(networks.settings_of(network))
    assert training.parameters == sum(p.numel() for p in built.parameters())


def test_members_tell_what_they_do(data):
    """Stages in order, each with its share of the whole."""
    stages = []
    network = networks.settings_of({"name": "stacked_ensemble", **SMALL["stacked_ensemble"]})
    whole = msgspec.structs.replace(settings_of(tiny_settings()), network=network, fit=FIT)
    normaliser = PerWindow(data.values.shape[1])
    fit.fit_seed(data, whole, normaliser, 1, report=lambda text, share: stages.append((text, share)))
    shares = [share for _, share in stages]
    assert shares == sorted(shares)
    assert list(dict.fromkeys(text for text, _ in stages)) == ["seed 1, lstm_1", "seed 1, mlp_2", "seed 1"]


# --- what the loop does with what it is told --------------------------------------------------------------------


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("candles"))


def stage_of(files: Path, task: str = "classes", **changes):
    """A loop that has not begun, on candles."""
    settings = settings_of(candle_settings(task, **changes))
    made = dataset.build(settings, dataset.feature_spec(settings.features), files)
    torch.manual_seed(1)
    served = Served(PerWindow(made.values.shape[1]), build_network(settings, made))
    return fit.Stage(made, settings, served, made.train, 1, 0, torch.device("cpu"))


@pytest.mark.parametrize(
    ("schedule", "epochs"), [({"kind": "constant"}, 3), ({"kind": "warm_restarts", "cycle_epochs": 2}, 6)]
)
def test_patience_counts_epochs_and_of_warm_restarts_cycles(minutes, schedule, epochs):
    """At next to no rate nothing gets better after the first epoch: two more epochs, or two more cycles."""
    fit_told = {"learning_rate": 1e-12, "epochs": 20, "patience": 1, "schedule": schedule, "seeds": [1]}
    network = {"name": "bin_tabl", "features": [4], "rows": [3]}  # no batch norm, whose statistics would go on
    settings = settings_of(candle_settings("classes", fit=fit_told, network=network))
    made = dataset.build(settings, dataset.feature_spec(settings.features), minutes)
    seen = []
    found = fit.fit_seed(made, settings, PerWindow(3), 1, on_epoch=lambda _state, line: seen.append(line.epoch))
    assert found.epochs == len(seen) == epochs


def test_a_curriculum_begins_with_the_easier_label(minutes):
    """Watches what the steps of each epoch are given."""
    stage = stage_of(minutes, curriculum={"label": {"kind": "class", "threshold": 0.001}, "epochs": 1})
    given = []
    stage.step = lambda _batch, values: given.append(values) or torch.zeros(())
    for epoch in range(2):
        stage.epoch = epoch
        stage._learn(lambda _share: None)
    steps = stage.loader.steps
    assert all(values is stage.easy for values in given[:steps])
    assert all(values is stage.values for values in given[steps:])
    rows = stage.part.index
    assert (stage.easy[rows, 0] == 1).mean() < (stage.values[rows, 0] == 1).mean()  # fewer are flat


def test_weights_are_a_factor_of_the_loss_or_how_often_a_row_is_drawn(minutes):
    """Class weights with a mean of 1, greater for rarer classes; as draws the classes come alike."""
    stage = stage_of(minutes, weights={"classes": True})
    rows = stage.part.index
    weight, label = stage.row_weight[rows], stage.values[rows, 0]
    assert weight.mean() == pytest.approx(1.0, abs=1e-6)
    each = [weight[label == one] for one in range(3)]
    assert all(np.ptp(one) < 1e-6 for one in each)
    shares = [(label == one).mean() for one in range(3)]
    assert np.argsort([one[0] for one in each]).tolist() == np.argsort(shares)[::-1].tolist()
    for told in ({"weights": {"classes": True, "as": "draws"}}, {"oversampling": True}):
        stage = stage_of(minutes, **told, fit={"rows_per_epoch": 100_000})
        drawn = np.concatenate([batch.index for batch in stage.loader.epoch()])
        counts = np.bincount(stage.values[drawn, 0].astype(int), minlength=3) / len(drawn)
        assert counts == pytest.approx([1 / 3] * 3, abs=0.04)
        assert stage.row_weight is None
    unique = stage_of(minutes, "signal", weights={"uniqueness": True}).row_weight
    assert np.ptp(unique) > 0.1


def test_averaged_weights_are_what_is_judged_and_kept(minutes):
    """The same run with and without: other weights, and those of the average."""
    plain, kept = (
        stage_of(minutes, fit={"ema": ema, "learning_rate": 0.02, "epochs": 1}, network={"name": "cnn_lstm"})
        for ema in (0.0, 0.9)
    )
    for stage in (plain, kept):
        stage.run(lambda _state, _line: None, lambda _share: None)
    average = kept.average.module.state_dict()
    for key, value in kept.best.weights.items():
        assert torch.equal(value, average[key]), key
    moved = [key for key, value in kept.best.weights.items() if not torch.equal(value, plain.best.weights[key])]
    assert any("running_var" in key for key in moved)
    assert len(moved) > 5


def test_statistics_of_averaged_weights_are_of_whole_batches(minutes):
    """A last batch of one row has no variance; of a few it would count as much as a whole one."""
    stage = stage_of(minutes, fit={"ema": 0.9, "epochs": 1}, network={"name": "cnn_lstm"})
    batch = stage.loader.batch
    stage.part = Part(stage.data.samples, TrainingPart(stage.part.index[: 2 * batch + 1]))
    assert [len(windows) for windows, _ in stage._some_windows()] == [batch, batch]


def test_the_ends_of_the_last_epochs_are_averaged_alike_also_after_a_stop(minutes):
    """Four epochs, two of them averaged: what is judged last is the mean of the weights at both ends; a loop that goes
    on from the third epoch comes to the same bits."""
    told = {"epochs": 4, "swa_epochs": 2, "learning_rate": 0.02, "schedule": {"kind": "constant"}, "patience": 9}
    ends, states = [], []

    def keep(state, _line):
        ends.append({key: value.clone() for key, value in stage.served.state_dict().items()})
        states.append(copy.deepcopy(state))

    stage = stage_of(minutes, fit=told, network={"name": "cnn_lstm"})
    stage.run(keep, lambda _share: None)
    average = stage.ends.module.state_dict()
    weights = dict(stage.ends.module.named_parameters())
    for key in weights:
        assert torch.allclose(average[key], (ends[2][key] + ends[3][key]) / 2, atol=1e-6), key
    statistics = [key for key in average if key.endswith("running_mean")]
    assert any(not torch.allclose(average[key], ends[3][key]) for key in statistics)
    assert states[1]["ends"] is None
    again = stage_of(minutes, fit=told, network={"name": "cnn_lstm"})
    again.restore(states[2])
    again.served.load_state_dict(ends[2])
    again.run(lambda _state, _line: None, lambda _share: None)
    assert all(torch.equal(value, average[key]) for key, value in again.ends.module.state_dict().items())
    with pytest.raises(ConfigError, match=r"fit.swa_epochs 2 of 4 with schedule cosine"):
        settings_of(candle_settings("classes", fit={"epochs": 4, "swa_epochs": 2}))


def test_a_label_that_is_no_number_is_told(minutes, monkeypatch):
    """One among the labels of the table."""
    settings = settings_of(candle_settings("return"))
    real = dataset.in_memory

    def broken(*words):
        table = real(*words)
        at = int(np.flatnonzero(table.warm & table.labels["label"].known)[7])
        table.labels["label"].values[at] = np.nan
        return table

    monkeypatch.setattr(dataset, "in_memory", broken)
    with pytest.raises(DataError, match=r"1 labels of return are no numbers; expected a number, or no label at all"):
        dataset.build(settings, dataset.feature_spec(settings.features), minutes)
