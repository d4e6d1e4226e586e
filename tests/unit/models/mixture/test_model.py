"""Several members, one forecast: combined, attributed, and what becomes of a member that fails."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Prediction, PredictionStatus
from models.bundle import load_bundle
from models.mixture.mixture import Mixture, mix
from models.mixture.model import MixtureModel, combined
from models.onnx_model import OnnxModel
from tests.unit.models.mixture.test_mixture import variant

OK, LATE, FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED


class Member:
    """Says what it is told to, and keeps the shape of what it was asked about."""

    def __init__(self, version: str, status: PredictionStatus, *values: float) -> None:
        self.version = version
        self.status = status
        self.values = values
        self.shapes: list[tuple[int, ...]] = []
        self.resets: list[tuple[str, str]] = []

    def predict(self, instrument, window, ts_event_ns, ts_recv_ns) -> Prediction:
        self.shapes.append(window.shape)
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, self.status, self.values, "cause")

    def reset(self, instrument: str, reason: str) -> None:
        self.resets.append((instrument, reason))


@pytest.fixture
def two(artifacts: Path) -> Mixture:
    """Weights 3 to 1; the second has a window of 10 rows."""
    first, second = variant(artifacts, "a" * 64), variant(artifacts, "b" * 64, {"window": 10})
    return mix("m", [first, second], weights={first.version: 3.0, second.version: 1.0})


def served(mixture: Mixture, *said: tuple[PredictionStatus, Sequence[float]], took_us: float = 0.0) -> MixtureModel:
    times = iter(range(0, 10**12, int(took_us * 1000) or 1))
    members = [
        Member(one.version, status, *values) for one, (status, values) in zip(mixture.members, said, strict=True)
    ]
    return MixtureModel(mixture, members, deadline_us=500.0, stopwatch=lambda: next(times))


def ask(model: MixtureModel) -> Prediction:
    spec = model.mixture.spec
    return model.predict("X", np.zeros((spec.window, len(spec.columns)), np.float32), 1, 2)


def test_numbers_are_pooled_and_each_members_are_behind_them(two: Mixture) -> None:
    """Mean, spread, members, shares; each member reads its own window."""
    model = served(two, (OK, [0.8]), (OK, [0.4]))
    said = ask(model)
    spread = sqrt(0.75 * 0.1**2 + 0.25 * 0.3**2)
    assert said.values == pytest.approx((0.7, spread, 0.8, 0.4, 0.75, 0.25))
    assert (said.status, said.model, said.text) == (OK, two.version, "")
    assert [one.shapes[0][0] for one in model._members] == [two.spec.window, 10]


def test_a_member_that_fails_is_counted_and_the_rest_goes_on(two: Mixture) -> None:
    """The lighter one fails: the other carries enough.  Which one was missing, and why, is in the text."""
    model = served(two, (OK, [0.8]), (FAILED, []))
    said = ask(model)
    assert said.values == pytest.approx((0.8, 0.0, 0.8, 0.0, 1.0, 0.0))
    assert said.text == f"without {two.members[1].version}: cause"
    assert model.member_failures == {two.members[0].version: 0, two.members[1].version: 1}
    assert model.failed == 0


def test_without_enough_of_the_weight_there_is_no_forecast(two: Mixture, artifacts: Path) -> None:
    """The heavier one fails; or any, where all are needed; or all of them."""
    alone = served(two, (FAILED, []), (OK, [0.4]))
    assert (ask(alone).status, ask(alone).values, alone.failed) == (FAILED, (), 2)
    strict = mix("m", two.members, weights={one.version: 1.0 for one in two.members}, on_failure="fail")
    assert ask(served(strict, (OK, [0.4]), (FAILED, []))).status is FAILED
    none = served(two, (FAILED, []), (FAILED, []))
    assert ask(none).status is FAILED


def test_answers_that_are_no_forecast_of_this_mixture_count_as_failures(two: Mixture) -> None:
    """Too many numbers, and a number that is none."""
    assert ask(served(two, (OK, [0.8, 0.1]), (OK, [0.4]))).status is FAILED
    said = ask(served(two, (OK, [nan]), (OK, [0.4])))
    assert (said.status, said.text) == (FAILED, "the combined output is not finite")


def test_all_of_it_has_one_deadline(two: Mixture) -> None:
    """A late member is an answer; the whole is late when the whole took longer."""
    assert ask(served(two, (LATE, [0.8]), (OK, [0.4]), took_us=100.0)).status is OK
    model = served(two, (OK, [0.8]), (OK, [0.4]), took_us=501.0)
    assert (ask(model).status, model.late) == (LATE, 1)


def test_other_weights_count_from_the_next_forecast(two: Mixture) -> None:
    """What are no weights of these members changes nothing: it must not take the session down."""
    model = served(two, (OK, [0.8]), (OK, [0.4]))
    model.weigh((1.0, 3.0))
    assert ask(model).values[0] == pytest.approx(0.5)
    for bad in ((1.0,), (1.0, -1.0), (0.0, 0.0), (nan, 1.0), (float("inf"), 1.0), ()):
        model.weigh(bad)
        assert model.weights == (0.25, 0.75)


def test_a_reset_reaches_members_that_have_a_state(two: Mixture) -> None:
    model = served(two, (OK, [0.8]), (OK, [0.4]))
    model.reset("X", "gap")
    assert [one.resets for one in model._members] == [[("X", "gap")]] * 2


def test_real_members_agree_with_what_they_say_alone(artifacts: Path) -> None:
    """Two versions of the shipped bundle through the runtime: the mean is theirs, and nothing is spread."""
    bundle = load_bundle(artifacts / "demo-crypto")
    twin = variant(artifacts, "b" * 64)
    mixture = mix("m", [bundle, twin])
    members = [OnnxModel(bundle), OnnxModel(twin)]
    model = MixtureModel(mixture, members, deadline_us=None, stopwatch=lambda: 0)
    window = np.frombuffer(bundle.golden.window, "<f4").reshape(bundle.spec.window, -1)
    said = model.predict("X", window, 1, 2)
    (alone,) = OnnxModel(bundle).predict("X", window, 1, 2).values
    assert said.values == pytest.approx((alone, 0.0, alone, alone, 0.5, 0.5), abs=1e-7)


@given(
    st.integers(1, 5).flatmap(
        lambda count: st.tuples(
            st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=count, max_size=count),
            st.lists(st.floats(0.01, 1), min_size=count, max_size=count),
        )
    )
)
def test_a_pool_is_between_its_members_and_spread_no_wider(case) -> None:
    """Of any members and weights."""
    said, raw = case
    shares = [one / sum(raw) for one in raw]
    found = combined([tuple(one) for one in said], shares)
    for number in range(3):
        each = [one[number] for one in said]
        assert min(each) - 1e-9 <= found[number] <= max(each) + 1e-9
        assert 0.0 <= found[3 + number] <= (max(each) - min(each)) / 2 + 1e-9
