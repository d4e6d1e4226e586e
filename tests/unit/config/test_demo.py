"""The demo trades on every venue, and nobody else's strategy is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.demo import with_fitting_demo
from config.load import load
from config.venue_registry import kind_of
from models.shipped import bundles_folder
from tests.support.daemon import NO_CHAMPIONS


@pytest.mark.parametrize(
    ("venue", "kind"), [("coinbase", "threshold"), ("oanda", "threshold"), ("robinhood", "ema_cross")]
)
def test_the_shipped_strategy_stays_where_a_model_fits(
    venue: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Robinhood's quotes have no sizes and there are no trades: said in one line, with the instruments."""
    settings = load(env=NO_CHAMPIONS, overrides={"venue.name": venue})
    fitting = with_fitting_demo(settings, kind_of(settings).foresee(settings))
    assert [one.kind for one in fitting.strategies] == [kind]
    said = capsys.readouterr().err
    assert (said == "") is (kind == "threshold")
    assert kind == "threshold" or said.startswith("no model that ships fits BTC/USD@robinhood")


def test_a_strategy_of_the_users_own_is_never_replaced() -> None:
    """The same strategy, written down: the session is refused by the reason instead."""
    own = [{"name": "mine", "kind": "threshold"}]
    settings = load(env=NO_CHAMPIONS, overrides={"venue.name": "robinhood", "strategies": own})
    assert with_fitting_demo(settings, kind_of(settings).foresee(settings)) is settings


def test_a_damaged_bundle_is_no_reason(tmp_path: Path) -> None:
    """Whoever keeps bundles of their own hears which one is damaged; nothing stands in for it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{")
    settings = load(env=NO_CHAMPIONS, overrides={"venue.name": "robinhood", "models.directory": str(tmp_path)})
    assert bundles_folder(tmp_path) == tmp_path
    assert with_fitting_demo(settings, kind_of(settings).foresee(settings)) is settings
