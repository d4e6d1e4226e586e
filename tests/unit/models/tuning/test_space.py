from __future__ import annotations

import random

import pytest
import yaml

from engine.errors import ConfigError
from models.networks.registry import names
from models.trainer.settings import settings_of
from models.tuning.plain import with_values
from models.tuning.settings import SHIPPED
from models.tuning.space import Dimension, load_space
from tests.support.training import tiny_settings


@pytest.mark.parametrize("network", names())
def test_every_network_has_a_space_within_its_settings(network):
    """Ends, and draws of the whole space, through the settings' own checks."""
    space = load_space(SHIPPED / f"{network}.yaml", network)
    base = tiny_settings(network={"name": network})
    tried = []

    def settings(values, where):
        tried.append(values)
        return settings_of(with_values(base, values), where)

    space.check(settings)
    assert len(tried) > 256
    assert any(key.startswith("network.") for key in space.dimensions)
    assert {"fit.learning_rate", "fit.weight_decay"} <= set(space.dimensions)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({}, "nothing to search"),
        ({"data.files": ["a"]}, "search.data.files is not to be searched"),
        ({"features.window": {"low": 10, "high": 20}}, "features.window is not to be searched"),
        ({"fit.seeds": [[1], [2]]}, "fit.seeds is not to be searched"),
        ({"network.name": ["cnn", "gru"]}, "network.name is not to be searched"),
        ({"fit.batch": {"low": 64}}, "neither bounds nor choices"),
        ({"fit.batch": {"low": 64, "high": 32}}, "low 64 and high 32"),
        ({"fit.batch": [64, 64]}, "a choice twice"),
        ({"fit.batch": {"low": 64, "high": 100, "step": 16}}, "whole number of steps"),
        ({"fit.learning_rate": {"low": 0.0, "high": 0.1, "log": True}}, "log from 0.0; expected above 0"),
        ({"fit.learning_rate": {"low": "1e-4", "high": 0.1}}, "YAML takes 1e-4 for a word"),
        ({"fit.learning_rate": {"low": 0.1, "hihg": 1}}, "unknown field `hihg`"),
    ],
)
def test_a_wrong_space_is_one_line(tmp_path, search, said):
    """Writes it and reads the error."""
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({"network": "mlp", "search": search}))
    with pytest.raises(ConfigError, match=said) as caught:
        load_space(path, "mlp")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"network.hiden": {"low": 8, "high": 16}}, r"search.network.hiden: 8: .*did you mean `hidden`"),
        ({"network.hidden": {"low": 8, "high": 100_000}}, r"search.network.hidden: 100000: .*<= 4096"),
        ({"network.hidden": {"low": 0, "high": 16}}, r"search.network.hidden: 0: .*>= 1"),
        ({"fit.learning_rate": {"low": -0.1, "high": 0.1}}, "search.fit.learning_rate: -0.1: learning rates -0.1"),
        ({"network.input_norm": ["none", "batch"]}, r'input_norm: "batch": .*expected one of bilinear, instance, none'),
        (
            {"network.attention": ["none", "self"], "network.hidden": {"low": 30, "high": 31}, "network.heads": [7]},
            "width 6[02] and heads 7",
        ),
    ],
)
def test_a_space_beyond_the_networks_settings_is_told_before_the_first_trial(tmp_path, search, said):
    """Unknown keys, values out of bounds, and values that do not go together."""
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({"network": "gru", "search": search}))
    space = load_space(path, "gru")
    base = tiny_settings(network={"name": "gru"})
    with pytest.raises(ConfigError, match=said) as caught:
        space.check(lambda values, where: settings_of(with_values(base, values), where))
    assert str(caught.value).startswith(str(path))


def test_a_space_of_another_network_and_of_none(tmp_path):
    """The file of a GRU for an MLP; a name that is no network's."""
    with pytest.raises(ConfigError, match="is of the network 'gru'; expected 'mlp'"):
        load_space(SHIPPED / "gru.yaml", "mlp")
    with pytest.raises(ConfigError, match="unknown network 'lstn'; expected one of attention"):
        load_space(tmp_path / "lstn.yaml", "lstn")


def test_values_survive_the_way_to_optuna_and_back():
    """Lists and sections as choices, booleans, whole numbers and shares."""
    for network in ("stacked_ensemble", "gru", "bin_tabl"):
        space = load_space(SHIPPED / f"{network}.yaml", network)
        chance = random.Random(3)
        values = {key: dimension.draw(chance) for key, dimension in space.dimensions.items()}
        drawn = space.drawn(values)
        for key, distribution in space.distributions().items():
            assert distribution._contains(distribution.to_internal_repr(drawn[key])), key
        assert space.values(drawn) == values
        assert space.contains(values)
        assert not space.contains({**values, "fit.learning_rate": 1.0})
        assert not space.contains({})


def test_draws_stay_within_bounds_and_steps():
    """A thousand of each kind, and both ends occur where there are few values."""
    chance = random.Random(1)
    for dimension in (
        Dimension(low=1, high=4),
        Dimension(low=16, high=64, step=16),
        Dimension(low=0.0, high=0.5, step=0.1),
        Dimension(low=1e-4, high=1e-2, log=True),
        Dimension(low=2, high=300, log=True),
        Dimension(choices=("a", "b")),
    ):
        drawn = [dimension.draw(chance) for _ in range(1000)]
        assert all(dimension.takes(value) for value in drawn)
        if not dimension.log:
            assert set(dimension.extremes()) <= {round(v, 9) if isinstance(v, float) else v for v in drawn}
