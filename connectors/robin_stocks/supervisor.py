"""The worker process as the session sees it: started, logged in, asked one thing at a time, ended and started again.

Owns the child, its pipes, the request budget and the login's life.  Nothing here waits for the venue: a request is
written and its answer is told to whoever asked.  A request that takes too long ends the process it is in, and what
became of it is unknown; of those that wait, cancels are kept for the next process, and all others are told that they
never left.

Name and password go to the child through its stdin, never through its environment or its command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from connectors.ratelimit import TokenBucket
from connectors.reconnect import Backoff
from connectors.robin_stocks import messages
from connectors.robin_stocks.login_file import LoginFile
from connectors.robin_stocks.messages import Ask, Outcome, Told
from connectors.robin_stocks.queue import Lane, RequestQueue, Waiting
from connectors.robin_stocks.settings import RobinStocksSettings
from engine import processors
from engine.errors import ConfigError, VenueError

NS_PER_S = 1_000_000_000
_ROOT = Path(__file__).resolve().parents[2]
_KEPT_ENV = ("PATH", "LANG", "TZ", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "NO_PROXY", "SYSTEMROOT")
_START_S = 30.0
_END_S = 3.0
_EXTRA_S = 5.0
"""The client's own limits come first; beyond them the process is taken for stuck."""
_SHORT_LOGIN_NS = 5 * NS_PER_S
_log = logging.getLogger(__name__)


class Supervisor:
    """``up`` is called after each login, ``down`` with the reason when there is none any more."""

    def __init__(
        self,
        settings: RobinStocksSettings,
        login: LoginFile,
        *,
        now_ns: Callable[[], int],
        rng: random.Random,
        up: Callable[[], None],
        down: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._login = login
        self._now_ns = now_ns
        self._up = up
        self._down = down
        self._queue = RequestQueue()
        per_s = settings.requests_per_min / 60.0
        burst = max(4, settings.requests_per_min // 4)
        self._bucket = TokenBucket(per_s, burst, reserve=burst // 2, now_ns=now_ns())
        self._backoff = Backoff(rng, base_s=settings.backoff_base_s, cap_s=settings.backoff_cap_s)
        self._process: asyncio.subprocess.Process | None = None
        self._current: tuple[int, Waiting] | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._numbers = 0
        self._login_ns = 0
        self._logged_in = False
        self._logging_in = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self.starts = 0
        self.logins = 0
        self.last_error = ""
        self._why = ""
        """Why we have ended the process ourselves."""

    # --- life ---------------------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self._logged_in

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def waiting(self) -> int:
        """Requests that have not been answered."""
        return len(self._queue) + (self._current is not None)

    async def start(self) -> None:
        """Returns after the first login.  Raises ``ConfigError`` where the client is not installed, ``VenueError``
        where the login is refused or the venue cannot be reached."""
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        self._task = loop.create_task(self._keep(), name=f"{self._settings.name}-worker")
        await self._first

    async def stop(self) -> None:
        """Safe to call twice.  What waits is told that it did not leave."""
        self._stopping = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._end("the session ends")
        for waiting in self._queue.drain(*Lane):
            waiting.tell(Told(0, Outcome.NOT_SENT, text="the session ends"))

    async def _keep(self) -> None:
        """One process after the other, with pauses that grow."""
        loop = asyncio.get_running_loop()
        while True:
            reason = await self._one_process()
            self.last_error = reason
            await self._end(reason)
            pause_s = self._backoff.next_delay_s(loop.time())
            _log.warning("%s: %s; another worker in %.0f s", self._settings.name, reason, pause_s)
            await asyncio.sleep(pause_s)

    async def _one_process(self) -> str:
        """From its start to its end; why it ended."""
        try:
            process = await self._spawn()
            async with asyncio.timeout(_START_S):
                hello = await _read(process)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            self._fail_first(VenueError(f"the robin_stocks worker did not start: {type(error).__name__}"))
            return "the worker did not start"
        if hello.outcome is not Outcome.OK:
            self._fail_first(
                ConfigError(
                    hello.text, expected="the optional extra robinhood", do="run: pip install -e '.[robinhood]'"
                )
            )
            return hello.text
        self._log_in()
        try:
            while True:
                self._on_told(await _read(process))
        except (EOFError, OSError):
            why, self._why = self._why, ""
            return why or "the worker ended"
        except ValueError as error:
            return f"the worker said nonsense: {error}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        settings = self._settings
        env = {name: os.environ[name] for name in _KEPT_ENV if name in os.environ}
        if settings.proxy:
            env |= {"NO_PROXY": "*"} if settings.proxy == "none" else {"HTTPS_PROXY": settings.proxy, "NO_PROXY": ""}
        command = [sys.executable, "-m", "connectors.robin_stocks.worker"]
        with processors.beside():
            self._process = process = await asyncio.create_subprocess_exec(
                *command,
                settings.rest_url,
                str(settings.answer_s),
                settings.authority,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**env, "HOME": "/nonexistent", "PYTHONPATH": str(_ROOT)},
                cwd=_ROOT,
                limit=messages.MAX_FRAME_BYTES,
                start_new_session=True,
            )
        self.starts += 1
        return process

    async def _end(self, reason: str) -> None:
        """The process is gone: what it was doing is unknown, orders that waited never left."""
        was_up, self._logged_in, self._logging_in = self._logged_in, False, False
        process, self._process = self._process, None
        for timer in (self._overdue, self._wake):
            if timer is not None:
                timer.cancel()
        self._overdue = self._wake = None
        if process is not None:
            await _end(process)
        current, self._current = self._current, None
        if current is not None:
            current[1].tell(Told(current[0], Outcome.UNKNOWN, text=reason))
        for waiting in self._queue.drain(Lane.ORDER, Lane.READ):
            waiting.tell(Told(0, Outcome.NOT_SENT, text=reason))
        if was_up:
            self._down(reason)
        if not self._stopping:
            self._wake_in(1.0)  # cancels that waited too long are told so

    def _fail_first(self, error: Exception) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(error)

    # --- login --------------------------------------------------------------------------------------------------------

    def _log_in(self) -> None:
        settings, login = self._settings, self._login
        given = {
            "username": login.username,
            "password": login.password,
            "mfa_secret": login.mfa_secret,
            "session_folder": settings.session_folder or login.session_folder,
            "expires_s": settings.token_s,
        }
        self._logging_in = True
        until_ns = self._now_ns() + int(settings.login_s * NS_PER_S)
        self._write(Waiting("login", given, Lane.CANCEL, until_ns, settings.login_s, self._on_login))

    def _on_login(self, told: Told) -> None:
        self._logging_in = False
        if told.outcome is Outcome.OK:
            self.logins += 1
            self._logged_in = True
            self._login_ns = self._now_ns()
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
            self._up()
            self._pump()
            return
        reason = f"login: {told.text or told.outcome.value}"
        self.last_error = reason
        do = "log in by hand once with a session folder, or see the file's name and password"
        self._fail_first(VenueError(f"{self._settings.name} {reason}", expected="a login", do=do))
        self._kill()

    def _log_in_again(self, now_ns: int) -> None:
        """The token has ended.  One that ends at once is no reason to hammer the venue: the pauses of a new process."""
        self._logged_in = False
        self._down("the login is not accepted any more")
        if now_ns - self._login_ns < _SHORT_LOGIN_NS:
            self._kill()
        else:
            self._log_in()

    # --- requests -----------------------------------------------------------------------------------------------------

    def ask(
        self,
        call: str,
        given: dict[str, Any],
        tell: Callable[[Told], None],
        *,
        lane: Lane = Lane.READ,
        wait_s: float | None = None,
        key: str = "",
    ) -> bool:
        """Have a call carried out; ``tell`` hears of it exactly once, never before this returns.  False when it is not
        taken: its lane is full, or (of orders) there is no login now.

        ``wait_s`` is how long it may wait for its turn; ``key`` is what ``withdraw`` knows it by.
        """
        settings = self._settings
        if self._stopping or (lane is Lane.ORDER and not self._logged_in):
            return False
        limit_s = settings.wait_s if wait_s is None else wait_s
        until_ns = self._now_ns() + int(limit_s * NS_PER_S)
        taken = self._queue.put(Waiting(call, given, lane, until_ns, 3 * settings.answer_s, tell, key))
        if taken:
            self._pump()
        return taken

    def withdraw(self, key: str) -> bool:
        """Take back an order that still waits for its turn: nothing of it leaves, and its ``tell`` hears nothing.
        False where none waits any more."""
        return self._queue.withdraw(key) is not None

    async def call(self, call: str, given: dict[str, Any], *, lane: Lane = Lane.READ) -> Told:
        """``ask`` for those who can wait."""
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()

        def tell(told: Told) -> None:
            if not future.done():
                future.set_result(told)

        if not self.ask(call, given, tell, lane=lane):
            return Told(0, Outcome.NOT_SENT, text="too many requests wait")
        return await future

    def _pump(self) -> None:
        """Write the next request, if one may leave."""
        now_ns = self._now_ns()
        for late in self._queue.expired(now_ns):
            self._later(late, Told(0, Outcome.NOT_SENT, text="it waited too long for its turn"))
        if self._current is not None or not self._logged_in:
            self._wake_in(1.0)
            return
        lane = self._queue.next_lane()
        if lane is None:
            return
        priority = lane is not Lane.READ
        if not self._bucket.try_take(now_ns, priority=priority):
            self._wake_in(self._bucket.wait_ns(now_ns, priority=priority) / NS_PER_S)
            return
        self._write(self._queue.take(lane))

    def _later(self, waiting: Waiting, told: Told) -> None:
        asyncio.get_running_loop().call_soon(waiting.tell, told)

    def _wake_in(self, seconds: float) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = None
        until_ns = self._queue.first_until_ns()
        if until_ns is not None:
            seconds = min(seconds, (until_ns - self._now_ns()) / NS_PER_S)
            self._wake = asyncio.get_running_loop().call_later(min(max(seconds, 0.005), 5.0), self._pump)

    def _write(self, waiting: Waiting) -> None:
        process = self._process
        self._numbers += 1
        self._current = (self._numbers, waiting)
        if process is None or process.stdin is None or process.stdin.is_closing():
            self._current = None
            self._later(waiting, Told(0, Outcome.NOT_SENT, text="no worker"))
            return
        process.stdin.write(messages.frame(Ask(self._numbers, waiting.call, waiting.given)))
        loop = asyncio.get_running_loop()
        self._overdue = loop.call_later(waiting.timeout_s + _EXTRA_S, self._on_overdue, self._numbers)

    def _on_overdue(self, number: int) -> None:
        if self._current is not None and self._current[0] == number:
            call = self._current[1].call
            self._why = f"{call} took longer than {self._current[1].timeout_s:g} s"
            if call == "login":
                self._why += ": nobody has approved it in the venue's app"
            _log.error("%s: %s; its process is ended", self._settings.name, self._why)
            self._kill()

    def _kill(self) -> None:
        """``_keep`` sees its pipe end and does the rest."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _on_told(self, told: Told) -> None:
        current = self._current
        if current is None or current[0] != told.number:
            raise ValueError(f"an answer to {told.number}")
        self._current = None
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        waiting = current[1]
        if waiting.call != "login":
            now_ns = self._now_ns()
            priority = waiting.lane is not Lane.READ
            self._bucket.answered(now_ns, told.status, told.retry_after_s)
            if told.status == 429 and priority:
                self._bucket.priority_refused(now_ns)
            elif told.outcome is Outcome.OK:
                self._bucket.succeeded(now_ns, priority=priority)
                self._backoff.succeeded()
            if told.status == 401 and self._logged_in:
                self._log_in_again(now_ns)
        waiting.tell(told)
        if not self._logging_in:
            self._pump()


async def _read(process: asyncio.subprocess.Process) -> Told:
    """The next message.  Raises ``EOFError`` at the end, ``ValueError`` for what is none."""
    assert process.stdout is not None
    head = await process.stdout.readexactly(messages.LENGTH_BYTES)
    body = await process.stdout.readexactly(messages.length_of(head))
    try:
        return messages.read_told(body)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its stdin, wait a moment, kill."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.stdout is not None:
        await process.stdout.read()  # to its end, or its pipe outlives the loop
