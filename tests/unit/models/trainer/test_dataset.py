from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from engine.errors import BundleError, ConfigError, DataError
from engine.features.sets import quote40_spec
from models.bundle import load_bundle
from models.catalogue import verify_bundle
from models.trainer import dataset
from models.trainer.normalise import column_kinds
from models.trainer.settings import load_settings, settings_of
from tests.support.training import (
    candle_settings,
    tiny_dataset,
    tiny_settings,
    train_bundle,
    write_candles,
    write_quotes,
    write_settings,
)

SHIPPED = sorted((Path(__file__).resolve().parents[4] / "config" / "train").glob("*.yaml"))


@pytest.fixture
def folder(tmp_path):
    """Quotes of a generated mean-reverting EUR/USD, written as the recorded files are."""
    return write_quotes(tmp_path)


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_settings_load_and_are_named_as_their_file(path):
    """Loads every file of config/train."""
    assert load_settings(path)[0].name == path.stem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labell": {}}, "did you mean `label`"),
        ({"fit": {"seed": [1]}}, "did you mean `seeds`"),
        ({"fit": {"epochs": "many"}}, "epochs"),
        ({"split": {"train": 0.9, "validation": 0.2}}, "leave some for the test"),
        ({"split": {"test_from": "2022-01-24"}}, "both or none"),
        ({"data": {"files": []}}, "at least one file"),
        ({"label": {"horizon_rows": 0, "span_s_max": 1}}, "horizon_rows 0"),
        ({"name": "../elsewhere"}, "name"),
        ({"network": {"name": "lstn"}}, r"network.name.*did you mean `lstm`"),
        ({"network": {"name": "lstm", "hiden": 3}}, "did you mean `hidden`"),
        ({"network": {"hidden": 3}}, "missing required field `name`.*expected one of attention, bin_tabl"),
        ({"network": {"name": "gru", "layers": 6}}, r"<= 5.*network.layers"),
        ({"network": {"name": "attention", "heads": 7}}, "width 128 and heads 7"),
        ({"network": "lstm"}, r"Expected `object`.*network"),
        ({"fit": {"learning_rates": {"head": 0}}}, "learning rates"),
        ({"fit": {"learning_rates": {"head": float("inf")}}}, "learning rates .*expected more than 0, and a number"),
        ({"fit": {"weight_decay": -0.1}}, "fit.weight_decay -0.1; expected 0 or more"),
        ({"fit": {"weight_decay": float("nan")}}, "fit.weight_decay nan"),
        ({"fit": {"seeds": []}}, r"fit.seeds \[\]; expected a seed or more"),
        ({"fit": {"seeds": [-1]}}, r"fit.seeds \[-1\]; expected a seed or more, each from 0"),
        ({"fit": {"seeds": [2**63]}}, r"fit.seeds \[9223372036854775808\]"),
        ({"fit": {"epochs": 0}}, "fit.epochs 0; expected at least 1"),
        ({"fit": {"batch": 1}}, "fit.batch 1; expected at least 2"),
        (
            {"fit": {"batch": 64, "rows_per_epoch": 32}},
            "fit.rows_per_epoch 32 with fit.batch 64; expected at least a b",
        ),
        ({"fit": {"threads": 100_000}}, "fit.threads 100000; expected 1 to 1024"),
        ({"fit": {"optimiser": "adamm"}}, "fit.optimiser`; did you mean `adam`. expected one of adam, adamw, nadam"),
        ({"fit": {"schedule": {"kind": "x"}}}, "fit.schedule.kind`; expected one of constant, cosine, one_cycle"),
        ({"losses": {"return": {"kind": "hubert"}}}, "did you mean `huber`. expected one of auto, cross_entropy"),
        (
            {"task": "directions", "label": {"kind": "change_bps"}},
            "task`; did you mean `direction`. expected one of classes, direction",
        ),
        (
            {"curriculum": {"label": {"kind": "change_bps"}, "epochs": 1}},
            "curriculum.epochs 1 of fit.epochs 1; expected",
        ),
        ({"scope": {"asset_classes": ["spott"]}}, "scope.asset_classes spott, did you mean spot.; expected among spot"),
        ({"scope": {"asset_classes": []}}, "scope.asset_classes empty"),
        ({"expires_days": -3}, "expires_days -3.0; expected more than 0"),
        ({"expires_days": float("inf")}, "expires_days inf; expected more than 0, at most 36,500, or none"),
        ({"label": None}, "task direction without a label; expected label, of kind change_bps"),
        ({"label": {"kind": "class", "threshold": "nan"}, "task": "classes"}, "a bound that is no number"),
        ({"label": {"kind": "class", "threshold": "inf"}, "task": "classes"}, "a bound that is no finite number"),
        (
            {"label": {"kind": "barrier", "target": "nan", "stop": 0.1}, "task": "signal"},
            "a label of kind barrier with a bound that is no finite number",
        ),
        ({"label": {"horizon_rows": 1, "span_s_max": float("nan")}}, "a bound that is no finite number"),
        ({"loss": {"kind": "weighted", "class_weights": [1, float("inf")]}}, "class_weights .*inf.*expected finite"),
        (
            {"judged": {"figures": [{"name": "theirs", "metric": "mcc", "value": float("nan")}]}},
            "judged.figures: theirs is no number",
        ),
        ({"split": {"origin": 2}}, "split.origin 2 without split.walk_forward; expected the walk-forward"),
        (
            {"split": {"walk_forward": {"origins": 2}, "origin": 7}},
            "split.origin 7 of a walk-forward with 2 origins; expected 1 to 2",
        ),
        ({"normaliser": {"kind": "minmax"}}, "normaliser.kind`; did you mean `min_max`. expected one of min_max, none"),
        ({"normaliser": {"kinds": "robust"}}, "did you mean `kind`"),
        ({"epochs": 3}, "unknown field `epochs`; it is a key of `curriculum` and `fit`"),
        ({"fit": {"walk_forward": {"origins": 5}}}, r"`walk_forward` - at `\$.fit`; it is a key of `split`"),
        ({"fit": {"hidden": 3}}, "`hidden` - at `.*`; it is a key of `network`"),
        ({"fit": {"cycle_epochs": 3}}, "; it is a key of `fit.schedule`"),
        ({"fit": {"task": "signal"}}, "; it is a key of the file itself"),
        ({"normaliser": {"kind": "per_window", "clip": True}}, "only min_max, z_score and robust"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path, changes, said):
    """Writes one wrong value and reads the error."""
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(write_settings(tmp_path, tiny_settings(**changes)))
    assert "\n" not in str(caught.value)


def test_a_missing_settings_file_is_named(tmp_path):
    """Points at nothing."""
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path / "none.yaml")


# --- rows -------------------------------------------------------------------------------------------------------


def test_the_three_parts_do_not_touch(folder):
    """Every training label is known before the first validation row, and a window lies between the parts."""
    data = tiny_dataset(folder)
    for before, after in ((data.train, data.validation), (data.validation, data.test)):
        last, first = before.position.max(), after.position.min()
        assert last + 5 + data.window <= first
        assert before.ts_ns.max() < after.ts_ns.min()


def test_labels_say_where_the_mid_went(folder):
    """Recomputes each label from the close column, which is the mid."""
    data = tiny_dataset(folder)
    close = data.values[:, data_columns().index("close")].astype(np.float64)
    for part in (data.train, data.validation, data.test):
        change = close[part.position + 5] - close[part.position]
        agree = np.sign(change) == np.where(data.targets[part.index, 0] == 1.0, 1, -1)
        assert agree[np.abs(change) > 2e-6].all()
        assert (data.move_bps[part.index] != 0).all()


def data_columns():
    return quote40_spec().columns


def test_windows_end_at_their_row_and_hold_no_nan(folder):
    """Compares a window with the rows it is cut from."""
    data = tiny_dataset(folder)
    windows = data.windows(data.train.position[:10])
    assert windows.shape == (10, 30, 40)
    assert np.isfinite(windows).all()
    at = int(data.train.position[3])
    assert (windows[3] == data.values[at - 29 : at + 1]).all()


def test_a_label_across_a_pause_is_left_out(folder):
    """Allows labels of 2.4 s only: about half of the five-row labels span more."""
    assert (
        len(tiny_dataset(folder).train)
        > len(tiny_dataset(folder, label={"horizon_rows": 5, "span_s_max": 2.4}).train)
        > 0
    )


def test_the_cuts_may_be_days_that_stay_when_data_is_added(folder):
    """At the seconds in which the shares cut: no row of a part is from the wrong side of them."""
    shares = tiny_dataset(folder)
    cuts = [int(part.ts_ns[0]) // 10**9 for part in (shares.validation, shares.test)]
    first, second = (datetime.fromtimestamp(cut, UTC).isoformat() for cut in cuts)
    days = tiny_dataset(folder, split={"validation_from": first, "test_from": second})
    assert days.train.ts_ns.max() // 10**9 < cuts[0] <= days.validation.ts_ns.min() // 10**9
    assert days.validation.ts_ns.max() // 10**9 < cuts[1] <= days.test.ts_ns.min() // 10**9
    assert len(days.test) == pytest.approx(len(shares.test), rel=0.1)


def test_kept_rows_are_the_rows_that_are_made(folder):
    """In memory, written, and mapped by the next run: parts, labels and values are bit-equal."""
    kept = {"files": ["quotes.parquet"], "rows_folder": str(folder / "rows")}
    first, *others = tiny_dataset(folder), tiny_dataset(folder, data=kept), tiny_dataset(folder, data=kept)
    for data in others:
        assert data.values.tobytes() == first.values.tobytes()
        for one, other in ((data.train, first.train), (data.validation, first.validation), (data.test, first.test)):
            for name in ("position", "index", "ts_ns"):
                assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
        assert data.targets.tobytes() == first.targets.tobytes()
        assert data.sources == first.sources
    assert len([path for path in (folder / "rows").iterdir() if path.is_dir()]) == 1


def test_too_few_rows_are_refused(folder):
    """Bounds the data to its first minute."""
    with pytest.raises(DataError, match="labelled rows"):
        tiny_dataset(folder, data={"files": ["quotes.parquet"], "end": "2014-05-13T16:55:00Z"})


def test_a_market_without_any_row_says_where_to_look(tmp_path):
    """A slice of time that nothing lies in: another window or horizon would not help."""
    write_quotes(tmp_path)
    with pytest.raises(
        DataError, match=r"no row in all of quotes\.parquet; .*data\.start and data\.end, .*data quality"
    ):
        tiny_dataset(tmp_path, data={"files": ["quotes.parquet"], "start": "2030-01-01T00:00:00Z"})


def test_levels_and_differences_of_price_are_told_apart(folder):
    """Looks at columns whose kind is known."""
    data = tiny_dataset(folder)
    kinds = dict(zip(data_columns(), column_kinds(data, data_columns()), strict=True))
    assert {kinds[name] for name in ("close", "sma_20", "ema_12", "bb_upper", "bb_lower", "vwap")} == {"price"}
    assert {kinds[name] for name in ("macd_line", "macd_signal", "macd_histogram", "atr_14")} == {"price_difference"}
    assert kinds["obv"] == "qty_total"
    assert kinds["rsi_14"] == "plain"


# --- the whole run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": {"name": "temporal_lstm", "mode": "sequence"}}, r"gives \(-1, 5, 1\).*network.mode to encoder"),
        ({"network": {"name": "multi_filter_cnn", "output": "steps"}}, r"gives \(-1, 30, 1\).*network.output to last"),
        ({"features": {"columns": "quote40", "window": 7}}, "window of 7 rows is too short for the network cnn"),
        ({"fit": {"learning_rates": {"haed": 1e-4}}}, "names haed, .*expected among features, head"),
    ],
)
def test_a_network_that_does_not_fit_the_task_is_refused_before_any_row_is_read(tmp_path, changes, said):
    """Needs no data: the folder does not exist."""
    pytest.importorskip("torch", reason="the trainer is not installed")
    from models.trainer.run import run_training

    with pytest.raises(ConfigError, match=said) as caught:
        run_training(settings_of(tiny_settings(**changes)), folder=tmp_path / "run", data=tmp_path / "none")
    assert "\n" not in str(caught.value)


def test_a_missing_data_folder_is_named(folder):
    """Points at a folder that does not exist."""
    pytest.importorskip("torch", reason="the trainer is not installed")
    from models.trainer.run import run_training

    with pytest.raises(DataError, match="no data folder"):
        run_training(settings_of(tiny_settings()), folder=folder / "run", data=folder / "none")
    stored = tiny_settings() | {"data": {"catalogue": str(folder / "none"), "instruments": ["BTC/USD@coinbase"]}}
    with pytest.raises(DataError, match="no market of BTC/USD@coinbase"):  # a catalogue needs no such folder
        run_training(settings_of(stored), folder=folder / "run", data=folder / "none")


def test_training_makes_a_bundle_that_opens_and_the_same_weights_again(folder):
    """Trains twice from the same seed: the weights are equal bit for bit, and the bundle passes its golden tape."""
    torch = pytest.importorskip("torch", reason="the trainer is not installed")
    pytest.importorskip("onnxscript", reason="the trainer is not installed")
    from models.trainer.run import run_training

    first = train_bundle(folder / "a", folder)
    again = run_training(settings_of(tiny_settings()), folder=folder / "b", data=folder)
    one, other = (
        torch.load(run / "weights" / "seed-1.pt", weights_only=True)["served"] for run in (folder / "a", again.folder)
    )
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert verify_bundle(first)["golden_predictions"] > 0
    manifest = load_bundle(first).manifest
    assert manifest.training.parameters == 130_081
    assert manifest.scope.inputs == ("quotes",)
    assert str(folder) not in (first / "manifest.json").read_text() + (first / "README.md").read_text()
    assert str(folder.anchor + "work").encode() not in (first / "model.onnx").read_bytes()


def test_an_export_that_computes_something_else_is_refused():
    """Exports one network and compares it with another."""
    torch = pytest.importorskip("torch", reason="the trainer is not installed")
    pytest.importorskip("onnxscript", reason="the trainer is not installed")
    from models import networks
    from models.networks.served import Normaliser, Served
    from models.trainer.export import check_parity, export

    torch.manual_seed(0)
    one = Served(Normaliser(["plain"] * 40, 0), networks.build("cnn")).eval()
    windows = np.random.default_rng(0).normal(size=(200, 30, 40)).astype(np.float32)
    graph = export(one, 30, 40)
    assert check_parity(one, graph, windows) <= 1e-5
    with torch.no_grad():
        one.network.head[8].bias += 1e-3
    with pytest.raises(BundleError, match="off the trained network"):
        check_parity(one, graph, windows)
    with torch.no_grad():
        one.network.head[8].bias.fill_(np.nan)
    with pytest.raises(BundleError, match="nan off the trained network"):
        check_parity(one, graph, windows)


# --- some of the rows -------------------------------------------------------------------------------------------------


def test_some_rows_are_of_all_instruments(tmp_path):
    """Two coins that take turns, minute by minute: every second row is of one of them alone, and thresholds, conformal
    quantiles and the reference of drift would be that one's."""
    settings = settings_of(candle_settings("return"))
    rows = dataset.build(settings, dataset.feature_spec(settings.features), write_candles(tmp_path)).train
    half = rows.every(len(rows) // 2)
    assert np.bincount(half.samples.instrument[half.index]).tolist() == pytest.approx([len(half) / 2] * 2, abs=1)
    assert len(rows) / 4 < len(half) <= len(rows) / 2
    assert (np.diff(half.ts_ns) > 0).all()
    assert rows.every(len(rows)).index.tolist() == rows.index.tolist()


def test_some_rows_of_one_instrument_are_evenly_spaced(folder):
    rows = tiny_dataset(folder).train
    assert rows.every(300).index.tolist() == rows.index[:: -(-len(rows) // 300)].tolist()
