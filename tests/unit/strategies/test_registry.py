"""Loading strategies: built-in, by path, and everything that can be wrong with either."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.events import Side
from strategies.ema_cross import EmaCrossStrategy
from strategies.registry import load_strategy
from strategies.threshold import ThresholdStrategy
from tests.support.fake_view import FakeFeatures, FakeView
from tests.support.limits import NAME

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = f"{ROOT / 'examples' / 'my_strategy.py'}:BuyTheDip"


def refusal(kind: str, params: dict[str, object] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_strategy(kind, "mine", [NAME], params or {})
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_built_in_kinds_load_with_their_parameters() -> None:
    """As written in YAML: whole numbers where floats are meant."""
    threshold = load_strategy("threshold", "a", [NAME], {"cost_multiple": 0, "buy": 0.6, "sell": 0.4})
    assert isinstance(threshold, ThresholdStrategy)
    assert (threshold.name, threshold.params.cost_multiple, threshold.params.buy) == ("a", 0.0, 0.6)
    assert isinstance(load_strategy("ema_cross", "b", [NAME], {}), EmaCrossStrategy)


@pytest.mark.fault("F9")
def test_unknown_names_get_the_nearest_valid_one() -> None:
    """A kind and a parameter, misspelt."""
    assert "'threshold'" in refusal("treshold")
    assert "'horizon_ns'" in refusal("threshold", {"horizon": 5})
    assert "none at all" in refusal(f"{ROOT / 'strategies' / 'base.py'}:BaseStrategy", {"xyz": 5})


def test_wrong_values_name_the_parameter() -> None:
    """A word for a number, and a number that makes no sense."""
    assert "slip_ticks" in refusal("threshold", {"slip_ticks": "many"})
    assert "stop_bps" in refusal("threshold", {"stop_bps": -5})


def test_the_example_buys_a_dip_and_sells_the_recovery() -> None:
    """The file of the examples folder, loaded by path, through a fall and a rise."""
    strategy = load_strategy(EXAMPLE, "mine", [NAME], {"below_bps": 5})
    view = FakeView()
    view.feature_views[NAME] = FakeFeatures({"sma_20": 100.0})
    assert not strategy.on_row(NAME, view)
    view.quote(NAME, 99.89, 99.91)
    (buy,) = strategy.on_row(NAME, view)
    opened = view.open(buy)  # type: ignore[arg-type]
    assert not strategy.on_row(NAME, view)
    view.fill(opened.client_order_id, opened.intent.qty, opened.intent.limit_px)  # type: ignore[arg-type]
    assert not strategy.on_row(NAME, view)
    view.quote(NAME, 99.99, 100.01)
    (sell,) = strategy.on_row(NAME, view)
    assert (sell.side, sell.qty, sell.reduce_only) == (Side.SELL, opened.intent.qty, True)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError"),
        ("x = 1\ny = x +\n", "line 2: SyntaxError"),
        ("\n\nraise RuntimeError('two\\nlines')", "line 3: RuntimeError: two lines"),
        ("raise SystemExit(3)", "SystemExit"),
        ("class Other: pass", "no class 'Mine'"),
        ("Mine = 5", "no class 'Mine'"),
        ("class Mine:\n    def __init__(self, *a): self.name = 'mine'", "lacks on_"),
        ("class Mine:\n    def __init__(self): pass", "cannot be made: TypeError"),
        ("class Mine:\n    Params = dict", "msgspec.Struct"),
    ],
)
def test_a_users_file_that_fails_is_one_line(tmp_path: Path, source: str, said: str) -> None:
    """Each way it can be wrong, with the line where there is one."""
    (tmp_path / "mine.py").write_text(source)
    assert said in refusal(f"{tmp_path}/mine.py:Mine")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Path to nothing."""
    assert "is missing" in refusal(f"{tmp_path}/none.py:Mine")


def test_files_of_the_same_name_are_different_strategies(tmp_path: Path) -> None:
    """Two folders, one file name each; both are usable at once, structs included."""
    source = (
        "import msgspec\nfrom strategies.base import BaseStrategy\n"
        "class P(msgspec.Struct):\n    x: int = {n}\n"
        "class Mine(BaseStrategy):\n    Params = P\n"
    )
    found = []
    for n in (1, 2):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "mine.py").write_text(source.replace("{n}", str(n)))
        found.append(load_strategy(f"{folder}/mine.py:Mine", "mine", [NAME], {}))
    assert [strategy.params.x for strategy in found] == [1, 2]  # type: ignore[attr-defined]


PARAMS = """
from typing import Annotated, Literal
import msgspec
from strategies.base import BaseStrategy

class Mine(BaseStrategy):
    class Params(msgspec.Struct):
        ratio: float | None = None
        rows: Annotated[int, msgspec.Meta(ge=2)] = 2
        lengths: list[int] = []
        side: Literal["buy", "sell"] = "buy"
        api_token: int = 0

        def __post_init__(self):
            if self.rows == 7:
                raise ValueError("seven rows are none")
"""


@pytest.mark.parametrize(
    ("params", "seen", "expected"),
    [
        ({"ratio": "abc"}, "parameter ratio is 'abc'", "a number or nothing"),
        ({"ratio": "x" * 5000}, "parameter ratio is 'xxx", "a number or nothing"),
        ({"rows": 1}, "parameter rows is 1", "a whole number of at least 2"),
        ({"rows": 2.5}, "parameter rows is 2.5", "a whole number"),
        ({"rows": 7}, "seven rows are none", ""),
        ({"lengths": [1, "b"]}, "parameter lengths is [1, 'b'], wrong at lengths[1]", "a whole number"),
        ({"lengths": 3}, "parameter lengths is 3", "a list"),
        ({"side": "long"}, "parameter side is 'long' (invalid enum value 'long')", ""),
        ({"api_token": "hunter2"}, "parameter api_token is a value that is not shown", "a whole number"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value_and_what_it_should_be(
    params: dict[str, object], seen: str, expected: str, tmp_path: Path
) -> None:
    """In our own words; what a class says of its own parameters stays in its words."""
    (tmp_path / "mine.py").write_text(PARAMS)
    message = refusal(f"{tmp_path}/mine.py:Mine", params)
    assert message.startswith(f"strategy mine: {seen}")
    assert (f"; expected {expected}; correct it" in message) if expected else ("expected" not in message)
    assert message.endswith("; correct it under params of mine")
    assert len(message) < 250
    assert "hunter2" not in message
