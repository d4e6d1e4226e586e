"""What the settings say of a session before it begins: each look by itself, so that all that is wrong is told at once.

Owns looks at settings, key file, strategies and models.  They refuse what ``config.live`` and ``config.preflight``
refuse, in the same words.  The venue is asked by ``config.doctor_venue``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from config.assembly import ConfiguredAssembly
from config.exchange import Named, account_of, is_matched_here, is_running
from config.live import PROFILE, check_place, check_profile
from config.load import session_limits
from config.preflight import (
    check_consolidated,
    check_currencies,
    check_models,
    check_surroundings,
    foreseen_balances,
)
from config.schema import Settings
from config.secrets import check_private
from config.venue_kind import TellsRates
from config.venue_registry import kind_of
from config.wiring import build_slots
from engine import processors
from engine.errors import ConfigError
from engine.findings import Finding, Skipped, Warned, look
from engine.instruments import Instrument
from risk.limits import check_usable, unmatched


@dataclass(frozen=True)
class Subject:
    """What is looked at.  ``settings`` are resolved (``config.wiring.resolve``), ``instruments`` those that they
    foresee; models that are opened stay open in ``assembly``.  ``venue_truth``: what earlier sessions left does not
    count."""

    settings: Settings
    live: bool
    instruments: list[Instrument]
    assembly: ConfiguredAssembly
    venue_truth: bool = False

    @property
    def ids(self) -> list[str]:
        return list(dict.fromkeys(one.id for one in self.instruments))

    @property
    def account(self) -> str:
        """Empty where it is made with the session, and where the key cannot be read, which has a line of its own."""
        try:
            return account_of(self.settings, live=self.live)
        except ConfigError:
            return ""


def settings_findings(subject: Subject) -> list[Finding]:
    """Every look, in the order in which a person would put things right."""
    looks: list[tuple[str, Callable[[Subject], str]]] = [
        ("configuration", _configuration),
        ("venue", _venue),
        ("key file", _key_file),
        ("account", _account),
        ("limits", _limits),
        ("currencies", _currencies),
        ("strategies", _strategies),
        ("models", _models),
        ("watchdog", _watchdog),
    ]
    return [look(name, partial(at, subject)) for name, at in looks]


def uses_key(settings: Settings, *, live: bool) -> bool:
    """Whether there is an account behind the settings: a server of its own, and a key."""
    return live or (settings.venue.feed == "sandbox" and is_running(settings) and not is_matched_here(settings))


def _configuration(subject: Subject) -> str:
    files = ", ".join(subject.settings.files) or "no file"
    processors.check_claim(subject.settings.engine.cpu)
    said = check_profile(subject.settings) if subject.live else f"profile {subject.settings.profile}"
    return f"{said}; {files}"


def _venue(subject: Subject) -> str:
    settings = subject.settings
    name, feed = settings.venue.name, settings.venue.feed
    if subject.live:
        return f"{name} at {check_place(settings)}"
    if feed == "sandbox" and is_running(settings):
        return f"{name} at {Named(settings).first}, play money"
    return {
        "sandbox": f"{name}: a built-in exchange starts with the session, "
        + ("fills on paper" if is_matched_here(settings) else "play money"),
        "live": f"{name}: its public market, fills on paper",
        "replay": "recorded files",
    }[feed]


def _key_file(subject: Subject) -> str:
    path = subject.settings.venue.key_file
    if not uses_key(subject.settings, live=subject.live):
        raise Skipped("no key is used")
    if path is None:
        raise ConfigError(
            "venue.key_file is empty", expected="the API key file of the account, mode 600", do="set it in your file"
        )
    check_private(path)
    kind_of(subject.settings).key_name(subject.settings)
    return f"{path}, mode 600, readable as a key"


def _account(subject: Subject) -> str:
    if not uses_key(subject.settings, live=subject.live):
        raise Skipped("it is made with the session")
    account = account_of(subject.settings, live=subject.live)
    if not account:
        raise ConfigError("address or key of the account is missing", expected="both", do="see the lines above")
    return account


def _limits(subject: Subject) -> str:
    settings, ids = subject.settings, subject.ids
    limits = session_limits(settings, ids, live=subject.live)
    check_usable(limits, ids)
    idle = unmatched(limits, ids, [one.name for one in settings.strategies])
    said = f"version {limits.version}, {'explicit' if subject.live else 'set'}; entries in " + ", ".join(
        limits.allowed_instruments
    )
    if idle:
        raise Warned(f"{said}; {idle}: that binds nothing", expected="names of this session", do="correct them")
    return said


def _currencies(subject: Subject) -> str:
    settings = subject.settings
    if isinstance(kind_of(settings), TellsRates):
        return f"counted in {settings.portfolio.currency}; the venue tells what others are worth"
    check_currencies(settings, subject.instruments, () if subject.live else foreseen_balances(settings))
    rates = ", ".join(f"{name} {rate}" for name, rate in settings.portfolio.rates.items())
    return f"counted in {settings.portfolio.currency}" + (f"; rates {rates}" if rates else "")


def _strategies(subject: Subject) -> str:
    settings = subject.settings
    if not settings.strategies:
        raise ConfigError(
            "strategies is empty",
            expected="at least one strategy",
            do="name one in your file: see docs/live.md",
        )
    build_slots(settings, subject.ids)
    return ", ".join(f"{one.name} ({one.kind or one.path})" for one in settings.strategies)


def _models(subject: Subject) -> str:
    settings, assembly = subject.settings, subject.assembly
    everything = [*subject.instruments, *check_consolidated(settings, subject.instruments)]
    check_models(settings, everything, assembly)
    check_surroundings(settings, everything, assembly, set(settings.exogenous.series))
    served = sorted({model.version for model in assembly.models})
    return ", ".join(served) + " as trained" if served else "none is used"


def _watchdog(subject: Subject) -> str:
    if not uses_key(subject.settings, live=subject.live):
        raise Skipped("no order outlives the session")
    wanted = subject.settings.watchdog
    if not wanted.enabled:
        raise Warned(
            "watchdog.enabled is false",
            expected="a process that cancels open orders when the daemon cannot",
            do="leave it on, unless something else does that",
        )
    said = f"on; when the daemon dies: {wanted.on_death}"
    if subject.live and wanted.on_death == "keep":
        raise Warned(said, expected="cancel or halt", do="keep leaves orders there with nobody to look after them")
    return said


def judged_as_live(settings: Settings) -> bool:
    """Whether ``doctor`` asks what a live session asks."""
    return settings.profile == PROFILE
