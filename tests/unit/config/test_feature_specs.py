"""Feature specs as configured."""

from __future__ import annotations

import pytest

from config.feature_specs import own_spec, plain_spec
from config.features_schema import FeaturesSettings
from engine.errors import ConfigError
from tests.support.core import spot


def test_auto_is_the_set_that_the_data_can_fill() -> None:
    """Trades give volume; where there are only quotes, quotes are counted."""
    rich, poor = plain_spec(FeaturesSettings(), spot()), plain_spec(FeaturesSettings(), spot(has_trades=False))
    assert (rich.name, rich.volume) == ("core40", "trades")
    assert (poor.name, poor.volume) == ("quote40", "ticks")


def test_what_is_named_is_taken() -> None:
    """``quote40`` counts quotes also where there are trades; columns by name are a set of one's own."""
    assert own_spec(FeaturesSettings(set="quote40"), has_trades=True).volume == "ticks"
    own = own_spec(FeaturesSettings(columns=["ret_1"], window=7), has_trades=True)
    assert (own.name, own.columns, own.window) == ("own", ("ret_1",), 7)


def test_a_column_that_stands_there_twice_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="columns name ret_1 twice; expected each once"):
        own_spec(FeaturesSettings(columns=["ret_1", "ret_1"]), has_trades=True)
