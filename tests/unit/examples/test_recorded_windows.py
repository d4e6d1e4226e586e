"""The programs that train a network run as their first lines say, on recorded quotes and on generated ones."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PROGRAMS = {
    "train_cnn": (r"cnn: 130,081 parameters", r"graph of [\d,]+ bytes, at most \S+ off"),
    "train_lstm": (r"lstm: [\d,]+ parameters", r"attention: \d+% on the newest 5 of 30 rows"),
    "train_hybrid": (
        r"in front, cnn, lstm, fusion, heads, mixture",
        r"newest window: .* bps \(\+-[\d.]+\), \w+ with \d+%",
    ),
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """A program as ``python examples/X.py`` finds it: with its folder in front of the path."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield imported
    for name in set(sys.modules) - before:
        if name in (*PROGRAMS, "recorded_windows"):
            del sys.modules[name]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_network_learns_from_recorded_quotes(name, load, market_data, monkeypatch, capsys):
    """A small run: training losses fall, the test is scored, and the last lines tell what the program is about."""
    monkeypatch.setenv("KESTREL_DATA", str(market_data))
    assert load(name).main(events=1_500, epochs=2) == 0
    told = capsys.readouterr().out
    assert "recorded EUR/USD@oanda" in told
    for said in PROGRAMS[name]:
        assert re.search(said, told), told
    losses = [float(each) for each in re.findall(r"epoch \d: .*? ([\d.]+)", told)]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert re.search(r"test(:| log-loss) .*\d\.\d{4}", told)
    assert "nan" not in told


def test_generated_quotes_have_something_to_learn(load, monkeypatch, capsys):
    """Without recordings: the mid swings, and the LSTM finds that out."""
    monkeypatch.delenv("KESTREL_DATA", raising=False)
    assert load("train_lstm").main(events=1_500, epochs=6) == 0
    told = capsys.readouterr().out
    assert "generated EUR/USD@oanda" in told
    loss, prior = (float(each) for each in re.findall(r"test log-loss ([\d.]+), prior ([\d.]+)", told)[0])
    assert loss < prior - 0.1


def test_the_cut_leaves_a_window_and_a_horizon_between_the_parts(load, monkeypatch):
    """No row of an earlier label or a later window is in both parts."""
    monkeypatch.delenv("KESTREL_DATA", raising=False)
    module = load("recorded_windows")
    windows = module.load_windows(400)
    earlier, later = windows.cut(0.5)
    at = len(windows.x) // 2
    assert len(earlier.x) == at - module.HORIZON
    assert (later.x[0] == windows.x[at + module.WINDOW]).all()
    assert (earlier.move_bps == windows.move_bps[: at - module.HORIZON]).all()
