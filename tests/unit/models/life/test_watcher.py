"""What a running session is offered when the registry changes, and what it is not."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest

from models.bundle import load_bundle
from models.life.checking import Checked
from models.life.roles import Shelf
from models.registry.promotion import promote, retire, rollback
from models.registry.standing import scope_of

WHO = {"who": "ann", "why": "better", "now_ns": time.time_ns()}
CANARY = {"to": "canary", "share": Decimal("0.05")}


def digits(version: str) -> str:
    return version.partition("@")[2]


@pytest.fixture
def promoted(registry):
    def make(version: str, **more):
        return promote(registry, version.partition("@")[0], digits(version), **WHO, **more)

    return make


def test_a_new_champion_is_offered_once_with_why(add, promoted, watching) -> None:
    first, second = add(), add()
    promoted(first)
    session = watching(first)
    assert session.look() == []
    promoted(second)
    assert session.look() == [("champion", second, "0")]
    (offer,) = session.offers
    assert offer.instrument == "BTC/USD@test"
    assert offer.reason == "promote by ann: better"
    assert offer.assignment.spec
    assert session.opening.is_open(second)
    assert session.look() == []
    assert session.watcher.status()["registry"]["roles"] == {"BTC/USD@test": {"champion": second}}


def test_going_back_takes_no_check_as_the_one_before_was_kept_open(registry, add, promoted, watching) -> None:
    """The session began with the second: the first was opened meanwhile, and the second stays open after it."""
    first, second = add(), add()
    promoted(first)
    promoted(second)
    session = watching(second)
    session.opening.open(load_bundle(registry.path_of(second)))
    session.look()
    assert session.checks.checked == [first]
    rollback(registry, "demo-crypto", force=False, **WHO)
    assert session.look() == [("champion", first, "0")]
    promoted(second)
    assert session.look() == [("champion", second, "0")]
    assert session.checks.checked == [first]


def test_a_canary_comes_changes_its_share_and_goes(registry, add, promoted, watching) -> None:
    first, second = add(), add()
    promoted(first)
    session = watching(first)
    promoted(second, **CANARY)
    assert session.look() == [("canary", second, "0.05")]
    promoted(second, to="canary", share=Decimal("0.2"))
    assert session.look() == [("canary", second, "0.2")]
    assert "0.2 of the size" in session.watcher.status()["registry"]["roles"]["BTC/USD@test"]["canary"]
    retire(registry, "demo-crypto", digits(second), **WHO)
    assert session.look() == [("canary", "", "0")]
    assert session.offers[0].reason == "retire by ann: better"


def test_a_canary_becomes_champion_and_leaves_its_place(add, promoted, watching) -> None:
    first, second = add(), add()
    promoted(first)
    promoted(second, **CANARY)
    session = watching(first)
    session.look()
    promoted(second)
    assert session.look() == [("champion", second, "0"), ("canary", "", "0")]


def test_the_champion_before_is_offered_where_that_is_the_fallback(add, promoted, watching) -> None:
    first, second, third = add(), add(), add()
    for version in (first, second):
        promoted(version)
    session = watching(second, offers_older=True)
    assert session.look() == [("older", first, "0")]
    promoted(third)
    assert session.look() == [("champion", third, "0"), ("older", second, "0")]
    assert session.opening.kept == {third, second}


def test_what_stands_beside_a_champion_is_offered_when_that_has_its_seat(add, promoted, watching) -> None:
    """A champion of other features warms up first: until then the one before serves, and nobody falls back on it."""
    first, second = add(), add()
    promoted(first)
    seat = first

    def seated(_: str, role: str) -> str:
        return seat if role == "champion" else ""

    session = watching(first, offers_older=True, seated=seated)
    session.look()
    promoted(second)
    assert session.look() == [("champion", second, "0")]
    assert session.look() == []
    (roles,) = session.watcher.status()["registry"]["roles"].values()
    assert roles == {"champion": f"{second}, offered: {first} has the seat"}
    seat = second
    assert session.look() == [("older", first, "0")]
    (roles,) = session.watcher.status()["registry"]["roles"].values()
    assert roles == {"champion": second, "older": f"{first}, offered: nobody has the seat"}


def damaged(registry, version: str, name: str, content: bytes | None) -> None:
    """A file of a version with other content, or without it."""
    path = registry.path_of(version) / name
    path.chmod(0o644)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.fault("E2")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.onnx", None, "has no file model.onnx"),
        ("model.onnx", b"no graph", "model.onnx has sha256"),
        ("manifest.json", b"{", "manifest.json is not valid"),
    ],
)
def test_a_champion_that_is_damaged_is_not_offered_and_tried_again_when_it_is_whole(
    registry, add, promoted, watching, name, content, said
) -> None:
    """Damaged after it was promoted: whoever serves goes on, it is told and counted once, and repaired it serves."""
    first, second = add(), add()
    promoted(first)
    session = watching(first)
    whole = (registry.path_of(second) / name).read_bytes()
    promoted(second)
    damaged(registry, second, name, content)
    assert session.look() == []
    assert session.look() == []
    (told,) = session.log.errors
    assert (told["model"], told["instrument"]) == (second, "BTC/USD@test")
    assert said in told["problem"]
    status = session.watcher.status()["registry"]
    assert status["refusals"] == 1
    assert said in status["refused"][second]
    assert status["roles"] == {"BTC/USD@test": {"champion": first}}
    if content is not None:
        damaged(registry, second, name, whole)
    else:
        (registry.path_of(second) / name).write_bytes(whole)
    assert session.look() == [("champion", second, "0")]
    assert session.watcher.status()["registry"]["refused"] == {}


@pytest.mark.fault("E3")
def test_a_version_of_other_features_than_are_computed_here_is_not_offered(registry, add, promoted, watching) -> None:
    first, second = add(), add()
    promoted(first)
    session = watching(first)
    promoted(second)
    path = registry.path_of(second) / "manifest.json"
    fingerprint = load_bundle(path.parent).manifest.features.fingerprint
    damaged(registry, second, "manifest.json", path.read_bytes().replace(fingerprint.encode(), b"0" * len(fingerprint)))
    assert session.look() == []
    assert "was trained on features 000000000000" in session.log.errors[0]["problem"]


@pytest.mark.fault("E2")
@pytest.mark.parametrize("where", ["open", "check"])
def test_a_version_that_makes_another_part_fail_is_refused_once_and_others_go_on(
    registry, add, promoted, watching, monkeypatch, where
) -> None:
    """An error that is none of the product's, as of a number that is none in the manifest."""
    first, second, canary = add(), add(), add()
    promoted(first)
    promoted(second)
    session = watching(first)
    owner, name = (session.opening, "open") if where == "open" else (session.checks, "check")
    real = getattr(owner, name)

    def fails(subject, *more):
        if subject.version == second:
            raise ValueError("could not convert string to float: 'ninety'\nand more")
        return real(subject, *more)

    monkeypatch.setattr(owner, name, fails)
    assert session.look() == []
    assert session.look() == []
    (told,) = session.log.errors
    assert told["model"] == second
    assert told["problem"].startswith("ValueError: could not convert string to float: 'ninety'")
    assert "\n" not in told["problem"]
    promoted(canary)
    assert session.look() == [("champion", canary, "0")]


@pytest.mark.fault("E6")
def test_a_graph_that_computes_something_else_here_is_not_offered(registry, add, promoted, watching, replaced) -> None:
    """The check has passed it, as on another processor; the golden tape in this process does not."""
    first = add()
    promoted(first)
    off = replaced()
    session = watching(first, checks=Passing())
    promoted(off, **CANARY, force=True)
    assert session.look() == []
    assert "off the golden tape" in session.log.errors[0]["problem"]


class Passing:
    def check(self, task, given_up) -> Checked:
        return Checked()


@pytest.fixture
def replaced(registry, crypto_bundle, replace_file, tmp_path):
    """Adds a bundle whose golden tape asks for other outputs than its graph gives."""
    import msgspec

    from models.golden import encode_golden

    def make() -> str:
        tape = load_bundle(crypto_bundle).golden
        outputs = tuple(value + 0.01 for value in tape.outputs)
        replace_file(crypto_bundle, "golden.msgpack", encode_golden(msgspec.structs.replace(tape, outputs=outputs)))
        return registry.add(load_bundle(crypto_bundle))[0]

    return make


@pytest.mark.fault("E2")
def test_a_canary_whose_manifest_was_changed_consistently_is_not_offered(
    registry, add, promoted, watching, edit_manifest
) -> None:
    first, second = add(), add()
    promoted(first)
    promoted(second, **CANARY)
    path = registry.path_of(second)
    (path / "manifest.json").chmod(0o644)
    edit_manifest(path, lambda manifest: manifest.update(created_ns=7))
    session = watching(first)
    assert session.look() == []
    (told,) = session.log.errors
    assert told["model"] == second
    assert f"expected {second}" in told["problem"]


@pytest.mark.fault("E2")
def test_a_champion_that_may_not_be_used_vacates_no_seat_beside_the_one_that_serves(
    registry, add, promoted, watching
) -> None:
    """The older one and the canary may hold a position: with a damaged champion they stay where they are."""
    first, second, third = add(), add(), add()
    promoted(first)
    promoted(second)
    promoted(third, **CANARY)
    shelf = Shelf()
    session = watching(second, offers_older=True, shelf=shelf)
    assert session.look() == [("canary", third, "0.05"), ("older", first, "0")]
    manifest = (registry.path_of(second) / "manifest.json").read_bytes()
    damaged(registry, second, "manifest.json", b"{")
    promoted(add(), to="shadow")  # a change, so that it looks again, and reads it again
    shelf.keep([])
    assert session.look() == []
    assert session.watcher.status()["registry"]["refused"].keys() == {second}
    damaged(registry, second, "manifest.json", manifest)
    assert session.look() == []
    assert session.watcher.status()["registry"]["roles"]["BTC/USD@test"]["older"] == first


def test_a_version_that_is_too_slow_here_is_not_offered(add, promoted, watching) -> None:
    first, second = add(), add()
    promoted(first)
    session = watching(first, deadline_us=0.001)
    promoted(second)
    assert session.look() == []
    assert "models.deadline_us (0.001)" in session.log.errors[0]["problem"]


@pytest.mark.fault("E4")
def test_a_version_that_a_busy_machine_was_too_slow_for_is_tried_again_ever_more_seldom(
    add, promoted, watching
) -> None:
    """Told once; when the machine is free it serves, and nothing in the registry had to change for that."""
    first, second = add(), add()
    promoted(first)
    now_s = [100.0]
    tries: list[float] = []

    class Busy:
        def check(self, task, given_up) -> Checked:
            tries.append(now_s[0])
            if now_s[0] < 150:
                return Checked(f"one prediction takes {900 + now_s[0]:.0f} us here", passing=True)
            return Checked()

    session = watching(first, checks=Busy(), now_s=lambda: now_s[0])
    promoted(second)
    for now_s[0] in (100.0, 129.0, 130.0, 131.0, 189.0):
        assert session.look() == []
    assert tries == [100.0, 130.0]
    (told,) = session.log.errors
    assert told["problem"] == "one prediction takes 1000 us here; it is tried again in 30 s"
    assert session.watcher.status()["registry"]["refused"] == {second: "one prediction takes 1030 us here"}
    now_s[0] = 190.0
    assert session.look() == [("champion", second, "0")]
    assert session.watcher.status()["registry"]["refused"] == {}


def test_what_changes_while_it_is_checked_is_not_offered(registry, add, promoted, watching) -> None:
    """Promoted, and taken back while its check runs: the check is given up and the next pass finds nothing to do."""
    first, second = add(), add()
    promoted(first)
    session = watching(first)
    promoted(second)
    session.checks.during = lambda: rollback(registry, "demo-crypto", force=False, **WHO)
    assert session.look() == []
    session.checks.during = lambda: None
    assert session.look() == []
    assert session.log.errors == []


def test_a_champion_that_is_retired_leaves_what_a_start_would_take(
    registry, add, promoted, watching, artifacts
) -> None:
    """The bundle that ships; where no folder has one, nothing."""
    first = add()
    promoted(first)
    session = watching(first)
    retire(registry, "demo-crypto", digits(first), **WHO)
    shipped = load_bundle(artifacts / "demo-crypto").version
    assert session.look() == [("champion", shipped, "0")]
    assert "older" not in session.watcher.status()["registry"]["roles"]["BTC/USD@test"]


def test_without_any_bundle_the_role_is_nobodys(registry, add, promoted, watching, tmp_path) -> None:
    first = add()
    promoted(first)
    session = watching(first, directory=tmp_path / "empty")
    retire(registry, "demo-crypto", digits(first), **WHO)
    assert session.look() == [("champion", "", "0")]
    assert session.watcher.status()["registry"]["roles"] == {}


@pytest.mark.fault("E2")
def test_a_registry_that_cannot_be_read_changes_nothing(registry, add, promoted, watching) -> None:
    first, second = add(), add()
    promoted(first)
    session = watching(first)
    session.look()
    promoted(second)
    (path,) = (registry.root / "standings").glob("*.json")
    whole = path.read_bytes()
    path.write_bytes(b"{")
    assert session.look() == []
    assert session.look() == []
    assert [told["model"] for told in session.log.errors] == ["the registry"]
    path.write_bytes(whole)
    assert session.look() == [("champion", second, "0")]


@pytest.mark.fault("E2")
@pytest.mark.parametrize("what", ["registry", "standings"])
def test_a_registry_that_goes_away_changes_nothing(registry, add, promoted, watching, what) -> None:
    """A disk that is not mounted any more, a folder that was moved: the champion was not taken away by anybody."""
    first, second = add(), add()
    promoted(first)
    session = watching(first)
    session.look()
    place = registry.root if what == "registry" else registry.root / "standings"
    place.rename(elsewhere := place.with_name("elsewhere"))
    assert session.look() == []
    assert registry.root.name in session.watcher.status()["registry"]["refused"]["the registry"]
    elsewhere.rename(place)
    promoted(second)
    assert session.look() == [("champion", second, "0")]
    assert session.watcher.status()["registry"]["refused"] == {}


def test_a_damaged_standing_of_another_scope_is_told_and_stops_nobody_else(registry, add, promoted, watching) -> None:
    first, second, other = add(), add(), add(shipped="demo-fx")
    promoted(first)
    promoted(other)
    session = watching(first)
    key = scope_of(registry.manifest(other)).key
    (registry.root / "standings" / f"{key}.json").write_bytes(b"{")
    promoted(second)
    assert session.look() == [("champion", second, "0")]
    assert session.look() == []
    (told,) = session.log.errors
    assert f"{key}.json cannot be read" in told["problem"]


def test_the_thread_offers_what_is_promoted_while_it_runs(add, promoted, watching) -> None:
    first, second = add(), add()
    promoted(first)
    offered = threading.Event()
    session = watching(first, offer=lambda offer: offered.set() if offer.assignment.model == second else None)
    session.watcher.start()
    try:
        promoted(second)
        assert offered.wait(60)
    finally:
        session.watcher.stop()
    assert not any(thread.name == "registry-watcher" for thread in threading.enumerate())
