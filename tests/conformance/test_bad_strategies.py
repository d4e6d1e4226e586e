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


WITHOUT_END = """
from engine.commands import OrderIntent, OrderType
from engine.events import Side
from strategies.base import BaseStrategy


class Endless(BaseStrategy):
    def on_row(self, instrument, view):
        rules = view.instrument(instrument)
        qty = rules.quantity(NOTIONAL / view.top(instrument).ask_px)
        wish = OrderIntent(view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.MARKET)
        return () if view.tradable(instrument) else [wish] * 40
"""


@pytest.mark.fault("F3")
@pytest.mark.fault("F4")
def test_a_strategy_that_asks_without_end_halts_its_daemon(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Forty wishes for each row: no more leave than a second allows, however long the recording is; risk
    is halted with the strategy's name."""
    (tmp_path / "endless.py").write_text(WITHOUT_END.replace("NOTIONAL", "200.0"))
    endless = f"[{{name: endless, path: '{tmp_path}/endless.py:Endless', model: none}}]"
    settings = ("--set", "risk.max_rejections_per_s=60", "--set", "risk.max_orders_per_s_instrument=3")
    done = play(tmp_path, market, "--set", f"strategies={endless}", *settings)
    assert done.returncode == 0, done.stderr
    summary = last_json(done)
    assert summary["state"] == "halted"
    assert "runaway loop" in done.stderr
    assert "endless" in done.stderr
    assert 1 <= summary["orders"] <= 3
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True


@pytest.mark.fault("F2")
def test_orders_beyond_a_limit_never_leave_a_daemon(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Each is worth a hundred more than an order may be: refused by that name and counted, none is sent."""
    (tmp_path / "endless.py").write_text(WITHOUT_END.replace("NOTIONAL", "1100.0").replace("* 40", ""))
    large = f"[{{name: large, path: '{tmp_path}/endless.py:Endless', model: none}}]"
    done = play(tmp_path, market, "--set", f"strategies={large}", "--set", "risk.max_order_notional=1000")
    assert done.returncode == 0, done.stderr
    summary = last_json(done)
    assert (summary["orders"], summary["fills"]) == (0, 0)
    assert summary["rejections"]["max_order_notional"] > 10
