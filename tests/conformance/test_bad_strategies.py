"""A user's own strategy that cannot be loaded, and one that raises while it trades."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bad_input import nothing_written, play, refused
from tests.support.daemon import into, kestrel, last_json, replay_session


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuchmodule\n", ("fails at line 1", "No module named 'nosuchmodule'")),
        ("class Mine(\n", ("fails at line 1", "SyntaxError")),
        ("class Other:\n    pass\n", ("has no class 'Mine'", "strategies.base.BaseStrategy")),
    ],
)
def test_a_users_strategy_that_cannot_be_loaded_is_one_line(text: str, said: tuple[str, ...], tmp_path: Path) -> None:
    """A file with an import that fails, with a syntax error, without the class."""
    file = tmp_path / "mine.py"
    file.write_text(text)
    setting = f"strategies=[{{name: mine, path: '{file}:Mine'}}]"
    refused(kestrel("paper", *into(tmp_path), "--set", setting), *said)
    nothing_written(tmp_path)


FAILING = """
from strategies.base import BaseStrategy


class Failing(BaseStrategy):
    rows = 0

    def on_row(self, instrument, view):
        self.rows += 1
        if self.rows > 50:
            raise ValueError("row fifty-one")
        return ()
"""


@pytest.mark.fault("A14")
def test_a_strategy_that_raises_is_stopped_and_named_while_others_go_on(
    market: tuple[Path, Path], tmp_path: Path
) -> None:
    """Beside ``ema_cross``: the failing one is quarantined, said in log, table and summary; the session replays."""
    (tmp_path / "failing.py").write_text(FAILING)
    bad = f"{{name: bad, path: '{tmp_path}/failing.py:Failing', model: none}}"
    both = f"[{bad}, {{name: good, kind: ema_cross, model: none}}]"
    done = play(tmp_path, market, "--set", f"strategies={both}")
    assert done.returncode == 0
    summary = last_json(done)
    assert summary["quarantined"] == {"bad": "ValueError at failing.py:11: row fifty-one"}
    assert summary["orders"] > 0
    assert "strategy failed and was stopped" in done.stderr
    assert "Traceback" not in done.stderr
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True


BUYS_AND_FAILS = """
from engine.commands import OrderIntent, OrderType
from engine.events import Side
from strategies.base import BaseStrategy


class Failing(BaseStrategy):
    bought = False

    def on_row(self, instrument, view):
        if view.position(instrument).qty:
            return "nonsense"
        if not self.bought and not view.tradable(instrument):
            self.bought = True
            qty = view.instrument(instrument).quantity(500.0 / view.top(instrument).ask_px)
            return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.MARKET)]
        return ()
"""


@pytest.mark.fault("A14")
def test_what_a_failed_strategy_holds_is_closed_by_the_guardian(market: tuple[Path, Path], tmp_path: Path) -> None:
    """It buys, then answers nonsense and is not asked again; what it bought is sold after the longest time that
    positions may be held, by nobody else's doing, and the session replays."""
    (tmp_path / "failing.py").write_text(BUYS_AND_FAILS)
    bad = f"[{{name: bad, path: '{tmp_path}/failing.py:Failing', model: none}}]"
    done = play(tmp_path, market, "--set", f"strategies={bad}", "--set", "risk.guardian.max_age_s=5")
    assert done.returncode == 0, done.stderr
    summary = last_json(done)
    assert list(summary["quarantined"]) == ["bad"]
    assert summary["fills"] >= 2
    assert {float(one["qty"]) for one in summary["positions"].values()} <= {0.0}
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True
