"""Requests for orders: read, checked against the rules that need no market, made canonical.

Owns which field is wrong and under which reason it is refused.  Three kinds of "no": what cannot be read is an
``ApiError`` without a transaction, what breaks a rule is a ``Rejection`` (the caller makes the reject transaction),
and what only the market can refuse is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import ApiError, Json, Rejection, invalid
from connectors.oanda.sandbox.market import Market, Markets
from connectors.oanda.sandbox.records import ENTRIES, EXITS, ExitSpec, OrderSpec, Trade, plain
from connectors.oanda.sandbox.settings import SandboxInstrument, Switches
from connectors.oanda.sandbox.times import at, parse_time_ns

_TIMES = frozenset({"GTC", "GTD", "GFD", "FOK", "IOC"})
_RESTING = frozenset({"GTC", "GTD", "GFD"})
_ALLOWED_TIMES = {"MARKET": frozenset({"FOK", "IOC"}), "LIMIT": _TIMES}
_FILLS = frozenset({"DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY"})
_TRIGGERS = frozenset({"DEFAULT", "INVERSE", "BID", "ASK", "MID"})
_MOST_TEXT = 128
_MOST_DIGITS = 20
_ON_FILL = {
    "takeProfitOnFill": "TAKE_PROFIT",
    "stopLossOnFill": "STOP_LOSS",
    "trailingStopLossOnFill": "TRAILING_STOP_LOSS",
    "guaranteedStopLossOnFill": "GUARANTEED_STOP_LOSS",
}


class Refused(Exception):  # noqa: N818 - the venue's word
    """A rejection with what the reject transaction is made of."""

    def __init__(self, rejection: Rejection, kind: str, echo: Json) -> None:
        super().__init__(rejection.reason)
        self.rejection = rejection
        self.kind = kind
        self.echo = echo


class OrderReader:
    """Reads the ``order`` of a request for one account at one time."""

    def __init__(self, account: Account, markets: Markets, switches: Switches, now_ns: int) -> None:
        self._account = account
        self._markets = markets
        self._switches = switches
        self._now_ns = now_ns

    def order(self, body: Mapping[str, Any]) -> OrderSpec:
        """Raises ``ApiError`` for what cannot be read and ``Refused`` for what breaks a rule."""
        raw = body.get("order")
        if not isinstance(raw, dict):
            raise invalid("order")
        kind = raw.get("type")
        if not isinstance(kind, str) or (kind not in ENTRIES and kind not in EXITS):
            raise invalid("order.type")
        _read_numbers(raw, "order")
        if kind in ENTRIES and "instrument" in raw and str(raw["instrument"]) not in self._markets.by_name:
            raise invalid("order.instrument")
        echo = {name: value for name, value in raw.items() if name != "type"}
        try:
            return self._entry(kind, raw) if kind in ENTRIES else self._exit(kind, raw)
        except Rejection as rejection:
            raise Refused(rejection, kind, echo) from None

    # --- entries ------------------------------------------------------------------------------------------------------

    def _entry(self, kind: str, raw: Json) -> OrderSpec:
        if "instrument" not in raw:
            raise Rejection("INSTRUMENT_MISSING")
        market = self._markets.by_name[str(raw["instrument"])]
        rules = market.rules
        if not market.allowed:
            raise Rejection("INSTRUMENT_NOT_TRADEABLE")
        units = self._units(raw, rules)
        fields: Json = {"instrument": rules.name, "units": plain(units)}
        px = bound = None
        if kind != "MARKET":
            px = _price(raw, "price", "PRICE", rules)
            fields["price"] = f"{px:f}"
        if raw.get("priceBound") is not None and kind != "LIMIT":
            bound = _price(raw, "priceBound", "PRICE_BOUND", rules)
            fields["priceBound"] = f"{bound:f}"
        time_in_force, gtd_ns = self._time_in_force(kind, raw, "", fields)
        fill = _choice(raw, "positionFill", _FILLS, "DEFAULT")
        fields["positionFill"] = fill
        trigger = "DEFAULT"
        if kind != "MARKET":
            trigger = _choice(raw, "triggerCondition", _TRIGGERS, "DEFAULT")
            fields["triggerCondition"] = trigger
        client_id = _extensions(raw, "clientExtensions", "CLIENT_ORDER", fields)
        self._check_new_id(client_id)
        _extensions(raw, "tradeClientExtensions", "CLIENT_TRADE", fields)
        exits = tuple(
            self._on_fill(raw[name], name, exit_kind, market, fields)
            for name, exit_kind in _ON_FILL.items()
            if raw.get(name) is not None
        )
        self._check_ids(client_id, exits)
        return OrderSpec(
            kind,
            rules.name,
            fields,
            time_in_force,
            units,
            px,
            bound,
            None,
            gtd_ns,
            fill,
            trigger,
            None,
            client_id,
            exits,
        )

    def _units(self, raw: Json, rules: SandboxInstrument) -> Decimal:
        if raw.get("units") in (None, ""):
            raise Rejection("UNITS_MISSING")
        units = _number(raw["units"], "order.units")
        if not units.is_finite() or not units:
            raise Rejection("UNITS_INVALID")
        if units % rules.lot_qty:
            raise Rejection("UNITS_PRECISION_EXCEEDED")
        if abs(units) < rules.minimum_units:
            raise Rejection(self._switches.minimum_reason)
        if abs(units) > rules.maximum_order_units:
            raise Rejection("UNITS_LIMIT_EXCEEDED")
        return units

    def _on_fill(self, raw: Any, name: str, kind: str, market: Market, fields: Json) -> ExitSpec:
        if not isinstance(raw, dict):
            raise invalid(f"order.{name}")
        spec = self.exit(raw, kind, market, prefix=f"{kind}_ON_FILL_")
        fields[name] = spec.fields
        return spec

    # --- exits --------------------------------------------------------------------------------------------------------

    def _exit(self, kind: str, raw: Json) -> OrderSpec:
        trade = self._trade(raw)
        self.check_free(trade, kind)
        spec = self.exit(raw, kind, self._markets.by_name[trade.instrument])
        return exit_order(spec, trade)

    def check_free(self, trade: Trade, kind: str) -> None:
        """Raises ``Rejection``: a trade has at most one exit of each kind."""
        if kind in trade.exits:
            raise Rejection(f"{kind}_ORDER_ALREADY_EXISTS")

    def _trade(self, raw: Json) -> Trade:
        number, client_id = _text(raw, "tradeID"), _text(raw, "clientTradeID")
        if not number and not client_id:
            raise Rejection("TRADE_ID_UNSPECIFIED")
        try:
            by_number = self._account.find_trade(number, closed=False) if number else None
            by_client = self._account.find_trade(f"@{client_id}", closed=False) if client_id else None
        except ApiError:
            raise Rejection("TRADE_DOESNT_EXIST", 404) from None
        if by_number is not None and by_client is not None and by_number is not by_client:
            raise Rejection("TRADE_IDENTIFIER_INCONSISTENCY")
        trade = by_number or by_client
        assert trade is not None
        return trade

    def exit(self, raw: Json, kind: str, market: Market, *, prefix: str = "") -> ExitSpec:
        """An exit's own fields; ``prefix`` goes before the reasons of refusal.  Raises ``Rejection``."""
        rules = market.rules
        fields: Json = {}
        px = distance = None
        guarantee = "STOP_LOSS_ON_FILL_GUARANTEED" if prefix else "STOP_LOSS_ORDER_GUARANTEED"
        if kind == "TAKE_PROFIT":
            px = _price(raw, "price", f"{prefix}PRICE", rules)
        elif kind == "TRAILING_STOP_LOSS":
            distance = self._trailing(raw, f"{prefix}PRICE_DISTANCE", rules)
        else:
            px, distance = self._stop(raw, kind, prefix, rules)
        if px is not None:
            fields["price"] = f"{px:f}"
        if distance is not None:
            fields["distance"] = f"{distance:f}"
        if kind == "GUARANTEED_STOP_LOSS" and rules.guaranteed == "DISABLED":
            raise Rejection(f"{guarantee}_NOT_ALLOWED")
        time_in_force, gtd_ns = self._time_in_force(kind, raw, prefix, fields)
        trigger = _choice(raw, "triggerCondition", _TRIGGERS, "DEFAULT")
        fields["triggerCondition"] = trigger
        if kind == "STOP_LOSS":
            if raw.get("guaranteed") is True:
                raise Rejection(f"{guarantee}_NOT_ALLOWED")
            fields["guaranteed"] = False
            if rules.guaranteed == "REQUIRED":
                raise Rejection(f"{guarantee}_REQUIRED")
        client_id = _extensions(raw, "clientExtensions", f"{prefix}CLIENT_ORDER", fields)
        self._check_new_id(client_id)
        return ExitSpec(kind, px, distance, time_in_force, gtd_ns, fields)

    def _trailing(self, raw: Json, reason: str, rules: SandboxInstrument) -> Decimal:
        distance = _distance(raw, reason, rules)
        if distance < rules.minimum_trailing:
            raise Rejection(f"{reason}_MINIMUM_NOT_MET")
        if distance > rules.maximum_trailing:
            raise Rejection(f"{reason}_MAXIMUM_EXCEEDED")
        return distance

    def _stop(
        self, raw: Json, kind: str, prefix: str, rules: SandboxInstrument
    ) -> tuple[Decimal | None, Decimal | None]:
        both = prefix or f"{kind}_ORDER_"
        has_px, has_distance = raw.get("price") is not None, raw.get("distance") is not None
        if has_px and has_distance:
            raise Rejection(f"{both}PRICE_AND_DISTANCE_BOTH_SPECIFIED")
        if not has_px and not has_distance:
            raise Rejection(f"{both}PRICE_AND_DISTANCE_BOTH_MISSING")
        if has_px:
            return _price(raw, "price", f"{prefix}PRICE", rules), None
        reason = f"{prefix}DISTANCE" if prefix else "PRICE_DISTANCE"
        return None, _distance(raw, reason, rules)

    # --- what all share -----------------------------------------------------------------------------------------------

    def _time_in_force(self, kind: str, raw: Json, prefix: str, fields: Json) -> tuple[str, int | None]:
        chosen = _choice(raw, "timeInForce", _TIMES, "FOK" if kind == "MARKET" else "GTC")
        if chosen not in _ALLOWED_TIMES.get(kind, _RESTING):
            raise Rejection(f"{prefix}TIME_IN_FORCE_INVALID")
        fields["timeInForce"] = chosen
        if chosen != "GTD":
            return chosen, None
        reason = f"{prefix}GTD_TIMESTAMP" if prefix else "TIME_IN_FORCE_GTD_TIMESTAMP"
        if raw.get("gtdTime") in (None, ""):
            raise Rejection(f"{reason}_MISSING")
        gtd_ns = parse_time_ns(raw["gtdTime"], "order.gtdTime")
        if gtd_ns <= self._now_ns:
            raise Rejection(f"{reason}_IN_PAST")
        fields["gtdTime"] = at(gtd_ns)
        return chosen, gtd_ns

    def _check_new_id(self, client_id: str) -> None:
        if not client_id or self._switches.duplicate_client_ids == "accept":
            return
        if any(order.spec.client_id == client_id for order in self._account.pending.values()):
            raise Rejection("CLIENT_ORDER_ID_ALREADY_EXISTS")

    @staticmethod
    def _check_ids(client_id: str, exits: tuple[ExitSpec, ...]) -> None:
        ids = [client_id, *((each.fields.get("clientExtensions") or {}).get("id", "") for each in exits)]
        named = [each for each in ids if each]
        if len(set(named)) < len(named):
            raise Rejection("ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS")


def exit_order(spec: ExitSpec, trade: Trade) -> OrderSpec:
    """An exit as the order of a trade."""
    fields: Json = {"tradeID": trade.id}
    if trade.client_id:
        fields["clientTradeID"] = trade.client_id
    fields.update(spec.fields)
    return OrderSpec(
        spec.kind,
        trade.instrument,
        fields,
        spec.time_in_force,
        px=spec.px,
        distance=spec.distance,
        gtd_ns=spec.gtd_ns,
        trigger=str(spec.fields["triggerCondition"]),
        trade_id=trade.number,
        client_id=str((spec.fields.get("clientExtensions") or {}).get("id", "")),
    )


def extensions(raw: Any, field: str, reason: str) -> Json:
    """Client extensions as they are kept.  Raises ``ApiError`` and ``Rejection``."""
    if not isinstance(raw, dict):
        raise invalid(field)
    kept: Json = {}
    for name, word in (("id", "ID"), ("tag", "TAG"), ("comment", "COMMENT")):
        value = raw.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise invalid(f"{field}.{name}")
        if len(value) > _MOST_TEXT or (name == "id" and value.startswith("@")):
            raise Rejection(f"{reason}_{word}_INVALID")
        kept[name] = value
    return kept


def _extensions(raw: Json, name: str, reason: str, fields: Json) -> str:
    if raw.get(name) is None:
        return ""
    kept = extensions(raw[name], f"order.{name}", reason)
    if kept:
        fields[name] = kept
    return str(kept.get("id", ""))


def _text(raw: Json, name: str) -> str:
    value = raw.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(f"order.{name}")
    return value


def _choice(raw: Json, name: str, allowed: frozenset[str], default: str) -> str:
    value = raw.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in allowed:
        raise invalid(f"order.{name}")
    return value


def _price(raw: Json, name: str, reason: str, rules: SandboxInstrument) -> Decimal:
    if raw.get(name) in (None, ""):
        raise Rejection(f"{reason}_MISSING")
    return _on_grid(_number(raw[name], f"order.{name}"), reason, rules)


def _distance(raw: Json, reason: str, rules: SandboxInstrument) -> Decimal:
    if raw.get("distance") in (None, ""):
        raise Rejection(f"{reason}_MISSING")
    return _on_grid(_number(raw["distance"], "order.distance"), reason, rules)


def _on_grid(value: Decimal, reason: str, rules: SandboxInstrument) -> Decimal:
    if not value.is_finite() or value <= 0 or value >= 1_000_000_000:
        raise Rejection(f"{reason}_INVALID")
    if value % rules.tick_px:
        raise Rejection(f"{reason}_PRECISION_EXCEEDED")
    return value.quantize(rules.tick_px)


def _number(value: Any, field: str) -> Decimal:
    """Numbers are texts; whole ones may come bare.  Raises ``ApiError``."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise invalid(field)
    text = str(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise invalid(field) from None
    if len(text) > 2 * _MOST_DIGITS or (number.is_finite() and abs(number.adjusted()) > _MOST_DIGITS):
        raise invalid(field)
    return number


def _read_numbers(raw: Json, field: str) -> None:
    """What is no number is unreadable, whatever else is wrong: no transaction is made of it."""
    for name in ("units", "price", "priceBound", "distance"):
        if raw.get(name) not in (None, ""):
            _number(raw[name], f"{field}.{name}")
