from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError
from models.tuning.settings import load_tuning
from tests.support.training import candle_settings, tiny_settings
from tests.support.tuning import tiny_training, write_study

SHIPPED = sorted((Path(__file__).resolve().parents[4] / "config" / "tune").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_studies_load_and_are_named_as_their_file(path):
    """Loads every file of config/tune, with what it names."""
    assert load_tuning(path).settings.name == path.stem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trails": 3}, "did you mean `trials`"),
        ({"trials": 0}, "trials"),
        ({"name": "../else"}, "name '../else'"),
        ({"metric": "logloss"}, "metric 'logloss', did you mean 'log_loss'"),
        ({"pruner": {"kind": "mean"}}, "pruner.kind"),
        ({"pruner": {"warmup": 1}}, "did you mean `warmup_epochs`"),
        ({"train": "none.yaml"}, "cannot read .*none.yaml: No such file"),
        ({"space": "none.yaml"}, "cannot read .*none.yaml: No such file"),
        ({"network": "lstn"}, "unknown network 'lstn'"),
        ({"network": "gru"}, "is of the network 'mlp'; expected 'gru'"),
        ({"during_search": {"fit.epoch": 1}}, "during_search: .*did you mean `epochs`"),
        ({"during_search": {"fit.learning_rate": 0.1}}, "during_search.fit.learning_rate is searched as well"),
        ({"during_search": {"name.x": 1}}, "name is no section"),
        ({"finalists": {"by": "profit"}}, "finalists.by profit without profit"),
        ({"profit": {"cost_bps": 10}, "folds": {"kind": "walk_forward"}}, "profit with folds walk_forward"),
        ({"method": "population", "executor": "ray"}, "method population with folds none and executor ray"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path, changes, said):
    """Writes one wrong value and reads the error."""
    with pytest.raises(ConfigError, match=said) as caught:
        load_tuning(write_study(tmp_path, **changes))
    assert "\n" not in str(caught.value)


SIGNAL = candle_settings("signal")
CLASSES = candle_settings("classes")
SEVERAL = candle_settings("multi_task")


@pytest.mark.parametrize(
    ("training", "changes", "said"),
    [
        (SIGNAL, {"metric": "qlike"}, r"metric 'qlike' of the task signal; expected one of accuracy, .*pr_auc"),
        (SIGNAL, {"metric": "direction_accuracy"}, r"metric 'direction_accuracy' of the task signal; expected one of"),
        (SIGNAL, {"metric": "regime.mcc"}, r"metric 'regime.mcc' of the task signal; expected one of accuracy"),
        (SEVERAL, {"metric": "mcc"}, r"metric 'mcc' of the task multi_task; expected one of .*regime.mcc"),
        (SEVERAL, {"metric": "return.qlike"}, r"metric 'return.qlike' of the task multi_task; .*variance.qlike"),
        (SIGNAL, {"profit": {"cost_bps": 10}}, r"profit of a signal without gain_bps; expected what one brings"),
        (CLASSES, {"profit": {"cost_bps": 10}}, r"profit of the task classes is pending: .*; expected a signal or a"),
        (SEVERAL, {"metric": "score", "profit": {"cost_bps": 10}}, r"profit of the task multi_task is pending: "),
    ],
)
def test_what_the_task_does_not_tell_is_told_before_a_trial_is_trained(tmp_path, training, changes, said):
    """A score of another task, and the profit of what has no prices: both were found after a whole training."""
    with pytest.raises(ConfigError, match=said):
        load_tuning(write_study(tmp_path, training=training, **changes))


@pytest.mark.parametrize(
    ("training", "metric"),
    [
        (SIGNAL, "pr_auc"),
        (CLASSES, "direction_accuracy"),
        (SEVERAL, "score"),
        (SEVERAL, "return.direction_accuracy"),
        (candle_settings("multi_horizon"), "h3.r2_oos"),
        (candle_settings("variance"), "r2_log"),
    ],
)
def test_scores_of_every_kind_of_task_can_be_searched_by(tmp_path, training, metric):
    """Of one forecast by their names, of several by those of the forecast."""
    assert load_tuning(write_study(tmp_path, training=training, metric=metric)).settings.metric == metric


def test_a_trial_and_the_result_have_settings_of_their_own(tmp_path):
    """Fewer epochs in the search only; the result has the finalists' seeds and a name of its own."""
    path = write_study(
        tmp_path,
        during_search={"fit.epochs": 1},
        training=tiny_settings(
            network={"name": "mlp", "sizes": [8]}, fit={"seeds": [5], "epochs": 7, "batch": 64, "rows_per_epoch": 128}
        ),
    )
    tuning = load_tuning(path)
    trial, result = (make({"network.dropout": 0.25}) for make in (tuning.for_search, tuning.for_result))
    assert (trial["fit"]["epochs"], trial["fit"]["seeds"], trial["name"]) == (1, [5], "tiny")
    assert (result["fit"]["epochs"], result["fit"]["seeds"], result["name"]) == (7, [1, 2], "tiny-study-best")
    assert trial["network"] == result["network"] == {"name": "mlp", "sizes": [8], "dropout": 0.25}
    assert tuning.base["network"] == {"name": "mlp", "sizes": [8]}
    assert not tuning.maximise


def test_another_network_takes_its_own_defaults_and_its_shipped_space(tmp_path):
    """The training file's MLP is replaced whole."""
    tuning = load_tuning(
        write_study(tmp_path, training=tiny_training(rows_per_epoch=512), network="gru", space="", metric="macro_f1")
    )
    assert tuning.base["network"] == {"name": "gru"}
    assert tuning.space.network == "gru"
    assert tuning.maximise
