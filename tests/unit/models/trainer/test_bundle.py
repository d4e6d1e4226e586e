"""Bundles of finished runs: every part of them, and what refuses one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.errors import BundleError, DataError
from engine.events import PredictionStatus
from engine.features import FeatureSpec, GapPolicy, Sampling
from models.assets import AssetIds
from models.bundle import load_bundle
from models.catalogue import verify_bundle
from models.evaluation.evaluate import evaluate
from models.golden import run_tape
from models.labels.settings import LabelSpec
from models.manifest import Normalisation, Scope
from models.manifest_sections import Forecast
from models.onnx_model import OnnxModel
from tests.support import made_up_runs as made_up

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

import onnx  # noqa: E402

from models import networks  # noqa: E402
from models.networks.exported import Member, Output, Reading  # noqa: E402
from models.networks.normalisers import Affine  # noqa: E402
from models.networks.settings import AssetSettings  # noqa: E402
from models.trainer import graphs  # noqa: E402
from models.trainer.bundle import Description, bundle_of, label_fingerprint  # noqa: E402
from models.trainer.golden import golden_events, golden_instrument, make_tape  # noqa: E402
from models.trainer.graphs import Real  # noqa: E402
from models.trainer.judged import bundle_in, with_evaluation  # noqa: E402
from models.trainer.normalise import Fitted  # noqa: E402

SPEC = FeatureSpec("g", ("close", "ret_5"), 5, Sampling.tick(), gap=GapPolicy(flat_rows_max=4))
IDS = AssetIds.of(made_up.NAMES)
LABEL = LabelSpec("return", horizon_rows=3)
NUMBER = Forecast("return", "number", "log return of the next 3 rows", 3, "return", label_fingerprint(LABEL))


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """(1000, 5, 2) of the generated market, as the live buffer gives them."""
    torch.set_num_threads(1)
    tape = make_tape(SPEC, lambda window: (float(window[-1, 0]),))
    found: list[np.ndarray] = []
    events = []
    for event in golden_events(SPEC, golden_instrument(SPEC), seed=3):
        events.append(event)
        if len(events) == 2_000:
            break
    run_tape(SPEC, tape.instrument, tuple(events), lambda window: found.append(window.copy()) or (0.0,))
    return np.stack(found[:1000])


def normaliser(windows: np.ndarray) -> Fitted:
    rows = windows.reshape(-1, 2).astype(np.float64)
    limits = (-8.0, 8.0)
    return Fitted(Affine("z_score", rows.mean(0), rows.std(0), limits), Normalisation("z_score", limits, None))


def description(**changes) -> Description:
    base = Description(
        name="made-up",
        summary="A test.",
        task="next return",
        head="regression",
        outputs=(Output("return", "number", 0, 1),),
        forecasts=(NUMBER,),
        scope=Scope(("spot",), tuple(sorted(SPEC.requires)), instruments=made_up.NAMES),
        command="python run.py train --config config/train/made-up.yaml",
        uncertainty_passes=3,
    )
    return msgspec.structs.replace(base, **changes)


@pytest.fixture(scope="module")
def compared() -> Iterator[dict[str, int]]:
    """How many windows each graph was compared on, by the graph's last output."""
    seen: dict[str, int] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("check_graph", "check_steps"):
            real = getattr(graphs, name)

            def watched(*about: Any, real: Any = real, **options: Any) -> float:
                *_, graph, windows, _assets = about
                seen[graph.outputs[-1]] = max(seen.get(graph.outputs[-1], 0), len(windows))
                return real(*about, **options)

            patch.setattr(graphs, name, watched)
        yield seen


@pytest.fixture(scope="module")
def stepped(windows: np.ndarray, tmp_path_factory: pytest.TempPathFactory, compared: dict[str, int]) -> Path:
    """A run with the bundle of a GRU of one direction that knows its instruments; not evaluated."""
    run = made_up.write_run(tmp_path_factory.mktemp("runs") / "stepped", made_up.returns(200), seeds=(7,))
    torch.manual_seed(7)
    network = networks.build(
        "gru", window=5, columns=2, head="regression", assets=AssetSettings(count=3), bidirectional=False, hidden=6
    )
    numbers = np.arange(len(windows)) % 5
    bundle_of(
        [run],
        description(),
        spec=SPEC,
        normaliser=normaliser(windows),
        members=[Member(network, (Reading(centre=0.01, scale=0.5),))],
        seeds=(7,),
        real=Real(windows, numbers),
        assets=IDS,
    )
    assert all(p.requires_grad for p in network.parameters())
    return run.path


def test_every_graph_is_compared_on_all_real_windows(stepped, windows, compared):
    """The one that serves, the explanation, and the steps."""
    manifest = bundle_in(stepped).manifest
    assert {manifest.outputs[-1].name, manifest.explanation.graph.outputs[-1].name, "h_next"} <= compared.keys()
    assert set(compared.values()) == {len(windows)}
    assert len(windows) > 64


def test_the_manifest_says_what_the_outputs_mean_and_where_they_are_from(stepped, windows):
    """Task, labels, seeds, commit, fingerprints, calibration, normaliser, and graphs with their ends."""
    bundle = bundle_in(stepped)
    manifest = bundle.manifest
    assert manifest.schema == 2
    assert manifest.task.forecasts == (NUMBER,)
    assert len(NUMBER.label_fingerprint) == 64
    assert manifest.label.kind == "return"
    assert (manifest.run.name, manifest.run.commit, manifest.run.served_seeds) == ("stepped", "0" * 40, (7,))
    assert manifest.training.data_fingerprint == "f" * 64
    assert manifest.calibration.method == "none"
    assert manifest.normaliser.kind == "z_score"
    assert bundle.assets == IDS
    assert [tensor.name for tensor in manifest.step.graph.inputs] == ["features", "asset", "h"]
    assert [tensor.name for tensor in manifest.step.graph.outputs] == ["return", "h_next"]
    assert [tensor.name for tensor in manifest.explanation.graph.outputs] == ["return_spread"]
    assert manifest.explanation.method == "deviation over 3 fixed dropout masks"
    assert {"model.onnx", "step.onnx", "explain.onnx", "golden.msgpack", "assets.json", "README.md"} == set(
        manifest.files
    )
    assert verify_bundle(bundle.path)["golden_predictions"] == 24


def test_without_an_evaluation_manifest_and_card_say_so(stepped):
    bundle = bundle_in(stepped)
    assert not bundle.manifest.scored
    assert bundle.manifest.evaluation is None
    card = (bundle.path / "README.md").read_text()
    assert "No evaluation was made" in card
    assert "`return`: log return of the next 3 rows" in card
    with pytest.raises(DataError, match=r"has no evaluation\.json; python run\.py evaluate"):
        with_evaluation(bundle, [made_up.RunFolder(stepped)])


def test_the_runtime_serves_it_by_instrument_and_strategies_are_refused(stepped, windows, make_instrument):
    """A known instrument, another one, and one that nobody has seen give three forecasts; the same each time."""
    bundle = bundle_in(stepped)
    model = OnnxModel(bundle)
    said = [model.predict(name, windows[3], 1, 2) for name in (made_up.NAMES[0], made_up.NAMES[1], "X/USD@y")]
    assert {one.status for one in said} == {PredictionStatus.OK}
    assert len({one.values for one in said}) == 3
    assert model.predict(made_up.NAMES[0], windows[3], 1, 2).values == said[0].values
    (reason, *_) = bundle.reasons_against(make_instrument())
    assert reason == "its task is return, and strategies that name no output trade on direction alone"
    assert bundle.manifest.reason_against("return") == ""
    assert bundle.manifest.reason_against("h5") == "it has no output 'h5', only return"


@pytest.mark.fault("E6")
def test_a_side_graph_of_other_weights_is_found_by_verify(stepped, tmp_path, replace_file):
    """The graph of single steps with one weight changed, under its right hash."""
    place = shutil.copytree(bundle_in(stepped).path, tmp_path / "made-up")
    model = onnx.load(place / "step.onnx")
    weights = next(one for one in model.graph.initializer if len(one.dims) == 3)
    weights.raw_data = (np.frombuffer(weights.raw_data, np.float32) * 1.01).astype(np.float32).tobytes()
    replace_file(place, "step.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match=r"step\.onnx is .* off the golden tape after 5 rows"):
        verify_bundle(place)


def test_an_evaluation_that_is_made_later_gets_into_manifest_and_card(stepped, tmp_path):
    """The real evaluation of the run; the graphs stay byte for byte, the version is another."""
    place = shutil.copytree(stepped, tmp_path / "stepped")
    before = bundle_in(place)
    outcome = evaluate(place, ledger=tmp_path / "ledger.jsonl", commit="0" * 40, now_ns=made_up.NOW_NS)
    after = bundle_in(place)
    assert after.version != before.version
    assert after.manifest.scored
    assert after.manifest.evaluation.verdict == outcome.headline.verdict
    assert after.manifest.files["model.onnx"] == before.manifest.files["model.onnx"]
    card = (after.path / "README.md").read_text()
    assert f"**{outcome.headline.verdict}**" in card
    assert outcome.opening.at in card
    assert all(f"| {name.replace('_', ' ')} |" in card for name in after.manifest.baselines)
    assert bundle_in(place).version == after.version
    like = made_up.write_run(tmp_path / "other", made_up.returns(60))
    other = made_up.RunFolder.create(like.path, like.data, like.environment, b"task: another\n")
    with pytest.raises(BundleError, match=r"was not made from the run .*expected the run stepped"):
        with_evaluation(after, [other])


def test_several_forecasts_of_several_seeds_are_one_bundle(windows, tmp_path):
    """Return, variance and regime of an MLP, averaged over two seeds: what torch says, from the runtime."""
    runs = [made_up.write_run(tmp_path / "multi" / f"multi-{name}", made_up.returns(60)) for name in ("r", "v", "g")]
    outputs = (
        Output("return", "number", 0, 1),
        Output("variance", "variance", 1, 2),
        Output("regime", "classes", 2, 6),
    )
    forecasts = tuple(
        Forecast(output.name, output.form, f"the {output.name}", 3, "return", "", classes)
        for output, classes in zip(outputs, ((), (), ("bear", "sideways", "bull", "volatile")), strict=True)
    )
    readings = (Reading(0.1, 0.2), Reading(-1.0, 0.5, level=1.2), Reading(temperature=1.7))
    members = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        members.append(Member(networks.build("mlp", window=5, columns=2, head="multi_task", sizes=(8,)), readings))
    fitted = normaliser(windows)
    bundle = bundle_of(
        runs,
        description(head="multi_task", outputs=outputs, forecasts=forecasts, conformal={"0.9": 0.8}),
        spec=SPEC,
        normaliser=fitted,
        members=members,
        seeds=(1, 2),
        real=Real(windows),
    )
    assert bundle.path == tmp_path / "multi" / "bundle" / "made-up"
    assert bundle.manifest.run.name == "multi"
    assert bundle.manifest.run.served_seeds == (1, 2)
    assert bundle.manifest.explanation.method == "deviation over 2 seeds"
    assert bundle.manifest.step.why_not == "several networks are averaged"
    assert bundle.manifest.calibration.temperature == 1.7
    assert bundle.manifest.conformal == {"0.9": 0.8}
    x = fitted.module(torch.from_numpy(windows[5:6]))
    with torch.no_grad():
        raws = [member.network.eval()(x)[0].double() for member in members]
    wanted = np.mean(
        [[0.1 + 0.2 * raw[0], 1.2 * torch.exp(-1.0 + 0.5 * raw[1]), *torch.softmax(raw[2:] / 1.7, 0)] for raw in raws],
        axis=0,
    )
    seen = OnnxModel(bundle).predict("any", windows[5], 1, 2)
    assert np.allclose(seen.values, wanted, atol=1e-6)
    assert "regime` (bear, sideways, bull, volatile)" in (bundle.path / "README.md").read_text()


@pytest.mark.fault("E6")
def test_a_network_that_becomes_another_in_the_graph_is_refused_with_how_much(windows, tmp_path):
    """A network whose export form is not the network: one line that says by how much; nothing is written."""

    class Twisted(torch.nn.Module):
        def forward(self, x, mask=None, asset=None):
            return x[:, -1, :1]

        def members(self):
            return {}

        def export_form(self):
            form = Twisted()
            form.forward = lambda x, mask=None, asset=None: x[:, -1, :1] + 0.001
            return form

    run = made_up.write_run(tmp_path / "run", made_up.returns(60))
    with pytest.raises(BundleError, match=r"is 0\.001 off the trained network; expected at most 1e-05") as caught:
        bundle_of(
            [run],
            description(),
            spec=SPEC,
            normaliser=normaliser(windows),
            members=[Member(Twisted(), (Reading(),))],
            seeds=(1,),
            real=Real(windows),
        )
    assert "\n" not in str(caught.value)
    assert not (run.path / "bundle").exists()


def test_older_bundles_go_on_loading(artifacts):
    """The shipped ones are of schema 1, which has none of the newer parts."""
    for name in ("demo-crypto", "demo-fx"):
        manifest = load_bundle(artifacts / name).manifest
        assert manifest.schema == 1
        assert (manifest.task, manifest.run, manifest.evaluation, manifest.explanation, manifest.step) == (None,) * 5
        assert verify_bundle(artifacts / name)["golden_predictions"] == 24
