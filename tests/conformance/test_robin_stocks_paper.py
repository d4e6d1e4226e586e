"""``run.py paper --venue robin_stocks`` as a user types it: real processes, against the built-in venue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connectors.robin_stocks.settings import LIMITS
from tests.support.daemon import into
from tests.support.durable import run_until

STRATEGY = """
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side
from strategies.base import BaseStrategy


class Resting(BaseStrategy):
    '''Holds one share and keeps an order 40 bps below the best bid.'''

    def on_quote(self, instrument, view):
        top, rules = view.top(instrument), view.instrument(instrument)
        if view.open_orders(instrument):
            return ()
        if not view.position(instrument).qty:
            return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, rules.min_qty, OrderType.MARKET)]
        px = rules.price(top.bid_px * 0.996, -1)
        return [OrderIntent(view.now_ns, self.name, instrument, Side.BUY, rules.min_qty, OrderType.LIMIT, px,
                            TimeInForce.GTC)]
"""
SCRIPT = """
import json, sys
sys.argv = ["run.py"] + json.loads(sys.argv[1])
import run
try:
    run.main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def rests(status: dict[str, Any]) -> bool:
    return status["fills"] == 2 and status["open_orders"] == 2


def test_one_line_trades_shares(tmp_path: Path) -> None:
    """An order of each share fills, another rests and goes at the end; the limits are said; the client is in no process
    of ours."""
    (tmp_path / "mine.py").write_text(STRATEGY)
    mine = f"strategies=[{{name: mine, path: '{tmp_path}/mine.py:Resting', model: none}}]"
    arguments = ["paper", "--venue", "robin_stocks", "--json", *into(tmp_path), "--set", mine]
    summary, modules, said = run_until(SCRIPT, arguments, tmp_path, rests)
    assert summary["venue"] == "robin_stocks"
    assert summary["fills"] > 0
    assert summary["orders"] > summary["fills"]
    assert summary["open_orders"] == []
    assert summary["drops"] == {}
    assert all(line in said for line in LIMITS)
    assert not {"robin_stocks", "requests", "pyotp"} & set(modules)
