"""What strategies are told of a bundle: names and order of the facts."""

from __future__ import annotations

import itertools

from msgspec.structs import replace

from models.bundle import load_bundle
from models.facts import conformal_facts
from tests.support.daemon import ROOT


def test_a_quantile_is_that_of_the_longest_name_in_whatever_order_outputs_are() -> None:
    """Outputs of which one ends as another does: the facts of a session may not depend on chance."""
    manifest = load_bundle(ROOT / "models" / "artifacts" / "demo-crypto").manifest
    tensors = [replace(manifest.outputs[0], name=name) for name in ("p", "b.p", "a.b.p")]
    quantiles = {"0.9": 0.4, "0.9.b.p": 0.3, "0.9.a.b.p": 0.2}
    told = {
        conformal_facts(replace(manifest, outputs=outputs), quantiles) for outputs in itertools.permutations(tensors)
    }
    assert told == {(("conformal_0.1", 0.4), ("conformal_0.1.b.p", 0.3), ("conformal_0.1.a.b.p", 0.2))}
