"""The way in: passwords, codes, other devices, tokens that end."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.robin_stocks.sandbox.errors import ApiError
from connectors.robin_stocks.sandbox.login import CLIENT_ID
from connectors.robin_stocks.sandbox.settings import AccountSettings, Switches
from tests.support.robin_stocks import StillVenue


def oauth(venue: StillVenue, **fields: Any) -> dict[str, Any]:
    mine = venue.account.settings
    form = {
        "client_id": CLIENT_ID, "grant_type": "password", "username": mine.username, "password": mine.password,
        "device_token": "device", "expires_in": "3600", **fields,
    }  # fmt: skip
    return venue.exchange.login.oauth(form, venue.now_ns)


def test_a_token_opens_the_account_until_it_ends() -> None:
    """Its own time, and an operator's word."""
    venue = StillVenue()
    token = oauth(venue)["access_token"]
    login = venue.exchange.login
    assert login.account_of(f"Bearer {token}", venue.now_ns) is venue.account
    for wrong in ("", "Bearer other", f"Basic {token}", token):
        with pytest.raises(ApiError) as refused:
            login.account_of(wrong, venue.now_ns)
        assert refused.value.status == 401
    with pytest.raises(ApiError):
        login.account_of(f"Bearer {token}", venue.now_ns + 3_600 * 10**9)
    login.expire_all()
    with pytest.raises(ApiError):
        login.account_of(f"Bearer {token}", venue.now_ns)


@pytest.mark.parametrize("status", [400, 401])
def test_wrong_names_and_passwords_are_told_alike(status: int) -> None:
    """A switch says with which status; another application is refused too."""
    venue = StillVenue(switches=Switches(wrong_password=status))
    for fields in ({"password": "other"}, {"username": "other"}, {"password": ["list"]}):
        with pytest.raises(ApiError, match="provided credentials") as refused:
            oauth(venue, **fields)
        assert refused.value.status == status
    for fields in ({"client_id": "other"}, {"grant_type": "other"}, {"device_token": ""}):
        with pytest.raises(ApiError):
            oauth(venue, **fields)


def test_a_code_is_asked_for() -> None:
    """None, a wrong one, the right one."""
    venue = StillVenue(accounts=(AccountSettings(mfa="123456"),))
    assert oauth(venue) == {"mfa_required": True, "mfa_type": "app"}
    with pytest.raises(ApiError, match="valid code"):
        oauth(venue, mfa_code="654321")
    assert oauth(venue, mfa_code="123456")["access_token"]


@pytest.mark.parametrize("kind", ["prompt", "sms", "email"])
def test_a_device_is_approved_once(kind: str) -> None:
    """The whole workflow; denied first; the device is known until it is forgotten."""
    venue = StillVenue(accounts=(AccountSettings(verification=kind),))
    login = venue.exchange.login

    def challenged() -> tuple[str, str]:
        workflow = oauth(venue)["verification_workflow"]["id"]
        given = {"flow": "suv", "device_id": "device", "input": {"workflow_id": workflow}}
        machine = login.open_machine(given)["id"]
        challenge = login.view(machine)["context"]["sheriff_challenge"]
        assert (challenge["type"], challenge["status"]) == (kind, "issued")
        return machine, challenge["id"]

    machine, challenge = challenged()
    assert login.go_on(machine)["type_context"]["result"] == "workflow_status_internal_pending"
    login.decide(approved=False)
    assert login.prompt(challenge) == {"challenge_status": "failed"}
    machine, challenge = challenged()
    if kind == "prompt":
        login.decide(approved=True)
        assert login.prompt(challenge) == {"challenge_status": "validated"}
    else:
        with pytest.raises(ApiError, match="invalid"):
            login.respond(challenge, {"response": "000000"})
        assert login.respond(challenge, {"response": "482910"})["status"] == "validated"
    assert login.go_on(machine)["type_context"]["result"] == "workflow_status_approved"
    assert oauth(venue)["access_token"]
    login.forget_devices()
    assert "verification_workflow" in oauth(venue)


def test_workflows_that_nobody_began() -> None:
    """Of another device, of no machine."""
    venue = StillVenue(accounts=(AccountSettings(verification="prompt"),))
    login = venue.exchange.login
    workflow = oauth(venue)["verification_workflow"]["id"]
    for given in ({}, {"input": []}, {"flow": "suv", "device_id": "other", "input": {"workflow_id": workflow}}):
        with pytest.raises(ApiError, match="Unknown workflow"):
            login.open_machine(given)
    for ask in (login.view, login.go_on, login.prompt):
        with pytest.raises(ApiError, match="404"):
            ask("nobody")
