"""Who may come in: passwords, second factors, other devices that have to be approved, and tokens that expire.

Owns the login and its steps, as the client walks them; every answer is made here.  Pure: time and tokens are given.

A login with the right password is answered with a token, with the wish for a code (``mfa_required``), or with a
workflow that the client has to follow: it opens a machine, looks at the challenge until the other device has approved
it or a code was sent, says "continue", and logs in again with the same device token.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from connectors.robin_stocks.sandbox.account import Account
from connectors.robin_stocks.sandbox.errors import ApiError, Json, detail, not_found
from connectors.robin_stocks.sandbox.settings import SandboxSettings
from connectors.robin_stocks.sandbox.times import NS

CLIENT_ID = "c82SH0WZOsabOXGP2sxqcj34FxkvfnWRZBKlBjFS"
"""What the mobile application calls itself, and the client with it."""
_PENDING, _APPROVED = "workflow_status_internal_pending", "workflow_status_approved"
_MOST = 1_000


class Workflow(msgspec.Struct):
    """One device that is not known yet.  ``status`` of the challenge: issued, validated or failed."""

    id: str
    device: str
    account: Account
    challenge_id: str
    machine_id: str = ""
    status: str = "issued"


class Token(msgspec.Struct):
    account: Account
    expires_ns: int


class Login:
    """``token`` makes texts that nobody can guess."""

    def __init__(self, settings: SandboxSettings, accounts: Mapping[str, Account], token: Callable[[], str]) -> None:
        self._settings = settings
        self._token = token
        self._by_name = {account.settings.username: account for account in accounts.values()}
        self._tokens: OrderedDict[str, Token] = OrderedDict()
        self._workflows: OrderedDict[str, Workflow] = OrderedDict()
        self._devices: set[tuple[str, str]] = set()
        self.logins = 0
        """Tokens given out."""

    # --- tokens -------------------------------------------------------------------------------------------------------

    def account_of(self, authorization: str, now_ns: int) -> Account:
        """Raises ``ApiError`` 401."""
        scheme, _, value = authorization.partition(" ")
        token = self._tokens.get(value.strip())
        if scheme != "Bearer" or token is None or now_ns >= token.expires_ns:
            text = "Authentication credentials were not provided." if not authorization else "Incorrect authentication."
            raise ApiError(401, {"detail": text}, {"WWW-Authenticate": "Bearer"})
        return token.account

    def expire_all(self) -> None:
        self._tokens.clear()

    # --- the way in ---------------------------------------------------------------------------------------------------

    def oauth(self, form: Mapping[str, Any], now_ns: int) -> Json:
        """POST /oauth2/token/.  Raises ``ApiError``."""
        if form.get("client_id") != CLIENT_ID or form.get("grant_type") != "password":
            raise ApiError(400, {"error": "invalid_client"})
        account = self._by_name.get(str(form.get("username")))
        given, wanted = str(form.get("password")), "" if account is None else account.settings.password
        if account is None or not hmac.compare_digest(given.encode(), wanted.encode()):
            raise detail(self._settings.switches.wrong_password, "Unable to log in with provided credentials.")
        device = str(form.get("device_token") or "")
        if not device:
            raise ApiError(400, {"device_token": ["This field is required."]})
        mine = account.settings
        if mine.mfa and not form.get("mfa_code"):
            return {"mfa_required": True, "mfa_type": "app"}
        if mine.mfa and str(form["mfa_code"]) != mine.mfa:
            raise detail(400, "Please enter a valid code.")
        if mine.verification != "none" and (mine.username, device) not in self._devices:
            return self._ask_device(account, device)
        return self._give_token(account, form, now_ns)

    def _give_token(self, account: Account, form: Mapping[str, Any], now_ns: int) -> Json:
        value = self._token()
        asked = str(form.get("expires_in", ""))
        seconds = min(self._settings.token_s, float(asked) if asked.isdecimal() else 86_400.0)
        self._tokens[value] = Token(account, now_ns + int(seconds * NS))
        while len(self._tokens) > _MOST:
            self._tokens.popitem(last=False)
        self.logins += 1
        return {
            "access_token": value,
            "token_type": "Bearer",
            "expires_in": int(seconds),
            "refresh_token": self._token(),
            "scope": str(form.get("scope", "internal")),
            "mfa_code": form.get("mfa_code"),
            "backup_code": None,
        }

    def _ask_device(self, account: Account, device: str) -> Json:
        workflow = Workflow(self._token(), device, account, self._token())
        self._workflows[workflow.id] = workflow
        while len(self._workflows) > _MOST:
            self._workflows.popitem(last=False)
        return {"verification_workflow": {"id": workflow.id, "workflow_status": _PENDING}}

    # --- the workflow -------------------------------------------------------------------------------------------------

    def open_machine(self, form: Mapping[str, Any]) -> Json:
        """POST /pathfinder/user_machine/."""
        given = form.get("input")
        workflow = self._workflows.get(str(given.get("workflow_id"))) if isinstance(given, dict) else None
        if workflow is None or form.get("flow") != "suv" or form.get("device_id") != workflow.device:
            raise detail(400, "Unknown workflow.")
        workflow.machine_id = workflow.machine_id or self._token()
        return {"id": workflow.machine_id}

    def view(self, machine_id: str) -> Json:
        """GET /pathfinder/inquiries/{machine}/user_view/."""
        workflow = self._of_machine(machine_id)
        challenge = {
            "id": workflow.challenge_id,
            "type": workflow.account.settings.verification,
            "status": workflow.status,
        }
        return {"sequence": 0, "context": {"sheriff_challenge": challenge}, "state_name": "Challenge"}

    def go_on(self, machine_id: str) -> Json:
        """POST to the same: approved once the challenge is."""
        workflow = self._of_machine(machine_id)
        result = _PENDING
        if workflow.status == "validated":
            result = _APPROVED
            self._devices.add((workflow.account.settings.username, workflow.device))
        return {
            "type_context": {"result": result},
            "verification_workflow": {"id": workflow.id, "workflow_status": result},
        }

    def prompt(self, challenge_id: str) -> Json:
        """GET /push/{challenge}/get_prompts_status/."""
        return {"challenge_status": self._of_challenge(challenge_id).status}

    def respond(self, challenge_id: str, form: Mapping[str, Any]) -> Json:
        """POST /challenge/{challenge}/respond/."""
        workflow = self._of_challenge(challenge_id)
        if str(form.get("response")) != workflow.account.settings.code:
            raise ApiError(400, {"detail": "Challenge response is invalid.", "status": workflow.status})
        workflow.status = "validated"
        return {"id": workflow.challenge_id, "status": workflow.status}

    def decide(self, *, approved: bool) -> None:
        """An operator taps on the other device: every open challenge is answered."""
        for workflow in self._workflows.values():
            if workflow.status == "issued":
                workflow.status = "validated" if approved else "failed"

    def forget_devices(self) -> None:
        """Every device is asked again at its next login."""
        self._devices.clear()

    def _of_machine(self, machine_id: str) -> Workflow:
        found = next((one for one in self._workflows.values() if machine_id and one.machine_id == machine_id), None)
        if found is None:
            raise not_found()
        return found

    def _of_challenge(self, challenge_id: str) -> Workflow:
        found = next((one for one in self._workflows.values() if one.challenge_id == challenge_id), None)
        if found is None:
            raise not_found()
        return found
