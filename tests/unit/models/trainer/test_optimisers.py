from __future__ import annotations

import math

import msgspec
import pytest

from models import networks
from models.trainer.fit_settings import Fit, Schedule

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.trainer.losses import Objective  # noqa: E402
from models.trainer.optimisers import Course, ends_cycle, make_optimiser, share_of_rate  # noqa: E402

STEPS = 10


def course_of(schedule, *, epochs=4, **fit):
    settings = Fit(schedule=schedule, epochs=epochs, learning_rate=0.1, **fit)
    network = networks.build("mlp", window=4, columns=3, sizes=(4,))
    optimiser = make_optimiser(network, Objective([], "sum"), settings)
    return optimiser, Course(optimiser, settings, STEPS)


def rates(schedule, *, epochs=4, costs=None, **fit):
    """The rate of each step."""
    optimiser, course = course_of(schedule, epochs=epochs, **fit)
    seen = []
    for epoch in range(epochs):
        for _ in range(STEPS):
            seen.append(course.rate)
            optimiser.step()
            course.on_step()
        course.on_epoch(costs[epoch] if costs else 0.0)
    return seen


def test_a_cosine_warms_up_and_falls_to_its_floor():
    """Its formula, step by step."""
    schedule = Schedule(warm_up_share=0.25, floor=0.1)
    seen = rates(schedule)
    assert seen[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    fallen = [0.1 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 30))) for step in range(30)]
    assert seen[10:] == pytest.approx(fallen)
    assert share_of_rate(schedule, 10_000, 40) == pytest.approx(0.1)


def test_warm_restarts_begin_anew_and_patience_counts_their_ends():
    """Cycles of one and two epochs; a rate jumps back where one begins."""
    schedule = Schedule(kind="warm_restarts", cycle_epochs=1, cycle_growth=2)
    seen = rates(schedule, epochs=3)
    assert seen[0] == seen[10] == pytest.approx(0.1)
    assert seen[9] < 0.01
    assert seen[20] == pytest.approx(0.05)
    assert [ends_cycle(schedule, epoch) for epoch in range(8)] == [True, False, True, False, False, False, True, False]
    assert all(ends_cycle(Schedule(), epoch) for epoch in range(3))


def test_one_cycle_rises_and_ends_at_nothing():
    """Its highest rate is the one that was asked for."""
    seen = rates(Schedule(kind="one_cycle", warm_up_share=0.3))
    assert max(seen) == pytest.approx(0.1, rel=0.02)
    assert seen.index(max(seen)) in (11, 12)
    assert seen[-1] < 1e-4


def test_a_plateau_is_seen_by_epochs():
    """Halved after more than one epoch that was no better."""
    seen = rates(Schedule(kind="plateau", patience=1), epochs=5, costs=[1.0, 0.9, 0.9, 0.9, 0.9])
    assert [seen[10 * epoch] for epoch in range(5)] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05])


@pytest.mark.parametrize("kind", ["cosine", "warm_restarts", "one_cycle", "plateau", "constant"])
def test_a_course_goes_on_where_it_was_also_with_another_rate(kind):
    """Restored in the middle: the same rates; with half of the rate, half of them."""
    schedule = Schedule(kind=kind, warm_up_share=0.2, cycle_epochs=2)
    optimiser, course = course_of(schedule)
    for _ in range(13):
        optimiser.step()
        course.on_step()
    saved = course.state()
    following = []
    for _ in range(5):
        following.append(course.rate)
        optimiser.step()
        course.on_step()
    for share in (1.0, 0.5):
        other = Fit(schedule=schedule, epochs=4, learning_rate=0.1 * share, weight_decay=0.3)
        network = networks.build("mlp", window=4, columns=3, sizes=(4,))
        optimiser = make_optimiser(network, Objective([], "sum"), other)
        course = Course(optimiser, other, STEPS)
        course.restore(msgspec.json.decode(msgspec.json.encode(saved)) if kind == "constant" else saved)
        seen = []
        for _ in range(5):
            seen.append(course.rate)
            optimiser.step()
            course.on_step()
        assert seen == pytest.approx([share * rate for rate in following])
        assert {group["weight_decay"] for group in optimiser.param_groups} == {0.0, 0.3}


@pytest.mark.parametrize("name", ["adamw", "adam", "nadam", "rmsprop", "sgd"])
def test_each_optimiser_learns_by_part(name):
    """A step moves the weights of a part with a rate, and next to none of one without."""
    network = networks.build("mlp", window=4, columns=3, sizes=(4,))
    settings = Fit(optimiser=name, learning_rate=0.1, learning_rates={"head": 1e-12}, weight_decay=0.0)
    optimiser = make_optimiser(network, Objective([], "sum"), settings)
    before = {key: value.clone() for key, value in network.named_parameters()}
    torch.manual_seed(0)
    network(torch.randn(8, 4, 3)).square().sum().backward()
    optimiser.step()
    moved = {key: (value - before[key]).abs().max().item() for key, value in network.named_parameters()}
    assert max(moved[key] for key in moved if key.startswith("head")) < 1e-8
    assert max(moved[key] for key in moved if not key.startswith("head")) > 1e-3
