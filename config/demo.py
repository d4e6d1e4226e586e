"""What the demo trades by where no shipped model fits.

``paper`` trades with nothing configured, on every venue.  The shipped profile's strategy asks a model; a feed that has
no sizes or trades fits none of those that ship, and then averages of the price stand in.  Strategies that a user has
written are never replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from config.schema import Settings, StrategySettings
from engine.errors import BundleError
from engine.instruments import Instrument


def with_fitting_demo(settings: Settings, instruments: Sequence[Instrument]) -> Settings:
    """The settings with a strategy that needs no model, said on stderr, where the shipped one could not be served.

    A bundle that is damaged is no reason: the session is to be refused by its name.
    """
    if not settings.sources.get("strategies", "").startswith("profile "):
        return settings
    from models.bundle import load_bundle
    from models.catalogue import bundle_paths, folders_without_manifest
    from models.registry.champions import find_champion

    try:
        bundles = [load_bundle(path) for path in bundle_paths(settings.models.directory)]
        own = {one.id for one in instruments if find_champion(settings.models.registry, one) is not None}
    except BundleError:
        return settings
    if folders_without_manifest(settings.models.directory):
        return settings
    unfit = [
        one.id for one in instruments if one.id not in own and all(bundle.reasons_against(one) for bundle in bundles)
    ]
    if not unfit or not bundles:
        return settings
    print(
        f"no model that ships fits {', '.join(unfit)}: the demo strategy is ema_cross, which needs none",
        file=sys.stderr,
    )
    strategies = [StrategySettings(name="demo", kind="ema_cross", model="none")]
    return settings.model_copy(update={"strategies": strategies})
