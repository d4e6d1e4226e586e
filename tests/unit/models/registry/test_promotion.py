"""What a version must show before it is promoted, and how one goes back."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from engine.errors import BundleError
from models.registry import audit
from models.registry.promotion import promote, retire, rollback
from models.registry.standing import Scope

NOW_NS = time.time_ns()
WHO = {"who": "ann", "why": "better", "now_ns": NOW_NS}
SCOPE = Scope("direction", ("perpetual", "spot"), ("*",), ("*",))


def digits(version: str) -> str:
    return version.partition("@")[2]


def test_a_version_that_verifies_and_was_scored_becomes_champion(registry, add) -> None:
    """The real check: hashes, golden tape through kernel and runtime."""
    version = add()
    standing = promote(registry, "demo-crypto", digits(version)[:6], **WHO)
    assert standing.champion == version
    assert standing.scope == SCOPE
    assert registry.standing(SCOPE) == standing


def damage(registry, version: str) -> None:
    path = registry.path_of(version) / "model.onnx"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(expires_ns=1_000), "expired"),
        (lambda m: m.update(metrics={}), "its card has no evaluation"),
        (lambda m: m.update(baselines={}), "its card has no evaluation"),
        (None, "model.onnx has sha256"),
    ],
)
def test_what_speaks_against_a_version_refuses_it_and_force_keeps_it_in_the_audit(registry, add, change, said) -> None:
    """Expired, not evaluated, damaged: one line; with force it is promoted, and what was overridden is on record."""
    version = add() if change is None else add(change)
    if change is None:
        damage(registry, version)
    with pytest.raises(BundleError, match=said) as caught:
        promote(registry, "demo-crypto", digits(version), **WHO)
    assert "--force --reason" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert registry.standings() == []
    assert audit.lines(registry.root) == []
    assert promote(registry, "demo-crypto", digits(version), force=True, **WHO).champion == version
    (line,) = audit.lines(registry.root)
    assert said in " ".join(line.forced)
    assert line.why == "better"


def test_a_version_whose_folder_holds_another_one_is_not_promoted(registry, add, edit_manifest) -> None:
    """Whole by its own manifest, which is not the one that was added."""
    version = add()
    (registry.path_of(version) / "manifest.json").chmod(0o644)
    edit_manifest(registry.path_of(version), lambda manifest: manifest.update(created_ns=7))
    with pytest.raises(BundleError, match=f"its folder holds demo-crypto@.*: bring {version} back"):
        promote(registry, "demo-crypto", digits(version), **WHO)


def suspicious(manifest) -> None:
    manifest.update(
        schema=2,
        task={
            "name": "direction",
            "head": "binary",
            "forecasts": [
                {
                    "name": "p_up",
                    "form": "probability",
                    "text": "up",
                    "horizon_rows": 50,
                    "label_kind": "direction",
                    "label_fingerprint": "",
                }
            ],
        },
        evaluation={
            "primary": "log_loss",
            "best_baseline": "prior",
            "verdict": "ahead",
            "opened_at": "2026-01-01T00:00:00+00:00",
            "suspicions": ["direction accuracy 0.7"],
        },
    )


def test_a_suspicious_result_that_nobody_explained_is_refused(registry, add) -> None:
    version = add(suspicious)
    with pytest.raises(BundleError, match=r"suspicious and nobody has said why: direction accuracy 0\.7"):
        promote(registry, "demo-crypto", digits(version), **WHO)


def test_a_shadow_needs_no_evaluation(registry, add) -> None:
    """It predicts and never trades: that is how its evaluation goes on."""
    version = add(lambda m: m.update(metrics={}))
    assert promote(registry, "demo-crypto", digits(version), to="shadow", **WHO).shadow == (version,)


SHARE = {"to": "canary", "share": Decimal("0.05")}


def test_a_canary_is_judged_like_a_champion_as_it_trades(registry, add) -> None:
    """Not evaluated, or damaged: refused; else it stands, with its share in the audit, and can be promoted."""
    first, second, third = add(), add(), add(lambda m: m.update(metrics={}))
    promote(registry, "demo-crypto", digits(first), **WHO)
    with pytest.raises(BundleError, match="its card has no evaluation"):
        promote(registry, "demo-crypto", digits(third), **SHARE, **WHO)
    standing = promote(registry, "demo-crypto", digits(second), **SHARE, **WHO)
    assert (standing.champion, standing.canary) == (first, second)
    assert [line.share for line in audit.lines(registry.root)] == [0, Decimal("0.05")]
    standing = promote(registry, "demo-crypto", digits(second), **WHO)
    assert (standing.champion, standing.canary, standing.earlier) == (second, None, (first,))


def test_rolling_back_takes_the_canary_away_too(registry, add) -> None:
    first, second, third = add(), add(), add()
    for version in (first, second):
        promote(registry, "demo-crypto", digits(version), **WHO)
    promote(registry, "demo-crypto", digits(third), **SHARE, **WHO)
    standing = rollback(registry, "demo-crypto", force=False, **WHO)
    assert (standing.champion, standing.canary) == (first, None)
    assert standing.retired == (third, second)


def test_rolling_back_by_the_name_of_a_canary_leaves_the_champion(registry, add) -> None:
    """Of another name than the champion's."""
    first, other = add(), add(lambda m: m.update(name="other"))
    promote(registry, "demo-crypto", digits(first), **WHO)
    promote(registry, "other", digits(other), **SHARE, **WHO)
    standing = rollback(registry, "other", force=False, **WHO)
    assert (standing.champion, standing.canary, standing.retired) == (first, None, (other,))


def test_rolling_back_returns_the_champion_before(registry, add) -> None:
    first, second = add(), add()
    for version in (first, second):
        promote(registry, "demo-crypto", digits(version), **WHO)
    standing = rollback(registry, "demo-crypto", force=False, **WHO)
    assert standing.champion == first
    assert standing.retired == (second,)
    with pytest.raises(BundleError, match=r"has no champion before it; .*models retire"):
        rollback(registry, "demo-crypto", force=False, **WHO)


def test_the_way_back_does_not_ask_again_whether_it_was_judged(registry, add) -> None:
    """Somebody has answered for it when it was promoted, and whoever goes back is in a hurry."""
    first, second = add(lambda m: m.update(metrics={})), add()
    promote(registry, "demo-crypto", digits(first), force=True, **WHO)
    promote(registry, "demo-crypto", digits(second), **WHO)
    assert rollback(registry, "demo-crypto", force=False, **WHO).champion == first


def test_going_back_to_a_damaged_version_is_refused(registry, add) -> None:
    first, second = add(), add()
    for version in (first, second):
        promote(registry, "demo-crypto", digits(version), **WHO)
    damage(registry, first)
    with pytest.raises(BundleError, match="has sha256"):
        rollback(registry, "demo-crypto", force=False, **WHO)
    assert registry.standing(SCOPE).champion == second


def test_a_name_that_is_champion_of_several_scopes_asks_which(registry, add) -> None:
    """The same name on other venues."""
    first = add()
    second = add(lambda m: m["scope"].update(venues=["coinbase"]))
    for version in (first, second):
        promote(registry, "demo-crypto", digits(version), **WHO)
    with pytest.raises(BundleError, match=r"perpetual,spot/\*/\*, direction/perpetual,spot/coinbase/\*.*--scope"):
        rollback(registry, "demo-crypto", force=False, **WHO)
    with pytest.raises(BundleError, match="has no champion before it"):
        rollback(registry, "demo-crypto", scope="direction/perpetual,spot/coinbase/*", force=False, **WHO)
    with pytest.raises(BundleError, match="champion of no scope"):
        rollback(registry, "demo-fx", force=False, **WHO)


def test_a_champion_can_be_taken_away(registry, add) -> None:
    version = add()
    promote(registry, "demo-crypto", digits(version), **WHO)
    assert retire(registry, "demo-crypto", digits(version), **WHO).champion is None
