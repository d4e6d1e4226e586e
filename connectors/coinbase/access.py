"""Whether the venue takes our key: noticed by its refusals, told as the state of the venue, tried again at a slow pace.

Owns ``VenueStatus`` of the venue, and which requests with the key may leave while it is refused.  One refusal proves
nothing: some are spurious, and the next request carries a fresh token.  From the second one on no order leaves, what
else would ask with the key is held back, and a single question is asked again after pauses that double (C8).  When the
key is taken again the account is confirmed before entries go on (``engine.venues``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from connectors.coinbase import wire
from connectors.rest import Gets, RestError
from engine.errors import VenueError
from engine.events import TradingStatus, VenueStatus
from engine.ports import Clock, Publish

PERMISSIONS_PATH = "/key_permissions"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
REFUSALS_MAX = 2
"""So many in a row, each with a token of its own, are no accident."""
_KEY, _STREAM = "key", "user stream"

_log = logging.getLogger(__name__)


class KeyAccess:
    """``connectors.rest.Gets`` in front of a REST client that repeats a refused GET once with a fresh token.

    ``confirm`` has the account confirmed; ``fresh_tokens`` throws away those made ahead; ``restored`` is called when
    requests may leave again.
    """

    def __init__(
        self,
        venue: str,
        rest: Gets,
        publish: Publish,
        clock: Clock,
        *,
        confirm: Callable[[], None],
        fresh_tokens: Callable[[], None],
        restored: Callable[[], None] = lambda: None,
    ) -> None:
        self.refusals = 0
        """Times that the venue was halted for it."""
        self.permissions: dict[str, bool] | None = None
        """What the key may do, as the venue told it last; None before it was asked."""
        self._venue = venue
        self._rest = rest
        self._publish = publish
        self._clock = clock
        self._confirm = confirm
        self._fresh_tokens = fresh_tokens
        self._restored = restored
        self._why: dict[str, str] = {}
        self._orders_refused = 0
        self._streams_refused = 0
        self._pause_s = FIRST_PAUSE_S
        self._next_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self.is_open = False
        """Whether the start is over: a refusal before that ends it."""

    # --- questions --------------------------------------------------------------------------------------------------

    @property
    def refused(self) -> str:
        """Why no order may leave; empty while the key is taken."""
        return next(iter(self._why.values()), "")

    def hold_s(self) -> float:
        """How long a request with the key has to wait; 0 when it may leave now."""
        return max(0.0, self._next_s - _now_s()) if _KEY in self._why else 0.0

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        """As of a ``RestClient``; raises ``RestError`` at once for what is held back."""
        if auth and _KEY in self._why:
            raise RestError(
                f"GET {path} was not sent: {self._why[_KEY]}", expected="a key that the venue takes", status=401
            )
        try:
            return await self._rest.get(path, params, auth=auth)
        except RestError as error:
            if auth and error.status == 401:
                self._refuse(_KEY, str(error))
            raise

    async def check(self) -> None:
        """Ask what the key may do.  Raises ``VenueError`` in one line when it may not trade; one that may move money is
        said in the log."""
        body = await self._rest.get(PERMISSIONS_PATH)
        try:
            may = msgspec.json.decode(body, type=wire.KeyPermissions, strict=False)
        except wire.UNREADABLE as error:
            raise RestError(f"GET {PERMISSIONS_PATH}: unreadable answer: {error}", expected="KeyPermissions") from error
        self.permissions = {"view": may.can_view, "trade": may.can_trade, "transfer": may.can_transfer}
        missing = [name for name in ("view", "trade") if not self.permissions[name]]
        if missing:
            raise VenueError(
                f"the API key of {self._venue} lacks the permission {' and '.join(missing)}",
                expected="a key that may view and trade",
                do="give it the permission at the venue, or name another key_file",
            )
        if may.can_transfer and not self.is_open:
            _log.warning(
                "%s: the API key may move money out of the account, which is never needed here; use one without the "
                "permission transfer",
                self._venue,
            )

    # --- what was seen ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """The account is open: from now on refusals are told as the venue's state instead of ending a start."""
        self.is_open = True

    def answered(self, status: int) -> None:
        """The HTTP status of an answer to an order or a cancel."""
        if status < 300:
            self._orders_refused = 0
            if not self._why:
                self._pause_s = FIRST_PAUSE_S
        elif status in (401, 403):
            self._fresh_tokens()
            self._orders_refused += 1
            if self._orders_refused >= REFUSALS_MAX:
                self._orders_refused = 0
                self._refuse(_KEY, f"{REFUSALS_MAX} orders or cancels in a row were answered {status}")

    def stream_ended(self, reason: str) -> None:
        """The user stream is down; by its reason it may be the token."""
        if "authentica" not in reason.lower() and "unauthorized" not in reason.lower():
            return
        self._streams_refused += 1
        if self._streams_refused >= REFUSALS_MAX:
            self._refuse(_STREAM, f"user stream: {reason}")

    def stream_up(self) -> None:
        self._streams_refused = 0
        self._end(_STREAM)

    # --- the state --------------------------------------------------------------------------------------------------

    def _refuse(self, what: str, why: str) -> None:
        if not self.is_open or what in self._why:
            return
        began = not self._why
        self._why[what] = " ".join(why.split())[:200]
        if began:
            self.refusals += 1
            _log.error(
                "%s does not take the API key: %s; no order leaves, open entries are cancelled if it lets us; it is "
                "asked again from time to time",
                self._venue,
                self._why[what],
            )
            self._tell(TradingStatus.HALTED, self._why[what])
        if what == _KEY:
            self._next_s = _now_s() + self._pause_s
            self._task = asyncio.get_running_loop().create_task(self._ask_again(), name=f"{self._venue}-key")

    def _end(self, what: str) -> None:
        if self._why.pop(what, None) is None or self._why:
            return
        _log.warning("%s takes the API key again; the account is confirmed before entries go on", self._venue)
        self._tell(TradingStatus.TRADING, "")
        self._confirm()
        self._restored()

    def _tell(self, status: TradingStatus, text: str) -> None:
        now_ns = self._clock.now_ns()
        self._publish(VenueStatus(now_ns, now_ns, self._venue, status, text))

    async def _ask_again(self) -> None:
        """One question after each pause, until the key may do what is needed."""
        while True:
            await asyncio.sleep(self.hold_s())
            # Longer at once: a key that is taken here and refused with the next orders is not asked about faster.
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._fresh_tokens()
            try:
                await self.check()
            except VenueError as error:
                self._why[_KEY] = " ".join(str(error).split())[:200]
            except Exception as error:
                _log.exception("%s: asking about the API key failed; it is asked again", self._venue)
                self._why[_KEY] = f"{type(error).__name__}: {error}"[:200]
            else:
                self._task = None
                self._end(_KEY)
                return
            self._next_s = _now_s() + self._pause_s

    async def stop(self) -> None:
        task, self._task = self._task, None
        self.is_open = False
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
