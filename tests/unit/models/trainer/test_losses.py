from __future__ import annotations

import math

import numpy as np
import pytest

from models.trainer.fit_settings import Loss
from models.trainer.tasks import Target

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from torch.nn import functional as F  # noqa: E402, N812

from models.evaluation.forecasts import qlikes  # noqa: E402
from models.trainer.losses import Objective, TargetLoss  # noqa: E402
from models.trainer.readings import Reading, calibrated, forecast  # noqa: E402

THREE = Target("classes", "classes", "classes", slice(0, 3), "label", 1)
TWO = Target("signal", "signal", "classes", slice(0, 1), "label", 8)
VARIANCE = Target("variance", "variance", "variance", slice(0, 1), "label", 5)
RETURN = Target("return", "return", "return", slice(0, 1), "label", 1)
CLASSES = np.array([0.0] * 10 + [1.0] * 70 + [2.0] * 20)
SIGNALS = np.array([0.0] * 90 + [1.0] * 10)
RAW = torch.tensor([[0.3, -0.2, 0.9], [1.5, 0.1, -0.4], [-0.7, 0.6, 0.2]])
LABEL = torch.tensor([2.0, 0.0, 1.0])


PLAIN = Reading()


def rows(target, loss, raw, values, *, train=CLASSES, reading=PLAIN, smoothing=0.0):
    return TargetLoss(target, loss, reading, train, smoothing)(raw, values)


def test_cross_entropy_of_two_classes_is_that_of_one_logit():
    """Against torch's, with smoothing as the former loop had it."""
    logit, label = torch.tensor([[0.4], [-1.2]]), torch.tensor([1.0, 0.0])
    smooth = label * 0.9 + 0.05
    wanted = F.binary_cross_entropy_with_logits(logit[:, 0], smooth, reduction="none")
    assert torch.allclose(rows(TWO, Loss(), logit, label, train=SIGNALS, smoothing=0.1), wanted)


def test_weighted_losses_count_classes_alike_or_as_told():
    """Balanced: ``1 / (K share)``; of two classes that is the weighted BCE."""
    plain = F.cross_entropy(RAW, LABEL.long(), reduction="none")
    share = torch.tensor([0.1, 0.7, 0.2])
    assert torch.allclose(rows(THREE, Loss(kind="weighted"), RAW, LABEL), plain / (3 * share[LABEL.long()]))
    told = Loss(kind="weighted", class_weights=(1.0, 2.0, 4.0))
    assert torch.allclose(rows(THREE, told, RAW, LABEL), plain * torch.tensor([4.0, 1.0, 2.0]))
    logit, label = torch.tensor([[0.4], [-1.2]]), torch.tensor([1.0, 0.0])
    ours = rows(TWO, Loss(kind="weighted", class_weights=(1.0, 9.0)), logit, label, train=SIGNALS)
    wanted = F.binary_cross_entropy_with_logits(logit[:, 0], label, pos_weight=torch.tensor(9.0), reduction="none")
    assert torch.allclose(ours, wanted)


def test_focal_loss_is_the_papers():
    """Two classes by hand; with gamma 0 and alpha a half it is half of the cross-entropy."""
    logit, label = torch.tensor([[0.4], [-1.2]]), torch.tensor([1.0, 0.0])
    p = [1 / (1 + math.exp(-0.4)), 1 - 1 / (1 + math.exp(1.2))]
    wanted = [-0.7 * (1 - p[0]) ** 2 * math.log(p[0]), -0.3 * (1 - p[1]) ** 2 * math.log(p[1])]
    focal = Loss(kind="focal", gamma=2.0, alpha=0.7)
    assert rows(TWO, focal, logit, label, train=SIGNALS).tolist() == pytest.approx(wanted, rel=1e-5)
    plain = rows(TWO, Loss(), logit, label, train=SIGNALS)
    assert torch.allclose(rows(TWO, Loss(kind="focal", gamma=0.0), logit, label, train=SIGNALS), 0.5 * plain)


def test_logit_adjustment_asks_more_of_rare_classes():
    """Adds tau times the logarithm of the shares, Menon's equation 10."""
    share = torch.tensor([0.1, 0.7, 0.2])
    wanted = F.cross_entropy(RAW + 0.5 * share.log(), LABEL.long(), reduction="none")
    assert torch.allclose(rows(THREE, Loss(kind="logit_adjusted", tau=0.5), RAW, LABEL), wanted)


def test_qlike_is_that_of_the_scores_and_stays_finite():
    """On standardised logarithms; a row that is far off has a slope and no infinity."""
    reading = Reading(centre=-9.0, scale=0.8)
    log_target, raw = np.array([-9.5, -8.0]), torch.tensor([[0.2], [-1.0]])
    values = torch.tensor((log_target - reading.centre) / reading.scale, dtype=torch.float32)
    said = forecast(VARIANCE, reading, raw.numpy())[:, 0]
    ours = rows(VARIANCE, Loss(), raw, values, reading=reading)
    assert ours.tolist() == pytest.approx(qlikes(np.exp(log_target), said).tolist(), rel=1e-4)
    far = torch.tensor([[-500.0]], requires_grad=True)
    loss = rows(VARIANCE, Loss(), far, torch.zeros(1), reading=reading).sum()
    loss.backward()
    assert math.isfinite(loss.item())
    assert far.grad.item() < 0


def test_squares_and_huber_are_torchs():
    """Of standardised returns."""
    raw, values = torch.tensor([[0.5], [-3.0]]), torch.tensor([0.0, 1.0])
    assert rows(RETURN, Loss(), raw, values).tolist() == [0.25, 16.0]
    assert rows(RETURN, Loss(kind="huber", delta=1.0), raw, values).tolist() == [0.125, 3.5]


def test_several_losses_are_weighed_by_what_they_are_uncertain_of():
    """At the start half of a quantity's loss and all of a class's; the learned weight has its minimum at the loss."""
    values = torch.stack([LABEL, torch.tensor([0.1, -0.4, 2.0])], dim=1)
    raw = torch.cat([RAW, torch.tensor([[0.0], [0.5], [1.0]])], dim=1)
    back = Target("return", "return", "return", slice(3, 4), "return", 1)
    parts = [
        TargetLoss(THREE, Loss(), Reading(), CLASSES, 0.0),
        TargetLoss(back, Loss(), Reading(), np.zeros(3), 0.0),
    ]
    each = [part(raw, values[:, at]).mean() for at, part in enumerate(parts)]
    assert Objective(parts, "sum")(raw, values).item() == pytest.approx((each[0] + each[1]).item())
    learned = Objective(parts, "uncertainty")
    assert learned(raw, values).item() == pytest.approx((each[0] + 0.5 * each[1]).item())
    optimiser = torch.optim.Adam(learned.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        learned(raw, values).backward()
        optimiser.step()
    assert learned.log_variance[1].exp().item() == pytest.approx(each[1].item(), rel=0.02)
    assert learned.log_variance[0].exp().item() == pytest.approx(2 * each[0].item(), rel=0.02)
    weight = torch.tensor([3.0, 0.0, 0.0])
    assert Objective(parts[:1], "sum")(raw, values, weight).item() == pytest.approx(
        parts[0](raw, values[:, 0])[0].item()
    )


# --- readings ---------------------------------------------------------------------------------------------------


def test_a_temperature_and_a_level_are_found_on_what_they_are_for():
    """Logits three times too large, and variances half of what they should be."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(50_000, 1))
    label = (random.random(50_000) < 1 / (1 + np.exp(-logits[:, 0]))).astype(np.float64)
    found = calibrated(TWO, Reading(temperature=7.0), 3 * logits, label)
    assert found.temperature == pytest.approx(3.0, rel=0.05)
    assert forecast(TWO, found, 3 * logits)[:, 1].mean() == pytest.approx(label.mean(), abs=0.01)
    raw = random.normal(size=(5_000, 1))
    variance = 2.0 * np.exp(-9.0 + 0.5 * raw[:, 0]) * random.chisquare(20, 5_000) / 20
    found = calibrated(VARIANCE, Reading(centre=-9.0, scale=0.5, level=9.0), raw, variance)
    assert found.level == pytest.approx(2.0, rel=0.03)


def test_probabilities_are_those_of_the_logits():
    """Three classes, with a temperature; two classes far out."""
    said = forecast(THREE, Reading(temperature=2.0), RAW.numpy())
    assert np.allclose(said, torch.softmax(RAW / 2, dim=1).numpy())
    far = forecast(TWO, Reading(), np.array([[800.0], [-800.0]]))
    assert far.tolist() == [[0.0, 1.0], [1.0, 0.0]]
