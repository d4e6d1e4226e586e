"""The commands ``models networks``, ``list``, ``show``, ``verify``, and those of the registry: ``add``, ``promote``,
``canary``, ``rollback``, ``retire``, ``audit``."""

from __future__ import annotations

import getpass
import json
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import msgspec
import typer

from engine.cli import JsonFlag, print_json
from engine.errors import BundleError
from models.mixture import commands as weighing_commands
from models.refusals import needing
from models.shipped import DEFAULT, ENGINES, REGISTRY, Name, bundles_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.registry.standing import Standing
    from models.registry.store import Registry

app = typer.Typer(help="Networks, model bundles, and which of them stands for what.", no_args_is_help=True)

DirectoryOption = Annotated[Path, typer.Option(help="folder of bundles")]
RegistryOption = Annotated[Path, typer.Option(help="folder of versions and champions")]
DataOption = Annotated[Path | None, typer.Option(help="folder of recorded data (default: KESTREL_DATA)")]
ReasonOption = Annotated[str, typer.Option(help="why; kept in the audit")]
WhoOption = Annotated[str, typer.Option(help="who decided; default: the user's name")]
ReplaceFlag = Annotated[bool, typer.Option("--replace", help="also where another version of the run is there")]
ForceFlag = Annotated[bool, typer.Option("--force", help="override what speaks against it; needs --reason")]


@app.command("networks")
def models_networks(as_json: JsonFlag = False) -> None:
    """Networks that can be trained, with exact parameter counts (a mode with another output: NAME:MODE)."""
    from models.networks import table

    with needing("counting parameters"):
        rows = table()
    for row in rows:
        print(f"{row['name']:<22} {row['parameters']:>10,}  {row['input']} -> {row['output']}")
    if as_json:
        print_json({"networks": rows})


@app.command("list")
def models_list(
    directory: DirectoryOption = DEFAULT, registry: RegistryOption = REGISTRY, as_json: JsonFlag = False
) -> None:
    """Bundles and whether they may be used; then the registry's versions and what each stands for."""
    from models.catalogue import list_bundles
    from models.observer.evidence import verdicts_of
    from models.registry import index
    from models.registry.store import Registry

    rows = list_bundles(bundles_folder(directory))
    for row in rows:
        print(f"{row['name']:<20} {row['version']:<34} {row['state']}")
    versions = index.rows(Registry(registry))
    for row in versions:
        print(f"{row['name']:<20} {row['version']:<34} {row['state']:<10} {row['problem'] or _described(row)}")
        row["verdicts"] = verdicts_of(registry, row["version"], row["state"])
        for one in row["verdicts"]:
            print(f"{'':<20} {_minute(one['at_ns'])} beside {one['champion']} ({one['about']}): {one['verdict']}")
    if as_json:
        print_json({"models": rows, "registry": versions})


def _described(row: dict[str, Any]) -> str:
    """What tells the versions of one name apart."""
    precision = "" if row["precision"] == "fp32" else f" {row['precision']}"
    said = f"{row['scope']}  {row['network']}{precision} of {_minute(row['created_ns'])}, {row['verdict']}"
    if row["expires_ns"] is not None:
        said += f", {'expired' if row['expires_ns'] <= time.time_ns() else 'expires'} {_minute(row['expires_ns'])}"
    return said + (", a rollback brings it back" if row["is_next_back"] else "")


def _minute(at_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ns // 1_000_000_000))


@app.command("show")
def models_show(name: str, directory: DirectoryOption = DEFAULT, registry: RegistryOption = REGISTRY) -> None:
    """The whole manifest of a bundle, or of a version of the registry (NAME@VERSION) with its verdicts."""
    from models.catalogue import show_bundle
    from models.observer.evidence import verdicts_of

    shown = show_bundle(_place(name, directory, registry))
    if found := verdicts_of(registry, name):
        shown["verdicts"] = found
    print(json.dumps(shown, indent=2, default=str))


@app.command("verify")
def models_verify(
    name: str,
    on: Annotated[list[str] | None, typer.Option(help="a provider: cpu, cuda, tensorrt, openvino; repeat it")] = None,
    build: Annotated[bool, typer.Option("--build", help="first build the TensorRT engine for this GPU")] = False,
    directory: DirectoryOption = DEFAULT,
    registry: RegistryOption = REGISTRY,
    engines: Annotated[Path, typer.Option(help="folder of TensorRT engines (models.engines)")] = ENGINES,
    as_json: JsonFlag = False,
) -> None:
    """Load a bundle (or NAME@VERSION), open its graphs and run its golden tape through the kernel that will serve."""
    from models.catalogue import verify_bundle

    wanted = on or (["tensorrt"] if build else ["cpu"])
    if unknown := sorted(set(wanted) - set(get_args(Name))):
        raise BundleError(f"provider {unknown[0]!r} is unknown", expected=f"one of {', '.join(get_args(Name))}")
    place = _place(name, directory, registry)
    result = verify_bundle(place, on=cast("list[Name]", wanted), engines=engines, build=build)
    for one in result["providers"]:
        counted = f"{result['golden_predictions']} golden predictions, {one['prediction_us']} us each"
        print(f"{result['version']}: ok on {one['provider']} ({one['device']}), {counted}; {one['schedule']}")
    if as_json:
        print_json(result)


@app.command("bundle")
def models_bundle(
    run: Path,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="average all seeds, not the best one alone")] = False,
    replace: ReplaceFlag = False,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Export the networks of a finished run, compare them with torch, and write the bundle into the run's folder.

    Of the same run, seeds, evaluation and code it is the version that is there already, untouched.
    """
    with needing("an export"):
        from models.trainer.run_bundle import bundle_run
    began_ns = time.time_ns()
    bundle = bundle_run(run, data=data, seeds="all" if all_seeds else "best", replace=replace)
    new = bundle.manifest.created_ns >= began_ns
    judged = "" if bundle.manifest.scored else ", not evaluated yet"
    print(f"{bundle.version}: {bundle.path}{'' if new else ', there already'}{judged}")
    if as_json:
        told = {"version": bundle.version, "path": str(bundle.path), "scored": bundle.manifest.scored, "new": new}
        print_json(told)


weighing_commands.register(app)


@app.command("convert")
def models_convert(
    run: Path,
    precision: Annotated[str, typer.Option(help="fp16, bf16 or int8")],
    replace: ReplaceFlag = False,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """The bundle of a run in half precision or with 8-bit weights, refused where its scores on validation rows fall."""
    with needing("a conversion"):
        from models.trainer.convert import convert_run
        from models.trainer.precision import TARGETS
    if precision not in TARGETS:
        raise BundleError(f"precision {precision!r} is unknown", expected=f"one of {', '.join(TARGETS)}")
    bundle = convert_run(run, precision, data=data, replace=replace)
    found = bundle.manifest.converted
    assert found is not None
    agreed = "" if found.agreement is None else f", {100 * found.agreement:.3f} % of rows with the same class"
    print(f"{bundle.version}: {bundle.path}")
    print(f"  from {found.version}, on {found.rows:,} validation rows{agreed}")
    for name, before in found.before.items():
        print(f"  {name}: {before:g} -> {found.after[name]:g}")
    if as_json:
        print_json({"version": bundle.version, "path": str(bundle.path), "converted": msgspec.to_builtins(found)})


@app.command("add")
def models_add(folder: Path, registry: RegistryOption = REGISTRY, as_json: JsonFlag = False) -> None:
    """Register a bundle, or that of a run folder with what the run's evaluation found, as a version."""
    from models.bundle import load_bundle
    from models.catalogue import verify_bundle
    from models.manifest import MANIFEST
    from models.registry.store import Registry

    if (folder / MANIFEST).exists() or not folder.is_dir():
        bundle = load_bundle(folder)
    else:
        with needing("reading a run folder"):
            from models.trainer.judged import bundle_in

            bundle = bundle_in(folder)
    verify_bundle(bundle.path)
    version, new = Registry(registry).add(bundle)
    print(f"{version}: {'registered as a candidate' if new else 'is registered already'}")
    if as_json:
        print_json({"version": version, "new": new})


@app.command("promote")
def models_promote(
    name: str,
    version: Annotated[str, typer.Argument(help="its first 4 to 12 digits, as models list shows them")],
    shadow: Annotated[bool, typer.Option("--shadow", help="as a shadow: it predicts and never trades")] = False,
    force: ForceFlag = False,
    reason: ReasonOption = "",
    who: WhoOption = "",
    registry: RegistryOption = REGISTRY,
    as_json: JsonFlag = False,
) -> None:
    """Make a version the champion of its scope: what model: auto trades on, in running daemons too."""
    from models.registry.promotion import promote

    why = _reason(reason, force)
    _change(
        registry,
        lambda held: promote(
            held,
            name,
            version,
            to="shadow" if shadow else "champion",
            who=who or _user(),
            why=why,
            force=force,
            now_ns=time.time_ns(),
        ),
        as_json,
    )


@app.command("canary")
def models_canary(
    name: str,
    version: Annotated[str, typer.Argument(help="its first 4 to 12 digits, as models list shows them")],
    share: Annotated[str, typer.Option(help="of the size of entries, at most 0.5; the champion has the rest")],
    force: ForceFlag = False,
    reason: ReasonOption = "",
    who: WhoOption = "",
    registry: RegistryOption = REGISTRY,
    as_json: JsonFlag = False,
) -> None:
    """Let a version trade a small share of the size beside the champion; again with another share to change that."""
    from models.registry.promotion import promote

    try:
        wanted = Decimal(share)
    except InvalidOperation:
        raise BundleError(f"--share {share!r}", expected="a number such as 0.05") from None
    why = _reason(reason, force)
    _change(
        registry,
        lambda held: promote(
            held,
            name,
            version,
            to="canary",
            share=wanted,
            who=who or _user(),
            why=why,
            force=force,
            now_ns=time.time_ns(),
        ),
        as_json,
    )


@app.command("rollback")
def models_rollback(
    name: str,
    scope: Annotated[str, typer.Option(help="which, where it is champion of several")] = "",
    force: ForceFlag = False,
    reason: ReasonOption = "",
    who: WhoOption = "",
    registry: RegistryOption = REGISTRY,
    as_json: JsonFlag = False,
) -> None:
    """The champion before the one called NAME stands again, without any canary."""
    from models.registry.promotion import rollback

    why = _reason(reason, force)
    _change(
        registry,
        lambda held: rollback(held, name, scope=scope, who=who or _user(), why=why, force=force, now_ns=time.time_ns()),
        as_json,
    )


@app.command("retire")
def models_retire(
    name: str,
    version: str,
    reason: ReasonOption = "",
    who: WhoOption = "",
    registry: RegistryOption = REGISTRY,
    as_json: JsonFlag = False,
) -> None:
    """Take a version out of every use; its scope has no champion then, where it was that."""
    from models.registry.promotion import retire

    why = _reason(reason, force=False)
    _change(
        registry,
        lambda held: retire(held, name, version, who=who or _user(), why=why, now_ns=time.time_ns()),
        as_json,
    )


@app.command("audit")
def models_audit(registry: RegistryOption = REGISTRY, as_json: JsonFlag = False) -> None:
    """Who changed what a version stands for, when and why; oldest first."""
    from models.registry.audit import lines
    from models.registry.store import Registry

    found = lines(registry)
    made = {one.scope.text: one.sequence for one in Registry(registry).sorted_out()[0]}
    for line in found:
        forced = f"; forced against: {' | '.join(line.forced)}" if line.forced else ""
        why = line.why or "no reason given"
        share = f" with {line.share} of the size" if line.share else ""
        # Of a scope whose standing cannot be read nobody knows; `models list` says that.
        left = line.action != "void" and line.sequence > made.get(line.scope, line.sequence)
        begun = "; begun and never made" if left else ""
        print(f"{line.at} {line.who}: {line.action} {line.version} in {line.scope}{share}; {why}{forced}{begun}")
    if as_json:
        print_json({"audit": msgspec.to_builtins(found)})


def _place(name: str, directory: Path, registry: Path) -> Path:
    """Of a bundle by its name, of a version by ``NAME@VERSION``; the version may be that of a bundle."""
    from models.catalogue import is_of_version
    from models.registry.store import Registry

    held = Registry(registry)
    plain, _, sha = name.partition("@")
    place = bundles_folder(directory) / plain
    if "@" not in name:
        own = [one for one in held.versions() if one.partition("@")[0] == name]
        if own and not place.is_dir():
            raise BundleError(f"{name!r} is in the registry alone", expected=f"one of its versions: {', '.join(own)}")
        return place
    if is_of_version(place, name) and not held.path_of(name).is_dir():
        return place
    return held.path_of(held.resolve(plain, sha))


def _reason(reason: str, force: bool) -> str:
    if force and not reason.strip():
        raise BundleError("--force without a reason", do='say why: --reason "TEXT"; the audit keeps it')
    return " ".join(reason.split())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container may run without any name


def _change(registry: Path, make: Callable[[Registry], Standing], as_json: bool) -> None:
    """Make one and tell how things stand then, what was overridden, and which canary went with it."""
    from models.registry.audit import lines
    from models.registry.store import Registry

    held = Registry(registry)
    canaries = {one.scope: one.canary for one in held.sorted_out()[0]}
    standing = make(held)
    print(f"{standing.scope.text}: champion {standing.champion or 'none'}")
    if standing.champion is not None:
        manifest = held.manifest(standing.champion)
        if manifest.evaluation is not None:
            judged = manifest.evaluation
            print(f"  evaluated: {judged.verdict} against {judged.best_baseline}, by {judged.primary}")
    if forced := lines(registry)[-1].forced:
        print(f"  forced against: {' | '.join(forced)}")
    for other in held.sorted_out()[0]:
        if other.champion is not None and other.scope != standing.scope and other.scope.meets(standing.scope):
            print(f"  where {other.scope.text} is narrower or the same, {other.champion} may serve instead")
    if standing.canary is not None:
        print(f"  canary: {standing.canary} with {standing.share} of the size of entries")
    gone = canaries.get(standing.scope)
    if gone not in (None, standing.champion, standing.canary):
        print(f"  no canary any more: {gone}")
    for what, versions in (("before it", standing.earlier), ("shadow", standing.shadow)):
        if versions:
            print(f"  {what}: {', '.join(reversed(versions))}")
    if as_json:
        print_json({"standing": msgspec.to_builtins(standing)})
