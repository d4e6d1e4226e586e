"""The calls that the worker carries out with robin_stocks, each ended with what is really known of it.

Owns the translation of the client's habits into outcomes: it swallows errors, returns None for what it cannot read,
cuts lists short where a later page fails, and says "login failed" after a login that went well when no session file is
kept.  So a value counts only together with the record of its exchanges (``route``).  Runs in the worker only.
"""

from __future__ import annotations

import builtins
import getpass
import os
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from connectors.robin_stocks.messages import Ask, Outcome, Told
from connectors.robin_stocks.route import HOSTS, Exchange, Route

FORM = "application/x-www-form-urlencoded; charset=utf-8"
_TOKEN_PATH = "/oauth2/token/"
_REFUSALS = range(400, 500)
_SAYS_NOTHING = frozenset({404, 408, 409, 425})
"""Of the refusals those that say nothing about what a POST has done."""


class NeedsPersonError(Exception):
    """The client asked a question on the terminal that this process has none of."""


class Client:
    """robin_stocks as this process has it: one session, one account.  Raises ``ImportError`` where it is absent."""

    def __init__(self, base: str, read_s: float, authority: str) -> None:
        import robin_stocks.robinhood as library
        from robin_stocks.robinhood import helper

        self.library = library
        self.helper = helper
        self.route = Route(base, read_s, authority)
        session = helper.SESSION
        session.adapters.clear()
        for scheme in ("https://", "http://"):
            session.mount(scheme, self.route)  # whatever else the client asks for meets the adapter's list of hosts
        for host in HOSTS:
            session.mount(f"https://{host}", self.route)
        session.headers["Accept-Encoding"] = "gzip, deflate"  # what it asks for beside them it cannot unpack
        if base:
            session.trust_env = False
        self.question = ""
        builtins.input = self._ask_person  # type: ignore[assignment]
        getpass.getpass = self._ask_person  # type: ignore[assignment]
        self._quiet = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
        library.set_output(self._quiet)

    def _ask_person(self, prompt: str = "", *_: object) -> NoReturn:
        self.question = str(prompt)
        raise NeedsPersonError(prompt)

    # --- every call ---------------------------------------------------------------------------------------------------

    def carry_out(self, ask: Ask) -> Told:
        """Never raises: what nobody foresaw is an outcome as well."""
        call = CALLS.get(ask.call)
        if call is None:
            return Told(ask.number, Outcome.NOT_SENT, text=f"no call {ask.call[:40]!r}")
        self.route.record = []
        self.question = ""
        try:
            value = call(self, ask.given)
        except Exception as error:
            return self._broken(ask, error)
        finally:
            # After a JSON body that failed the client would send its next form under JSON's name.
            self.helper.SESSION.headers["Content-Type"] = FORM
        if ask.call == "login":
            return self._logged_in(ask)
        return self._judged(ask, value)

    def _judged(self, ask: Ask, value: Any) -> Told:
        record = self.route.record
        bad = next((one for one in record if one.error or not 200 <= one.status < 300), None)
        if ask.call in POSTS:
            # The last exchange is the one that does something; those before it only ask.
            last = record[-1] if record else None
            if last is None or last.method != "POST":
                return _told(ask, Outcome.NOT_SENT, bad)
            return self._posted(ask, last)
        if bad is not None:
            return _told(ask, _read_outcome(bad), bad)
        if value is None or value == [None] or not record:
            return _told(ask, Outcome.UNKNOWN, record[-1] if record else None, "the answer could not be read")
        return Told(ask.number, Outcome.OK, 200, msgspec.json.encode(value), date_s=record[-1].date_s)

    def _posted(self, ask: Ask, last: Exchange) -> Told:
        if not last.left:
            return _told(ask, Outcome.NOT_SENT, last)
        body, is_json = _json(last.body)
        if 200 <= last.status < 300 and is_json and not last.error:
            return Told(ask.number, Outcome.OK, last.status, body)
        # A refusal is the venue's own: an object in JSON.  429 is one whatever it looks like, as nobody looked at it.
        refused = last.status in _REFUSALS and last.status not in _SAYS_NOTHING and (is_json or last.status == 429)
        if ask.call.startswith("cancel") and last.status == 404 and is_json:
            refused = True  # an order that is not there cannot be cancelled, and nothing was done
        if refused and not last.error:
            return Told(ask.number, Outcome.REFUSED, last.status, body, retry_after_s=last.retry_after_s)
        return _told(ask, Outcome.UNKNOWN, last)

    def _broken(self, ask: Ask, error: Exception) -> Told:
        """The client raised.  Its text may quote what was given, so its kind alone is told."""
        last = self.route.record[-1] if self.route.record else None
        if ask.call == "login":
            return self._logged_in(ask)
        if ask.call in POSTS and (last is None or last.method != "POST" or not last.left):
            return _told(ask, Outcome.NOT_SENT, last, type(error).__name__)
        if last is not None and ask.call not in POSTS:
            return _told(ask, _read_outcome(last), last, type(error).__name__)
        return _told(ask, Outcome.UNKNOWN, last, type(error).__name__)

    # --- login --------------------------------------------------------------------------------------------------------

    def login(self, given: dict[str, Any]) -> None:
        """``session_folder`` empty: no token is written anywhere but memory; the client wants a folder all the same."""
        code = None
        if given.get("mfa_secret"):
            import pyotp

            code = pyotp.TOTP(given["mfa_secret"]).now()
        self.helper.set_login_state(False)
        self.helper.SESSION.headers.pop("Authorization", None)
        with tempfile.TemporaryDirectory(prefix="kestrel-robin-") as nowhere:
            self.library.login(
                given["username"],
                given["password"],
                expiresIn=given.get("expires_s", 86_400),
                store_session=bool(given.get("session_folder")),
                mfa_code=code,
                pickle_path=given.get("session_folder") or nowhere,
            )

    def _logged_in(self, ask: Ask) -> Told:
        """By what the session holds: the returned value is None after some logins that went well."""
        if self.helper.LOGGED_IN and self.helper.SESSION.headers.get("Authorization"):
            return Told(ask.number, Outcome.OK, 200)
        record = self.route.record
        token = next((one for one in reversed(record) if one.path == _TOKEN_PATH), record[-1] if record else None)
        said, is_json = _json(b"" if token is None else token.body)
        words = msgspec.json.decode(said) if is_json else {}
        if self.question:
            return _told(ask, Outcome.REFUSED, token, "it asks for a code that was sent by SMS or e-mail")
        if isinstance(words, dict) and words.get("mfa_required"):
            return _told(ask, Outcome.REFUSED, token, "it asks for the code of an authenticator app")
        if isinstance(words, dict) and "verification_workflow" in words:
            return _told(ask, Outcome.REFUSED, token, "nobody approved this device in the venue's app in time")
        if token is not None and token.status in _REFUSALS:
            detail = words.get("detail") if isinstance(words, dict) else None
            told = Told(ask.number, Outcome.REFUSED, token.status, text=str(detail or "the login was refused")[:200])
            return msgspec.structs.replace(told, retry_after_s=token.retry_after_s)
        return _told(ask, Outcome.UNKNOWN, token, "no answer to the login")


def _json(body: bytes) -> tuple[bytes, bool]:
    """An object, as it is; else nothing."""
    try:
        msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return b"", False
    return body, True


def _read_outcome(bad: Exchange) -> Outcome:
    if not bad.left:
        return Outcome.NOT_SENT
    return Outcome.REFUSED if bad.status in _REFUSALS else Outcome.UNKNOWN


def _told(ask: Ask, outcome: Outcome, at: Exchange | None, text: str = "") -> Told:
    if at is None:
        return Told(ask.number, outcome, text=text)
    said = " ".join(each for each in (text, at.error, f"HTTP {at.status}" if at.status else "") if each)
    body, _ = _json(at.body) if outcome is Outcome.REFUSED else (b"", False)
    return Told(ask.number, outcome, at.status, body, f"{said} at {at.path}", at.retry_after_s)


# --- what there is to call --------------------------------------------------------------------------------------------


def _get(client: Client, path: str, kind: str, query: dict[str, Any] | None = None) -> Any:
    return client.helper.request_get(f"https://{HOSTS[0]}{path}", kind, query)


def _account(client: Client, given: dict[str, Any]) -> Any:
    return client.library.load_account_profile(account_number=given.get("account") or None)


def _positions(client: Client, given: dict[str, Any]) -> Any:
    return client.library.get_open_stock_positions(account_number=given.get("account") or None)


def _option_positions(client: Client, given: dict[str, Any]) -> Any:
    return client.library.get_open_option_positions(account_number=given.get("account") or None)


def _instrument(client: Client, given: dict[str, Any]) -> Any:
    found = client.library.get_instruments_by_symbols(given["symbol"])
    return {} if found == [] else found[0]  # no such stock is an answer too


def _contracts(client: Client, given: dict[str, Any]) -> Any:
    """Contracts of a chain with that date, strike and kind; those of a stock without options are none."""
    chain = client.helper.id_for_chain(given["symbol"])
    if not chain:
        return []
    query = {"chain_id": chain, "expiration_dates": given["expiry"], "type": given["kind"], "state": "active"}
    return _get(client, "/options/instruments/", "pagination", {**query, "strike_price": given["strike"]})


def _quotes(client: Client, given: dict[str, Any]) -> Any:
    return client.library.get_quotes(given["symbols"])


def _option_quotes(client: Client, given: dict[str, Any]) -> Any:
    return _get(client, "/marketdata/options/", "results", {"instruments": ",".join(given["urls"])})


def _orders(client: Client, given: dict[str, Any]) -> Any:
    account = given.get("account") or None
    return client.library.get_all_stock_orders(account_number=account, start_date=given.get("since"))


def _option_orders(client: Client, given: dict[str, Any]) -> Any:
    account = given.get("account") or None
    return client.library.get_all_option_orders(account_number=account, start_date=given.get("since"))


def _order(client: Client, given: dict[str, Any]) -> Any:
    return client.library.get_stock_order_info(given["id"])


def _option_order(client: Client, given: dict[str, Any]) -> Any:
    return client.library.get_option_order_info(given["id"])


def _place(client: Client, given: dict[str, Any]) -> Any:
    """The client's own function makes a new reference in each call; with ours an order can be found again."""
    url = f"https://{HOSTS[0]}/orders/"
    return client.helper.request_post(url, given["payload"], timeout=client.route.read_s, jsonify_data=False)


def _place_option(client: Client, given: dict[str, Any]) -> Any:
    url = f"https://{HOSTS[0]}/options/orders/"
    return client.helper.request_post(url, given["payload"], timeout=client.route.read_s, json=True, jsonify_data=False)


def _cancel(client: Client, given: dict[str, Any]) -> Any:
    return client.library.cancel_stock_order(given["id"])


def _cancel_option(client: Client, given: dict[str, Any]) -> Any:
    return client.library.cancel_option_order(given["id"])


def _hours(client: Client, given: dict[str, Any]) -> Any:
    return client.library.get_market_hours(given["mic"], given["date"])


def _bars(client: Client, given: dict[str, Any]) -> Any:
    return client.library.get_stock_historicals(given["symbol"], given["interval"], given["span"], "regular")


CALLS: dict[str, Callable[[Client, dict[str, Any]], Any]] = {
    "login": Client.login,
    "account": _account,
    "positions": _positions,
    "option_positions": _option_positions,
    "instrument": _instrument,
    "contracts": _contracts,
    "quotes": _quotes,
    "option_quotes": _option_quotes,
    "orders": _orders,
    "option_orders": _option_orders,
    "order": _order,
    "option_order": _option_order,
    "place": _place,
    "place_option": _place_option,
    "cancel": _cancel,
    "cancel_option": _cancel_option,
    "hours": _hours,
    "bars": _bars,
}
POSTS = frozenset({"place", "place_option", "cancel", "cancel_option"})
