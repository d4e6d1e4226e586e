"""Whose account it is: play money or real, the same portfolio as before, and no other daemon on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.coinbase.sandbox.keys import make_key_file
from connectors.coinbase.sandbox.server import serve
from connectors.coinbase.sandbox.settings import SandboxSettings
from engine.errors import WrongAccount
from engine.events import OrderFound
from engine.order_ids import session_of
from engine.runtime.succession import Succession
from tests.support.coinbase_account import D, Hand, session, still_exchange
from tests.support.waiting import until

OTHER = "20261121T104530-7f3a"


@pytest.mark.fault("F10")
async def test_play_money_and_real_money_are_never_mixed(tmp_path: Path) -> None:
    """The built-in exchange where a real venue is meant, and there a key that it did not make: one line each, and the
    key was not used."""
    real = tmp_path / "real.json"
    make_key_file(real)
    content = json.loads(real.read_text())
    real.write_text(json.dumps({**content, "name": content["name"].replace("sandbox-", "")}))
    sandbox = await serve(SandboxSettings(key_file=real, warmup_s=0.5))
    uses: list[object] = []
    sandbox.verifier.request = lambda *asked: uses.append(asked)  # type: ignore[method-assign,assign,return-value]
    try:
        for money, said in (
            ("real", "is the built-in exchange; expected a real venue"),
            ("play", "made by somebody else than the built-in exchange; expected a key of the built-in exchange"),
        ):
            with pytest.raises(WrongAccount, match=said) as caught:
                async with session(Hand(sandbox), money=money):
                    pass
            assert "\n" not in str(caught.value)
    finally:
        await sandbox.stop()
    assert uses == []


@pytest.mark.fault("F10")
async def test_another_account_behind_the_same_address_is_refused_until_the_operator_says_otherwise(
    tmp_path: Path,
) -> None:
    """The first session learns whose account it is, the second finds the same; an exchange that begins anew is another
    account, told without its name; with --venue-truth it is the one from then on."""
    account = Succession(tmp_path, "coinbase-1")
    (tmp_path / "accounts").mkdir()
    portfolios = []
    for number, said in enumerate(("", "another one than its sessions so far .*--venue-truth")):
        async with still_exchange(tmp_path) as hand:
            portfolios.append(hand.exchange.portfolio_id)
            for _ in range(2):
                account.begin(tmp_path / f"s-{number}")
                if not said:
                    async with session(hand, parts={"identify": account.identify}, money="play"):
                        continue
                with pytest.raises(WrongAccount, match=said) as caught:
                    async with session(hand, parts={"identify": account.identify}, money="play"):
                        pass
                assert not any(one in str(caught.value) for one in portfolios)
    account.identify(portfolios[1], anew=True)
    account.identify(portfolios[1])
    with pytest.raises(WrongAccount, match="another one"):
        account.identify(portfolios[0])


@pytest.mark.fault("A10")
async def test_orders_of_a_daemon_on_another_machine_end_the_start_and_are_told_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its order rests when a session starts: refused, naming it.  One that comes later is met and told as an error,
    once; orders made by hand are nobody's rivals."""
    rival = {"rival": session_of}
    async with still_exchange(tmp_path) as hand:
        hand.place("by-hand", "BUY", "0.01", D(1000))
        hand.place(f"k{OTHER}-7", "BUY", "0.01", D(1000))
        with pytest.raises(WrongAccount, match=f"another Kestrel daemon: session {OTHER}.*stop that daemon"):
            async with session(hand, parts=rival):
                pass
        hand.cancel(f"k{OTHER}-7")
        async with session(hand, parts=rival) as one:
            assert [found.client_order_id for found in one.log.of(OrderFound)] == ["by-hand"]
            hand.place(f"k{OTHER}-8", "BUY", "0.01", D(1000))
            await until(lambda: len(one.log.of(OrderFound)) == 2)
            await until(lambda: len(one.settled()) > 1)
            settled = len(one.settled())
            one.venue.confirm()
            await until(lambda: len(one.settled()) > settled)
        told = [record.getMessage() for record in caplog.records if "another Kestrel daemon" in record.getMessage()]
        assert told == [f"coinbase: another Kestrel daemon trades on this account: session {OTHER}"]
