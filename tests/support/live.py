"""A live configuration as its owner writes it: every limit set, every control decided, a server over TLS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from risk.limits import DECIDED
from tests.support.durable import RESTING

BTC = "BTC/USD@coinbase"
LIMITS: dict[str, Any] = {
    "allowed_instruments": [BTC],
    "max_order_qty": {"*": 1},
    "max_position_qty": {"*": 1},
    "max_order_notional": 10_000,
    "max_position_notional": 20_000,
    "max_gross_notional": 20_000,
    "max_net_notional": 20_000,
    "collar_bps": 100,
    "stale_quote_ns": 10_000_000_000,
    "max_orders_per_s": 10,
    "max_orders_per_s_instrument": 10,
    "max_rejections_per_s": 50,
    "duplicate_window_ns": 1_000_000,
    "max_open_orders": 5,
    "max_daily_loss": 1_000,
    "max_drawdown_bps": 500,
    **dict.fromkeys(DECIDED),
}


def live_config(folder: Path, rest_url: str = "https://127.0.0.1:1", **changes: Any) -> dict[str, Any]:
    """For the server at ``rest_url``, all files in ``folder``; ``changes`` are laid over sections, by their names."""
    stream = rest_url.replace("https", "wss").replace("http", "ws")
    made: dict[str, Any] = {
        "profile": "production",
        "session": {"directory": str(folder / "sessions"), "approved": str(folder / "approved.json")},
        "venue": {
            "feed": "sandbox",
            "symbols": ["BTC/USD"],
            "rest_url": rest_url,
            "ws_market_url": f"{stream}/ws",
            "ws_user_url": f"{stream}/ws-user",
            "key_file": str(folder / "key.json"),
        },
        "strategies": [{"name": "mine", "path": f"{folder}/resting.py:Resting", "model": "none"}],
        "risk": dict(LIMITS),
        "metrics": {"port": 0},
        "journal": {"segment_mb": 8},
        "engine": {"shadow_tick": False},
        "watchdog": {"give_up_s": 10},
        "shutdown": {"cancel_timeout_s": 10},
    }
    for section, values in changes.items():
        made[section] = made.get(section, {}) | values if isinstance(values, dict) else values
    return made


def write_live(folder: Path, rest_url: str = "https://127.0.0.1:1", **changes: Any) -> Path:
    """The file, and the strategy that it names."""
    (folder / "resting.py").write_text(RESTING)
    path = folder / "live.json"
    path.write_text(json.dumps(live_config(folder, rest_url, **changes)))
    return path
