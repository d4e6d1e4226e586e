"""Which bundles may serve as one, and what strategies are told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import BundleError
from engine.features.spec import FeatureSpec
from models.bundle import Bundle, load_bundle
from models.mixture.learned import LearnedWeights, read_weights, write_weights
from models.mixture.mixture import mix


def variant(artifacts: Path, sha: str, spec: dict[str, Any] | None = None, **changes: Any) -> Bundle:
    """The shipped crypto bundle as another version, with changes of its manifest or feature spec."""
    made = load_bundle(artifacts / "demo-crypto")
    manifest = msgspec.structs.replace(made.manifest, **changes)
    described: FeatureSpec = msgspec.structs.replace(made.spec, **(spec or {}))
    return Bundle(made.path, manifest, described, graph=made.graph, golden=made.golden, sha=sha)


def test_facts_say_where_everything_is(artifacts: Path) -> None:
    """One output: its mean, its spread, two members, two shares; suggestions weighed, the earlier expiry."""
    first = variant(artifacts, "a" * 64, expires_ns=2_000, return_scale_bps=2.0)
    second = variant(artifacts, "b" * 64, expires_ns=1_000, return_scale_bps=4.0)
    mixture = mix("both", [first, second], weights={first.version: 3.0, second.version: 1.0})
    facts = dict(mixture.facts)
    name = first.manifest.outputs[0].name
    assert mixture.weights == (0.75, 0.25)
    assert (facts[f"output.{name}"], facts[f"direction.{name}"], facts[f"spread.{name}"]) == (0.0, 1.0, 1.0)
    assert [facts[f"member.{one.version}"] for one in (first, second)] == [2.0, 3.0]
    assert [facts[f"share.{one.version}"] for one in (first, second)] == [4.0, 5.0]
    assert facts["return_scale_bps"] == pytest.approx(2.5)
    assert facts["expires_ns"] == 1_000
    assert "recent_weights" not in facts
    assert dict(mix("both", [first, second], recent=True).facts)["recent_weights"] == 1.0


def test_the_version_follows_from_all_that_decides(artifacts: Path) -> None:
    """Members, weights and what happens when one fails; not from the order of the settings' keys."""
    first, second, third = (variant(artifacts, letter * 64) for letter in "abc")
    base = mix("m", [first, second]).version
    assert base.startswith("m@")
    assert mix("m", [first, second], weights={second.version: 1.0, first.version: 1.0}).version == base
    others = [
        mix("m", [first, third]),
        mix("m", [first, second], weights={first.version: 2.0, second.version: 1.0}),
        mix("m", [first, second], on_failure="fail"),
        mix("m", [first, second], weight_least=0.9),
    ]
    assert len({base, *(one.version for one in others)}) == 5


def test_windows_may_differ_and_the_longest_is_kept(artifacts: Path) -> None:
    """All else about the rows is to be the same."""
    long, short = variant(artifacts, "a" * 64), variant(artifacts, "b" * 64, {"window": 10})
    assert mix("m", [short, long]).spec == long.spec


@pytest.mark.parametrize(
    ("spec", "changes", "said"),
    [
        ({"columns": ("ret_1",)}, {}, "their features differ in columns"),
        ({"volume": "ticks"}, {}, "their features differ in volume"),
        ({}, {"label": "other"}, r"they forecast p_up \(direction, \d+ rows\) and p_up \(direction, 7 rows\)"),
    ],
)
def test_members_that_read_or_forecast_otherwise_are_refused(artifacts, spec, changes, said) -> None:
    """The reason is in the line."""
    first = variant(artifacts, "a" * 64)
    if changes:
        changes = {"label": msgspec.structs.replace(first.manifest.label, horizon_rows=7), "task": None}
        first = variant(artifacts, "a" * 64, task=None)
    with pytest.raises(BundleError, match=said):
        mix("m", [first, variant(artifacts, "b" * 64, spec, **changes)])


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"demo-crypto@aaaaaaaaaaaa": 1.0}, "no weight for demo-crypto@bbbbbbbbbbbb"),
        ({"demo-crypto": 1.0, "other": 1.0}, "a weight for other, which is no member"),
        ({"demo-crypto": 0.0}, "0 or more each, and one above 0"),
        ({"demo-crypto@aaaaaaaaaaaa": -1.0, "demo-crypto@bbbbbbbbbbbb": 2.0}, "0 or more each, and one above 0"),
    ],
)
def test_weights_that_are_none_for_these_members_are_refused(artifacts, weights, said) -> None:
    """By name or by version, one for each and none for others."""
    with pytest.raises(BundleError, match=said):
        mix("m", [variant(artifacts, "a" * 64), variant(artifacts, "b" * 64)], weights=weights)


def test_one_member_twice_or_alone_is_no_mixture(artifacts: Path) -> None:
    one = variant(artifacts, "a" * 64)
    for members in ([one], [one, one]):
        with pytest.raises(BundleError, match="expected two or more, each once"):
            mix("m", members)


def test_learned_weights_are_for_the_versions_they_were_learned_for(artifacts: Path, tmp_path: Path) -> None:
    """Through the file; thresholds and quantiles are those of the combined forecast."""
    first, second = (variant(artifacts, letter * 64) for letter in "ab")
    learned = LearnedWeights(
        weights={first.version: 0.9, second.version: 0.1},
        rows=100,
        log_loss={"learned": 0.5},
        conformal={"0.9": 0.7},
        thresholds=(0.3, 0.6),
    )
    write_weights(tmp_path / "deep" / "weights.json", learned)
    mixture = mix("m", [second, first], learned=read_weights(tmp_path / "deep" / "weights.json"))
    facts = dict(mixture.facts)
    assert mixture.weights == (0.1, 0.9)
    assert (facts["sell"], facts["buy"], facts["conformal_0.1"]) == (0.3, 0.6, 0.7)
    with pytest.raises(BundleError, match=r"learned for demo-crypto@a+, demo-crypto@b+; expected for"):
        mix("m", [first, variant(artifacts, "c" * 64)], learned=learned)


def test_a_file_that_holds_no_weights_is_refused_by_name(tmp_path: Path) -> None:
    """Missing, and of another form."""
    (tmp_path / "w.json").write_text('{"weights": 3}')
    for name in ("w.json", "none.json"):
        with pytest.raises(BundleError, match=rf"the weights .*{name} cannot be read"):
            read_weights(tmp_path / name)
