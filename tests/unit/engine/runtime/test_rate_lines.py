"""What ``status``, the log and the summary say of currencies."""

from __future__ import annotations

from engine import events as e
from engine.runtime.rate_lines import OLD_NS, old_rates, rate_lines
from engine.runtime.remarks import remarks
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, open_market, quote, spot

ETH_BTC = spot(id="ETH/BTC@coinbase", venue_symbol="ETH-BTC", base="ETH", quote="BTC", settlement="BTC")


def test_who_says_a_rate_and_how_old_it_is() -> None:
    """One that a market quotes, one that nobody moves, a peg, and one that this session does not need."""
    core = build_core(MemoryRecorder(), Scripted("s"))
    for currency, rate in (("BTC", "60000"), ("CHF", "1.1"), ("USDC", "1"), ("JPY", "0.007")):
        core.on_event(e.RateReported(1, 1, currency, D(rate)))
    open_market(core)
    core.on_event(e.InstrumentDefined(1, 1, ETH_BTC))
    for currency in ("CHF", "USDC"):
        core.on_event(e.BalanceReported(1, 1, "coinbase", currency, D(5), D(5)))
    core.on_event(e.Timer(OLD_NS, OLD_NS, "tick"))
    assert old_rates(core) == {}
    now_ns = 3 * OLD_NS + 1
    core.on_event(e.Timer(now_ns, now_ns, "tick"))
    assert old_rates(core) == {"CHF": 3}
    standing = {
        f"{name}": f"{rate} USD, told 72.0 h ago" for name, rate in (("CHF", "1.1"), ("USDC", "1"), ("JPY", "0.007"))
    }
    assert rate_lines(core) == {**standing, "BTC": f"unknown until {BTC} has a price"}
    (line,) = [line for line in remarks(core, {}) if "equity" in line]
    assert line.endswith(f"{BTC} had no price, which is a currency's rate")
    core.on_event(quote(now_ns))
    core.on_event(e.Timer(now_ns + OLD_NS // 24, now_ns + OLD_NS // 24, "tick"))
    assert rate_lines(core)["BTC"] == f"100.00 USD by {BTC}, quoted 1.0 h ago"
    assert not [line for line in remarks(core, {}) if "equity" in line]
