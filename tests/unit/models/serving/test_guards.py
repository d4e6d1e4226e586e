from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import load_bundle
from models.manifest_sections import Forecast, Task, Tensor
from models.serving.guards import OutputGuard


@pytest.fixture(scope="module")
def manifest():
    return load_bundle("models/artifacts/demo-crypto").manifest


def guard(manifest, *outputs, same_max=100):
    """A guard of a bundle with these outputs: form and width of each."""
    forecasts = tuple(Forecast(f"o{n}", form, "", 1, "x", "") for n, (form, _) in enumerate(outputs))
    tensors = tuple(Tensor(f"o{n}", (-1, width), "float32") for n, (_, width) in enumerate(outputs))
    changed = msgspec.structs.replace(manifest, schema=2, outputs=tensors, task=Task("any", "any", forecasts))
    return OutputGuard(changed, same_max=same_max)


@pytest.mark.fault("E1")
@pytest.mark.parametrize(
    ("form", "values", "said"),
    [
        ("probability", (math.nan,), "not finite"),
        ("probability", (math.inf,), "not finite"),
        ("probability", (1.01,), "no probability"),
        ("probability", (-0.01,), "no probability"),
        ("classes", (0.2, math.nan, 0.3), "not finite"),
        ("classes", (0.2, 0.2, 0.2), "sum to 0.6"),
        ("classes", (-0.2, 0.9, 0.3), "no probability"),
        ("number", (0.0, -math.inf), "not finite"),
        ("variance", (-1e-9,), "no variance"),
        ("variance", (math.inf,), "not finite"),
    ],
)
def test_an_output_that_its_form_cannot_have_is_a_defect(manifest, form, values, said):
    """One output of each form with something that it cannot be."""
    assert said in guard(manifest, (form, len(values))).defect("A", values, 1.0)


@pytest.mark.fault("E1")
def test_each_of_several_outputs_is_judged_by_its_own_form(manifest):
    """Classes, a number and a variance side by side: what is wrong for one may be right for another."""
    several = guard(manifest, ("classes", 2), ("number", 1), ("variance", 1))
    assert several.defect("A", (0.25, 0.75, -3.0, 0.0), 1.0) == ""
    assert "sum to" in several.defect("A", (0.25, 0.25, -3.0, 0.0), 1.0)
    assert "no variance" in several.defect("A", (0.25, 0.75, 0.0, -3.0), 1.0)
    assert "not finite" in several.defect("A", (0.25, 0.75, math.nan, 3.0), 1.0)


@pytest.mark.fault("E1")
def test_the_same_answer_to_other_windows_again_and_again_is_a_defect_until_it_changes(manifest):
    """Five windows with one answer pass, the sixth does not; another answer is believed at once."""
    one = guard(manifest, ("probability", 1), same_max=5)
    assert [bool(one.defect("A", (0.5,), float(mark))) for mark in range(7)] == [False] * 5 + [True] * 2
    assert "the same for 7 different windows" in one.defect("A", (0.5,), 6.0)
    assert one.defect("A", (0.6,), 99.0) == ""
    assert one.defect("A", (0.5,), 100.0) == ""


def test_a_market_that_stands_still_may_have_the_same_answer_for_ever(manifest):
    """The same window a thousand times: a model must say the same of it."""
    one = guard(manifest, ("probability", 1), same_max=5)
    assert {one.defect("A", (0.5,), 7.0) for _ in range(1000)} == {""}


def test_instruments_are_counted_apart_and_zero_means_never(manifest):
    """Two instruments take turns with the same answer; a guard without a limit never minds."""
    one = guard(manifest, ("probability", 1), same_max=5)
    assert [one.defect(name, (0.5,), float(mark)) for mark in range(5) for name in "AB"] == [""] * 10
    one.forget("A")
    assert one.defect("A", (0.5,), 10.0) == ""
    assert one.defect("B", (0.5,), 10.0) != ""
    never = guard(manifest, ("probability", 1), same_max=0)
    assert {never.defect("A", (0.5,), float(mark)) for mark in range(1000)} == {""}


@given(st.lists(st.floats(-40, 40), min_size=2, max_size=9), st.floats(-1e30, 1e30), st.floats(-60, 20))
def test_what_a_graph_makes_of_finite_numbers_is_never_a_defect(raw, number, log_variance):
    """A softmax in float32, any finite number, the exponential of any bounded one."""
    powers = [math.exp(value - max(raw)) for value in raw]
    classes = tuple(power / sum(powers) for power in powers)
    demo = load_bundle("models/artifacts/demo-crypto").manifest
    one = guard(demo, ("classes", len(raw)), ("number", 1), ("variance", 1))
    assert one.defect("A", (*classes, number, math.exp(log_variance)), 1.0) == ""
