"""Bundles that may not be used: the refusal says of each why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.bad_input import attempt_to_play, nothing_written, play, refused
from tests.support.daemon import ROOT, attempt, into, kestrel, last_json, paper_session

ARTIFACTS = ROOT / "models" / "artifacts"
NO_MODEL = "strategies=[{name: mine, kind: ema_cross, model: none}]"


def _flip(bundle: Path) -> None:
    graph = bytearray((bundle / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(graph)


def _manifest(**changes: Any) -> Callable[[Path], None]:
    def apply(bundle: Path) -> None:
        file = bundle / "manifest.json"
        content = json.loads(file.read_text())
        for key, value in changes.items():
            section, _, name = key.partition("__")
            if name:
                content[section][name] = value
            else:
                content[section] = value
        file.write_text(json.dumps(content))

    return apply


@pytest.mark.fault("E2")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_flip, ("model.onnx has sha256", "changed or damaged")),
        (_manifest(features__fingerprint="0" * 64), ("was trained on features 000000000000", "train it again")),
        (_manifest(expires_ns=1), ("expired", "train it again")),
        (_manifest(schema=99), ("has schema 99", "schema 1")),
        (_manifest(scope__venues=["elsewhere"]), ("venue binance_usdm is not one of elsewhere",)),
    ],
)
def test_a_bundle_that_may_not_be_used_is_refused_with_the_reason(
    change: Callable[[Path], None], said: tuple[str, ...], market: tuple[Path, Path], tmp_path: Path
) -> None:
    """A copy of the shipped bundles, one of them damaged, foreign or too old; no session is begun."""
    shutil.copytree(ARTIFACTS, tmp_path / "bundles")
    change(tmp_path / "bundles" / "demo-crypto")
    done = attempt_to_play(tmp_path, market, "--set", f"models.directory={tmp_path / 'bundles'}")
    refused(done, "no bundle in", "BTC/USDT@binance_usdm", *said)
    nothing_written(tmp_path)


def test_quotes_alone_of_a_crypto_instrument_have_no_bundle_that_fits(
    market: tuple[Path, Path], tmp_path: Path
) -> None:
    """The refusal says of each bundle why; the same file trades with a strategy that needs no model."""
    refused(
        play(tmp_path, market[:1]),
        "demo-crypto: its feed has no trades",
        "demo-fx: asset class perpetual is not one of fx, cfd",
        "choose a strategy that needs no model",
    )
    nothing_written(tmp_path)
    summary = paper_session(tmp_path, market[:1], "--set", NO_MODEL)
    assert summary["ticks"] == 3000
    assert summary["predictions"] == 0


def _cut(bundle: Path) -> None:
    content = (bundle / "manifest.json").read_bytes()
    (bundle / "manifest.json").write_bytes(content[: len(content) // 2])


@pytest.mark.fault("E2")
@pytest.mark.parametrize("feed", ["sandbox", "live"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip, ("model.onnx has sha256", "changed or damaged")),
        (lambda bundle: (bundle / "model.onnx").unlink(), ("has no file model.onnx",)),
        (lambda bundle: (bundle / "manifest.json").unlink(), ("demo-crypto: it has no file manifest.json",)),
        (_cut, ("manifest.json is not valid",)),
        (_manifest(features__fingerprint="0" * 64), ("was trained on features 000000000000", "train it again")),
    ],
)
def test_no_market_is_entered_with_a_damaged_bundle(
    feed: str, damage: Callable[[Path], None], said: tuple[str, ...], tmp_path: Path
) -> None:
    """What the venue's instruments will be is known well enough: nothing is started and no session is left."""
    shutil.copytree(ARTIFACTS, tmp_path / "bundles")
    damage(tmp_path / "bundles" / "demo-crypto")
    bundles = f"models.directory={tmp_path / 'bundles'}"
    # A session that begins all the same ends by itself.
    done = attempt("paper", "--json", "--feed", feed, "--for", "20", *into(tmp_path), "--set", bundles)
    refused(done, "no bundle in ", "BTC/USD@coinbase", *said)
    nothing_written(tmp_path)


@pytest.mark.fault("E2")
def test_a_damaged_bundle_is_refused_by_name_and_matters_to_nobody_else(tmp_path: Path) -> None:
    """Asked for by its name: its own line.  A session without a model does not look at it."""
    shutil.copytree(ARTIFACTS, tmp_path / "bundles")
    _flip(tmp_path / "bundles" / "demo-crypto")
    settings = ("--set", f"models.directory={tmp_path / 'bundles'}", "--set", "sandbox.history_s=0", "--for", "0.1")
    done = kestrel("paper", "--json", *into(tmp_path), *settings, "--set", "strategies.0.model=demo-crypto")
    line = refused(done, "model.onnx has sha256", "changed or damaged")
    assert "no bundle in" not in line
    nothing_written(tmp_path)
    done = kestrel("paper", "--json", "--no-report", *into(tmp_path), *settings, "--set", NO_MODEL)
    assert done.returncode == 0
    assert last_json(done)["models"] == []
