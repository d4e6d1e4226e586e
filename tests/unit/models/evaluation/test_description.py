from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.errors import DataError
from models.evaluation.description import Columns, RunData, Task, check_description, describe_part
from tests.support import made_up_runs as made_up

PARTS = {
    name: describe_part(made_up.signal(60).part(name)[0], made_up.NAMES) for name in ("train", "validation", "test")
}


def data(**changes: object) -> RunData:
    task = made_up.signal(60).task
    inside = {name: changes.pop(name) for name in list(changes) if name in Task.__struct_fields__}
    good = RunData(
        msgspec.structs.replace(task, **inside), "f", {}, made_up.NAMES, ("range24", "noise"), PARTS, (1,), "oracle"
    )
    return msgspec.structs.replace(good, **changes)


def test_a_whole_description_passes() -> None:
    """The made-up one, and as it comes back from JSON."""
    check_description(Path("data.json"), data())
    check_description(Path("data.json"), msgspec.json.decode(msgspec.json.encode(data()), type=RunData))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": {"train": PARTS["train"]}}, "parts ['train']"),
        ({"kind": "variance"}, "kind variance"),
        ({"classes": ()}, "kind classes"),
        ({"classes": ("BUY",)}, "one class"),
        ({"up": "RISE"}, "class 'RISE'; expected one of WAIT, BUY"),
        ({"signal": "BUY", "classes": ("WAIT", "BUY", "SELL")}, "signal 'BUY'; expected the second of two classes"),
        ({"signal": "WAIT"}, "signal 'WAIT'; expected the second of two classes"),
        ({"columns": Columns(rules=("sd168",))}, "column 'sd168'"),
        ({"columns": Columns(har=("range24",))}, "1 columns of HAR"),
        ({"horizon_s": 0.0}, "horizon"),
        ({"primary": "profit"}, "primary 'profit'; expected one of accuracy"),
        ({"primary": "direction_accuracy"}, "primary 'direction_accuracy'"),
        ({"up": "BUY"}, "both or neither"),
        ({"up": "BUY", "down": "BUY"}, "up and down are both 'BUY'"),
        ({"horizon_s": 1e300}, "horizon"),
        ({"columns": Columns(rules=("",))}, "column ''"),
        ({"seeds": ()}, "no seeds; expected one or more"),
        ({"seeds": (1, 1)}, "seeds (1, 1); expected each once"),
        ({"features": (), "columns": Columns()}, "no features"),
        ({"features": ("range24", "range24")}, "features ('range24', 'range24')"),
        ({"instruments": ()}, "no instruments"),
        ({"classes": ("BUY", "BUY")}, "classes ('BUY', 'BUY')"),
        ({"break_even": 1.5}, "break_even 1.5"),
        ({"break_even": 0.3, "signal": ""}, "break_even without a signal"),
    ],
)
def test_a_description_that_contradicts_itself_is_told(changes: dict[str, object], said: str) -> None:
    """One line that names the file and the value."""
    with pytest.raises(DataError) as error:
        check_description(Path("data.json"), data(**changes))
    assert str(error.value).startswith("data.json: ")
    assert said in str(error.value)


def test_an_unknown_key_is_an_error() -> None:
    """A misspelt one is never ignored."""
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**msgspec.to_builtins(data()), "sead": 1}, RunData)
