"""The commands of the registry, as typed."""

from __future__ import annotations

import errno
import json

import pytest
from typer.testing import CliRunner

from engine.errors import BundleError
from models.commands import app
from models.observer.evidence import EvidenceStore
from models.observer.paired import Paired
from models.registry import store
from models.shipped import REGISTRY


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Runs a command in an empty folder; the JSON of its last line, or the error it ends in."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str):
        done = CliRunner().invoke(app, [*words, *(["--json"] if words[0] != "show" else [])])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.output if words[0] == "show" else done.output.splitlines()[-1])

    return run


def test_a_bundle_becomes_champion_and_goes_back(typed, artifacts, crypto_bundle, edit_manifest):
    """Added twice in two versions, promoted, listed, shown, verified, rolled back, retired; all of it in the audit."""
    first = typed("add", str(artifacts / "demo-crypto"))
    assert first == {"version": first["version"], "new": True}
    assert typed("add", str(artifacts / "demo-crypto"))["new"] is False
    edit_manifest(crypto_bundle, lambda m: m.update(summary="Another."))
    second = typed("add", str(crypto_bundle))
    for one in (first, second):
        typed("promote", "demo-crypto", one["version"].partition("@")[2], "--reason", "it is better", "--who", "ann")
    rows = {row["version"]: row["state"] for row in typed("list")["registry"]}
    assert rows == {first["version"]: "retired", second["version"]: "champion"}
    assert typed("show", second["version"])["summary"] == "Another."
    assert typed("verify", second["version"])["version"] == second["version"]
    assert typed("rollback", "demo-crypto")["standing"]["champion"] == first["version"]
    typed("retire", "demo-crypto", first["version"].partition("@")[2])
    lines = typed("audit")["audit"]
    assert [line["action"] for line in lines] == ["promote", "promote", "rollback", "retire"]
    assert [(line["who"], line["why"]) for line in lines[:2]] == [("ann", "it is better")] * 2
    assert lines[2]["who"]


def test_a_canary_gets_a_share_and_is_promoted(typed, artifacts, crypto_bundle, edit_manifest):
    """As typed; a share that is no number is refused in one line."""
    first = typed("add", str(artifacts / "demo-crypto"))["version"].partition("@")[2]
    edit_manifest(crypto_bundle, lambda m: m.update(summary="Another."))
    second = typed("add", str(crypto_bundle))["version"]
    sha = second.partition("@")[2]
    typed("promote", "demo-crypto", first)
    with pytest.raises(BundleError, match="--share 'some'"):
        typed("canary", "demo-crypto", sha, "--share", "some")
    standing = typed("canary", "demo-crypto", sha, "--share", "0.05", "--reason", "a week as shadow")["standing"]
    assert (standing["canary"], standing["share"]) == (second, "0.05")
    kept = EvidenceStore(REGISTRY, "live; coinbase: BTC/USD@coinbase", "one")
    assert kept.hold()
    kept.save((f"demo-crypto@{first}", second, "canary"), Paired(60), 9, 10**18, "wait; signals failed: 9 of 200")
    rows = {row["version"]: row for row in typed("list")["registry"]}
    assert rows[second]["state"] == "canary"
    assert [one["verdict"] for one in rows[second]["verdicts"]] == ["wait; signals failed: 9 of 200"]
    assert rows[f"demo-crypto@{first}"]["verdicts"] == []
    said = f"2001-09-09 01:46 beside demo-crypto@{first} (live; coinbase: BTC/USD@coinbase): wait; signals failed: 9"
    assert said in CliRunner().invoke(app, ["list"]).output
    assert typed("show", second)["verdicts"][0]["role"] == "canary"
    assert typed("promote", "demo-crypto", sha)["standing"]["champion"] == second
    assert [(line["action"], line["share"]) for line in typed("audit")["audit"]] == [
        ("promote", "0"),
        ("canary", "0.05"),
        ("promote", "0"),
    ]


def test_what_tells_versions_apart_is_listed_and_a_canary_that_goes_is_named(
    typed, artifacts, crypto_bundle, edit_manifest
):
    """Three versions of one name: which one a rollback brings back, when each was made, until when it may serve."""
    digits = [typed("add", str(artifacts / "demo-crypto"))["version"].partition("@")[2]]
    for number in range(2):
        edit_manifest(crypto_bundle, lambda m, n=number: m.update(summary=f"{n}", expires_ns=2_000_000_000_000_000_000))
        digits.append(typed("add", str(crypto_bundle))["version"].partition("@")[2])
    first, second, third = digits
    for sha in (first, second):
        typed("promote", "demo-crypto", sha)
    typed("canary", "demo-crypto", third, "--share", "0.05")
    listed = {
        line.split()[1].partition("@")[2]: line for line in CliRunner().invoke(app, ["list"]).output.splitlines()[2:]
    }
    assert "a rollback brings it back" in listed[first]
    assert "expires 2033-05-18 03:33" in listed[second]
    assert "a rollback" not in listed[second]
    said = CliRunner().invoke(app, ["rollback", "demo-crypto"]).output
    assert f"no canary any more: demo-crypto@{third}" in said


def test_force_needs_a_reason(typed, artifacts):
    typed("add", str(artifacts / "demo-fx"))
    with pytest.raises(BundleError, match="--force without a reason"):
        typed("promote", "demo-fx", "0000", "--force")


def test_a_name_that_only_the_registry_has_asks_for_the_version(typed, crypto_bundle, edit_manifest):
    edit_manifest(crypto_bundle, lambda m: m.update(name="mine"))
    version = typed("add", str(crypto_bundle))["version"]
    for command in ("verify", "show"):
        with pytest.raises(
            BundleError, match=f"'mine' is in the registry alone; expected one of its versions: {version}"
        ):
            typed(command, "mine")


def test_what_was_overridden_is_told_at_once(typed, crypto_bundle, edit_manifest):
    edit_manifest(crypto_bundle, lambda m: m.update(metrics={}))
    sha = typed("add", str(crypto_bundle))["version"].partition("@")[2]
    said = CliRunner().invoke(app, ["promote", "demo-crypto", sha, "--force", "--reason", "a drill"]).output
    assert "forced against: its card has no evaluation" in said


def test_a_change_that_the_disk_did_not_take_is_not_told_as_made(typed, artifacts, monkeypatch):
    """Its line stands in the audit before the standing is written."""
    sha = typed("add", str(artifacts / "demo-crypto"))["version"].partition("@")[2]
    typed("promote", "demo-crypto", sha)
    with monkeypatch.context() as full:
        full.setattr(store, "write_atomically", disk_full)
        with pytest.raises(BundleError, match="No space left on device; the old standing stays"):
            typed("retire", "demo-crypto", sha)
    said = CliRunner().invoke(app, ["audit"]).output.splitlines()
    assert [line.endswith("; begun and never made") for line in said] == [False, True]


def disk_full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_no_bundle_is_not_added(typed, tmp_path):
    """An empty folder, and one that is not there."""
    with pytest.raises(BundleError, match="no bundles"):
        typed("add", str(tmp_path))
    with pytest.raises(BundleError, match="no bundle at"):
        typed("add", str(tmp_path / "nothing"))
